"""The trace of one inference: all that an objective may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from fusevae.core.kl import KL, kl
from fusevae.core.levels import log_bound


@dataclass
class Term:
    """One level of latents: a sample ``z`` of shape ``(*sample, *batch, *event)``, its posterior and prior.

    A discrete code is a point mass: ``q`` is None, log q = 0, and its KL is -log p(code); ``levels`` says how many
    values 0, 1, ... each of its places may have.
    """

    name: str
    z: Tensor
    p: Distribution
    q: Distribution | None
    levels: int = 0

    @cached_property
    def kl(self) -> KL:
        """KL(q || p) in nats: closed form where there is one, else on ``z``."""
        return kl(self.q, self.p, self.z) if self.q is not None else KL(-self.log_p, 0, False)

    @cached_property
    def log_p(self) -> Tensor:
        """log p(z), or its bound; ``(*sample, *batch)``."""
        return log_bound(self.p, self.z)

    @cached_property
    def log_q(self) -> Tensor:
        """The exact log q(z | x); ``(*sample, *batch)``."""
        return self.q.log_prob(self.z) if self.q is not None else torch.zeros_like(self.log_p)

    @cached_property
    def held_log_q(self) -> Tensor:
        """The same log q(z | x), of the q that ``z`` was drawn from (an encoder that draws gives another one when it is
        asked again), but its gradient reaches only ``z``, not the parameters of q."""
        if self.q is None or not (torch.is_grad_enabled() and self.z.requires_grad):
            return self.log_q.detach()
        z = self.z.detach().requires_grad_()
        log_q = self.q.log_prob(z)
        (slope,) = torch.autograd.grad(log_q.sum(), z)
        step = slope * (self.z - z.detach())  # zero, with the slope as its gradient
        return log_q.detach() + step.reshape(*log_q.shape, -1).sum(-1)

    @property
    def has_path(self) -> bool:
        """Whether gradients flow from ``z`` to the parameters of ``q``."""
        return self.q is None or self.q.has_rsample


@dataclass
class Trace:
    r"""What one pass of encoder, sample and decoder gave, for ``x`` of shape ``(*batch, *event)``.

    Attributes:
        x: the examples, as the decoder's distribution sees them.
        terms: the latents, from the top down.
        likelihood: p(x | z), with batch shape ``(*sample, *batch)``.
        log_det: what invertible preprocessing adds to log p(x), ``(*batch,)``.
        auxiliary: terms that are no part of the bound (commitment to a code, say), by name.
        conditions: what was given beside ``x``, a label.
        latent: what the decoder was given for ``x``; None where nothing is inferred.
        draw: gives as many of the same drawn from the prior, for objectives that compare the two.
        generate: gives as many new examples, with a path to the parameters of what makes them, for a critic.
        distance: what stands where -log p(x | z) would, ``(*sample, *batch)``, if the likelihood has no density: the
            sums below are then no bounds, and its model promises none.
        times: how many times as long as ``x`` its example is, where ``x`` is a part that was drawn, ``(*batch,)``.
    """

    x: Tensor
    terms: list[Term]
    likelihood: Distribution
    log_det: Tensor | float = 0.0
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    conditions: tuple[Tensor | None, ...] = ()
    latent: Tensor | None = None
    draw: Callable[[], Tensor] | None = None
    generate: Callable[[], Tensor] | None = None
    distance: Tensor | None = None
    times: Tensor | float = 1.0

    @cached_property
    def reconstruction(self) -> Tensor:
        """log p(x | z) in nats, ``(*sample, *batch)``; over the raw data where preprocessing is invertible."""
        if self.distance is not None:
            return -self.distance
        return log_bound(self.likelihood, self.x) + self.log_det

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z | x) || p(z)) in nats, over all levels."""
        kl = [t.kl.total for t in self.terms]
        return _sum(kl) if kl else torch.zeros_like(self.reconstruction)  # a deterministic latent has none

    @property
    def elbo(self) -> Tensor:
        r"""The evidence lower bound, :math:`\log p(x|z) - \mathrm{KL}(q(z|x) \| p(z))`, ``(*sample, *batch)``."""
        return self.reconstruction - self.kl

    @property
    def log_weight(self) -> Tensor:
        r""":math:`\log p(x|z) + \log p(z) - \log q(z|x)`; the mean of its exponential is at most p(x)."""
        return self.reconstruction + _sum([t.log_p - t.log_q for t in self.terms])

    @property
    def held_log_weight(self) -> Tensor:
        """The same log-weight without the score of q in its gradient (Roeder et al. 2017)."""
        return self.reconstruction + _sum([t.log_p - t.held_log_q for t in self.terms])

    @property
    def score(self) -> Tensor | None:
        """log q of the levels without a path, for the score-function gradient; None where all have one."""
        logs = [t.log_q for t in self.terms if not t.has_path]
        return _sum(logs) if logs else None

    def kl_per_dimension(self) -> dict[str, Tensor]:
        """KL by level, each ``(*sample, *batch, dims)``, flattened over the event."""
        return {t.name: t.kl.per_dim.flatten(-t.kl.dims) if t.kl.dims else t.kl.per_dim[..., None] for t in self.terms}

    def code_shares(self) -> dict[str, Tensor]:
        """How often each code is used in the batch, by level: ``(levels,)``, which sum to 1."""
        return {t.name: _shares(t.z.flatten().long(), t.levels) for t in self.terms if t.levels}


def _shares(codes: Tensor, levels: int) -> Tensor:
    # counts are exact in any order; bincount would wait for the device
    one = torch.ones((), device=codes.device)
    return torch.zeros(levels, device=codes.device).index_add_(0, codes, one.expand(len(codes))) / len(codes)


def _sum(values: list[Tensor]) -> Tensor:
    return sum(values[1:], values[0])
