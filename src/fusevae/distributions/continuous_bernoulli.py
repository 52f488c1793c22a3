"""Continuous Bernoulli, the proper density for grey values in [0, 1]."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Distribution, Independent

from fusevae.core.conditional import Conditional, event_dim
from fusevae.nets.mlp import MLP


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
        base = TorchContinuousBernoulli(logits=self.net(*given).float(), validate_args=False)
        return Independent(base, event_dim(self.net, self.event_dim), validate_args=False)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(MLP(2, (1, 1, 2), hidden=(4,))), (torch.randn(3, 2),)),
            (cls(MLP(2, 1, hidden=(4,))), (torch.randn(2, 2),)),
        ]
