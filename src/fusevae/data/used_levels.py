"""Whole numbers of which the data use few: each to its place among those."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.steps import Step


class UsedLevels(Step):
    r"""Whole numbers x in [low, high] to the place r(x) of the nearest of the ``values`` that the data use, from 0 on.

    A mass over the places is one over all whole numbers, since those that share a place share its probability:

    .. math:: \log P(x) = \log P(r(x)) + \sum_d \log P(x_d \mid r(x_d)), \quad
        P(x \mid r) = \begin{cases} 1 - \epsilon_r & x = v_r \\ \epsilon_r / (n_r - 1) & \text{else} \end{cases}

    with :math:`n_r` the whole numbers that share r. How often one is none of the values, :math:`\epsilon_r`, is by the
    rule of succession (Laplace 1814) over the training data, :math:`(a + 1) / (b + 2)` for a of b. Between two places
    (of a mean) the way back is straight; what is drawn is always one of the values.

    Args:
        values: that the data use, rising.
        low: smallest whole number that they could take.
        high: largest.

    Example:
        >>> step = UsedLevels((0, 128, 255), 0, 255)
        >>> y, share = step(torch.tensor([[0.0, 250.0, 128.0]]))
        >>> y, step.inverse(y), step.inverse(torch.tensor([[0.5]]))
        (tensor([[0., 2., 1.]]), tensor([[  0., 255., 128.]]), tensor([[64.]]))
    """

    shares = True
    values: Tensor
    edges: Tensor
    odd: Tensor

    def __init__(self, values: Sequence[int], low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = float(low), float(high)
        rising = all(a < b for a, b in itertools.pairwise(values))
        if len(values) < 2 or not rising or values[0] < low or values[-1] > high:
            raise InputError(f"UsedLevels was given {values!r}: expected rising values from {low:g} to {high:g}")
        v = torch.tensor(values, dtype=torch.float32)
        self.register_buffer("values", v, persistent=False)
        self.register_buffer("edges", (v[1:] + v[:-1]) / 2, persistent=False)
        self.register_buffer("odd", torch.full_like(v, 0.5))  # how often x is none of the values, by place

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        x = x.contiguous()
        place = torch.bucketize(x, self.edges)
        every = torch.arange(self.low, self.high + 1, device=x.device)
        others = torch.bucketize(every, self.edges).bincount(minlength=len(self.values)) - 1
        alone = others == 0
        same = torch.where(alone, 0.0, (1 - self.odd).log())
        other = (self.odd / others.clamp(min=1)).log()
        share = torch.where(x == self.values[place], same[place], other[place])
        return place.to(x.dtype), share.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        y = y.clamp(0, len(self.values) - 1)
        low = y.floor().long()
        high = (low + 1).clamp(max=len(self.values) - 1)
        return torch.lerp(self.values[low], self.values[high], (y - low).to(self.values.dtype)).to(y.dtype)

    def fit(self, x: Tensor) -> None:
        place = torch.bucketize(x.contiguous(), self.edges)
        none = (x != self.values[place]).flatten().to(self.odd.dtype)
        count = torch.stack([torch.ones_like(none), none]).double()
        all_of, odd = (torch.bincount(place.flatten(), c, minlength=len(self.values)) for c in count)
        self.odd.copy_((odd + 1) / (all_of + 2))
