"""Gaussian about what a factor analysis expects: posterior and likelihood of a VAE that starts as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, LowRankMultivariateNormal, MultivariateNormal
from torch.distributions import Normal as TorchNormal

from fusevae.core import noise
from fusevae.core.conditional import parameters
from fusevae.distributions.gaussian import Gaussian, smooth_bound
from fusevae.nets.factors import Factors
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import untouched


class FactorGaussian(Gaussian):
    r""":math:`p(x \mid given) = \prod_d \mathcal N(x_d; m_d + s_d\, \mu_d(given), s_d^2\, \sigma_d(given)^2)`, with m
    and s what :class:`Factors` expect of x given z (``of="x"``) or of z given x (``of="z"``).

    The net tells only how it differs from that: at first not at all, and a VAE of both with a standard normal prior is
    the factor analysis, its bound the likelihood. Where x is missing (NaN) it contributes nothing to its likelihood,
    and z is that of what is there, with all of its covariance: what the factors expect stands in its place before the
    net.

    Args:
        net: gives mu and, twice as many outputs, log-sigma.
        factors: of both; those of x fit them to the training rows at the start.
        of: whose distribution it is.
        bounds: of log-sigma.

    Example:
        >>> factors = Factors(3, 2)
        >>> FactorGaussian(MLP(3, 4), factors, "z")(torch.zeros(5, 3)).event_shape
        torch.Size([2])
    """

    def __init__(
        self, net: nn.Module, factors: Factors, of: Literal["x", "z"], bounds: tuple[float, float] = (-4.0, 3.0)
    ) -> None:
        super().__init__(net, bounds=bounds)
        self.factors, self.of = factors, of

    def forward(self, *given: Tensor | None) -> Distribution:
        first, *conditions = given
        assert first is not None
        m, log_s = self.factors.expect(first) if self.of == "x" else self.factors.infer(first)
        correlated = log_s.dim() > m.dim()
        if correlated:
            first = torch.where(first.isnan(), self.factors.expect(m)[0], first)
        mean, raw = parameters(self.net, [first, *conditions]).chunk(2, -1)
        log_sigma = smooth_bound(raw, *self.bounds)
        if correlated:
            root = log_s  # of the covariance
            mean = m + (root @ mean[..., None])[..., 0]
            return MultivariateNormal(mean, scale_tril=root * log_sigma.exp()[..., None, :], validate_args=False)
        sigma = torch.exp(log_s + log_sigma)
        return _WithGaps(TorchNormal(m + log_s.exp() * mean, sigma, validate_args=False), 1, validate_args=False)

    def completed(self, x: Tensor) -> Tensor:
        """x with a draw of what is missing (NaN) from the factor analysis, given what is there."""
        m, root = self.factors.infer(x)
        root = root if root.dim() > m.dim() else torch.diag_embed(root.exp())
        mean, log_s = self.factors.expect(m + (root @ noise.normal(m.shape, m.device)[..., None])[..., 0])
        return torch.where(x.isnan(), mean + log_s.exp() * noise.normal(x.shape, x.device), x)

    def log_completed(self, x: Tensor) -> Tensor:
        """The density of such a draw, but for what depends on what is there alone: of x in the factor analysis."""
        factors = self.factors
        p = LowRankMultivariateNormal(factors.center, factors.loadings, factors.variance, validate_args=False)
        return p.log_prob(x)

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        last: Any = self.net.last
        if untouched(last.bias):
            last.weight.zero_()  # at first nothing differs
        if self.of == "x" and not self.factors.fitted:
            self.factors.fit(examples())

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        factors = Factors(2, 1)
        return [
            (cls(MLP(1, 4, hidden=(4,)), factors, "x"), (torch.randn(3, 1),)),
            (cls(MLP(2, 2, hidden=(4,)), factors, "z"), (torch.randn(3, 2),)),
        ]


class _WithGaps(Independent[TorchNormal]):
    def log_prob(self, value: Tensor) -> Tensor:
        gone = value.isnan()
        each = self.base_dist.log_prob(torch.where(gone, self.base_dist.loc, value))
        found: Tensor = torch.where(gone, 0.0, each).sum(-1)
        return found
