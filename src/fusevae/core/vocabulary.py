"""Vocabulary: text as whole numbers and back. A sequence ends with its end token, and whatever follows is ignored."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.core.description import Described

END = 0  # ends a sequence, and fills what follows it
UNKNOWN = 1  # stands for what the vocabulary doesn't have
FIRST = 2  # number of the first entry


class Vocabulary(Described):
    """The tokens of a kind of text: 0 ends a sequence, 1 is what is unknown, and ``2 + i`` is entry ``i``.

    A subclass says how text falls into tokens, and how these make text again.

    Attributes:
        entries: the tokens from number 2 on.
        kind: one word for the kind of token, for figures' support: ``"characters"``.
        modality: the kind of data that such tokens are of.
    """

    entries: list[str]
    kind: str = "tokens"
    modality: str = "text"

    @property
    def size(self) -> int:
        """Number of tokens, the end and the unknown one included."""
        return len(self.entries) + 2

    @property
    def fingerprint(self) -> str:
        """Eight digits that tell the entries from others: a likelihood over other tokens is another quantity."""
        return hashlib.blake2b("\0".join(self.entries).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()

    @property
    def never_first(self) -> list[int]:
        """Tokens that no text begins with: the end, since data hold no empty text. A model gives them no probability
        there."""
        return [END]

    @property
    def states(self) -> Tensor | None:
        """Of tokens that are parts of characters, which may follow which, as of
        :attr:`fusevae.core.generation.Generation.states`; None where each is text."""
        return None

    def misfit(self, texts: Sequence[str]) -> str:
        """Why the texts that it was fitted on are not made of such tokens, in words; empty where they are."""
        return ""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without an end."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens up to the first end."""

    @classmethod
    @abstractmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        """The vocabulary of some texts, of at most ``size`` tokens where that is given."""


def lengths(x: Tensor) -> Tensor:
    """How many tokens of each sequence ``(..., length)`` count: up to the first end, and with it; all where there is
    none.

    Example:
        >>> lengths(torch.tensor([[5, 3, 0, 7], [5, 3, 2, 7]]))
        tensor([3, 4])
    """
    ended = (x == END).cumsum(-1) > 0
    return (~ended).sum(-1) + ended.any(-1)


def counted(x: Tensor) -> Tensor:
    """Which tokens of sequences ``(..., length)`` count, as of :func:`lengths`.

    Example:
        >>> counted(torch.tensor([5, 0, 0]))
        tensor([ True,  True, False])
    """
    ends = (x == END).long()
    return (ends.cumsum(-1) - ends) == 0


def joined(parts: Sequence[Tensor], fill: int = END) -> Tensor:
    """Batches of sequences, each ``(n, ..., length)``, as one; shorter ones are filled with ends. Of other arrays,
    which are of one shape, the same as ``torch.cat``."""
    if len({part.shape[1:] for part in parts}) > 1 and len({part.shape[1:-1] for part in parts}) == 1:
        longest = max(part.shape[-1] for part in parts)
        parts = [F.pad(part, (0, longest - part.shape[-1]), value=fill) for part in parts]
    return torch.cat(list(parts))
