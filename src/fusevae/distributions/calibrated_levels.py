"""Levels whose noise is counted: the likelihood of a sigma-VAE for whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from fusevae.core import noise
from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.core.levels import Level
from fusevae.core.processes import mean_over_processes
from fusevae.distributions.categorical import on_grid
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import spread, start_at

PAST = 20  # batches that the counts are of, about
FIRST = 10.0  # values that a bin of means counts before the first, half of them Gaussian and half anywhere
NARROWEST = 0.25  # of the distance of two levels: the least deviation of that Gaussian


class CalibratedLevels(Conditional):
    r"""Each value is one of ``levels`` evenly spaced ones, and its probability depends on its mean alone, by a table
    for all dimensions:

    .. math:: p(x_d = v \mid given) = (1 - f)\, T_{j v} + f\, T_{j+1, v}, \quad m_d(given) = (1 - f)\, c_j + f\, c_{j+1}

    with the ``bins`` means :math:`c_j`, evenly from ``low`` to ``high``. In training the net's means m are pulled as by
    a Gaussian of the one variance that is the best for the batch, which balances reconstruction and KL without a beta
    (sigma-VAE, Rybkin et al. 2021), and T counts which values came with which means, over the last batches. So the
    likelihood is calibrated by counting (Zadrozny & Elkan 2001), where one deviation for all values makes a ground that
    is always of one value as dear as its strokes: below the counts of each pixel by 37 nats on digits of 8 x 8 pixels,
    whose samples were good.

    Args:
        net: gives the means.
        levels: number of values.
        low: smallest value.
        high: largest value.
        bins: of means.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    In training its gradient is none of its own probability, so that it is no mass that could stand as q.

    Example:
        >>> from fusevae.nets.mlp import MLP
        >>> p = CalibratedLevels(MLP(2, 3), levels=4).eval()(torch.zeros(5, 2))
        >>> round(sum(p.log_prob(torch.full((3,), v)).exp()[0].item() ** (1 / 3) for v in (-1, -1 / 3, 1 / 3, 1)), 4)
        1.0
    """

    level = Level.EVIDENCE
    discrete = True
    counts: Tensor
    variance: Tensor

    def __init__(
        self,
        net: nn.Module,
        levels: int = 256,
        low: float = -1.0,
        high: float = 1.0,
        bins: int = 64,
        event_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.net, self.levels, self.low, self.high = net, levels, low, high
        self.bins, self.event_dim = bins, event_dim
        self.register_buffer("counts", torch.zeros(bins, levels))
        self.register_buffer("variance", torch.ones(()))

    def forward(self, *given: Tensor | None) -> Distribution:
        mean, dims = parameters(self.net, given), event_dim(self.net, self.event_dim)
        return (_Learning if self.training else _Levels)(mean, dims, self)

    def table(self) -> Tensor:
        """T, ``(bins, levels)``: the counts, and FIRST values beside them."""
        spacing = (self.high - self.low) / (self.levels - 1)
        centres = torch.linspace(self.low, self.high, self.bins, device=self.counts.device)[:, None]
        values = torch.linspace(self.low, self.high, self.levels, device=self.counts.device)
        width = self.variance.sqrt().clamp(min=NARROWEST * spacing)
        first = 0.5 * (-0.5 * ((values - centres) / width).square()).softmax(1) + 0.5 / self.levels
        counts = self.counts + FIRST * first
        return counts / counts.sum(1, keepdim=True)

    def best(self, square: Tensor) -> Tensor:
        """The variance of a Gaussian that is the best for a batch of squared errors."""
        least = NARROWEST * (self.high - self.low) / (self.levels - 1)
        return mean_over_processes(square.mean()).clamp(min=least**2)

    @torch.no_grad()
    def count(self, place: Tensor, part: Tensor, level: Tensor, variance: Tensor) -> None:
        """Add the levels of a batch, and where among the bins their means are, to the counts."""
        index, part, n = (place * self.levels + level).flatten(), part.flatten(), self.counts.numel()
        new = torch.bincount(index, 1 - part, minlength=n)
        new[self.levels :] += torch.bincount(index, part, minlength=n)[: -self.levels]  # the bin above
        self.variance.lerp_(variance, torch.where(self.counts.any(), 1 / PAST, 1.0))
        self.counts.mul_(1 - 1 / PAST).add_(mean_over_processes(new).view_as(self.counts))

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        start_at(self.net, examples, lambda x: x.mean(0), spread)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        images = cls(MLP(2, (1, 1, 2), hidden=(4,)), levels=3, bins=4)
        images.counts += torch.rand(4, 3) * 20
        return [(cls(MLP(2, 2, hidden=(4,)), levels=4, bins=5), (torch.randn(3, 2),)), (images, (torch.randn(3, 2),))]


class _Levels(Distribution):
    arg_constraints = {}
    draws_keyed = True

    def __init__(self, mean: Tensor, dims: int, owner: CalibratedLevels) -> None:
        self.owner, self.means, self.rows = owner, mean, owner.table()
        cut = mean.dim() - dims
        super().__init__(mean.shape[:cut], mean.shape[cut:], validate_args=False)

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        owner = self.owner
        return on_grid(owner.low, owner.high, (owner.high - owner.low) / (owner.levels - 1), len(self.event_shape))

    def place(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """The bin below each mean, and how far it is from there to the next."""
        owner = self.owner
        at = ((mean - owner.low) / (owner.high - owner.low)).clamp(0, 1) * (owner.bins - 1)
        below = at.detach().floor().clamp(max=owner.bins - 2).long()
        return below, at - below

    def level(self, value: Tensor) -> Tensor:
        """Which of the levels values are."""
        owner = self.owner
        at = (value - owner.low) / (owner.high - owner.low) * (owner.levels - 1)
        return at.detach().round().clamp(0, owner.levels - 1).long()

    def log_prob(self, value: Tensor) -> Tensor:
        return self.of(*self.place(self.means), self.level(value))

    def of(self, below: Tensor, part: Tensor, level: Tensor) -> Tensor:
        """log p of levels, summed over the event."""
        index, flat = below * self.owner.levels + level, self.rows.flatten()
        p, above = (flat.index_select(0, at.flatten()).view_as(index) for at in (index, index + self.owner.levels))
        return torch.lerp(p, above, part).log().sum(tuple(range(-len(self.event_shape), 0)))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        owner = self.owner
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.means.shape
            below, part = self.place(self.means.expand(shape))
            dim = max(0, len(shape) - len(self.event_shape) - 1)
            bin_ = below + (noise.uniform(shape, part.device, dim) < part)
            # each row's distribution function above those of the rows before: one sorted list for all
            upto = self.rows.double().cumsum(1)
            upto = (upto / upto[:, -1:] + torch.arange(owner.bins, device=upto.device)[:, None]).flatten()
            u = noise.uniform(shape, part.device, dim).double() + bin_
            level = (torch.searchsorted(upto, u, right=True) - bin_ * owner.levels).clamp(0, owner.levels - 1)
            return owner.low + (owner.high - owner.low) / (owner.levels - 1) * level

    @property
    def mean(self) -> Tensor:
        owner = self.owner
        values = torch.linspace(owner.low, owner.high, owner.levels, device=self.rows.device)
        below, part = self.place(self.means)
        mean = self.rows @ values
        return torch.lerp(mean[below], mean[below + 1], part)


class _Learning(_Levels):
    """In training: of the same value, with the gradient of a Gaussian of the batch's best variance."""

    def log_prob(self, value: Tensor) -> Tensor:
        dims = tuple(range(-len(self.event_shape), 0))
        square = (value - self.means) ** 2
        variance = self.owner.best(square.detach())
        pull = -0.5 * square.sum(dims) / variance
        with torch.no_grad():
            (below, part), level = self.place(self.means), self.level(value)
            found = self.of(below, part, level)
            if pull.requires_grad:
                below, part, level = torch.broadcast_tensors(below, part, level)
                self.owner.count(below, part, level, variance)
        return found + pull - pull.detach()
