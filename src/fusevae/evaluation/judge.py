"""What judges samples, whatever they are of, and what every such judgement says."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.evaluation.results import COST, SAMPLES, Result, figure
from fusevae.evaluation.samples import Kind


class SampleQuality(Result):
    """Base of what is found of samples.

    Attributes:
        n: how many were judged.
        kind: ``"mean"`` of p(x | z) for a z from the prior, or ``"sample"``, a draw.
        seed: of the samples.
        features: what they were judged by, where that is a net or columns.
        seconds_per_sample: in batches of 256.
    """

    section = SAMPLES
    n: int = figure("judged", form=lambda n: f"{n:,} samples")
    kind: str = figure("made as", form=lambda kind: f"{kind} of p(x | z)" if kind == "mean" else kind)
    seed: int = 0
    features: str | None = None
    seconds_per_sample: float | None = figure(
        "time of a sample", "ms", "low", of=COST, form=lambda s: f"{1000 * s:.3g}", default=None
    )


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
