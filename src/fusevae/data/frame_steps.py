"""Invertible steps over sequences of frames."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.core.steps import Step


class StandardiseFrames(Step):
    r"""Each number of a frame to mean 0 and deviation 1 over all frames of the training data,
    :math:`y_{dt} = (x_{dt} - \mu_d) / \sigma_d`; zeros after the end of a sequence stay.

    The log-determinant of a sequence of n frames is :math:`-n \sum_d \log \sigma_d`.

    Args:
        width: numbers of a frame.

    Example:
        >>> step = StandardiseFrames(1)
        >>> step.fit(torch.tensor([[[1.0, 3.0, 0.0]], [[5.0, 7.0, 7.0]]]))
        >>> step.mean, step(torch.tensor([[[4.6, 0.0]]]))[0] + 0.0
        (tensor([4.6000]), tensor([[[0., 0.]]]))
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        n = extent(x)
        y = (x - self.mean[:, None]) / self.std[:, None] * within(n, x.shape[-1])
        return y, -n * self.std.log().sum()

    def inverse(self, y: Tensor) -> Tensor:
        return (y * self.std[:, None] + self.mean[:, None]) * within(extent(y), y.shape[-1])

    def fit(self, x: Tensor) -> None:
        if not x.numel() or x.shape[1:-1] != self.mean.shape:
            raise InputError(
                f"StandardiseFrames was fitted on shape {tuple(x.shape)}: give it (n, {len(self.mean)}, t)"
            )
        n = extent(x)
        total, there = n.sum().clamp(min=1), within(n, x.shape[-1])
        parts = list(zip(x.split(1000), there.split(1000), strict=True))
        mean = sum((a.double().sum((0, 2)) for a, _ in parts), x.new_zeros(len(self.mean), dtype=torch.float64)) / total
        squares = [(((a.double() - mean[:, None]) * t).square()).sum((0, 2)) for a, t in parts]
        std = (sum(squares, torch.zeros_like(mean)) / total).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std < 1e-6, 1.0, std))
        self.fitted = True
