"""Quality of texts: are they varied, are they copies, does another model find them likely, does a latent give them
back?"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import field
from typing import Any

import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.vocabulary import counted, joined, lengths
from fusevae.data.examples import Examples
from fusevae.evaluation.asked import AsAsked, Teller
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.evaluation.given import known, labels_in_words
from fusevae.evaluation.intervals import interval, interval_of_part
from fusevae.evaluation.judge import Judge, SampleQuality, timed_samples
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.likelihood import log_likelihood
from fusevae.evaluation.results import RECONSTRUCTIONS, SAMPLES, Result, figure, part
from fusevae.evaluation.samples import Kind
from fusevae.evaluation.variety import narrow
from fusevae.evaluation.verdict import COPIES, PART, Failing, further
from fusevae.modalities.text.reader import Rarity, surprise, too_few

MOST, OFTEN = 20_000, 0.05  # texts that words are counted in; part of the texts from which on a word is frequent
SELF_BLEU = 200  # texts that are each held against as many others
REPEATED, UNLIKELY = 0.2, 2.0  # a part of the samples, and times the perplexity of real texts, that are too much
LIVELIER = "draw at a higher temperature, or see whether the latent has collapsed"


class Wording(Result):
    """What texts are like.

    Attributes:
        distinct_1: different words as a part of all, :func:`distinct`.
        distinct_2: the same of pairs of words.
        self_bleu: how alike the texts are, :func:`self_bleu`.
        words: the mean length of a text.
        perplexity: under an independent language model, :func:`perplexity`; None without one.
    """

    section = SAMPLES
    distinct_1: float = figure("distinct words", form=".3f")
    distinct_2: float = figure("distinct pairs of words", form=".3f")
    self_bleu: float = figure("self-BLEU", form=".3f")
    words: float = figure("words in a text", form=".3f")
    perplexity: float | None = figure("perplexity under the judge", form=".3f", default=None)


class TextQuality(Wording, SampleQuality):
    """What samples at temperature 1, drawn from the model itself (with its guidance, where it is given conditions), are
    like beside as many real texts.

    Attributes:
        real: what the real texts are like.
        ratio: of the perplexity to that of the real texts.
        repeated: the part of samples that another equals.
        copied: the part that stand in the training texts; None where these were not given.
        labels: what a conditional model was given.
        surprise: nats for each word of real texts, of a reader of the samples, :func:`surprise`; ``real_surprise`` of
            one of as many training texts.
        rarity: the nats that a word has by how common it is in training texts, as a part of what words of real texts
            have.
        few: why training texts are too few to learn to write from, :func:`too_few`.
        intervals: where the figures are with 95 % confidence.
    """

    intervals: dict[str, list[float]] = field(default_factory=dict)
    surprise: float | None = figure(
        "real texts to a reader of these", "nats a word", "low", form=".3f", interval="intervals", real="real_surprise",
        decides=1, default=None,
    )  # fmt: skip
    real_surprise: float | None = None
    rarity: float | None = figure(
        "rarity of words", form=".3f", interval="intervals", hint="as a part of that of real texts", default=None
    )
    few: str = ""
    labels: str | None = figure("labels", default=None)
    real: Wording = part(real=True)
    ratio: float | None = figure("its ratio to that of real texts", form=".3f", default=None)
    repeated: float = figure("repeated", form=".1%")
    copied: float | None = figure("copied from training data", form=".1%", real="real_copied", default=None)
    real_copied: float | None = None

    def failings(self) -> list[Failing]:
        found = [Failing("too few texts", self.few)] if self.few else []
        if min(interval_of_part(self.repeated, self.n)) > REPEATED:
            found.append(
                Failing("not covering the data", f"{self.repeated:.0%} of the samples repeat another", LIVELIER)
            )
        elif self.distinct_2 < PART * self.real.distinct_2:
            says = (
                f"{self.distinct_2:.0%} of the pairs of words are different, {self.real.distinct_2:.0%} in real texts"
            )
            found.append(Failing("not covering the data", says, LIVELIER))
        if self.copied is not None and min(interval_of_part(self.copied, self.n)) > COPIES + (self.real_copied or 0.0):
            says = f"{self.copied:.0%} of the samples stand in the training data, {self.real_copied:.0%} of real ones"
            found.append(Failing("copying", says, "give more data, more dropout, or stop earlier (training.patience)"))
        if self.ratio is not None and self.ratio > UNLIKELY:
            says = f"another model finds a word {self.ratio:.1f} times as surprising as in real texts"
            found.append(Failing("unlike the data", says, "train longer, or take a larger model"))
        near = min(self.intervals.get("surprise", [-math.inf])) - (self.real_surprise or math.inf)
        if self.ratio is None and near > math.log(UNLIKELY):
            times = math.exp((self.surprise or 0.0) - (self.real_surprise or 0.0))
            says = (
                f"real texts surprise who has read the samples {times:.1f} times as much as who has read training texts"
            )
            found.append(Failing("unlike the data", says, "train longer, or take a larger model"))
        says = f"words are commoner: by that they have {self.rarity or 0:.2f} of the nats that words of real texts have"
        found += narrow(self.intervals.get("rarity"), says, LIVELIER)
        return further(found, super().failings()) + found


class TextReconstruction(Result):
    """How well texts come back from their latents, written by the likeliest tokens; what the vocabulary doesn't have
    never does.

    Attributes:
        n: texts.
        bleu: of sentences, :func:`bleu`; None of molecules.
        tokens: the part of the places up to the end that hold the same token.
        exact: the part of texts that are the same.
    """

    section = RECONSTRUCTIONS
    n: int = figure("reconstructed", form=lambda n: f"{n:,} texts")
    bleu: float | None = figure("BLEU", better="high", form=".3f", default=None)
    tokens: float = figure("tokens that are the same", better="high", form=".1%")
    exact: float = figure("texts that are the same", better="high", form=".1%")


def words(text: str) -> list[str]:
    """The words of a text in small letters, punctuation aside.

    Example:
        >>> words("A man, a dog.")
        ['a', 'man', 'a', 'dog']
    """
    return "".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split()


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words as a part of all (Li et al. 2016); falls as texts grow more, so that only as many
    texts compare.

    Example:
        >>> distinct(["a man", "a dog"], 1)
        0.75
    """
    grams = Counter(tuple(w[i : i + n]) for w in map(words, texts) for i in range(len(w) - n + 1))
    return len(grams) / max(1, grams.total())


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU of texts, each against its own reference, from 0 to 1 (Papineni et al. 2002; sacrebleu's).

    Example:
        >>> round(bleu(["a man rides a red bike"], ["a man rides a red bike"]), 6)
        1.0
    """
    return float(_sacrebleu().corpus_bleu(list(texts), [list(references)]).score / 100)


def self_bleu(texts: Sequence[str], seed: int = 0) -> float:
    """BLEU of texts, each against the others, from 0 (no two alike) to 1, a mean over at most 200 drawn from them
    (Zhu et al. 2018)."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))[:SELF_BLEU].tolist()
    few = [texts[i] for i in order]
    metric = _sacrebleu().metrics.BLEU(effective_order=True)
    each = [metric.sentence_score(text, few[:i] + few[i + 1 :]).score for i, text in enumerate(few)]
    return sum(each) / max(1, len(each)) / 100


def overlap(a: str, b: str) -> float:
    """How many words two texts share, as a part of those of both (Jaccard 1901).

    Example:
        >>> overlap("a man runs", "a dog runs")
        0.5
    """
    first, second = set(words(a)), set(words(b))
    return len(first & second) / max(1, len(first | second))


def perplexity(judge: Artifact, texts: Sequence[str], importance_samples: int = 100) -> float:
    r""":math:`\exp(-\frac{1}{T} \sum_i \log p(x_i))` of texts under a model, over all T tokens of the model's own
    vocabulary, ends included."""
    examples = as_examples(judge, list(texts))
    total = log_likelihood(judge, examples, importance_samples=importance_samples).sum().item()
    tokens = sum(int(lengths(block.x).sum()) for block in blocks(judge, examples, 0))
    return math.exp(min(700.0, -total / tokens))


class TextReference(Judge):
    """Real texts that samples are held against, made once for all the models that are compared.

    Args:
        held: texts that no model was trained on.
        train: those that the models were trained on, to find copies; or None.
        n: samples of each model, at most as many as ``held``.
        judge: an independent language model, whose perplexity of the samples is held against that of the real texts.
    """

    about = "as many real texts"

    def __init__(
        self, held: Examples, train: Examples | None = None, n: int = 1000, judge: Artifact | None = None
    ) -> None:
        self.n, self.reader, self.held = min(n, len(held)), judge, held
        x, self.given = held.batch(held.evenly(self.n))
        texts = held.spec.text(x)
        self.told_by = train or held
        self.real = self._about(texts)
        self.known: set[str] | None = None
        if train is not None:
            parts = torch.arange(len(train)).split(1000)
            self.known = {text for part in parts for text in train.spec.text(train.batch(part)[0])}
        self.real_copied = self.copied(texts)
        self.words = [words(text) for text in texts]
        self.real_surprise, self.rare, self.few = None, None, ""
        if train is not None and len(train):
            read = train.spec.text(train.batch(train.evenly(self.n))[0])
            learned = [words(text) for text in train.spec.text(train.batch(train.evenly(MOST))[0])]
            self.rare, self.few = Rarity(learned), too_few(learned)
            self.real_surprise = surprise([words(text) for text in read], self.words).mean().item()

    def copied(self, texts: Sequence[str]) -> float | None:
        """The part of texts that stand in the training data."""
        return None if self.known is None else sum(text in self.known for text in texts) / len(texts)

    def judge(self, artifact: Artifact, kind: Kind = "auto", seed: int = 0) -> TextQuality:
        """What samples of a model are like; they are always draws. One that is given conditions gets those of the real
        texts."""
        asked = self.given if artifact.is_conditional else None
        x, seconds = timed_samples(artifact, self.n, asked, seed)
        texts = artifact.data.text(x)
        about = self._about(texts)
        both = about.perplexity, self.real.perplexity
        each = surprise([words(text) for text in texts], self.words)
        value, error = each.mean().item(), each.std().item() / math.sqrt(len(each))
        intervals = {"surprise": interval(value, error, len(each))} if len(each) > 1 else {}
        rarity = None if self.rare is None else self.rare.beside([words(text) for text in texts], self.words)
        if rarity is not None:
            intervals["rarity"] = rarity[1]
        return TextQuality(
            **vars(about),
            surprise=value,
            intervals=intervals,
            rarity=None if rarity is None else rarity[0],
            few=self.few,
            shares=self.shares(x, texts, artifact),
            real_surprise=self.real_surprise,
            n=self.n,
            kind="sample",
            seed=seed,
            seconds_per_sample=seconds,
            real=self.real,
            ratio=both[0] / both[1] if both[0] is not None and both[1] is not None else None,
            repeated=1 - len(set(texts)) / self.n,
            labels=None if asked is None else labels_in_words(artifact, known(artifact.data.conditions, asked), self.n),
            as_asked=self.as_asked(artifact, x, asked),
            copied=self.copied(texts),
            real_copied=self.real_copied,
        )

    def shares(self, x: Tensor, texts: Sequence[str], artifact: Artifact) -> dict[str, list[float]]:
        """The parts of samples and of real texts that are of each class, told from their words; of texts without any,
        that have each frequent word."""
        if not self.teller.classes:
            both = [Counter(word for text in each for word in set(text)) for each in (map(words, texts), self.words)]
            often = [word for word, count in both[1].items() if count >= OFTEN * self.n]
            return {f"texts with {word!r}": [of[word] / self.n for of in both] for word in often}
        return self.teller.shares(x, self.held, artifact.data)

    @functools.cached_property
    def teller(self) -> Teller:
        """What tells conditions, made where a model is given some."""
        return Teller(self.told_by)

    def as_asked(self, artifact: Artifact, x: Tensor, asked: Tensor | None) -> dict[str, AsAsked] | None:
        """How far samples have the conditions that they were given, if any."""
        return None if asked is None else self.teller.as_asked(x, asked, self.held, artifact.data)

    def _about(self, texts: Sequence[str]) -> Wording:
        return Wording(
            distinct_1=distinct(texts, 1),
            distinct_2=distinct(texts, 2),
            self_bleu=self_bleu(texts),
            words=sum(len(words(t)) for t in texts) / len(texts),
            perplexity=None if self.reader is None else perplexity(self.reader, [t for t in texts if t]),
        )


def text_reconstruction(
    artifact: Artifact, real: Examples, n: int = 1000, seed: int = 0, words: bool = True
) -> TextReconstruction:
    """How well the first n texts come back from their latents; BLEU is of ``words``."""
    some = real.subset(torch.arange(min(n, len(real))))
    x, _ = some.batch(torch.arange(len(some)))
    again = reconstruct(artifact, some, seed=seed)
    both = joined([x, again])
    same = both[: len(x)] == both[len(x) :]
    counts = counted(both[: len(x)])
    texts, made = artifact.data.text(x), artifact.data.text(again)
    return TextReconstruction(
        n=len(some),
        bleu=bleu(made, texts) if words else None,
        tokens=(same & counts).sum().item() / counts.sum().item(),
        exact=sum(a == b for a, b in zip(texts, made, strict=True)) / len(some),
    )


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise InputError("BLEU needs sacrebleu: pip install 'fusevae[text]'") from None
    return sacrebleu
