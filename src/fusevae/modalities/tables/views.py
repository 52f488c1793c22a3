"""Views of tables."""

from __future__ import annotations

from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.steps import View


class Jitter(View):
    """Adds normal noise of standard deviation ``scale`` to each value in training, never in evaluation.

    Example:
        >>> import torch
        >>> Jitter(0.1).eval()(torch.tensor([[1.0, 2.0]])).tolist()
        [[1.0, 2.0]]
    """

    changes_support = False

    def __init__(self, scale: float = 0.1) -> None:
        super().__init__()
        if not scale >= 0:
            raise InputError(f"Jitter was given scale={scale}: expected a standard deviation of at least 0")
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * noise.normal(x.shape, x.device) if self.training else x

    def spec(self, data: DataSpec) -> DataSpec:
        return data
