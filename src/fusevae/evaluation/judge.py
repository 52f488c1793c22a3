"""What judges samples, whatever they are of, and what every such judgement says."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.data.splits import Splits
from fusevae.evaluation.asked import AsAsked, as_asked, evidence, mending
from fusevae.evaluation.results import COST, SAMPLES, Result, figure, part
from fusevae.evaluation.samples import Kind, kind_used, sample
from fusevae.evaluation.variety import left_out
from fusevae.evaluation.verdict import Failing

LEAST = 50  # real examples that samples are held against, unless fewer are asked for
ASKED = 100  # samples of which it is told whether they have what was asked for, where that alone is


class TooFew(InputError):
    """There are too few real examples to say much of samples by."""


def enough(n: int, there: int) -> int:
    """How many samples, and as many real examples of those ``there``, are compared where ``n`` are wanted: all that
    there are, if these are not too few to say much and so few were not asked for.

    Example:
        >>> enough(2000, 90), enough(20, 90)
        (90, 20)
    """
    found = min(n, there)
    if found < LEAST <= n:
        raise TooFew(
            f"there are {found} real examples to judge samples by, fewer than {LEAST} say little: give more data, hold "
            f"more out (--set data.test=0.3), or ask for so few (--samples {found}, n={found} in Python)"
        )
    return found


def timed_samples(
    artifact: Artifact, n: int, label: Tensor | None = None, seed: int = 0, kind: Kind = "auto"
) -> tuple[Tensor, float]:
    """``n`` samples of a model, for labels where it is given some, and the seconds that one takes."""
    sample(artifact, 1, seed=seed, kind=kind)  # what is done once only is not a part of the time
    started = time.perf_counter()
    x = sample(artifact, n, label, seed, kind)
    return x, (time.perf_counter() - started) / n


def reference(
    data: Splits, n: int, extractor: str | None, device: str, quiet: bool, held: Examples | None = None, **more: Any
) -> Judge:
    """What ``n`` samples of models of some data are held against: the real examples ``held``, or those that no model
    was trained on. Arguments as of :meth:`fusevae.data.modality.Modality.reference`."""
    unseen, name = data.unseen(2 * LEAST)
    found: Judge = modality_of(data.spec).reference(held or unseen, data, n, extractor, device, quiet, **more)
    if held is None and unseen is not data.held[0]:
        found.about += f"; real ones of the {name}"
    return found


class SampleQuality(Result):
    """Base of what is found of samples.

    Attributes:
        n: how many were judged.
        kind: ``"mean"`` of p(x | z) for a z from the prior, or ``"sample"``, a draw.
        seed: of the samples.
        features: what they were judged by, where that is a net or columns.
        seconds_per_sample: in batches of 256.
        as_asked: by column, of a model that was given conditions: :class:`AsAsked`.
        shares: the parts of the samples and of real examples that are of a class, by its name.
    """

    section = SAMPLES
    n: int = figure("judged", form=lambda n: f"{n:,} samples")
    kind: str = figure("made as", form=lambda kind: f"{kind} of p(x | z)" if kind == "mean" else kind)
    seed: int = 0
    features: str | None = None
    seconds_per_sample: float | None = figure(
        "time of a sample", "ms", "low", of=COST, form=lambda s: f"{1000 * s:.3g}", default=None
    )
    as_asked: dict[str, AsAsked] | None = part("as asked", default=None)
    shares: dict[str, list[float]] | None = None

    @property
    def followed(self) -> dict[str, AsAsked]:
        """How far samples have what was asked for, by column, whatever tells it."""
        return self.as_asked or {}

    def failings(self) -> list[Failing]:
        """What is wrong with the samples, by these figures alone."""
        ignored = [
            Failing("condition ignored", evidence(name, found), mending(None))
            for name, found in self.followed.items()
            if found.ignored
        ]
        return ignored + left_out(self.shares, self.n)


def of_conditions(artifact: Artifact, train: Examples, held: Examples, seed: int = 0) -> SampleQuality | None:
    """What can be said of samples where real examples are too few for the rest: whether these have what they were asked
    for, told by what learned it from all real examples; None where nothing is asked."""
    found = as_asked(artifact, train, held, ASKED, seed)
    if not found:
        return None
    kind = kind_used(artifact, "auto")
    return SampleQuality(n=max(one.n for one in found.values()), kind=kind, seed=seed, as_asked=found)


class Judge(ABC):
    """Real examples that samples are held against, made once for all the models that are compared.

    ``about`` says in words what samples are judged by.
    """

    about: str

    @abstractmethod
    def judge(self, artifact: Artifact, kind: Kind = "auto", seed: int = 0) -> SampleQuality:
        """What there is to say of the samples of one model."""

    def neighbours(self, x: Tensor, k: int) -> Tensor | None:
        """The ``k`` training examples nearest to each of ``x``, ``(n, k, *shape)``, where there is such a thing."""
        return None
