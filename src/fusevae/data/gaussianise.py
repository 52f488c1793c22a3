"""Whole numbers to standard normal ones: each dimension through its own distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusevae.core.steps import Step
from fusevae.data.baseline import Marginals

EDGE = 1e-12  # of a probability: no number is further than 7 deviations out


class Gaussianise(Step):
    r"""Each dimension of dequantized whole numbers y in [low, high + 1) to a standard normal,
    :math:`z_d = \Phi^{-1}(F_d(y_d))`, with F the distribution function of its counts in the training data (half a count
    more each), straight within a number (Chen & Gopinath 2000).

    .. math:: \log|\det f'(y)| = \sum_d \log P_d(\lfloor y_d \rfloor) - \log \mathcal N(z_d; 0, 1)

    so that a standard normal of z is the model of independent dimensions with these counts, exactly: whatever starts as
    the identity over it starts as the constant model (:class:`~fusevae.data.baseline.Marginals`). Until :meth:`fit`,
    all numbers are alike.

    Args:
        shape: of one example.
        low: smallest whole number.
        high: largest.

    Example:
        >>> step = Gaussianise((1,), 0, 1)
        >>> step.fit(torch.tensor([[0.5], [1.2], [1.7]]))
        >>> z, logdet = step(torch.tensor([[1.5]]))
        >>> round(torch.special.ndtr(z).item(), 4), step.inverse(z)  # 3 / 8 of the mass at 0, 5 / 8 at 1
        (0.6875, tensor([[1.5000]]))
    """

    table: Tensor

    def __init__(self, shape: tuple[int, ...], low: float, high: float) -> None:
        super().__init__()
        self.shape, self.low, self.high = tuple(shape), float(low), float(high)
        levels = round(self.high - self.low) + 1
        self.register_buffer("table", torch.full((math.prod(self.shape), levels), -math.log(levels)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        flat = x.flatten(-len(self.shape)).double() - self.low
        at = flat.floor().clamp(0, self.table.shape[1] - 1)
        mass, below = self._masses()
        index = at.long().flatten(0, -2).T  # (D, n)
        p, start = (t.gather(1, index).T.view_as(flat) for t in (mass, below))
        z = torch.special.ndtri((start + p * (flat - at)).clamp(EDGE, 1 - EDGE))
        log_det = (p.log() + 0.5 * z**2 + 0.5 * math.log(2 * math.pi)).sum(-1)
        return z.to(x.dtype).view(x.shape), log_det.to(x.dtype)

    def inverse(self, y: Tensor) -> Tensor:
        flat = torch.special.ndtr(y.flatten(-len(self.shape)).double())
        mass, below = self._masses()
        rows = flat.reshape(-1, flat.shape[-1]).T.contiguous()
        at = (torch.searchsorted(below, rows, right=True) - 1).clamp(0, mass.shape[1] - 1)
        part = ((rows - below.gather(1, at)) / mass.gather(1, at)).clamp(0, 1 - 1e-6)
        return (self.low + at + part).T.reshape(y.shape).to(y.dtype)

    def fit(self, x: Tensor) -> None:
        known = Marginals(x.floor(), (self.low, self.high))
        self.table.copy_(known.table)
        self.fitted = True

    def _masses(self) -> tuple[Tensor, Tensor]:
        """Probabilities ``(D, levels)``, and those of all that is smaller."""
        mass = self.table.double().exp()
        mass = mass / mass.sum(1, keepdim=True)
        return mass, mass.cumsum(1) - mass
