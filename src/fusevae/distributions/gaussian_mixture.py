"""Mixture of Gaussians, as a prior with learned components or as a likelihood from a net."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily
from torch.distributions import Normal as TorchNormal

from fusevae.core import noise
from fusevae.core.conditional import Conditional, parameters
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.mlp import MLP, Constant


class GaussianMixture(Conditional):
    r""":math:`p(x \mid given) = \sum_k \pi_k \prod_d \mathcal N(x_d; \mu_{kd}, \sigma_{kd}^2)` over vectors.

    Args:
        net: gives, for K components in d dimensions, K (2 d + 1) numbers: logits, means, log-scales. A prior with
            learned
            components has ``Constant(GaussianMixture.outputs(d, K), std=1.0)``.
        components: K.
        bounds: log-sigma is kept between these.

    Samples have no path, so in the q slot its gradient is the score function's.

    Example:
        >>> import torch
        >>> from fusevae.nets.mlp import Constant
        >>> p = GaussianMixture(Constant(GaussianMixture.outputs(2, 3), std=1.0), components=3)()
        >>> p.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(self, net: nn.Module, components: int, bounds: tuple[float, float] = (-7.0, 5.0)) -> None:
        super().__init__()
        self.net, self.components, self.bounds = net, components, bounds

    @staticmethod
    def outputs(dims: int, components: int) -> int:
        """How many numbers the net gives."""
        return components * (2 * dims + 1)

    def forward(self, *given: Tensor | None) -> Distribution:
        out = parameters(self.net, given).unflatten(-1, (self.components, -1))
        logits, rest = out[..., 0], out[..., 1:]
        mean, raw = rest.chunk(2, dim=-1)
        parts = Independent(TorchNormal(mean, smooth_bound(raw, *self.bounds).exp(), validate_args=False), 1)
        return _Mixture(Categorical(logits=logits, validate_args=False), parts, validate_args=False)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(Constant(cls.outputs(1, 3), std=1.0), components=3), ()),
            (cls(MLP(2, cls.outputs(2, 2), hidden=(4,)), components=2), (torch.randn(3, 2),)),
        ]


class _Mixture(MixtureSameFamily):
    """torch's, whose draw of a component depends on nothing but its own random numbers."""

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            chosen = noise.choose(self.mixture_distribution.logits, sample_shape)[..., None, None]
            each = self.component_distribution.sample(torch.Size(sample_shape))
            return each.gather(-2, chosen.expand(*chosen.shape[:-1], each.shape[-1]))[..., 0, :]
