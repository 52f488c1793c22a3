"""Residual convolutional encoder and decoder for images of any height, width and number of channels."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditional import flattened
from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.nets.mlp import TOLD, Embedding, as_shape
from fusevae.nets.places import Places


class ResidualBlock(nn.Module):
    """``x + conv(silu(conv(silu(x)) + label))``, the last convolution scaled by 1/sqrt(blocks) at the start, which
    keeps
    deep stacks stable without normalisation (Child 2021)."""

    def __init__(self, channels: int, blocks: int, classes: int | Conditions = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.last.weight.data /= math.sqrt(blocks)
        self.label = Embedding(classes, channels, TOLD) if classes else None

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        h = self.first(F.silu(x))
        if self.label is not None:
            h = h + self.label(label)[..., None, None]
        return x + self.last(F.silu(h))


def sizes(height: int, width: int, stages: int) -> list[tuple[int, int]]:
    """Height and width before and after each halving, rounded up: 28 -> 14 -> 7 -> 4."""
    found = [(height, width)]
    for _ in range(stages):
        height, width = (height + 1) // 2, (width + 1) // 2
        found.append((height, width))
    return found


def patches(size: tuple[int, ...], patch: int) -> tuple[int, int]:
    """How many squares of ``patch`` by ``patch`` pixels cover height and width."""
    return -(-size[0] // patch), -(-size[1] // patch)


class ConvEncoder(Described, nn.Module):
    """Image to a vector: at each stage residual blocks, then a halving; then one linear layer.

    Args:
        inputs: ``(channels, height, width)`` of an image.
        outputs: shape of one output event (twice the latent's size for a Gaussian).
        channels: width of each stage; the image is halved after each.
        blocks: residual blocks a stage; 0 leaves a plain stack of halvings, several times as fast.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one (by its residual blocks).
        patch: each square of ``patch`` by ``patch`` pixels is one place with as many channels (as of :class:`UNet`).

    Example:
        >>> import torch
        >>> ConvEncoder((3, 13, 9), 8, channels=(4, 8))(torch.zeros(2, 3, 13, 9)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: int | tuple[int, ...],
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 1,
        classes: int | Conditions = 0,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.classes, self.patch = as_shape(inputs), as_shape(outputs), classes, patch
        total = blocks * len(channels)
        self.stem = nn.Conv2d(inputs[0] * patch**2, channels[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.ModuleList(ResidualBlock(c, total, classes) for _ in range(blocks)) for c in channels
        )
        self.halvings = nn.ModuleList(
            nn.Conv2d(c, d, 3, stride=2, padding=1)
            for c, d in zip(channels, [*channels[1:], channels[-1]], strict=True)
        )
        h, w = sizes(*patches(inputs[1:], patch), len(channels))[-1]
        self.head = nn.Linear(channels[-1] * h * w, math.prod(self.outputs))

    @property
    def last(self) -> nn.Module:
        """The layer whose outputs are the net's."""
        return self.head

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, *outputs)`` for images ``(*batch, *inputs)``."""
        batch = x.shape[:-3]
        h = self.maps(x.reshape(-1, *self.inputs), flattened(label, batch))[-1]
        return self.head(F.silu(h).flatten(1)).view(*batch, *self.outputs)

    def maps(self, x: Tensor, label: Tensor | None = None) -> list[Tensor]:
        """The feature maps after each stage, for images ``(n, *inputs)``."""
        if self.patch > 1:
            x = F.pad(x, (0, -x.shape[-1] % self.patch, 0, -x.shape[-2] % self.patch))
            x = F.pixel_unshuffle(x, self.patch)
        h, found = self.stem(x), []
        for blocks, halve in zip(self.stages, self.halvings, strict=True):
            for block in cast(nn.ModuleList, blocks):
                h = block(h, label)
            h = halve(h if len(blocks) else F.silu(h))  # type: ignore[arg-type]
            found.append(h)
        return found


class ConvDecoder(Described, nn.Module):
    """Vector to an image: one linear layer, then at each stage a doubling and residual blocks.

    Args:
        inputs: size of the latent vector.
        outputs: ``(channels, height, width)``, channels counting every parameter of the likelihood.
        channels: width of each stage, from the smallest image to the largest.
        blocks: residual blocks a stage.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one.
        places: whether each place has a bias of its own, so that a training starts at the mean image.
        by_place: whether a label says something to each place, too (:class:`fusevae.nets.places.Places`).
        patch: the last layer gives each square of ``patch`` by ``patch`` pixels at once (Shi et al. 2016).

    Example:
        >>> import torch
        >>> ConvDecoder(8, (3, 13, 9), channels=(8, 4))(torch.zeros(5, 2, 8)).shape
        torch.Size([5, 2, 3, 13, 9])
    """

    def __init__(
        self,
        inputs: int,
        outputs: tuple[int, ...],
        channels: tuple[int, ...] = (64, 32),
        blocks: int = 1,
        classes: int | Conditions = 0,
        places: bool = False,
        by_place: bool = False,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.classes, self.patch = as_shape(inputs), as_shape(outputs), classes, patch
        total = blocks * len(channels)
        self.sizes = sizes(*patches(outputs[1:], patch), len(channels))[::-1]
        self.smallest = (channels[0], *self.sizes[0])
        self.stem = nn.Linear(inputs, math.prod(self.smallest))
        self.told = Places(classes, channels[0], self.sizes[0]) if classes and by_place else None
        self.widenings = nn.ModuleList(
            nn.Conv2d(c, d, 3, padding=1) for c, d in zip([channels[0], *channels[:-1]], channels, strict=True)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(ResidualBlock(c, total, classes) for _ in range(blocks)) for c in channels
        )
        self.head = nn.Conv2d(channels[-1], outputs[0] * patch**2, 3, padding=1)
        nn.init.zeros_(cast(Tensor, self.head.bias))
        self.place = nn.Parameter(torch.zeros(outputs)) if places else None

    @property
    def last(self) -> nn.Module:
        """The layer whose outputs are the net's."""
        return self.head

    def forward(self, z: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, *outputs)`` for latents ``(*batch, inputs)``."""
        batch = z.shape[:-1]
        h = self.stem(z.reshape(-1, *self.inputs)).view(-1, *self.smallest)
        label = flattened(label, batch)
        if self.told is not None:
            h = h + self.told(label)
        for size, widen, blocks in zip(self.sizes[1:], self.widenings, self.stages, strict=True):
            h = widen(F.interpolate(h, size=size, mode="nearest"))
            for block in cast(nn.ModuleList, blocks):
                h = block(h, label)
        h = self.head(F.silu(h))
        if self.patch > 1:
            h = F.pixel_shuffle(h, self.patch)[..., : self.outputs[1], : self.outputs[2]]
        h = h.reshape(*batch, *self.outputs)
        return h if self.place is None else h + self.place
