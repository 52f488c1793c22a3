"""What whoever has read some texts knows of others: how surprising they are, how many of their words are new."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fusevae.evaluation.variety import ratio

ORDER = 3  # words that are looked at together
NEW = 0.1  # part of the words of another text that may be new to who has read the training texts
PLENTY = 5000  # texts that are never too few
FALLS, COME_AGAIN, SENTENCE = 0.4, 1.1, 3  # see :func:`too_few`
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


def unseen(texts: Sequence[Sequence[str]]) -> float:
    """The part of the words of another such text that these don't have: what comes once, as a part of all (Good 1953).
    Of 60 captions .30, and .31 of the words of 300 others; of 300 sentences on films .29 and .31.

    Example:
        >>> unseen([["a", "dog", "runs"], ["a", "man"]])
        0.6
    """
    counts = Counter(word for text in texts for word in text)
    return sum(count == 1 for count in counts.values()) / max(1, counts.total())


def too_few(texts: Sequence[Sequence[str]]) -> str:
    r"""A line where a model learns so few texts by heart, or writes words of them without sense; else nothing.

    A tenth of the words of another text may be new (see ``docs/text.md``). They fall with :math:`n^{-0.4}`: from 60
    and 300 captions it takes 1,000 and 900 (in truth 800), from as many sentences on films 3,000 and 4,000 (3,200).
    Nothing is said where texts are no sentences (fewer than three words each), or where words don't come again as they
    grow more: names, codes, scripts without spaces.

    Example:
        >>> too_few([["the", f"dog{round(1.07 ** (7 * i % 97))}", f"runs{i * i % 83}"] for i in range(60)])[:58]
        '60 training texts are few: 32% of the words of another wou'
    """
    n, words = len(texts), sum(map(len, texts))
    if not 1 < n < PLENTY or words < SENTENCE * n:
        return ""
    new, less = unseen(texts), (unseen(texts[::2]) + unseen(texts[1::2])) / 2
    if new <= NEW or less < COME_AGAIN * new:
        return ""
    want = float(f"{n * (new / NEW) ** (1 / FALLS):.1g}")
    return (
        f"{n:,} training texts are few: {new:.0%} of the words of another would be new, so that a model learns these "
        f"by heart or writes words without sense; about {want:,.0f} would do, of which {NEW:.0%} would be"
    )


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
