"""The errors a user can mend, and the one rule about their wording."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Something that was given can't be used: a file, a setting, a part in a slot.

    The message is one line that names what was given, what was expected and what to do. The command line
    prints it and ends with exit code 2; nothing has been written by then.
    """


class SlotError(InputError):
    """A part stands in a slot whose mathematics it can't serve; raised when the model is built."""


class TrainingError(RuntimeError):
    """Training can't go on; the last good state is whole. The command line ends with exit code 1."""


class PeerLost(TrainingError):
    """Another process of the training is gone. It was said where that was noticed: torchrun stops this one, too."""


def near(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'a' or 'b'?"`` for the known names nearest to ``word``, else the list of them.

    Example:
        >>> near("Bernouli", ["Bernoulli", "Normal"])
        "; did you mean 'Bernoulli'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if not close:
        lower = {name.lower(): name for name in names}
        close = [lower[m] for m in difflib.get_close_matches(word.lower(), lower, n=3, cutoff=0.5)]
    if close:
        return "; did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "; known are " + ", ".join(names) if names else ""


def shown(value: Any) -> str:
    """A value in a few words: itself where that is short, else what it is.

    Example:
        >>> shown("many"), shown(range(3)), shown(object())
        ("'many'", 'range(0, 3)', 'an object')
    """
    text = repr(value)
    if len(text) <= 60 and "\n" not in text and " at 0x" not in text:
        return text
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
