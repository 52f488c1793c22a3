"""A Gaussian for each frame of a sequence: a posterior over sequences of latents, or a likelihood of frames."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, parameters
from fusevae.core.frames import extent, within
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.frame_net import FrameNet


class FrameWise(Conditional):
    r""":math:`p(y \mid x) = \prod_{t \le n} \prod_d \mathcal N(y_{dt}; \mu_{dt}(x), \sigma_{dt}^2)` over sequences of
    as many frames n as the net gives; one of another number of frames has probability 0. After the end all is 0.

    Args:
        net: from what is given to the means and, with ``scale="net"``, the log-scales of each frame, one half below the
            other, ``(*batch, outputs, frames)``, zeros after the end.
        scale: ``"net"``, or ``"shared"``: a learned number for each number of a frame.
        bounds: of the logarithm of a scale.
        start: where that is while the net gives 0.

    Example:
        >>> p = FrameWise(FrameNet(3, 4, width=8, blocks=1))(torch.randn(5, 3, 7))
        >>> p.mean.shape, p.log_prob(p.rsample()).shape
        (torch.Size([5, 2, 7]), torch.Size([5]))
    """

    space = "frames"

    def __init__(
        self,
        net: nn.Module,
        scale: Literal["net", "shared"] = "net",
        bounds: tuple[float, float] = (-5.0, 3.0),
        start: float = 0.0,
    ) -> None:
        super().__init__()
        self.net, self.scale, self.bounds, self.start = net, scale, bounds, start
        if scale == "shared":
            self.log_scale = nn.Parameter(torch.zeros(net.outputs[0]))  # type: ignore[index,arg-type]

    def forward(self, *given: Tensor | None) -> Distribution:
        out = parameters(self.net, given)
        mean, raw = (out, self.log_scale[:, None]) if self.scale == "shared" else out.chunk(2, -2)
        log_scale = smooth_bound(raw + self.start, *self.bounds).expand_as(mean)
        return _FrameWise(mean, log_scale, extent(out.detach()).clamp(min=1))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        nets = [FrameNet(1, outputs, width=4, blocks=1) for outputs in (2, 1)]
        given = (torch.randn(3, 1, 2),)
        return [(cls(nets[0], bounds=(-1.0, 1.0)), given), (cls(nets[1], "shared", bounds=(-1.0, 1.0)), given)]


class _FrameWise(Distribution):
    arg_constraints = {}
    has_rsample = True
    dear = True  # of the sample of another example, which has other frames, nothing is learned

    def __init__(self, mean: Tensor, log_scale: Tensor, n: Tensor) -> None:
        self.there = within(n, mean.shape[-1])
        self.at, self.log_scale, self.n = mean * self.there, log_scale, n
        super().__init__(mean.shape[:-2], mean.shape[-2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.at

    @property
    def mode(self) -> Tensor:
        return self.at

    @property
    def stddev(self) -> Tensor:
        return self.log_scale.exp() * self.there

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()

    def log_prob(self, value: Tensor) -> Tensor:
        frames = max(value.shape[-1], self.mean.shape[-1])
        x, mean, log_scale = (F.pad(one, (0, frames - one.shape[-1])) for one in (value, self.mean, self.log_scale))
        each = -0.5 * ((x - mean) / log_scale.exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)
        found = (each * within(self.n, frames)).sum((-1, -2))
        return found.masked_fill(extent(value) != self.n, -torch.inf)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = torch.Size(sample_shape) + self.mean.shape
        drawn = torch.randn(shape, device=self.mean.device)
        return self.mean + self.stddev * drawn

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)
