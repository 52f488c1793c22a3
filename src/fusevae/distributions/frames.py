"""Frames: sequences of vectors of any length, how many there are and then each given a latent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, batch_of, flattened, parameters
from fusevae.core.frames import extent, within
from fusevae.distributions.gaussian import smooth_bound, smooth_unbound
from fusevae.nets.frames import FrameDecoder
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import start_at, untouched

NARROW = -5.0  # least log-scale of the logarithm of a number of frames


class Frames(Conditional):
    r""":math:`p(x \mid given) = p(n \mid given) \prod_{t \le n} \prod_d \mathcal N(x_{dt}; \mu_{dt}(given, n),
    \sigma_d^2)` over sequences ``(d, n)`` of any number n of frames up to the longest.

    In a batch shorter ones are followed by frames of zeros, which are no part of them (a frame whose numbers are all 0
    exactly has probability 0). The number of frames is a logistic variable in its logarithm,

    .. math:: P(n) = F(\log(n + \tfrac12)) - F(\log(n - \tfrac12)), \quad
        F(u) = \mathrm{sigmoid}((u - m) / s)

    with what lies beyond either end counted to that end. The deviations are learned, one for each number of a frame.

    Args:
        net: called with the numbers of frames ``(batch,)``, a latent ``(batch, inputs)`` and a label gives means
            ``(batch, d, largest of these numbers)``; its ``outputs`` are ``(d,)``.
        count: a net from what is given to m and log s.
        longest: frames at most.
        bounds: of the logarithm of a deviation.

    Example:
        >>> p = Frames(FrameDecoder(2, 5, width=8, blocks=1), MLP(2, 2), longest=20)(torch.zeros(3, 2))
        >>> x = p.sample()
        >>> x.shape[:2], p.log_prob(x).shape, p.mean.shape[:2]
        (torch.Size([3, 5]), torch.Size([3]), torch.Size([3, 5]))
    """

    space = "frames"

    def __init__(
        self, net: nn.Module, count: nn.Module, longest: int, bounds: tuple[float, float] = (-7.0, 5.0)
    ) -> None:
        super().__init__()
        self.net, self.count, self.longest, self.bounds = net, count, longest, bounds
        self.width: int = net.outputs[0]  # type: ignore[index,assignment]
        self.log_scale = nn.Parameter(torch.zeros(self.width))

    def forward(self, *given: Tensor | None) -> Distribution:
        place, raw = parameters(self.count, given).unbind(-1)
        return _Frames(self, given, place, smooth_bound(raw, NARROW, 3.0).exp())

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        if not untouched(self.log_scale):
            return
        x = examples()
        n = extent(x)
        mean, logs = x.sum((0, 2)) / n.sum(), n.clamp(min=1).float().log()
        square = ((x - mean[:, None]) * within(n, x.shape[-1])).square().sum((0, 2)) / n.sum()
        self.log_scale.copy_(smooth_unbound(square.clamp(min=1e-10).log() / 2, *self.bounds))
        spread = (logs.std(correction=0).clamp(min=0.02) * math.sqrt(3) / math.pi).log()
        moments = torch.stack([logs.mean(), smooth_unbound(spread, NARROW, 3.0)])
        start_at(self.count, lambda: moments[None], lambda found: found[0])
        start_at(self.net, lambda: mean[None], lambda found: found[0])

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        net = FrameDecoder(2, 1, width=4, blocks=1, parts=2)
        return [(cls(net, MLP(2, 2, hidden=(3,)), longest=2), (torch.randn(3, 2),))]


class _Frames(Distribution):
    arg_constraints = {}

    def __init__(self, owner: Frames, given: tuple[Tensor | None, ...], place: Tensor, spread: Tensor) -> None:
        self.owner, self.given, self.place, self.spread = owner, given, place, spread
        batch = torch.broadcast_shapes(batch_of(given), place.shape)
        super().__init__(batch, torch.Size((owner.width, owner.longest)), validate_args=False)

    @property
    def sigma(self) -> Tensor:
        """Deviations ``(d, 1)``."""
        return smooth_bound(self.owner.log_scale, *self.owner.bounds).exp()[:, None]

    @property
    def mean(self) -> Tensor:
        """The means of the frames, as many as are likeliest by the middle of their number's distribution."""
        return self._means(whole(self.place, self.owner.longest), self.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        n = extent(value)
        lead = torch.broadcast_shapes(value.shape[:-2], self.batch_shape)
        there = within(n, value.shape[-1])
        means, sigma = self._means(n.expand(lead), lead, value.shape[-1]), self.sigma
        each = -0.5 * ((value - means) / sigma).square() - sigma.log() - 0.5 * math.log(2 * math.pi)
        return (each * there).sum((-1, -2)) + log_count(n, self.place, self.spread, self.owner.longest)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        lead = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            u = torch.rand(lead, device=self.place.device).clamp_(1e-6, 1 - 1e-6)
            n = whole(self.place + self.spread * u.logit(), self.owner.longest)
            means = self._means(n, lead)
            shape = (*lead, self.owner.width, self.owner.longest)  # whatever the longest here is
            drawn = torch.randn(shape, device=means.device)[..., : means.shape[-1]]
            return (means + self.sigma * drawn) * within(n, means.shape[-1])

    def _means(self, n: Tensor, lead: torch.Size, frames: int | None = None) -> Tensor:
        """Means ``(*lead, d, frames)`` of as many frames as ``n`` says, zeros after them."""
        n = n.expand(lead).reshape(-1)
        given = [flattened(one, lead) for one in self.given]
        found: Tensor = self.owner.net(n, *given).float()
        if frames is not None:
            found = F.pad(found, (0, frames - found.shape[-1]))
        return found.view(*lead, *found.shape[1:])


def whole(logs: Tensor, longest: int) -> Tensor:
    """The numbers of frames, 1 to ``longest``, that logarithms stand for.

    Example:
        >>> whole(torch.tensor([-2.0, 1.0, 9.0]), 8)
        tensor([1, 3, 8])
    """
    return logs.float().clamp(-1.0, math.log(longest)).exp().round().long().clamp(1, longest)


def log_count(n: Tensor, place: Tensor, spread: Tensor, longest: int) -> Tensor:
    """Nats of a number of frames ``n`` from 1 to ``longest``: of :class:`Frames`; beyond them -inf.

    Example:
        >>> round(log_count(torch.arange(1, 9), torch.tensor(1.0), torch.tensor(0.5), 8).exp().sum().item(), 4)
        1.0
    """
    low = (n.clamp(min=1).to(place.dtype) - 0.5).log()
    high = (n.to(place.dtype) + 0.5).log()
    a = torch.where(n <= 1, -torch.inf, (low - place) / spread)
    b = torch.where(n >= longest, torch.inf, (high - place) / spread)
    return _log_difference(a, b).masked_fill((n < 1) | (n > longest), -torch.inf)


def _log_difference(a: Tensor, b: Tensor) -> Tensor:
    r""":math:`\log(\mathrm{sigmoid}(b) - \mathrm{sigmoid}(a))` for a < b, with no digit lost in either tail; a may be
    minus and b plus infinite."""
    first, last = a == -torch.inf, b == torch.inf
    lower, upper = torch.where(first, 0.0, a), torch.where(last, 0.0, b)
    step = torch.where(first | last, 1.0, upper - lower)
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b))
    middle = F.logsigmoid(upper) + F.logsigmoid(-lower) + (-torch.expm1(-step)).log()
    ends = torch.where(first, F.logsigmoid(upper), F.logsigmoid(-lower))
    return torch.where(first & last, 0.0, torch.where(first | last, ends, middle))
