"""The likelihood of held-out data as results, and the size of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from torch import nn

from fusevae.core.artifact import Artifact
from fusevae.core.levels import Level
from fusevae.evaluation.labels import Classification
from fusevae.evaluation.results import COST, LATENTS, LIKELIHOOD, Result, figure, part

NATS = "nats per example"


def converged(bounds: Mapping[int, float]) -> bool:
    """Whether ten times the samples changed the bound by less than a tenth of a nat.

    Example:
        >>> converged({1: -90.0, 10: -88.0}), converged({10: -88.0, 100: -87.95})
        (False, True)
    """
    if len(bounds) < 2:
        return False
    (m, earlier), (k, last) = list(bounds.items())[-2:]
    return last - earlier < 0.1 * math.log10(k / m)


def _by_samples(bounds: Mapping[int, float]) -> str:
    steps = ", ".join(f"{value:.2f} at {m:,}" for m, value in bounds.items())
    rises = "still rising: " if len(bounds) > 1 else ""  # of one nothing is known
    return steps + ("" if converged(bounds) else f"; {rises}take more samples")


class LogLikelihood(Result):
    r"""The mean of log p(x) over held-out data, in nats per example.

    Attributes:
        value: the mean.
        stderr: its standard error over the examples.
        kind: whether it is exact or a lower bound.
        importance_samples: k of the bound; None where nothing is weighted.
        bounds: the bound at 1, 10, 100, ... of the same samples. Where the last two differ by more than a tenth of a
            nat, the last is not yet close to log p(x).
        effective_samples: the mean of :math:`(\sum_i w_i)^2 / \sum_i w_i^2` (Kong 1992); near 1, a single one decides.
    """

    section = LIKELIHOOD
    value: float = figure("log p(x)", NATS, "high", form=".3f", error="stderr", note="{kind}")
    stderr: float | None = None
    kind: Literal["exact", "bound"] = "exact"
    importance_samples: int | None = figure("importance samples", form=",", default=None)
    bounds: dict[int, float] | None = figure("bound by samples", form=_by_samples, default=None)
    effective_samples: float | None = figure("effective samples", form=".1f", default=None)


class Size(Result):
    """How large a model is: numbers that are trained, and bytes of parameters and buffers, each counted once."""

    parameters: int = figure("parameters", of=COST, form=",")
    bytes: int = figure("bytes", of=COST, form=",")

    @staticmethod
    def of(artifact: Artifact) -> Size:
        """The size of a model."""
        return Size(parameters=artifact.n_parameters, bytes=size(artifact.distribution))


def size(model: nn.Module) -> int:
    """Bytes of parameters and buffers, each counted once."""
    return sum(t.numel() * t.element_size() for t in {*model.parameters(), *model.buffers()})


class Scored(Size):
    """What every model with a likelihood has: figures over a support, ``given`` conditions or none, which are
    comparable only where both are the same."""

    section = LIKELIHOOD
    support: str
    given: str | None = figure("given", default=None)
    log_likelihood: LogLikelihood | None = part(over="over", default=None)
    bits_per_dim: float | None = figure(
        "bits per dimension", better="low", form=".4f", over="over", note="{log_likelihood.kind}", default=None
    )

    @property
    def over(self) -> str:
        """What the figures are comparable within."""
        return self.support if self.given is None else f"{self.support}, given {self.given}"


class Likelihood(Scored):
    """What a model gives held-out data, in nats per example; what its family doesn't have is None.

    Attributes:
        n: examples.
        support: that the likelihood is over.
        given: the conditions, and of how many examples they are known; None where the likelihood is log p(x).
        log_likelihood: the mean, see :class:`LogLikelihood`.
        elbo: the evidence lower bound, ``reconstruction`` less ``kl``.
        reconstruction: E log p(x | z) for z from the posterior.
        kl: KL(q(z | x) || p(z)).
        kl_per_dimension: the same by level.
        mutual_information: I(x; z) of at most 500 examples, evenly over all: see ``collapse.diagnose``.
        active_units: of these, by level.
        bits_per_dim: for discrete data of one shape.
        tokens: of text: all of them, ends included.
        nats_per_token: -log p(x) of each.
        perplexity: its exponential.
        classification: of a model with a classifier: how well it finds the labels that are known.
        parameters: of the model.
        bytes: of its parameters and buffers.
        seconds: that the evaluation took.
    """

    log_likelihood: LogLikelihood = part(over="over")
    n: int = figure("examples", form=",")
    support: str = figure("support")
    elbo: float | None = figure("ELBO", NATS, "high", form=".3f", over="over", default=None)
    reconstruction: float | None = figure("reconstruction", NATS, form=".3f", over="over", default=None)
    kl: float | None = figure("KL", NATS, form=".3f", default=None)
    kl_per_dimension: dict[str, list[float]] | None = None
    mutual_information: float | None = figure("I(x; z)", "nats", of=LATENTS, form=".3f", default=None)
    active_units: dict[str, int | None] | None = figure("active units", of=LATENTS, default=None)
    tokens: int | None = figure("tokens, ends included", form=",", default=None)
    nats_per_token: float | None = figure(
        "nats per token", better="low", form=".4f", over="over", note="{log_likelihood.kind}", default=None
    )
    perplexity: float | None = figure(
        "perplexity of a token", better="low", form=".2f", over="over", note="{log_likelihood.kind}", default=None
    )
    classification: Classification | None = part(default=None)
    seconds: float = figure("time to evaluate", "s", of=COST, form=".1f")


def kind_of(artifact: Artifact) -> Literal["exact", "bound"]:
    """Whether the likelihood of a model is exact or a bound."""
    return "exact" if artifact.distribution.level is Level.DENSITY else "bound"


def bits_per_dim(artifact: Artifact, value: float) -> float | None:
    """A mean log-likelihood in nats as bits per dimension, for discrete data of one shape."""
    discrete = artifact.is_mass and artifact.distribution.space != "sequences"
    return -value / (math.log(2) * artifact.viewed.dims) if discrete else None
