"""What is said of one model among several: its figures, its latents, its training."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from fusevae.evaluation.judge import SampleQuality
from fusevae.evaluation.results import COST, LATENTS, MODEL, Result, figure, part
from fusevae.evaluation.scores import Scored


class LatentsSummary(Result):
    """What the latents of at most 500 examples hold; only the dimensions where they are deterministic.

    Attributes:
        dims: dimensions.
        active: those whose posterior mean varies over the examples; None where that is not known.
        kl: KL(q(z | x) || p(z)).
        information: I(x; z).
    """

    section = LATENTS
    dims: int = figure("dimensions", form=",")
    active: int | None = figure("active", form=",", default=None)
    kl: float | None = figure("KL", "nats", form=".2f", default=None)
    information: float | None = figure("I(x; z)", "nats", form=".2f", default=None)


class TrainingCost(Result):
    """How far a training is, and what it took.

    Attributes:
        steps: so far.
        epochs: so far.
        epochs_asked_for: by the configuration.
        finished: whether it came to its end.
        seconds: of training.
        went_back: how often abnormal updates were undone.
        plan: of a training in a given time.
        gained: nats of held-out examples in the last quarter of it, up to the best.
    """

    section = COST
    steps: int | None = figure("training steps", form=",", default=None)
    epochs: float | None = None
    epochs_asked_for: float | None = None
    finished: bool = False
    seconds: float | None = figure("training", "s", form=",.1f", default=None)
    went_back: int = 0
    plan: dict[str, Any] | None = None
    gained: float | None = figure("gained in its last quarter", "nats", form=".3g", default=None)


class ModelResult(Scored):
    """What is said of one model among several; what its family doesn't have is None.

    Attributes:
        family: its class, preprocessing aside.
        level: what it promises.
        conditional: whether it is given labels.
        support: that its likelihood is over.
        given: the conditions that it is given there.
        log_likelihood: the mean, see :class:`LogLikelihood`.
        bits_per_dim: for discrete data of one shape.
        quality: of samples, by the judge.
        reconstruction: of held-out data.
        latents: what they hold.
        parameters: of the model.
        bytes: of its parameters and buffers.
        training: where a run folder says it.
        notes: why something is missing.
    """

    family: str = figure("family", of=MODEL)
    level: str = figure("promises", of=MODEL)
    conditional: bool = figure("conditional", of=MODEL)
    quality: SampleQuality | None = part(default=None)
    reconstruction: Result | None = part(default=None)
    latents: LatentsSummary | None = part(default=None)
    training: TrainingCost | None = part(default=None)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        likelihood = found.pop("log_likelihood") or {}
        return found | {key: likelihood.get(key) for key in ("value", "stderr", "kind")}
