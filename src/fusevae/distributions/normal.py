"""Standard normal, the usual prior."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from fusevae.core.conditional import Conditional
from fusevae.nets.mlp import as_shape


class Normal(Conditional):
    r"""Standard normal :math:`p(z) = \mathcal N(0, I)` over events of ``shape``, whatever is given.

    Its batch is empty: log-probabilities broadcast over the batch of z.

    Example:
        >>> import torch
        >>> Normal(2)().log_prob(torch.zeros(3, 2))
        tensor([-1.8379, -1.8379, -1.8379])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, shape: int | tuple[int, ...]) -> None:
        super().__init__()
        self.shape = as_shape(shape)
        self.register_buffer("loc", torch.zeros(self.shape), persistent=False)
        self.register_buffer("scale", torch.ones(self.shape), persistent=False)

    def forward(self, *given: Tensor | None) -> Distribution:
        return Independent(TorchNormal(self.loc, self.scale, validate_args=False), len(self.shape), validate_args=False)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(1), ()), (cls((1, 2)), ())]
