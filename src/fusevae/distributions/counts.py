"""Distributions of counts: Poisson, negative binomial, and negative binomial with more zeros."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.core.errors import InputError
from fusevae.distributions.gaussian import smooth_bound, smooth_unbound
from fusevae.nets.mlp import MLP, Constant
from fusevae.nets.outset import FEW, start_at

LARGEST = 2.0**24  # of a sample: what float32 counts to
BOUNDS = (-8.0, 8.0)  # of the logarithm of a dispersion
FEWER = 0.05  # part of zeros of their own, at the start


class Poisson(Conditional):
    r""":math:`p(x \mid given) = \prod_d \mathrm{Poisson}(x_d; \lambda_d(given))`, x in {0, 1, 2, ...}.

    .. math:: \log p(x) = \sum_d x_d \log \lambda_d - \lambda_d - \log \Gamma(x_d + 1)

    Args:
        net: gives the logarithms of the rates.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    Example:
        >>> p = Poisson(Constant(2))()
        >>> p.mean.detach(), p.log_prob(torch.tensor([[0.0, 1.0], [0.5, 1.0]])).detach()
        (tensor([1., 1.]), tensor([-2., -inf]))
    """

    discrete = True

    def __init__(self, net: nn.Module, event_dim: int | None = None) -> None:
        super().__init__()
        self.net, self.event_dim = net, event_dim

    def forward(self, *given: Tensor | None) -> Distribution:
        return _Poisson(parameters(self.net, given), event_dim(self.net, self.event_dim))

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Rates at the means of the examples, which are refused where they are no counts."""
        start = getattr(self.net, "start_from", None)  # of a net that takes something from examples itself
        if start is not None:
            start(examples)
        self._start(counted(examples))

    def _start(self, examples: Callable[[], Tensor]) -> None:
        _start_net(self.net, examples, log_mean)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(MLP(2, 2, hidden=(4,))), (torch.randn(3, 2),))]


class NegativeBinomial(Poisson):
    r""":math:`p(x \mid given) = \prod_d \mathrm{NB}(x_d; \mu_d(given), \theta_d)`: a Poisson whose rate is drawn from a
    gamma of mean :math:`\mu_d` and shape :math:`\theta_d`, so that the variance is :math:`\mu_d + \mu_d^2 / \theta_d`.

    .. math:: \log p(x) = \sum_d \log \frac{\Gamma(x_d + \theta_d)}{\Gamma(\theta_d)\, \Gamma(x_d + 1)}
        + \theta_d \log \frac{\theta_d}{\theta_d + \mu_d} + x_d \log \frac{\mu_d}{\theta_d + \mu_d}

    Args:
        net: gives the logarithms of the means. Each dimension has a dispersion :math:`\theta_d` of its own, learned; of
            a net that doesn't say the shape of its outputs, all have one.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    Example:
        >>> p = NegativeBinomial(Constant(1))()  # mean 1, dispersion 1: a geometric distribution
        >>> p.log_prob(torch.tensor([[0.0], [3.0]])).exp().detach(), p.variance.detach()
        (tensor([0.5000, 0.0625]), tensor([2.]))
    """

    inflated = False  # whether the net gives logits of zeros of their own, too

    def __init__(self, net: nn.Module, event_dim: int | None = None) -> None:
        super().__init__(net, event_dim)
        first, *rest = getattr(net, "outputs", None) or (1,)
        self.dispersion = nn.Parameter(torch.zeros((first // 2 if self.inflated else first, *rest)))

    def forward(self, *given: Tensor | None) -> Distribution:
        out, dims = parameters(self.net, given), event_dim(self.net, self.event_dim)
        log_mean, zeros = out.chunk(2, -dims) if self.inflated else (out, None)
        return _NegativeBinomial(log_mean, smooth_bound(self.dispersion, *BOUNDS), zeros, dims)

    def _start(self, examples: Callable[[], Tensor]) -> None:
        def outputs(x: Tensor) -> Tensor:
            logits = torch.full_like(x[0], FEWER).logit()
            return torch.cat([log_mean(x), logits]) if self.inflated else log_mean(x)

        _start_net(self.net, examples, outputs)
        if not bool(self.dispersion.any()):  # by the variance over all, of which a model explains a part
            x = examples()
            mean, variance = x.mean(0), x.var(0, correction=0)
            theta = torch.where(variance > mean, mean**2 / (variance - mean).clamp(min=1e-6), 100.0)
            inside = theta.clamp(0.05, 100.0).log()
            self.dispersion.copy_(smooth_unbound(inside.expand_as(self.dispersion), *BOUNDS))


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    r""":math:`p(x_d) = \pi_d\, [x_d = 0] + (1 - \pi_d)\, \mathrm{NB}(x_d; \mu_d, \theta_d)`.

    Args:
        net: gives the logarithms of the means, and the logits of :math:`\pi`: twice as many outputs, halved along the
            first event dimension.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    Example:
        >>> p = ZeroInflatedNegativeBinomial(Constant(2))()  # half of the zeros are their own
        >>> p.log_prob(torch.tensor([[0.0], [1.0]])).exp().detach(), p.mean.detach()
        (tensor([0.7500, 0.1250]), tensor([0.5000]))
    """

    inflated = True

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(MLP(2, 2, hidden=(4,))), (torch.randn(3, 2),))]


class _Counts(Distribution):
    """Independent counts; ``log_rate`` has shape ``(*batch, *event)``."""

    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(self, log_rate: Tensor, dims: int) -> None:
        self.log_rate, self.dims = log_rate, dims
        shape, split = log_rate.shape, log_rate.dim() - dims
        super().__init__(shape[:split], shape[split:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        x = value.double()  # float32 has 1e7 of lgamma(1e6) to a nat
        whole = (x >= 0) & (x == x.round())
        each = torch.where(whole, self.each(torch.where(whole, x, 0.0)), -torch.inf)
        return each.flatten(-self.dims).sum(-1).float()

    @abstractmethod
    def each(self, x: Tensor) -> Tensor:
        """The logarithm of the probability of each count."""

    @abstractmethod
    def quantiles(self, u: np.ndarray) -> np.ndarray:
        """The least counts that no more than ``u`` lies below, ``(*shape, *event)``."""

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.log_rate.shape
            # by the quantiles of one number each: torch's own draws take as many as the rate has it, so that rows of a
            # batch could not be drawn alone
            u = torch.rand(shape, dtype=torch.float64, device=self.log_rate.device)
            found = self.quantiles(u.cpu().numpy()).clip(0, LARGEST)
            return torch.from_numpy(found).to(self.log_rate.device, torch.float32)


class _Poisson(_Counts):
    @property
    def mean(self) -> Tensor:
        return self.log_rate.exp()

    @property
    def variance(self) -> Tensor:
        return self.mean

    def each(self, x: Tensor) -> Tensor:
        log_rate = self.log_rate.double()
        return x * log_rate - log_rate.exp() - torch.lgamma(x + 1)

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        from scipy import stats

        return stats.poisson.ppf(u, self.mean.double().clamp(max=LARGEST).cpu().numpy())


class _NegativeBinomial(_Counts):
    def __init__(self, log_mean: Tensor, log_theta: Tensor, zeros: Tensor | None, dims: int) -> None:
        super().__init__(log_mean, dims)
        self.log_theta, self.zeros = log_theta, zeros

    @property
    def kept(self) -> Tensor | float:
        """The probability of no zero of its own."""
        return 1.0 if self.zeros is None else torch.sigmoid(-self.zeros)

    @property
    def mean(self) -> Tensor:
        return self.kept * self.log_rate.exp()

    @property
    def variance(self) -> Tensor:
        mean = self.log_rate.exp()
        return self.kept * (mean + mean**2 * (torch.exp(-self.log_theta) + 1 - self.kept))

    def each(self, x: Tensor) -> Tensor:
        log_theta = self.log_theta.double()
        theta, above = log_theta.exp(), self.log_rate.double() - log_theta
        found = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
        found = found - theta * F.softplus(above) - x * F.softplus(-above)
        if self.zeros is None:
            return found
        found, own = found + F.logsigmoid(-self.zeros.double()), F.logsigmoid(self.zeros.double())
        return torch.where(x == 0, torch.logaddexp(found, own), found)

    def quantiles(self, u: np.ndarray) -> np.ndarray:
        from scipy import stats

        theta, mean = self.log_theta.double().exp(), self.log_rate.double().exp().clamp(max=LARGEST)
        own = 0.0 if self.zeros is None else 1 - self.kept.double().cpu().numpy()  # type: ignore[union-attr]
        left = np.maximum((u - own) / (1 - own), 0.0)  # zeros of its own come first
        return stats.nbinom.ppf(left, theta.cpu().numpy(), (theta / (theta + mean)).cpu().numpy())


def log_mean(x: Tensor) -> Tensor:
    """Logarithms of the means of counts ``(n, *event)``, as if each had been half a one more."""
    return ((x.sum(0) + 0.5) / len(x)).log()


def counted(examples: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same, looked at when they are asked for: refused where they are no counts."""

    def checked() -> Tensor:
        x = examples()
        wrong = ~((x >= 0) & (x == x.round()))
        if bool(wrong.any()):
            raise InputError(
                f"the data hold {x[wrong][0].item():g}, which is no count: give whole numbers of at least 0 (the raw "
                "counts, not scaled or logarithms), or take another model (table-vae)"
            )
        return x[:: -(-len(x) // FEW)]

    return checked


def _start_net(net: nn.Module, examples: Callable[[], Tensor], outputs: Callable[[Tensor], Tensor]) -> None:
    if isinstance(net, Constant) and not bool(net.value.any()):
        with torch.no_grad():
            net.value.copy_(outputs(examples()))
    else:
        start_at(net, examples, outputs)
