"""Nets over sequences of frames of any length: to a vector, and from one. No frame after the end changes anything."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditional import flattened
from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.frames import extent, within
from fusevae.nets.mlp import TOLD, Embedding, as_shape
from fusevae.nets.sequence_encoder import shares

CODES = 8  # waves by which a frame's place in the whole is told, each as sine and cosine


class ConvNeXt(nn.Module):
    """A convolution over time for each channel, then two layers over the channels of each frame, added to what was
    given (Liu et al. 2022; over time as in Siuzdak 2023).

    Args:
        width: channels.
        blocks: in the whole net, by which the last layer starts scaled.
        kernel: frames that are seen.
        dilation: from one of them to the next.
    """

    def __init__(self, width: int, blocks: int, kernel: int = 7, dilation: int = 1) -> None:
        super().__init__()
        self.over_time = nn.Conv1d(
            width, width, kernel, padding=kernel // 2 * dilation, groups=width, dilation=dilation
        )
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.narrow.weight.data /= math.sqrt(blocks)

    def forward(self, x: Tensor, there: Tensor, given: Tensor | None = None) -> Tensor:
        """``x`` ``(n, width, frames)``, zero where ``there`` ``(n, 1, frames)`` is; ``given`` ``(n, width)`` is added
        to each frame."""
        h = self.over_time(x)
        if given is not None:
            h = h + given[..., None]
        h = self.narrow(F.gelu(self.wide(self.norm(h.transpose(1, 2))))).transpose(1, 2)
        return (x + h) * there


def places(n: Tensor, frames: int) -> Tensor:
    """Where each of ``frames`` lies in sequences of ``n`` ``(batch,)``: waves of its place in the whole,
    ``(batch, 16, frames)``."""
    part = (torch.arange(frames, device=n.device) + 0.5) / n[:, None].clamp(min=1)
    angles = math.pi * part[:, None] * (1 + torch.arange(CODES, device=n.device))[:, None]
    return torch.cat([angles.sin(), angles.cos()], 1)


class FrameEncoder(Described, nn.Module):
    """Frames to a vector: ConvNeXt blocks over time, the mean over each of several equal parts of the sequence, a
    linear layer.

    Args:
        inputs: numbers of a frame.
        outputs: of the result.
        width: channels.
        blocks: how many, their dilations 1, 2, 4, 1, 2, ...
        parts: of a sequence.
        classes: number of labels, or :class:`Conditions`, if the net is given one.

    Example:
        >>> net = FrameEncoder(4, 6, width=8, blocks=1)
        >>> x = torch.randn(2, 4, 9)
        >>> torch.allclose(net(x), net(F.pad(x, (0, 5))), atol=1e-5), net(x).shape
        (True, torch.Size([2, 6]))
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 128,
        blocks: int = 4,
        parts: int = 8,
        classes: int | Conditions = 0,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.classes, self.parts = inputs, as_shape(outputs), classes, parts
        self.stem = nn.Conv1d(inputs + 2 * CODES, width, 3, padding=1)
        self.blocks = nn.ModuleList(ConvNeXt(width, blocks, dilation=2 ** (i % 3)) for i in range(blocks))
        self.label = Embedding(classes, width, TOLD) if classes else None
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width * parts + 1, outputs)

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, outputs)`` for frames ``(*batch, inputs, frames)``."""
        batch = x.shape[:-2]
        x, label = x.reshape(-1, *x.shape[-2:]), flattened(label, batch)
        n = extent(x)
        there = within(n, x.shape[-1]).to(x.dtype)
        h = self.stem(torch.cat([x, places(n, x.shape[-1])], 1) * there) * there
        given = self.label(label) if self.label is not None else None
        given = given if given is None or given.dim() == 2 else given.expand(len(x), -1)
        for block in self.blocks:
            h = block(h, there, given)
        h = self.norm(h.transpose(1, 2))
        pooled = (shares(there[:, 0] > 0, self.parts).to(h.dtype) @ h).flatten(1)
        out = self.head(torch.cat([pooled, n[:, None].clamp(min=1).to(h.dtype).log() - 4], 1))
        return out.view(*batch, *self.outputs)


class FrameDecoder(Described, nn.Module):
    """A vector, and how many frames there are, to frames: the vector makes several columns, between which each frame
    lies by its place, then ConvNeXt blocks over time.

    Args:
        inputs: numbers of the vector.
        outputs: numbers of a frame.
        width: channels.
        blocks: how many, their dilations 1, 2, 4, 1, 2, ...
        parts: columns that the vector makes.
        classes: number of labels, or :class:`Conditions`, if the net is given one.

    Example:
        >>> net = FrameDecoder(3, 4, width=8, blocks=1)
        >>> net(torch.tensor([5, 2]), torch.zeros(2, 3)).shape
        torch.Size([2, 4, 5])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 128,
        blocks: int = 4,
        parts: int = 8,
        classes: int | Conditions = 0,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.classes, self.parts, self.width = inputs, (outputs,), classes, parts, width
        self.stem = nn.Linear(inputs, width * parts)
        self.along = nn.Conv1d(2 * CODES, width, 1)
        self.blocks = nn.ModuleList(ConvNeXt(width, blocks, dilation=2 ** (i % 3)) for i in range(blocks))
        self.label = Embedding(classes, width, TOLD) if classes else None
        self.given = nn.Linear(inputs, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    @property
    def last(self) -> nn.Module:
        """The layer whose outputs are the net's."""
        return self.head

    def forward(self, n: Tensor, z: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(batch, outputs, largest n)`` for numbers of frames ``n`` ``(batch,)`` and vectors ``(batch, inputs)``;
        zeros after the end."""
        frames = int(n.max()) if len(n) else 1
        there = within(n, frames).to(z.dtype)
        columns = self.stem(z).view(-1, self.width, self.parts)
        h = (columns @ between(n, frames, self.parts).to(z.dtype) + self.along(places(n, frames).to(z.dtype))) * there
        given = self.given(z)
        if self.label is not None:
            given = given + self.label(label)
        for block in self.blocks:
            h = block(h, there, given)
        return self.head(self.norm(h.transpose(1, 2))).transpose(1, 2) * there


def between(n: Tensor, frames: int, parts: int) -> Tensor:
    """Weights ``(batch, parts, frames)`` of the two of ``parts`` columns between which each frame lies.

    Example:
        >>> between(torch.tensor([3]), 3, 2)
        tensor([[[1.0000, 0.5000, 0.0000],
                 [0.0000, 0.5000, 1.0000]]])
    """
    place = torch.arange(frames, device=n.device) / (n[:, None] - 1).clamp(min=1) * (parts - 1)
    apart = (place[:, None] - torch.arange(parts, device=n.device)[:, None]).abs()
    return (1 - apart).clamp(min=0)
