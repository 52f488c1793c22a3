"""A reader of samples: how surprised whoever has read nothing else is by real texts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fusevae.evaluation.variety import ratio

ORDER = 3  # words that are looked at together
Grams = dict[tuple[str, ...], Counter[str]]


def surprise(read: Sequence[Sequence[str]], real: Sequence[Sequence[str]]) -> Tensor:
    r"""Nats for each word of each of ``real``, its end included, ``(n,)``, of an n-gram model of what was ``read``.

    With Witten and Bell's interpolation (1991), down to equal probabilities of all words of the real texts:
    :math:`p(w \mid h) = (c(h, w) + t(h)\, p(w \mid h')) / (c(h) + t(h))` for a history h that t(h) different words
    follow. What is not fluent, and what is never said, both cost: samples that are all alike leave it surprised by
    everything else (the reverse perplexity of Zhao et al. 2018, by a reader that takes no training).

    Example:
        >>> real = [["a", "dog", "runs"], ["a", "man", "sits"]]
        >>> good, dull = surprise(real, real).mean(), surprise([real[0], real[0]], real).mean()
        >>> bool(good < dull)
        True
    """
    grams: Grams = defaultdict(Counter)
    for text in read:
        for history, word in _steps(text):
            for k in range(len(history) + 1):
                grams[history[k:]][word] += 1
    totals = {history: seen.total() for history, seen in grams.items()}
    size = len({word for text in real for word in text}) + 1

    def chance(history: tuple[str, ...], word: str) -> float:
        less = chance(history[1:], word) if history else 1 / size
        seen = grams.get(history)
        return less if seen is None else (seen[word] + len(seen) * less) / (totals[history] + len(seen))

    each = [[-math.log(chance(history, word)) for history, word in _steps(text)] for text in real]
    return torch.tensor([sum(nats) / len(nats) for nats in each], dtype=torch.float64)


def _steps(text: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """The words of a text, each with those before it, and its end."""
    whole = ["<", *text, ">"]
    return [(tuple(whole[max(0, i - ORDER + 1) : i]), whole[i]) for i in range(1, len(whole))]


class Rarity:
    """How rare the words of texts are: :math:`-\\log p(w)` on average, of how common they are in other texts.

    Args:
        read: the other texts, in words.

    Example:
        >>> rare = Rarity([["a", "dog"], ["a", "heron"]])
        >>> rare.of([["a", "a"], ["a", "dog"]]).tolist()[0] < rare.of([["dog", "heron"]]).item()
        True
    """

    def __init__(self, read: Iterable[Sequence[str]]) -> None:
        self.counts = Counter(word for text in read for word in text)
        self.total = self.counts.total() + 1

    def of(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Nats for a word of each text that has any."""
        each = [[math.log(self.total / max(1, self.counts[word])) for word in text] for text in texts if text]
        return torch.tensor([sum(nats) / len(nats) for nats in each], dtype=torch.float64)

    def beside(self, made: Sequence[Sequence[str]], real: Sequence[Sequence[str]]) -> tuple[float, list[float]] | None:
        """That of samples as a part of that of real texts, with its interval; None where one of them has no words."""
        ours, theirs = self.of(made), self.of(real)
        if min(len(ours), len(theirs)) < 2 or not theirs.mean() > 0:
            return None
        return ratio(ours, theirs)
