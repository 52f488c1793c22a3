"""Latents on the unit sphere: the uniform prior and the von Mises-Fisher posterior of a hyperspherical VAE."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints, register_kl
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, parameters
from fusevae.core.errors import InputError
from fusevae.distributions.angle import angle
from fusevae.distributions.bessel import log_mean_exp_coordinate
from fusevae.nets.mlp import MLP, Constant


class UniformSphere(Conditional):
    r"""Uniform on the unit sphere :math:`S^{d-1} = \{z \in R^d : |z| = 1\}`, whatever is given:

    .. math:: \log p(z) = -\log |S^{d-1}| = \log\Gamma(d/2) - \log 2 - \tfrac d2 \log \pi

    A density with respect to the surface of the sphere, in nats; -inf off it. Its batch is empty.

    Args:
        dims: d, at least 2 (the circle).

    Example:
        >>> import torch
        >>> UniformSphere(3)().log_prob(torch.eye(3)) + math.log(4 * math.pi)
        tensor([0., 0., 0.])
    """

    space = "sphere"
    center: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        if dims < 2:
            raise InputError(f"UniformSphere was given dims={dims}: expected at least 2, the circle")
        self.dims = dims
        self.register_buffer("center", torch.zeros(dims), persistent=False)

    def forward(self, *given: Tensor | None) -> Distribution:
        return _Uniform(self.center)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(2), ()), (cls(3), ())]


class VonMisesFisher(Conditional):
    r""":math:`q(z \mid given) = C_d(\kappa)\, e^{\kappa \mu \cdot z}` on the unit sphere in d dimensions, with mean
    direction :math:`\mu` and concentration :math:`\kappa \ge 0` (Davidson et al. 2018).

    .. math:: \log C_d(\kappa) = -\log |S^{d-1}| - L(\kappa), \quad
              \mathrm{KL}(q \| \mathrm{uniform}) = \kappa A(\kappa) - L(\kappa), \quad E[z] = A(\kappa) \mu

    with L and its derivative A as in :mod:`fusevae.distributions.bessel`. All of it, and the gradients, is finite for
    every d from 2 to 512 and every kappa from 0 to 1e8.

    Args:
        net: gives d + 1 numbers: the direction, of any length, and what a softplus makes kappa.

    A density with respect to the surface of the sphere, in nats; -inf off it. Samples have a path: the angle to
    :math:`\mu` is the inverse of its distribution function at a uniform number, its gradient that of the implicit
    function (Figurnov et al. 2018), and the rest turns with :math:`\mu`.

    Example:
        >>> import torch
        >>> q = VonMisesFisher(MLP(4, 3 + 1))(torch.zeros(5, 4))
        >>> q.sample().square().sum(-1).allclose(torch.ones(5))
        True
        >>> torch.distributions.kl_divergence(q, UniformSphere(3)()).shape
        torch.Size([5])
    """

    space = "sphere"

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        shape = getattr(net, "outputs", None)
        if isinstance(shape, tuple) and (len(shape) != 1 or shape[0] < 3):
            raise InputError(
                f"VonMisesFisher was given a net with outputs {shape}: expected d + 1 numbers, d at least 2; (3,) say"
            )
        self.net = net

    def forward(self, *given: Tensor | None) -> Distribution:
        raw = parameters(self.net, given)
        return _VonMisesFisher(_direction(raw[..., :-1]), F.softplus(raw[..., -1].double()))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(MLP(2, 3, hidden=(4,))), (torch.randn(3, 2),)),
            (cls(MLP(2, 4, hidden=(4,))), (torch.randn(3, 2),)),
            (cls(Constant(4, std=1.0)), ()),
        ]


class Sphere(constraints.Constraint):
    """Vectors of length 1, up to rounding."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(value, dim=-1) - 1).abs() < 1e-3


def log_area(dims: int) -> float:
    r"""The logarithm of the surface of the unit sphere in ``dims`` dimensions, :math:`2 \pi^{d/2} / \Gamma(d/2)`.

    Example:
        >>> round(math.exp(log_area(2)) / math.pi, 6)  # the circumference of the circle
        2.0
    """
    return math.log(2) + dims / 2 * math.log(math.pi) - math.lgamma(dims / 2)


class _OnSphere(Distribution):
    """``like`` of shape ``(*batch, d)`` gives the shapes and the device."""

    arg_constraints = {}
    has_rsample = True
    support = Sphere()

    def __init__(self, like: Tensor) -> None:
        self.dims = like.shape[-1]
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)


class _Uniform(_OnSphere):
    def __init__(self, center: Tensor) -> None:
        self.center = center
        super().__init__(center)

    @property
    def mean(self) -> Tensor:
        return self.center

    def entropy(self) -> Tensor:
        return self.center.new_full(self.batch_shape, log_area(self.dims))

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return F.normalize(torch.randn(shape, device=self.center.device), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        inside = self.support.check(value)
        return torch.where(inside, -log_area(self.dims), -math.inf).to(value.dtype)


class _VonMisesFisher(_OnSphere):
    """``loc``: unit vectors ``(*batch, d)``; ``kappa``: ``(*batch,)``. Both in float64: where kappa is large, log q is
    the difference of large numbers. Results are in float32."""

    def __init__(self, loc: Tensor, kappa: Tensor) -> None:
        self.loc, self.kappa = loc, kappa
        super().__init__(loc)
        self.log_mean, self.cosine = log_mean_exp_coordinate(kappa, self.dims)

    @property
    def mode(self) -> Tensor:
        return self.loc.float()

    @property
    def mean(self) -> Tensor:
        return (self.cosine.unsqueeze(-1) * self.loc).float()

    def entropy(self) -> Tensor:
        return (log_area(self.dims) - self.kappa * self.cosine + self.log_mean).float()

    def log_prob(self, value: Tensor) -> Tensor:
        z = F.normalize(value.double(), dim=-1)  # of a vector rounded to float32, the point on the sphere
        # kappa mu z = kappa - kappa |z - mu|^2 / 2, which keeps its precision where z is close to mu
        inside = self.kappa - self.log_mean - 0.5 * self.kappa * (z - self.loc).square().sum(-1)
        return torch.where(self.support.check(value), inside - log_area(self.dims), -math.inf).float()

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        u = torch.rand(shape[:-1], dtype=torch.float64, device=self.loc.device)
        around = torch.randn(shape, device=self.loc.device).double()
        theta = angle(u, self.kappa, self.dims).unsqueeze(-1)
        here = self.loc.detach()
        around = around - (around * here).sum(-1, keepdim=True) * here
        around = F.normalize(around, dim=-1, eps=1e-30)
        # turned by the least rotation from `here` to loc: no change of the value, and a bounded gradient
        turned = (around * self.loc).sum(-1, keepdim=True) / (1 + (here * self.loc).sum(-1, keepdim=True))
        return (theta.cos() * self.loc + theta.sin() * (around - (here + self.loc) * turned)).float()


def _direction(raw: Tensor) -> Tensor:
    """``raw`` with length 1, in float64; where it is 0, the first axis, with a gradient that can leave it."""
    raw = raw.double()
    first = torch.zeros_like(raw)
    first[..., 0] = 1.0
    length = torch.linalg.vector_norm(raw.detach(), dim=-1, keepdim=True)
    return F.normalize(torch.where(length < 1e-8, raw + first, raw), dim=-1)


@register_kl(_VonMisesFisher, _Uniform)  # type: ignore[untyped-decorator]
def _to_uniform(q: _VonMisesFisher, p: _Uniform) -> Tensor:
    return (q.kappa * q.cosine - q.log_mean).float()


@register_kl(_VonMisesFisher, _VonMisesFisher)  # type: ignore[untyped-decorator]
def _to_another(q: _VonMisesFisher, p: _VonMisesFisher) -> Tensor:
    along = q.kappa - p.kappa * (q.loc * p.loc).sum(-1)
    return (q.cosine * along + p.log_mean - q.log_mean).float()
