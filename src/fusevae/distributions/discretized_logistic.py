"""Mixture of discretized logistics, the likelihood for pixel values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.distributions.categorical import on_grid
from fusevae.distributions.gaussian import smooth_bound, smooth_unbound
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import spread, start_at

GROUPED, ROUNDS = 1000, 4  # examples whose values are grouped for the start, and passes over them
NUMBERS, LEAST = 10**7, 50  # that are grouped at most, but of so many examples
NARROW = 0.25  # of a bin: the least deviation of a component at the start
WIDEST = 2.0  # logarithm of the scale
FAR = 0.01  # part of the values that may lie anywhere, at the start


class DiscretizedLogistic(Conditional):
    r"""Each value is one of ``levels`` evenly spaced ones; its probability is a mixture of logistics' mass in its bin
    (Salimans et al. 2017).

    .. math:: p(x) = \sum_k \pi_k [\sigma((x + h - \mu_k)/s_k) - \sigma((x - h - \mu_k)/s_k)]

    with h half a bin; the outermost bins reach to infinity. For images ``(C, H, W)`` the mixture is shared by the
    channels of
    a pixel, and the mean of a channel depends linearly on those before it. For vectors each dimension has its own
    mixture.

    Args:
        net: gives the parameters: :meth:`outputs` says how many.
        components: logistics in the mixture.
        levels: number of values.
        low: smallest value.
        high: largest value.
        event_dim: 3 for images, 1 for vectors; by default as many as the net says its outputs have.

    Example:
        >>> import torch
        >>> from fusevae.nets.mlp import MLP
        >>> net = MLP(2, DiscretizedLogistic.outputs((3, 4, 4), components=5))
        >>> DiscretizedLogistic(net, components=5)(torch.zeros(7, 2)).log_prob(torch.zeros(7, 3, 4, 4)).shape
        torch.Size([7])
    """

    discrete = True

    def __init__(
        self,
        net: nn.Module,
        components: int = 5,
        levels: int = 256,
        low: float = -1.0,
        high: float = 1.0,
        event_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.net, self.components, self.levels = net, components, levels
        self.low, self.high, self.event_dim = low, high, event_dim

    @staticmethod
    def outputs(shape: tuple[int, ...], components: int = 5) -> tuple[int, ...]:
        """The shape of the net's output for events of ``shape``."""
        if len(shape) == 1:
            return (3 * components * shape[0],)
        c = shape[0]
        return (components * (1 + 2 * c + c * (c - 1) // 2), *shape[1:])

    def forward(self, *given: Tensor | None) -> Distribution:
        dims, k = event_dim(self.net, self.event_dim), self.components
        out = parameters(self.net, given)
        if dims == 1:  # one channel of D places
            raw = out.unflatten(-1, (3 * k, -1))
            channels, shape = 1, raw.shape[-1:]
        else:
            raw = out.flatten(-2)
            per_component = out.shape[-3] // k - 1  # = 2 c + c (c - 1) / 2
            channels = round((math.sqrt(9 + 8 * per_component) - 3) / 2)
            shape = torch.Size((channels, *out.shape[-2:]))
        return _LogisticMixture(raw, channels, k, shape, self.levels, self.low, self.high)

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Each component starts at a group of like values (colours, where there are channels), as wide as these are
        apart, by their share. The last is as wide as all values, for FAR of them: a speck on nearly constant images is
        hundreds of deviations off."""
        how = self.components, self.levels, self.low, self.high
        start_at(self.net, examples, lambda x: outset(x, *how), lambda x: reach(x, *how))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        def example(shape: tuple[int, ...], levels: int) -> tuple[Self, tuple[Any, ...]]:
            net = MLP(2, cls.outputs(shape, components=2), hidden=(4,))
            return cls(net, components=2, levels=levels), (torch.randn(3, 2),)

        return [example((3, 1, 1), 3), example((2,), 4), example((1, 1, 2), 3)]


def outset(x: Tensor, k: int, levels: int, low: float, high: float) -> Tensor:
    """What a net of ``k`` components has to give to start at values ``(n, *event)``, as :meth:`start_from` has it."""
    x = x.flatten(2) if x.dim() > 2 else x[:, None]  # (n, channels, places)
    c, places = x.shape[1:]
    near = max(1, k - 1)
    means, width, logits = groups(x, near, NARROW * (high - low) / (levels - 1))
    if k > 1:
        means = torch.cat([means, torch.full_like(means[:1], (low + high) / 2)])
        width = torch.cat([width, torch.full_like(width[:1], (high - low) / 3)])
        logits = torch.cat([logits, torch.full_like(logits[:1], math.log(FAR))])
    raw = smooth_unbound((width * math.sqrt(3) / math.pi).log(), narrowest(levels, low, high), WIDEST) + 1.5
    links = means.new_zeros(k * c * (c - 1) // 2, places)
    return torch.cat([logits, means.flatten(0, 1), raw.flatten(0, 1), links])


def narrowest(levels: int, low: float, high: float) -> float:
    """The least logarithm of a scale: -7, an eighth of a bin of 256 levels, and as much of a bin of more.

    Example:
        >>> narrowest(256, -1, 1), round(narrowest(2**16, -1, 1), 2)
        (-7.0, -12.48)
    """
    return min(-7.0, math.log((high - low) / (levels - 1) / 8))


def groups(x: Tensor, k: int, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """The values ``(n, channels, places)`` of each place in ``k`` groups of like colour, by a few rounds of expectation
    and maximisation of a mixture of Gaussians (Dempster et al. 1977) from groups of like lightness on: their means and
    deviations (of ``least`` at least) ``(k, channels, places)``, and the logarithms of their shares ``(k, places)``."""
    some = min(GROUPED, max(LEAST, NUMBERS // x[0].numel()))
    x = x[:: -(-len(x) // some)].permute(2, 0, 1)  # (places, n, channels)
    middle = x.mean(1, keepdim=True)
    ranks = x.sum(2).argsort(dim=1, stable=True).argsort(dim=1)  # (places, n)
    member = torch.stack([ranks * k // x.shape[1] == i for i in range(k)], 1).to(x.dtype)  # (places, k, n)
    powers = torch.cat([x - middle, (x - middle).square()], 2)
    for i in range(ROUNDS + 1):
        size = member.sum(2, keepdim=True) + 1e-6
        mean, square = (member @ powers / size).chunk(2, 2)  # (places, k, channels)
        width = (square - mean.square()).clamp(min=least**2).sqrt()
        shares = (size / size.sum(1, keepdim=True)).log()
        if i < ROUNDS:
            weights = torch.cat([mean / width.square(), -0.5 / width.square()], 2)
            logs = shares - (mean.square() / (2 * width.square()) + width.log()).sum(2, keepdim=True)
            member = (logs + weights @ powers.mT).softmax(1)
    return (mean + middle).permute(1, 2, 0), width.permute(1, 2, 0), shares[:, :, 0].T


def reach(x: Tensor, k: int, levels: int, low: float, high: float) -> Tensor:
    """How far each of these outputs should be from there."""
    x = x.flatten(2) if x.dim() > 2 else x[:, None]
    c, places = x.shape[1:]
    means = spread(x).clamp(min=(high - low) / (levels - 1)).clamp(max=1.0)
    ones = means.new_ones(1, places)
    links = k * c * (c - 1) // 2
    return torch.cat([ones.expand(k, -1), means.repeat(k, 1), ones.expand(k * c + links, -1)])


class _LogisticMixture(Distribution):
    """``raw`` has shape ``(*batch, parameters, places)``."""

    arg_constraints = {}

    def __init__(
        self, raw: Tensor, channels: int, components: int, shape: torch.Size, levels: int, low: float, high: float
    ) -> None:
        c, k = channels, components
        logits, means, scales, links = raw.split([k, k * c, k * c, k * c * (c - 1) // 2], dim=-2)
        self.logits = logits  # (*batch, k, places)
        self.means = means.unflatten(-2, (k, c))  # (*batch, k, c, places)
        self.log_scales = smooth_bound(scales.unflatten(-2, (k, c)) - 1.5, narrowest(levels, low, high), WIDEST)
        self.links = torch.tanh(links.unflatten(-2, (k, -1))) if c > 1 else None
        self.levels, self.low, self.high = levels, low, high
        self.spacing = (high - low) / (levels - 1)
        super().__init__(raw.shape[:-2], shape, validate_args=False)

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        return on_grid(self.low, self.high, self.spacing, len(self.event_shape))

    def _linked(self, x: Tensor) -> Tensor:
        """Means ``(*batch, k, c, places)`` given the channels ``x``, ``(*batch, 1, c, places)`` or one for each
        component."""
        if self.links is None:
            return self.means
        means, at = list(self.means.unbind(-2)), 0
        for c in range(1, len(means)):
            for before in range(c):
                means[c] = means[c] + self.links[..., at, :] * x[..., before, :]
                at += 1
        return torch.stack(torch.broadcast_tensors(*means), -2)

    def log_prob(self, value: Tensor) -> Tensor:
        channels = self.means.shape[-2]
        x = value.flatten(value.dim() - len(self.event_shape)).unflatten(-1, (channels, -1))[..., None, :, :]
        centred, half = x - self._linked(x), self.spacing / 2
        inverse = torch.exp(-self.log_scales)
        upper, lower = (centred + half) * inverse, (centred - half) * inverse
        # log(sigmoid(u) - sigmoid(l)) = -softplus(-u) - softplus(l) + log(1 - exp(l - u)), exact in the tails
        below, above = -F.softplus(-upper), -F.softplus(lower)
        inner = below + above + torch.log(-torch.expm1(-2 * half * inverse))
        log_p = torch.where(x < self.low + half, below, torch.where(x > self.high - half, above, inner))
        return torch.logsumexp(log_p.sum(-2) + self.logits.log_softmax(-2), dim=-2).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            chosen = noise.choose(self.logits, shape, dim=-2)[..., None, :]  # (*, 1, places)

            def pick(values: Tensor) -> Tensor:  # (*batch, k, n, places) -> (*, n, places)
                values = values.expand(*shape, *values.shape)
                index = chosen[..., None, :].expand(*chosen.shape[:-2], 1, *values.shape[-2:])
                return values.gather(-3, index)[..., 0, :, :]

            means, scales = pick(self.means), pick(self.log_scales).exp()
            links = pick(self.links) if self.links is not None else None
            uniform = torch.rand(means.shape, device=means.device).clamp_(1e-7, 1 - 1e-7)
            channels: list[Tensor] = []
            at = 0
            for c in range(means.shape[-2]):
                mean = means[..., c, :]
                for before in range(c):
                    mean = mean + links[..., at, :] * channels[before]  # type: ignore[index]
                    at += 1
                x = mean + scales[..., c, :] * torch.logit(uniform[..., c, :])
                step = ((x - self.low) / self.spacing).round().clamp(0, self.levels - 1)
                channels.append(self.low + self.spacing * step)
            x = torch.stack(channels, -2)
            return x.view(*shape, *self.batch_shape, *self.event_shape)

    @property
    def mean(self) -> Tensor:
        """The mixture's mean with each channel's own mean in place of its value: of the logistics, before rounding."""
        means = self.means
        for _ in range(means.shape[-2] - 1):  # each pass makes one more channel right
            means = self._linked(means)
        channels = (self.logits.softmax(-2)[..., None, :] * means).sum(-3).clamp(self.low, self.high)
        return channels.view(*self.batch_shape, *self.event_shape)
