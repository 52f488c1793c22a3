"""Gaussian with diagonal covariance, its moments from a net: posterior, prior or likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.core.levels import Level
from fusevae.core.processes import mean_over_processes
from fusevae.nets.mlp import MLP, Constant
from fusevae.nets.outset import spread, start_at, thinned, untouched

Scale = Literal["net", "shared", "optimal"] | float


class Gaussian(Conditional):
    r""":math:`p(x \mid given) = \prod_d \mathcal N(x_d; \mu_d(given), \sigma_d^2)`.

    Args:
        net: gives the mean and, with ``scale="net"``, the log-scale: twice as many outputs, halved along the first
            event dimension.
        scale: where sigma comes from. ``"net"``: one for every dimension and example. ``"shared"``: one learned
            number. ``"optimal"``: one number, in training the maximum-likelihood value of the batch,
            :math:`\sigma^2 = \mathrm{mean}(x - \mu)^2`, which balances reconstruction and KL without a beta; its
            running
            average is what evaluation uses (sigma-VAE, Rybkin et al. 2021). A number: fixed.
        bounds: log-sigma is kept between these by a smooth bound, so that neither a density nor a gradient explodes.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    With ``"optimal"`` sigma looks at x in training, so the result is no density that could stand as q.

    Example:
        >>> import torch
        >>> from fusevae.nets.mlp import MLP
        >>> q = Gaussian(MLP(4, Gaussian.outputs(3)))(torch.zeros(5, 4))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
    """

    variance: Tensor
    updates: Tensor
    sigma: Tensor

    def __init__(
        self,
        net: nn.Module,
        scale: Scale = "net",
        bounds: tuple[float, float] = (-7.0, 5.0),
        event_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.net, self.scale, self.bounds, self.event_dim = net, scale, bounds, event_dim
        if scale == "shared":
            self.log_scale = nn.Parameter(torch.zeros(()))
        elif scale == "optimal":
            self.level = Level.EVIDENCE
            self.register_buffer("variance", torch.ones(()))
            self.register_buffer("updates", torch.zeros(()))
        elif scale != "net":
            self.register_buffer("sigma", torch.tensor(float(scale)))

    @staticmethod
    def outputs(shape: int | tuple[int, ...], scale: Scale = "net") -> int | tuple[int, ...]:
        """What the net has to give for events of a shape: twice as much where it also gives the scales.

        Example:
            >>> Gaussian.outputs(8), Gaussian.outputs((3, 4, 4)), Gaussian.outputs(8, scale="shared")
            (16, (6, 4, 4), 8)
        """
        if scale != "net":
            return shape
        return 2 * shape if isinstance(shape, int) else (2 * shape[0], *shape[1:])

    def forward(self, *given: Tensor | None) -> Distribution:
        out = parameters(self.net, given)
        dims = event_dim(self.net, self.event_dim)
        if self.scale == "net":
            mean, raw = out.chunk(2, dim=-dims)
            sigma = smooth_bound(raw, *self.bounds).exp()
        elif self.scale == "optimal" and self.training:
            return _OptimalScale(out, dims, self)
        else:
            mean = out
            sigma = self._shared_scale().expand_as(mean)
        return Independent(TorchNormal(mean, sigma, validate_args=False), dims, validate_args=False)

    def _shared_scale(self) -> Tensor:
        if self.scale == "shared":
            return smooth_bound(self.log_scale, *self.bounds).exp()
        return self.variance.sqrt() if self.scale == "optimal" else self.sigma

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        if self.scale == "net":
            start_at(
                self.net,
                examples,
                lambda x: torch.cat([x.mean(0), self._raw(x.var(0, correction=0))]),
                lambda x: torch.cat([spread(x), torch.ones_like(x[0])]),
            )
            return
        start_at(self.net, examples, lambda x: x.mean(0), spread)
        if self.scale == "shared" and untouched(self.log_scale):
            self.log_scale.copy_(self._raw(thinned(examples().float()).var(0, correction=0).mean()))
        if self.scale == "optimal" and not self.updates:
            low, high = (math.exp(2 * b) for b in self.bounds)
            self.variance.copy_(thinned(examples().float()).var(0, correction=0).mean().clamp(low, high))

    def _raw(self, variance: Tensor) -> Tensor:
        """What the bound makes the logarithm of a scale of."""
        return smooth_unbound(variance.clamp(min=1e-30).log() / 2, *self.bounds)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        x = torch.randn(3, 2)
        return [
            (cls(MLP(2, 2, hidden=(4,))), (x,)),
            (cls(MLP(2, (1, 1, 2), hidden=(4,)), scale="shared"), (x,)),
            (cls(MLP(2, 1, hidden=(4,)), scale="optimal"), (x,)),
            (cls(MLP(2, 1, hidden=(4,)), scale=0.5), (x,)),
            (cls(Constant(4, std=1.0)), ()),
        ]


class _OptimalScale(Distribution):
    """A Gaussian in training whose shared sigma is fitted to the value asked for.

    It is no ``Independent``: a KL in closed form would not fit it.
    """

    arg_constraints = {}
    has_rsample = True

    def __init__(self, mean: Tensor, dims: int, owner: Gaussian) -> None:
        self._owner, self._dims = owner, dims
        self._normal = TorchNormal(mean, owner.variance.sqrt().expand_as(mean), validate_args=False)
        cut = mean.dim() - dims
        super().__init__(mean.shape[:cut], mean.shape[cut:], validate_args=False)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self._normal.rsample(sample_shape)

    @property
    def mean(self) -> Tensor:
        return self._normal.mean

    @property
    def variance(self) -> Tensor:
        return self._normal.variance

    def log_prob(self, value: Tensor) -> Tensor:
        owner, dims = self._owner, self._dims
        square = (value - self.mean) ** 2
        low, high = (math.exp(2 * b) for b in owner.bounds)
        # d log p / d mean is the same whether sigma is a function of the mean or held at its optimum
        variance = mean_over_processes(square.detach().mean()).clamp(low, high)
        if torch.is_grad_enabled():
            owner.updates += 1
            owner.variance.lerp_(variance, torch.clamp(1 / owner.updates, min=0.01))
        count = math.prod(square.shape[square.dim() - dims :])
        total = square.sum(tuple(range(-dims, 0)))
        return -0.5 * (total / variance + count * (variance.log() + math.log(2 * math.pi)))


def smooth_bound(raw: Tensor, low: float, high: float) -> Tensor:
    """``raw`` squeezed between ``low`` and ``high`` by a scaled tanh, near the identity in the middle (NVAE, 2020)."""
    middle, half = (low + high) / 2, (high - low) / 2
    return middle + half * torch.tanh((raw - middle) / half)


def smooth_unbound(bounded: Tensor, low: float, high: float) -> Tensor:
    """The reverse of :func:`smooth_bound`; what lies outside is taken a little inside."""
    middle, half = (low + high) / 2, (high - low) / 2
    return middle + half * torch.atanh(((bounded - middle) / half).clamp(-0.9999, 0.9999))
