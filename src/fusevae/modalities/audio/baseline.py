"""The constant model of sequences of frames: what every other has to beat."""

from __future__ import annotations

import math

from torch import Tensor

from fusevae.core.frames import extent, within
from fusevae.distributions.frames import log_count

FAR = 8  # times as many frames as the longest example has, at most


class FrameMarginals:
    r""":math:`\log p(x) = \log p(n) + \sum_{t \le n} \sum_d \log \mathcal N(x_{dt}; \mu_d, \sigma_d^2)`: the number of
    frames, and then every number of each frame by itself.

    Args:
        x: examples ``(m, d, frames)``, or ``(m, samples)``.

    Example:
        >>> import torch
        >>> FrameMarginals(torch.randn(100, 7)).log_prob(torch.zeros(2, 7)).shape
        torch.Size([2])
    """

    def __init__(self, x: Tensor) -> None:
        x = _frames(x).double()
        n = extent(x)
        total, there = n.sum(), within(n, x.shape[-1])
        self.mean = x.sum((0, 2)) / total
        square = ((x - self.mean[:, None]) * there).square().sum((0, 2)) / total
        self.std = square.sqrt().clamp(min=1e-6)
        logs = n.clamp(min=1).log()
        self.place, self.spread = logs.mean(), logs.std(correction=0).clamp(min=0.05) * math.sqrt(3) / math.pi
        self.longest = FAR * x.shape[-1]

    def log_prob(self, x: Tensor) -> Tensor:
        """Nats of examples, ``(m,)`` float64."""
        x = _frames(x).double()
        n, mean, std = extent(x), self.mean.to(x.device)[:, None], self.std.to(x.device)[:, None]
        each = -0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)
        frames = (each.sum(-2, keepdim=True) * within(n, x.shape[-1])).sum((-1, -2))
        return frames + log_count(n, self.place.to(x.device), self.spread.to(x.device), self.longest)


def _frames(x: Tensor) -> Tensor:
    return x[:, None] if x.dim() == 2 else x
