"""U-Net for noisy images of any height, width and number of channels."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.nets.attention import attention
from fusevae.nets.conv import sizes
from fusevae.nets.places import Places
from fusevae.nets.time_mlp import TimeEmbedding

GROUPS = 8


class UNet(Described, nn.Module):
    """Down to small images and up again, with what each size saw on the way down kept for the way up (Ronneberger et
    al. 2015; Ho et al. 2020). It keeps the contract of :mod:`fusevae.nets.time_mlp`; its output starts at zero.

    Args:
        shape: ``(channels, height, width)`` of an image; sizes are halved rounding up, so any will do.
        channels: width of each stage; the image is halved between two.
        blocks: residual blocks a stage, on each way.
        patch: each square of ``patch`` by ``patch`` pixels is one place with as many channels: 2 takes a quarter of the
            time.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one.
        context: width of the latent vector that it is given, as the net of a decoder; 0 as that of a prior.
        attention: whether every place of the smallest image sees all others.
        by_place: whether a label says something to each place of the smallest image, too (as of :class:`ConvDecoder`).

    Example:
        >>> import torch
        >>> net = UNet((3, 13, 9), channels=(8, 16), patch=2, classes=10)
        >>> net(torch.zeros(5, 3, 13, 9), torch.rand(5), torch.arange(5)).shape
        torch.Size([5, 3, 13, 9])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: tuple[int, ...] = (32, 64),
        blocks: int = 1,
        patch: int = 1,
        classes: int | Conditions = 0,
        context: int = 0,
        attention: bool = True,
        by_place: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.patch, self.classes, self.context = tuple(shape), patch, classes, context
        inside = shape[0] * patch**2
        height, width = (math.ceil(n / patch) for n in shape[1:])
        self.sizes = sizes(height, width, len(channels) - 1)
        embedded = 4 * channels[0]
        self.time = TimeEmbedding(embedded, classes, context)
        self.told = Places(classes, channels[-1], self.sizes[-1]) if classes and by_place else None
        self.stem = nn.Conv2d(inside, channels[0], 3, padding=1)

        def stage(widths: list[int], out: int) -> nn.ModuleList:
            return nn.ModuleList(_Block(w, out, embedded) for w in widths)

        self.down = nn.ModuleList(stage([c] * blocks, c) for c in channels)
        self.halvings = nn.ModuleList(
            nn.Conv2d(c, d, 3, stride=2, padding=1) for c, d in zip(channels, channels[1:], strict=False)
        )
        self.middle = _Attention(channels[-1]) if attention else None
        self.up = nn.ModuleList(stage([2 * c] + [c] * (blocks - 1), c) for c in reversed(channels))
        self.widenings = nn.ModuleList(
            nn.Conv2d(d, c, 3, padding=1) for c, d in reversed(list(zip(channels, channels[1:], strict=False)))
        )
        self.norm = _norm(channels[0])
        self.head = nn.Conv2d(channels[0], inside, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, x: Tensor, t: Tensor, *given: Tensor | None) -> Tensor:
        """``(n, *shape)`` for noisy images ``(n, *shape)`` at times ``(n,)``."""
        e = self.time(t, *given)
        height, width = x.shape[-2:]
        if self.patch > 1:
            x = F.pad(x, (0, -width % self.patch, 0, -height % self.patch))
            x = F.pixel_unshuffle(x, self.patch)
        h, seen = self.stem(x), []
        label = given[-1] if len(given) > bool(self.context) else None
        for i, stage in enumerate(self.down):
            if self.told is not None and i == len(self.halvings):
                h = h + self.told(label)
            h = _through(stage, h, e)
            seen.append(h)
            if i < len(self.halvings):
                h = self.halvings[i](h)
        if self.middle is not None:
            h = self.middle(h)
        for i, stage in enumerate(self.up):
            h = _through(stage, torch.cat([h, seen.pop()], 1), e)
            if i < len(self.widenings):
                h = self.widenings[i](F.interpolate(h, size=self.sizes[-2 - i], mode="nearest"))
        h = self.head(F.silu(self.norm(h)))
        if self.patch > 1:
            h = F.pixel_shuffle(h, self.patch)[..., :height, :width]
        return h


class _Block(nn.Module):
    """``x + conv(silu(norm(conv(silu(norm(x)))), scaled and shifted by the time))``."""

    def __init__(self, inputs: int, outputs: int, embedded: int) -> None:
        super().__init__()
        self.before, self.first = _norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.between, self.last = _norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(embedded, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.last.weight.data *= 0.3  # near the identity at the start, as in deep stacks (Child 2021)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.time(e)[..., None, None].chunk(2, 1)
        h = self.between(self.first(F.silu(self.before(x))))
        return self.skip(x) + self.last(F.silu(h * (1 + scale) + shift))


class _Attention(nn.Module):
    """``x + attention(norm(x))`` over all places of an image (Vaswani et al. 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(channels, 4)
        self.norm, self.into = _norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.into(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2).unbind(1)
        return x + self.out(attention(q, k, v).transpose(-1, -2).reshape(x.shape))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, GROUPS), channels)


def _through(stage: nn.Module, h: Tensor, e: Tensor) -> Tensor:
    for block in cast(nn.ModuleList, stage):
        h = block(h, e)
    return h
