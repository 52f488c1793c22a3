"""Bernoulli from logits, for binary data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, event_dim, parameters
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import start_at


class Bernoulli(Conditional):
    r""":math:`p(x \mid given) = \prod_d \pi_d^{x_d} (1 - \pi_d)^{1 - x_d}` with logits from a net, x in {0, 1}.

    .. math:: \log p(x) = \sum_d x_d l_d - \mathrm{softplus}(l_d), \quad \pi = \mathrm{sigmoid}(l)

    Args:
        net: gives the logits.
        event_dim: trailing dimensions of one event; by default as many as the net says its outputs have.

    Example:
        >>> import torch
        >>> from fusevae.nets.mlp import MLP
        >>> Bernoulli(MLP(2, (1, 4, 4)))(torch.zeros(3, 2)).log_prob(torch.ones(3, 1, 4, 4)).shape
        torch.Size([3])
    """

    discrete = True

    def __init__(self, net: nn.Module, event_dim: int | None = None) -> None:
        super().__init__()
        self.net, self.event_dim = net, event_dim

    def forward(self, *given: Tensor | None) -> Distribution:
        return _BernoulliEvent(parameters(self.net, given), event_dim(self.net, self.event_dim))

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        start_at(self.net, examples, lambda x: torch.logit((x.sum(0) + 0.5) / (len(x) + 1)))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(MLP(2, (1, 2, 2), hidden=(4,))), (torch.randn(3, 2),)),
            (cls(MLP(2, 3, hidden=(4,))), (torch.randn(2, 2),)),
        ]


class _BernoulliEvent(Independent[TorchBernoulli]):
    """Independent Bernoullis with the log-probability of a whole event in two passes over the logits instead of five:
    this is most of the time of an importance-weighted likelihood."""

    def __init__(self, logits: Tensor, dims: int) -> None:
        self.logits = logits
        super().__init__(TorchBernoulli(logits=logits, validate_args=False), dims, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        dims = self.reinterpreted_batch_ndims
        logits, value = self.logits.flatten(-dims), value.to(self.logits.dtype).flatten(-dims)
        if torch.is_autocast_enabled(logits.device.type):  # it would round a dot product to bfloat16
            return (value * logits - F.softplus(logits)).sum(-1)
        return torch.linalg.vecdot(value, logits) - F.softplus(logits).sum(-1)
