"""A Gaussian over a sequence of vectors that is as long as what it is given: the posterior of sequences of latents."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, parameters
from fusevae.core.frames import extent, within
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.wave import WaveEncoder

NARROW, WIDE = -5.0, 2.0  # bounds of the logarithm of a deviation


class FrameGaussian(Conditional):
    r""":math:`q(z \mid x) = \prod_{t \le m} \prod_d \mathcal N(z_{dt}; \mu_{dt}(x), \sigma_{dt}^2(x))` over sequences
    ``(d, m)``, whose length m the net gives with them: another one has probability 0. After the end all is 0.

    Args:
        net: from what is given to ``(*batch, 2 d, frames)``, means and raw log-deviations, with zeros after the end.

    Example:
        >>> q = FrameGaussian(WaveEncoder(6, window=16, hop=4, stride=2, width=8, blocks=(1, 1)))(torch.randn(2, 50))
        >>> z = q.rsample()
        >>> z.shape, q.log_prob(z).shape
        (torch.Size([2, 3, 7]), torch.Size([2]))
    """

    space = "frames"

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *given: Tensor | None) -> Distribution:
        return _FrameNormal(parameters(self.net, given))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        net = WaveEncoder(2, window=4, hop=1, stride=2, width=4, blocks=(1, 1))
        return [(cls(net), (1 + torch.rand(3, 4),))]


class _FrameNormal(Distribution):
    arg_constraints = {}
    has_rsample = True
    support = constraints.independent(constraints.real, 2)

    def __init__(self, out: Tensor) -> None:
        self.n = extent(out.detach()).clamp(min=1)
        self.there = within(self.n, out.shape[-1])
        mean, raw = out.chunk(2, -2)
        self.mean_, self.raw = mean * self.there, raw
        self.log_scale = smooth_bound(raw - 1.0, NARROW, WIDE)
        super().__init__(out.shape[:-2], mean.shape[-2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.mean_

    @property
    def stddev(self) -> Tensor:
        return self.log_scale.exp() * self.there

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, device=self.mean_.device)
        return (self.mean_ + self.log_scale.exp() * noise) * self.there

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        short = max(0, self.event_shape[-1] - value.shape[-1])
        alike = extent(value) == self.n
        value = F.pad(value, (0, short))[..., : self.event_shape[-1]]
        each = -0.5 * ((value - self.mean_) / self.log_scale.exp()).square() - self.log_scale
        total = ((each - 0.5 * math.log(2 * math.pi)) * self.there).sum((-1, -2))
        return total.masked_fill(~alike, -torch.inf)
