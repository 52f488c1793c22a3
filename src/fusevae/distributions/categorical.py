"""Categorical over a grid of values: pixel levels, table columns, tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from fusevae.core import noise
from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import start_at


class Categorical(Conditional):
    r""":math:`p(x \mid given) = \prod_d \mathrm{softmax}(l_d)_{i(x_d)}`, each x_d one of ``levels`` evenly spaced
    values.

    Args:
        net: gives ``levels`` logits for each dimension: its first event dimension is ``levels`` times that of x.
        levels: number of values.
        low: the smallest value.
        high: the largest; ``levels - 1 + low`` by default, so that x are the integers 0, 1, ... themselves.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    Example:
        >>> import torch
        >>> from fusevae.nets.mlp import Constant
        >>> p = Categorical(Constant(2 * 3), levels=3)()  # two dimensions of three values
        >>> round(p.log_prob(torch.tensor([0.0, 2.0])).exp().item(), 4)
        0.1111
    """

    discrete = True

    def __init__(
        self, net: nn.Module, levels: int, low: float = 0.0, high: float | None = None, event_dim: int | None = None
    ) -> None:
        super().__init__()
        self.net, self.levels, self.event_dim = net, levels, event_dim
        self.low, self.high = low, low + levels - 1 if high is None else high

    def forward(self, *given: Tensor | None) -> Distribution:
        dims = event_dim(self.net, self.event_dim)
        out = parameters(self.net, given)
        logits = out.unflatten(-dims, (-1, self.levels)).movedim(-dims, -1)
        return _Grid(logits, dims, self.low, self.high)

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        start_at(self.net, examples, lambda x: shares(x, self.levels, self.low, self.high))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(MLP(2, (3, 1, 2), hidden=(4,)), levels=3, low=-1.0, high=1.0), (torch.randn(3, 2),)),
            (cls(MLP(2, 8, hidden=(4,)), levels=4), (torch.randn(2, 2),)),
        ]


def shares(x: Tensor, levels: int, low: float, high: float) -> Tensor:
    """Logarithms of the shares of the values among examples ``(n, first, *rest)``: ``(first, levels, *rest)``."""
    values, half = torch.linspace(low, high, levels).to(x), (high - low) / max(1, levels - 1) / 2
    counts = torch.stack([((x - value).abs() < half).sum(0) for value in values], 1)
    return ((counts + 0.5) / (len(x) + 0.5 * levels)).log()


def on_grid(low: float, high: float, spacing: float, dims: int) -> constraints.Constraint:
    """The support of events of evenly spaced values: within half a spacing of them, since scaling rounds."""
    return constraints.independent(constraints.interval(low - spacing / 2, high + spacing / 2), dims)


class _Grid(Distribution):
    """Independent categoricals over evenly spaced values; ``logits`` have shape ``(*batch, *event, levels)``."""

    arg_constraints = {}

    def __init__(self, logits: Tensor, dims: int, low: float, high: float) -> None:
        self.logits, self.low, self.high = logits, low, high
        self.spacing = (high - low) / max(1, logits.shape[-1] - 1)
        cut = logits.dim() - 1 - dims
        super().__init__(logits.shape[:cut], logits.shape[cut:-1], validate_args=False)

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        return on_grid(self.low, self.high, self.spacing, len(self.event_shape))

    @property
    def values(self) -> Tensor:
        """The grid, ``(levels,)``."""
        return self.low + self.spacing * torch.arange(self.logits.shape[-1], device=self.logits.device)

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(-1) * self.values).sum(-1)

    @property
    def variance(self) -> Tensor:
        return (self.logits.softmax(-1) * (self.values - self.mean[..., None]) ** 2).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.low + self.spacing * noise.choose(self.logits, sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        index = ((value - self.low) / self.spacing).round().long()
        log_p = self.logits.log_softmax(-1)
        shape = torch.broadcast_shapes(index.shape, log_p.shape[:-1])
        chosen = log_p.expand(*shape, -1).gather(-1, index.expand(shape)[..., None])[..., 0]
        return chosen.flatten(len(shape) - len(self.event_shape)).sum(-1)
