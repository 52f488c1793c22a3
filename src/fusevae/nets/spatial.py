"""Residual convolutional nets between images and feature maps, whose places are regions of the image."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditional import flattened
from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.nets.conv import ResidualBlock, sizes
from fusevae.nets.mlp import as_shape


class SpatialEncoder(Described, nn.Module):
    """Image to a feature map: at each stage a halving, then residual blocks.

    The blocks stand after the halving, so that none works at the size of the image, where it would take most of the
    time.

    Args:
        inputs: ``(channels, height, width)`` of an image.
        features: channels of the map (twice the latent's for a Gaussian).
        channels: width of each stage; the image is halved (rounding up) before each.
        blocks: residual blocks a stage.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one.

    Example:
        >>> import torch
        >>> net = SpatialEncoder((3, 13, 9), 5, channels=(4, 8))
        >>> net.outputs, net(torch.zeros(2, 3, 13, 9)).shape
        ((5, 4, 3), torch.Size([2, 5, 4, 3]))
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        features: int,
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 1,
        classes: int | Conditions = 0,
    ) -> None:
        super().__init__()
        self.inputs, self.classes = as_shape(inputs), classes
        self.outputs = (features, *sizes(inputs[1], inputs[2], len(channels))[-1])
        self.halvings = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip([inputs[0], *channels], channels, strict=False)
        )
        self.stages = _stages(channels, blocks, classes)
        self.head = nn.Conv2d(channels[-1], features, 1)

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, *outputs)`` for images ``(*batch, *inputs)``."""
        batch = x.shape[:-3]
        h, label = x.reshape(-1, *self.inputs), flattened(label, batch)
        for i, (halve, blocks) in enumerate(zip(self.halvings, self.stages, strict=True)):
            h = halve(F.silu(h) if i else h)
            for block in cast(nn.ModuleList, blocks):
                h = block(h, label)
        return self.head(F.silu(h)).view(*batch, *self.outputs)


class SpatialDecoder(Described, nn.Module):
    """Feature map to an image: at each stage residual blocks, then a doubling; the mirror of :class:`SpatialEncoder`.

    Args:
        features: channels of the map.
        outputs: ``(channels, height, width)``, channels counting every parameter of the likelihood.
        channels: width of each stage, from the smallest map on; each is doubled after.
        blocks: residual blocks a stage.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one.
        places: as of :class:`ConvDecoder`.

    Example:
        >>> import torch
        >>> net = SpatialDecoder(5, (3, 13, 9), channels=(8, 4))
        >>> net.inputs, net(torch.zeros(6, 2, 5, 4, 3)).shape
        ((5, 4, 3), torch.Size([6, 2, 3, 13, 9]))
    """

    def __init__(
        self,
        features: int,
        outputs: tuple[int, ...],
        channels: tuple[int, ...] = (64, 32),
        blocks: int = 1,
        classes: int | Conditions = 0,
        places: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.classes = as_shape(outputs), classes
        self.sizes = sizes(outputs[1], outputs[2], len(channels))[::-1]
        self.inputs = (features, *self.sizes[0])
        self.stem = nn.Conv2d(features, channels[0], 3, padding=1)
        self.stages = _stages(channels, blocks, classes)
        self.doublings = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(channels, [*channels[1:], outputs[0]], strict=True)
        )
        nn.init.zeros_(cast(Tensor, self.last.bias))
        self.place = nn.Parameter(torch.zeros(outputs)) if places else None

    @property
    def last(self) -> nn.Module:
        """The layer whose outputs are the net's."""
        return self.doublings[-1]

    def forward(self, z: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, *outputs)`` for feature maps ``(*batch, *inputs)``."""
        batch = z.shape[:-3]
        h, label = self.stem(z.reshape(-1, *self.inputs)), flattened(label, batch)
        for size, blocks, double in zip(self.sizes[1:], self.stages, self.doublings, strict=True):
            for block in cast(nn.ModuleList, blocks):
                h = block(h, label)
            h = double(F.interpolate(F.silu(h), size=size, mode="nearest"))
        h = h.view(*batch, *self.outputs)
        return h if self.place is None else h + self.place


def _stages(channels: tuple[int, ...], blocks: int, classes: int | Conditions) -> nn.ModuleList:
    total = blocks * len(channels)
    return nn.ModuleList(nn.ModuleList(ResidualBlock(c, total, classes) for _ in range(blocks)) for c in channels)
