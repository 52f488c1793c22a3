"""Gaussians whose dimensions are correlated: a full covariance, or a diagonal one with a few directions more."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    register_kl,
)
from torch.distributions import Normal as TorchNormal

from fusevae.core.conditional import Conditional, parameters
from fusevae.distributions.gaussian import smooth_bound, smooth_unbound
from fusevae.nets.mlp import MLP, Constant


class FullGaussian(Conditional):
    r""":math:`p(x \mid given) = \mathcal N(x; \mu, L L^\top)` over vectors, L lower triangular.

    Args:
        net: gives, for d dimensions, d (d + 3) / 2 numbers (:meth:`outputs`): the mean, the logarithms of L's diagonal,
            and what lies below it, relative to the diagonal of its row.
        dims: d.
        bounds: the logarithms are kept between these.

    Example:
        >>> import torch
        >>> q = FullGaussian(MLP(4, FullGaussian.outputs(3)), 3)(torch.zeros(5, 4))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
    """

    def __init__(self, net: nn.Module, dims: int, bounds: tuple[float, float] = (-7.0, 5.0)) -> None:
        super().__init__()
        self.net, self.dims, self.bounds = net, dims, bounds

    @staticmethod
    def outputs(dims: int) -> int:
        """How many numbers the net gives."""
        return dims * (dims + 3) // 2

    def forward(self, *given: Tensor | None) -> Distribution:
        return full_gaussian(parameters(self.net, given), self.dims, self.bounds)

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor) -> Self:
        """The Gaussian of these moments ``(d,)`` and ``(d, d)``, as a prior that can be trained on.

        Example:
            >>> FullGaussian.of(torch.ones(2), torch.tensor([[2.0, 1.0], [1.0, 2.0]]))().variance.round().tolist()
            [2.0, 2.0]
        """
        net = Constant(cls.outputs(len(mean)))
        found = cls(net, len(mean))
        net.value.data.copy_(full_gaussian_numbers(mean, covariance, found.bounds))
        return found

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(MLP(2, cls.outputs(2), hidden=(4,)), 2), (torch.randn(3, 2),)),
            (cls(Constant(cls.outputs(2), std=0.5), 2), ()),
        ]


def full_gaussian(out: Tensor, dims: int, bounds: tuple[float, float]) -> MultivariateNormal:
    """The Gaussian of ``dims (dims + 3) / 2`` numbers, as :class:`FullGaussian` reads them."""
    mean, raw, below = out.split([dims, dims, dims * (dims - 1) // 2], -1)
    scale = smooth_bound(raw, *bounds).exp()
    rows, columns = torch.tril_indices(dims, dims, -1, device=out.device)
    lower = torch.zeros_like(scale).unsqueeze(-1).repeat_interleave(dims, -1)
    lower[..., rows, columns] = below
    lower = lower + torch.eye(dims, device=out.device)
    return MultivariateNormal(mean, scale_tril=scale.unsqueeze(-1) * lower, validate_args=False)


def full_gaussian_numbers(mean: Tensor, covariance: Tensor, bounds: tuple[float, float]) -> Tensor:
    """The numbers that :func:`full_gaussian` makes these Gaussians of, ``(*batch, dims (dims + 3) / 2)``: its
    reverse."""
    lower = torch.linalg.cholesky(covariance)
    scale = lower.diagonal(dim1=-2, dim2=-1)
    rows, columns = torch.tril_indices(mean.shape[-1], mean.shape[-1], -1)
    below = (lower / scale.unsqueeze(-1))[..., rows, columns]
    return torch.cat([mean, smooth_unbound(scale.log(), *bounds), below], -1)


class LowRankGaussian(Conditional):
    r""":math:`p(x \mid given) = \mathcal N(x; \mu, D + F F^\top)` over vectors, D diagonal and F of few columns.

    Args:
        net: gives, for d dimensions and rank r, d (2 + r) numbers (:meth:`outputs`): the mean, the logarithms of D's
            scales, and F.
        dims: d.
        rank: r.
        bounds: the logarithms are kept between these.

    Example:
        >>> import torch
        >>> q = LowRankGaussian(MLP(4, LowRankGaussian.outputs(3, 1)), 3, rank=1)(torch.zeros(5, 4))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
    """

    def __init__(self, net: nn.Module, dims: int, rank: int = 2, bounds: tuple[float, float] = (-7.0, 5.0)) -> None:
        super().__init__()
        self.net, self.dims, self.rank, self.bounds = net, dims, rank, bounds

    @staticmethod
    def outputs(dims: int, rank: int = 2) -> int:
        """How many numbers the net gives."""
        return dims * (2 + rank)

    def forward(self, *given: Tensor | None) -> Distribution:
        mean, raw, factor = parameters(self.net, given).split([self.dims, self.dims, self.dims * self.rank], -1)
        variance = (2 * smooth_bound(raw, *self.bounds)).exp()
        factor = factor.unflatten(-1, (self.dims, self.rank)) / math.sqrt(self.rank)
        with torch.autocast(mean.device.type, enabled=False):  # its products of matrices stay in float32
            return _LowRank(mean, factor, variance, validate_args=False)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(MLP(2, cls.outputs(2, 1), hidden=(4,)), 2, rank=1), (torch.randn(3, 2),))]


class _LowRank(LowRankMultivariateNormal):
    def log_prob(self, value: Tensor) -> Tensor:
        with torch.autocast(value.device.type, enabled=False):
            return super().log_prob(value)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().rsample(sample_shape)


@register_kl(MultivariateNormal, Independent)  # type: ignore[untyped-decorator]
@register_kl(LowRankMultivariateNormal, Independent)  # type: ignore[untyped-decorator]
def _correlated_and_factorised(q: Any, p: Independent[Any]) -> Tensor:
    """The closed form for a diagonal p; torch has it only for two of the same class."""
    if not isinstance(p.base_dist, TorchNormal) or len(p.event_shape) != 1:
        raise NotImplementedError
    loc, scale = p.base_dist.loc, p.base_dist.scale
    square = (q.variance + (q.mean - loc) ** 2) / scale**2
    entropy = q.entropy()
    d = square.shape[-1]
    return 0.5 * square.sum(-1) + scale.log().expand_as(square).sum(-1) + 0.5 * d * math.log(2 * math.pi) - entropy


@register_kl(Independent, MultivariateNormal)  # type: ignore[untyped-decorator]
def _factorised_and_correlated(q: Independent[Any], p: MultivariateNormal) -> Tensor:
    """The closed form for a diagonal q: with S = L L' of p, half of tr(S^-1 diag(v)) + |L^-1 (m - mu)|^2 - d
    + log det S - sum log v."""
    if not isinstance(q.base_dist, TorchNormal) or len(q.event_shape) != 1:
        raise NotImplementedError
    with torch.autocast(p.loc.device.type, enabled=False):
        lower = p._unbroadcasted_scale_tril
        eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
        away = (inverse @ (q.mean - p.loc).unsqueeze(-1)).squeeze(-1)
        spread = (inverse.square().sum(-2) * q.variance).sum(-1)
        logs = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1) - q.stddev.log().sum(-1)
        return 0.5 * (spread + away.square().sum(-1) - lower.shape[-1]) + logs
