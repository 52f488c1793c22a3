"""Continuous Bernoulli, the proper density for grey values in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Distribution, Independent, register_kl
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import start_at


class ContinuousBernoulli(Conditional):
    r""":math:`p(x \mid given) = \prod_d C(\lambda_d) \lambda_d^{x_d} (1 - \lambda_d)^{1 - x_d}`, x in [0, 1]
    (Loaiza-Ganem & Cunningham 2019).

    A Bernoulli's formula on grey values is no density; the normaliser C makes it one.

    Args:
        net: gives the logits of lambda.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    Example:
        >>> import torch
        >>> from fusevae.nets.mlp import Constant
        >>> round(ContinuousBernoulli(Constant(1))().log_prob(torch.tensor([0.3])).item(), 4)  # uniform
        0.0
    """

    def __init__(self, net: nn.Module, event_dim: int | None = None) -> None:
        super().__init__()
        self.net, self.event_dim = net, event_dim

    def forward(self, *given: Tensor | None) -> Distribution:
        base = _ByLogits(logits=parameters(self.net, given), validate_args=False)
        return Independent(base, event_dim(self.net, self.event_dim), validate_args=False)

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        start_at(self.net, examples, lambda x: _logit_of_mean(x.mean(0)))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(MLP(2, (1, 1, 2), hidden=(4,))), (torch.randn(3, 2),)),
            (cls(MLP(2, 1, hidden=(4,))), (torch.randn(2, 2),)),
        ]


class _ByLogits(TorchContinuousBernoulli):
    """torch's, with all in terms of the logit l. From lambda in float32, as there, the normaliser ends at a logit of 16
    (the density then no longer integrates to 1) and the variance near lambda = 1/2 may be negative."""

    def _cont_bern_log_norm(self) -> Tensor:
        h = self.logits / 2  # log C = log(2 h / tanh h)
        small, far = _split(h, 0.1)
        series = torch.log1p(small**2 * (1 / 3 - small**2 * (1 / 45 - small**2 * 2 / 945)))
        return math.log(2) + torch.where(h.abs() < 0.1, series, torch.log(far / torch.tanh(far)))

    @property
    def mean(self) -> Tensor:
        h = self.logits / 2
        small, far = _split(h, 0.5)
        s = small**2
        series = small * (1 / 3 - s * (1 / 45 - s * (2 / 945 - s * (1 / 4725 - s * 2 / 93555))))
        return 0.5 + torch.where(h.abs() < 0.5, series, 1 / torch.tanh(far) - 1 / far) / 2

    @property
    def variance(self) -> Tensor:
        h = self.logits / 2
        small, far = _split(h, 0.5)
        s, a = small**2, far.abs()
        series = 1 / 3 - s * (1 / 15 - s * (2 / 189 - s * (1 / 675 - s * 2 / 10395)))
        decay = torch.exp(-2 * a)  # 1 / sinh(a)^2 = 4 exp(-2 a) / (1 - exp(-2 a))^2
        return torch.where(h.abs() < 0.5, series, 1 / a**2 - 4 * decay / torch.expm1(-2 * a) ** 2) / 4

    def icdf(self, value: Tensor) -> Tensor:
        small, far = _split(self.logits, 0.05)
        u, a = value, far.abs()
        series = u + u * (1 - u) * small * (1 / 2 + small * ((1 - 2 * u) / 6 + small * (1 - 6 * u * (1 - u)) / 24))
        from_end = -torch.log1p(torch.where(far > 0, 1 - u, u) * torch.expm1(-a)) / a
        return torch.where(self.logits.abs() < 0.05, series, torch.where(far > 0, 1 - from_end, from_end))


def _logit_of_mean(mean: Tensor) -> Tensor:
    """The logit whose continuous Bernoulli has a mean, by halving an interval: its mean rises with the logit."""
    low, high = torch.full_like(mean, -50.0), torch.full_like(mean, 50.0)
    for _ in range(30):
        middle = (low + high) / 2
        above = _ByLogits(logits=middle, validate_args=False).mean > mean
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


def _split(x: Tensor, at: float) -> tuple[Tensor, Tensor]:
    """``x`` for a formula that holds below ``at`` and for one above, each harmless where the other is taken."""
    small = x.abs() < at
    return torch.where(small, x, 0.0), torch.where(small, 1.0, x)


@register_kl(_ByLogits, _ByLogits)  # type: ignore[untyped-decorator]
def _kl(q: _ByLogits, p: _ByLogits) -> Tensor:
    def log_partition(d: _ByLogits) -> Tensor:
        return F.softplus(d.logits) - d._cont_bern_log_norm()

    return q.mean * (q.logits - p.logits) - log_partition(q) + log_partition(p)
