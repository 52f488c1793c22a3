"""Mixture of Gaussians, as a prior with learned components or as a likelihood from a net."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, MultivariateNormal
from torch.distributions import Normal as TorchNormal

from fusevae.core import noise
from fusevae.core.clusters import ROUNDS, clusters
from fusevae.core.conditional import Conditional, parameters
from fusevae.core.errors import InputError
from fusevae.distributions.correlated import FullGaussian, full_gaussian, full_gaussian_numbers
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.mlp import MLP, Constant

LEAST = 1e-5  # variance of what is fitted
STRENGTH = 1.0  # of what components have in common


class GaussianMixture(Conditional):
    r""":math:`p(x \mid given) = \sum_k \pi_k\, \mathcal N(x; \mu_k, \Sigma_k)` over vectors.

    Args:
        net: gives :meth:`outputs` numbers: for each component a logit, and its moments. A prior with learned components
            has ``Constant(GaussianMixture.outputs(d, K), std=1.0)``.
        components: K.
        bounds: the logarithms of scales are kept between these.
        covariance: ``"diagonal"``: the moments are a mean and log-scales; ``"full"``: as of :class:`FullGaussian`.

    Samples have no path, so in the q slot its gradient is the score function's.

    Example:
        >>> import torch
        >>> from fusevae.nets.mlp import Constant
        >>> p = GaussianMixture(Constant(GaussianMixture.outputs(2, 3), std=1.0), components=3)()
        >>> p.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        net: nn.Module,
        components: int,
        bounds: tuple[float, float] = (-7.0, 5.0),
        covariance: Literal["diagonal", "full"] = "diagonal",
    ) -> None:
        super().__init__()
        self.net, self.components, self.bounds, self.covariance = net, components, bounds, covariance

    @staticmethod
    def outputs(dims: int, components: int, covariance: Literal["diagonal", "full"] = "diagonal") -> int:
        """How many numbers the net gives."""
        return components * (1 + (FullGaussian.outputs(dims) if covariance == "full" else 2 * dims))

    def forward(self, *given: Tensor | None) -> Distribution:
        out = parameters(self.net, given).unflatten(-1, (self.components, -1))
        logits, rest = out[..., 0], out[..., 1:]
        weights = Categorical(logits=logits, validate_args=False)
        if self.covariance == "full":
            dims = (math.isqrt(9 + 8 * rest.shape[-1]) - 3) // 2  # of d (d + 3) / 2 numbers
            return _Mixture(weights, full_gaussian(rest, dims, self.bounds), validate_args=False)
        mean, raw = rest.chunk(2, dim=-1)
        parts = Independent(TorchNormal(mean, smooth_bound(raw, *self.bounds).exp(), validate_args=False), 1)
        return _Mixture(weights, parts, validate_args=False)

    @classmethod
    @torch.no_grad()
    def fitted(cls, x: Tensor, components: int = 10, seed: int = 0, rounds: int = ROUNDS) -> Self:
        """The mixture with full covariances for points ``(n, d)``, found by expectation and maximisation from k-means
        (:func:`fusevae.core.clusters.clusters`) in coordinates in which their Gaussian is N(0, I)."""
        if len(x) <= components:
            raise InputError(f"{len(x)} points for a mixture of {components}: give more, or fewer components")
        x, least = x.double(), LEAST * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        mean, root = x.mean(0), torch.linalg.cholesky(torch.atleast_2d(x.mT.cov(correction=0)) + least)
        z = torch.linalg.solve_triangular(root, (x - mean).mT, upper=False).mT
        found = clusters(z, components, STRENGTH, rounds=rounds, seed=seed)
        covariances = root @ found.covariances @ root.mT + least
        return cls.of(found.log_weights.exp(), found.means @ root.mT + mean, covariances)

    @classmethod
    def of(cls, weights: Tensor, means: Tensor, covariances: Tensor) -> Self:
        """The mixture of these weights ``(k,)``, means ``(k, d)`` and covariances ``(k, d, d)``, as a prior that can be
        trained on.

        Example:
            >>> p = GaussianMixture.of(torch.tensor([0.25, 0.75]), torch.tensor([[0.0], [4.0]]), torch.ones(2, 1, 1))()
            >>> round(p.mean.item(), 4)
            3.0
        """
        components, dims = means.shape
        net = Constant(cls.outputs(dims, components, "full"))
        found = cls(net, components, covariance="full")
        numbers = torch.cat([weights.log()[:, None], full_gaussian_numbers(means, covariances, found.bounds)], 1)
        net.value.data.copy_(numbers.flatten())
        return found

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(Constant(cls.outputs(1, 3), std=1.0), components=3), ()),
            (cls(MLP(2, cls.outputs(2, 2), hidden=(4,)), components=2), (torch.randn(3, 2),)),
            (cls(Constant(cls.outputs(2, 2, "full"), std=0.5), 2, covariance="full"), ()),
        ]


class _Mixture(MixtureSameFamily):
    """torch's, whose draw of a component depends on nothing but its own random numbers, and whose log-density is taken
    by components where these are correlated: all differences from all means are as many times as large as values."""

    def log_prob(self, value: Tensor) -> Tensor:
        parts = self.component_distribution
        if not isinstance(parts, MultivariateNormal) or len(parts.batch_shape) > 1:
            found: Tensor = super().log_prob(value)
            return found
        both = zip(parts.loc, parts.scale_tril, strict=True)
        each = [MultivariateNormal(mean, scale_tril=lower, validate_args=False).log_prob(value) for mean, lower in both]
        return torch.logsumexp(torch.stack(each, -1) + self.mixture_distribution.logits.log_softmax(-1), -1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            chosen = noise.choose(self.mixture_distribution.logits, sample_shape)
            parts, shape = self.component_distribution, torch.Size(sample_shape)
            if isinstance(parts, MultivariateNormal) and len(parts.batch_shape) == 1:
                each = TorchNormal(torch.zeros_like(parts.loc), 1.0, validate_args=False).sample(shape)
                return parts.loc[chosen] + (parts.scale_tril[chosen] @ _of(each, chosen).unsqueeze(-1)).squeeze(-1)
            return _of(parts.sample(shape), chosen)


def _of(each: Tensor, chosen: Tensor) -> Tensor:
    """The values ``(*shape, d)`` of the components that were chosen, of all ``(*shape, k, d)``."""
    index = chosen[..., None, None]
    return each.gather(-2, index.expand(*index.shape[:-1], each.shape[-1]))[..., 0, :]
