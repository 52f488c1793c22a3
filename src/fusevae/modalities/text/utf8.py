"""Which bytes may follow which in UTF-8, so that what is written token by token is made of whole characters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

#: the byte that begins a character of several, the state after it; and of each state the next bytes, the state after
#: them: 0 is between characters (the Unicode Standard, table 3-7)
BEGINS = [(0xC2, 0xDF, 1), (0xE0, 0xE0, 4), (0xE1, 0xEC, 2), (0xED, 0xED, 5), (0xEE, 0xEF, 2), (0xF0, 0xF0, 6)]
BEGINS += [(0xF1, 0xF3, 3), (0xF4, 0xF4, 7)]
GOES_ON = {1: (0x80, 0xBF, 0), 2: (0x80, 0xBF, 1), 3: (0x80, 0xBF, 2)}
GOES_ON |= {4: (0xA0, 0xBF, 1), 5: (0x80, 0x9F, 1), 6: (0x90, 0xBF, 2), 7: (0x80, 0x8F, 2)}
STATES = 1 + len(GOES_ON)


def after(state: int, byte: int) -> int:
    """The state after a byte; -1 where it can't stand there."""
    if state:
        low, high, then = GOES_ON[state]
        return then if low <= byte <= high else -1
    if byte < 0x80:
        return 0
    return next((then for low, high, then in BEGINS if low <= byte <= high), -1)


def states(tokens: Iterable[bytes]) -> Tensor:
    r"""The state after each token of some bytes in each state, ``(states, tokens)``; -1 where it can't stand there.

    Example:
        >>> states([b"a", "\u00e4".encode(), b"\xc3", b"\xa4", b"\xa4a"])[:2].tolist()
        [[0, 0, 1, -1, -1], [-1, -1, -1, 0, 0]]
    """
    found = []
    for token in tokens:
        column = []
        for state in range(STATES):
            for byte in token:
                state = state if state < 0 else after(state, byte)
            column.append(state)
        found.append(column)
    return torch.tensor(found).T.contiguous()
