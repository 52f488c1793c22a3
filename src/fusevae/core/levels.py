"""The levels of promise: what a distribution can say of itself decides where it may be nested.

A bound may fill a p slot (prior, decoder): the ELBO stays a bound. Importance weighting needs evidence bounds
or densities in every p slot. The q slot needs samples with their exact log-density: a bound on log q would make
the result no bound at all. What only samples is judged by a critic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Literal, Protocol

from torch import Tensor
from torch.distributions import Distribution

from fusevae.core.errors import SlotError


class Level(IntEnum):
    """What a distribution promises; each level includes those below it.

    * ``SAMPLES``: ``sample``, perhaps ``rsample`` (a GAN's generator).
    * ``BOUND``: ``log_bound(x)``, whose expectation is at most log p(x) (diffusion at a random time).
    * ``EVIDENCE``: and the expectation of exp(``log_bound(x)``) is at most p(x) (a VAE, dequantized data).
    * ``DENSITY``: the exact ``log_prob(x)`` (a Gaussian, a flow, an autoregressive model).
    """

    SAMPLES = 0
    BOUND = 1
    EVIDENCE = 2
    DENSITY = 3


MEANING = {
    Level.SAMPLES: "samples only",
    Level.BOUND: "a bound on its log-density",
    Level.EVIDENCE: "an evidence bound",
    Level.DENSITY: "samples with their exact log-density",
}


class BoundOnly(Distribution):
    """Base of distributions without an exact ``log_prob``: they give ``log_bound`` in its place.

    ``log_bound(value)`` returns nats of shape ``(*sample, *batch)``; its expectation over the noise that it
    draws is at most log p(value).
    """

    arg_constraints = {}

    def log_bound(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def surrogate(self, value: Tensor) -> Tensor:
        """What trains the distribution: the number of :meth:`log_bound`, but its gradient may be that of another loss
        for the distribution's own parameters. To ``value`` and to what is given it passes the bound's own gradient."""
        return self.log_bound(value)

    def summed_bound(self, value: Tensor) -> Tensor:
        """The bound with less noise than a single draw, of the same expectation: for figures that are reported."""
        return self.log_bound(value)

    def log_prob(self, value: Tensor) -> Tensor:
        raise SlotError(
            f"{type(self).__name__} has no exact log_prob, only a bound: call log_bound, or nest a density "
            "(a Gaussian, a flow, an autoregressive model) where log_prob is needed"
        )


_way: ContextVar[str] = ContextVar("way", default="log_bound")


@contextmanager
def bounds_as(way: Literal["surrogate", "summed_bound"]) -> Iterator[None]:
    """Inside, :func:`log_bound` asks for a bound in another way, however deep in a model the distribution is nested:
    training for its ``surrogate``, an evaluation for its ``summed_bound``."""
    token = _way.set(way)
    try:
        yield
    finally:
        _way.reset(token)


def log_bound(p: Distribution, value: Tensor) -> Tensor:
    """log p(value) in nats where ``p`` is a density, else one draw of its bound (but see :func:`bounds_as`); shape
    ``(*sample, *batch)``.

    Example:
        >>> import torch
        >>> p = torch.distributions.Normal(0.0, 1.0)
        >>> round(log_bound(p, torch.tensor(0.0)).item(), 4)
        -0.9189
    """
    if not isinstance(p, BoundOnly):
        return p.log_prob(value)
    found: Tensor = getattr(p, _way.get())(value)
    return found


class Promising(Protocol):
    """What says its level."""

    level: Level


def require(slot: str, part: Promising, level: Level, fits: str) -> None:
    """Refuse ``part`` in ``slot`` unless it promises at least ``level``; ``fits`` names what would do."""
    if part.level < level:
        raise SlotError(
            f"{type(part).__name__} can't stand as {slot}: the slot needs {MEANING[level]}, it gives "
            f"{MEANING[part.level]}; {fits} would fit"
        )
