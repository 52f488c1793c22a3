"""One-hot categories, with the straight-through Gumbel-softmax as their path."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints, register_kl
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.core.errors import InputError
from fusevae.nets.mlp import MLP, Constant


class OneHotCategoricals(Conditional):
    r""":math:`p(z \mid given) = \prod_i \mathrm{softmax}(l_i)_{c_i}`, z one-hot: row i is 1 at category :math:`c_i`
    and 0 elsewhere.

    Args:
        net: gives the logits, of the shape of an event: ``(n, k)`` for n variables of k categories each, or ``(k,)``
            for one.
        temperature: of the path; None for no path (the score function's gradient is then unbiased).
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    Samples are one-hot whether they are relaxed or not: log-probabilities and KL are those of the discrete
    distribution, so that the ELBO and the importance-weighted bound stay bounds. Only the *gradient* of ``rsample`` is
    relaxed: that of softmax((l + g) / temperature), g Gumbel noise, in place of the argmax that gave the sample
    (straight-through Gumbel-softmax; Jang et al. 2017, Maddison et al. 2017). It is biased, the less the colder, and
    its variance grows as it gets colder.

    As a learned prior it is ``OneHotCategoricals(Constant((n, k)))``, uniform before training.

    Example:
        >>> import torch
        >>> p = OneHotCategoricals(Constant((2, 4)))()
        >>> round(p.log_prob(p.sample()).exp().item(), 4)
        0.0625
    """

    discrete = True
    space = "one-hot"

    def __init__(self, net: nn.Module, temperature: float | None = 0.67, event_dim: int | None = None) -> None:
        super().__init__()
        if temperature is not None and not temperature > 0:
            raise InputError(f"temperature is {temperature}, expected more than 0 or None: 0.67, say")
        self.net, self.temperature, self.event_dim = net, temperature, event_dim

    def forward(self, *given: Tensor | None) -> Distribution:
        dims = event_dim(self.net, self.event_dim)
        one = _OneHot(parameters(self.net, given), self.temperature)
        return Independent(one, dims - 1, validate_args=False)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(MLP(2, (2, 3), hidden=(4,))), (torch.randn(3, 2),)),
            (cls(MLP(2, 3, hidden=(4,)), temperature=None), (torch.randn(3, 2),)),
            (cls(Constant((2, 3), std=1.0)), ()),
        ]


class _OneHot(Distribution):
    """One variable: ``logits`` of shape ``(*batch, k)``."""

    arg_constraints = {}
    support = constraints.one_hot

    def __init__(self, logits: Tensor, temperature: float | None) -> None:
        self.log_p, self.temperature = logits.log_softmax(-1), temperature
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.temperature is not None

    @property
    def mean(self) -> Tensor:
        return self.log_p.exp()

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self.log_p)

    def entropy(self) -> Tensor:
        return -(self.mean * self.log_p).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            return self._one_hot(self._perturbed(sample_shape))

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        assert self.temperature is not None
        perturbed = self._perturbed(sample_shape)
        relaxed = (perturbed / self.temperature).softmax(-1)
        return self._one_hot(perturbed) + (relaxed - relaxed.detach())  # exactly one-hot: the bracket is 0

    def log_prob(self, value: Tensor) -> Tensor:
        inside = ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)
        return torch.where(inside, (value * self.log_p).sum(-1), -math.inf)

    def _perturbed(self, sample_shape: Any) -> Tensor:
        """log p and Gumbel noise, of which the argmax is a sample; a number for each category."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, device=self.log_p.device).clamp_(1e-20, 1 - 1e-7)
        return self.log_p - torch.log(-torch.log(uniform))

    def _one_hot(self, score: Tensor) -> Tensor:
        return F.one_hot(score.argmax(-1), score.shape[-1]).to(self.log_p.dtype)


@register_kl(_OneHot, _OneHot)  # type: ignore[untyped-decorator]
def _between(q: _OneHot, p: _OneHot) -> Tensor:
    return (q.mean * (q.log_p - p.log_p)).sum(-1)
