"""Invertible steps over sequences of frames."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.core.steps import Step
from fusevae.nets.frame_net import FrameNet


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


class FrameCoupling(Step):
    r"""A part b of each frame is scaled and shifted by what a net over all frames makes of the other part a,

    .. math:: y_a = x_a, \quad y_{bt} = x_{bt}\, e^{s_t(x_a)} + m_t(x_a), \quad |s| < 1

    (Dinh et al. 2017; over time as in VITS, Kim et al. 2021). The log-determinant of a sequence is the sum of s over
    its frames. It starts as the identity; several, each with the other part, are a flow. Before a prior of frames
    (``Preprocessed([FrameCoupling(16), FrameCoupling(16, first=True)], Aligned(...))``) they make one of another form.

    Args:
        width: numbers of a frame, at least 2.
        first: whether b is the first half, or else the last.
        hidden: channels of the net.
        blocks: of the net.

    Example:
        >>> step = FrameCoupling(2, hidden=8)
        >>> x = torch.tensor([[[1.0, 3.0, 0.0], [5.0, 7.0, 0.0]]])
        >>> torch.equal(step.inverse(step(x)[0]), x), step(x)[1]
        (True, tensor([0.], grad_fn=<SumBackward1>))
    """

    def __init__(self, width: int, first: bool = False, hidden: int = 64, blocks: int = 2) -> None:
        super().__init__()
        if width < 2:
            raise InputError(f"FrameCoupling was given width={width}: expected at least 2, one to move by the other")
        self.width, self.first = width, first
        part = width // 2 if first else width - width // 2
        self.net = FrameNet(width - part, 2 * part, hidden, blocks)
        torch.nn.init.zeros_(self.net.head.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self._parts(x)
        log_scale, shift = self._moments(a)
        return self._whole(a, b * log_scale.exp() + shift), log_scale.sum((-1, -2))

    def inverse(self, y: Tensor) -> Tensor:
        a, b = self._parts(y)
        log_scale, shift = self._moments(a)
        return self._whole(a, (b - shift) * (-log_scale).exp())

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """a and b."""
        halves = x.tensor_split([self.width // 2], -2)
        return (halves[1], halves[0]) if self.first else (halves[0], halves[1])

    def _whole(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([b, a] if self.first else [a, b], -2)

    def _moments(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """s and m: zero after the end, as what the net gives is."""
        raw, shift = self.net(a).float().chunk(2, -2)
        return raw.tanh(), shift
