"""Masked convolutions for images in raster order: two stacks, one of the rows above and one of the pixels to the left,
leave no blind spot; and a walk over the pixels that computes each activation once."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.nets.mlp import TOLD, Embedding
from fusevae.nets.places import Places


def gate(x: Tensor) -> Tensor:
    """:math:`\\tanh(a) \\sigma(b)` for the two halves a and b of the channels."""
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class Conv(nn.Conv2d):
    """A convolution without a border of its own. Where the window is as large as the kernel, as for a single pixel, it
    is a product of matrices, which a processor begins much sooner than a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.kernel_size or self.groups > 1:
            return super().forward(x)
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[..., None, None]


class FirstConv(nn.Module):
    """The only layer that doesn't see its own pixel: k x k around it, the rows above and what is left of it.

    Its windows, like those of :class:`GatedConv`, come with their border: the whole padded image in training, the few
    rows or pixels that one position sees in sampling.
    """

    def __init__(self, inputs: int, width: int, kernel: int, stacks: bool) -> None:
        super().__init__()
        self.reach, self.stacks = kernel // 2, stacks
        self.above = Conv(inputs, 2 * width if stacks else width, (self.reach, kernel))
        self.left = Conv(inputs, width, (1, self.reach), bias=False)

    def down(self, window: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """The vertical stack's first activations (none where no layer goes on with them), and what is added to the
        horizontal one."""
        v, link = self.above(window).chunk(2, 1) if self.stacks else (window, self.above(window))
        return v, link if bias is None else link + bias


class GatedConv(nn.Module):
    """A gated layer of both stacks (van den Oord et al. 2016): what the rows above give is added to what the pixels to
    the left give, never the other way, so that no pixel to the upper right is lost."""

    def __init__(self, width: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.reach, self.bias = kernel // 2, 4 * width
        self.vertical = Conv(width, 2 * width, (self.reach + 1, kernel))
        self.horizontal = Conv(width, 2 * width, (1, self.reach + 1), bias=False)
        self.link = Conv(2 * width, 2 * width, 1)
        self.last = Conv(width, width, 1)
        self.last.weight.data *= scale

    def down(self, window: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """The vertical stack's next activations, and what is added to the horizontal one."""
        if bias is None:
            a = self.vertical(window)
            return gate(a), self.link(a)
        vertical, horizontal = bias.chunk(2, 1)
        a = self.vertical(window) + vertical
        return gate(a), self.link(a) + horizontal

    def across(self, window: Tensor, link: Tensor) -> Tensor:
        """The horizontal stack's next activations."""
        return window[..., self.reach :] + self.last(gate(self.horizontal(window) + link))


class Pointwise(nn.Module):
    """A residual layer of each position by itself: what a kernel of 1 stands for. Without a gate, which would cost more
    than the layer."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.bias = width
        self.first, self.last = Conv(width, width, 1), nn.Conv2d(width, width, 1)
        self.last.weight.data *= scale

    def forward(self, h: Tensor, bias: Tensor | None) -> Tensor:
        inner = self.first(F.silu(h))
        return h + self.last(F.silu(inner if bias is None else inner + bias))


class PixelNet(Described, nn.Module):
    """Features of each pixel from those before it in raster order, and from conditions that reach every layer.

    Args:
        inputs: channels of the image as the net sees it.
        width: channels of each layer.
        kernels: sizes of the layers' kernels, odd: the first of :class:`FirstConv`, then gated layers; 1 for a
            pointwise one.
        context: width of a vector that every layer is given; 0 for none.
        features: channels of a map as large as the image that every layer is given, each pixel its own; 0 for none.
        classes: number of labels, or :class:`Conditions`, that every layer is given; 0 for none.
        size: height and width of the images, with which a label says something to each place of the first layer, too.

    Attributes:
        reach: how far a feature sees: the ``reach`` rows above and the row itself to the left, in those the ``reach``
            columns to each side, all of this half square and nothing else.

    Example:
        >>> import torch
        >>> net = PixelNet(1, 8, kernels=(5, 3, 1))
        >>> net(torch.zeros(2, 1, 9, 7)).shape, net.reach
        (torch.Size([2, 8, 9, 7]), 3)
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        kernels: tuple[int, ...] = (7, 3, 3, 3),
        context: int = 0,
        features: int = 0,
        classes: int | Conditions = 0,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if not kernels or kernels[0] < 3 or any(k < 1 or k % 2 == 0 for k in kernels):
            raise InputError(f"kernels are {kernels}: expected odd sizes, the first at least 3: (7, 3, 3), say")
        self.inputs, self.width, self.kernels = inputs, width, kernels
        self.context, self.features, self.classes = context, features, classes
        self.reach = sum(k // 2 for k in kernels)
        scale = 1 / math.sqrt(max(1, len(kernels) - 1))
        self.first = FirstConv(inputs, width, kernels[0], any(k > 1 for k in kernels[1:]))
        self.layers = nn.ModuleList(
            GatedConv(width, k, scale) if k > 1 else Pointwise(width, scale) for k in kernels[1:]
        )
        self.biases = [width, *(cast(int, layer.bias) for layer in self.layers)]
        total = sum(self.biases)
        self.given = nn.Linear(context, total, bias=False) if context else None
        self.map = nn.Conv2d(features, total, 1, bias=False) if features else None
        self.label = Embedding(classes, total, TOLD) if classes else None
        self.told = Places(classes, width, size) if classes and size is not None else None

    def conditions(
        self, vector: Tensor | None = None, label: Tensor | None = None, features: Tensor | None = None
    ) -> list[Tensor | None]:
        """What is added in each layer: ``(n, channels, height, width)``, any of these but the channels possibly 1."""
        total: Tensor | None = None
        if self.given is not None:
            total = self.given(vector)[..., None, None]
        if self.label is not None:
            by_label = self.label(label)[..., None, None]
            total = by_label if total is None else total + by_label
        if self.map is not None:
            mapped = self.map(features)
            total = mapped if total is None else total + mapped
        if total is None:
            return [None] * len(self.biases)
        first, *others = (total[None] if total.dim() == 3 else total).split(self.biases, 1)
        return [first if self.told is None else first + self.told(label), *others]

    def forward(self, x: Tensor, conditions: list[Tensor | None] | None = None) -> Tensor:
        """``(n, width, height, width)`` for images ``(n, inputs, height, width)``."""
        conditions = conditions or [None] * len(self.biases)
        r, (height, width) = self.first.reach, x.shape[-2:]
        v, link = self.first.down(F.pad(x, (r, r, r, 0))[..., : height + r - 1, :], conditions[0])
        h = self.first.left(F.pad(x, (r, 0, 0, 0))[..., : width + r - 1]) + link
        for layer, bias in zip(self.layers, conditions[1:], strict=True):
            if isinstance(layer, GatedConv):
                r = layer.reach
                v, link = layer.down(F.pad(v, (r, r, r, 0)), bias)
                h = layer.across(F.pad(h, (r, 0, 0, 0)), link)
            else:
                h = layer(h, bias)
        return h


class Walk:
    """The features of ``net`` pixel by pixel: :meth:`row`, then for each of its pixels :meth:`at` and :meth:`put`.

    The vertical stack is computed a row at a time, the horizontal one a pixel at a time; each activation is kept where
    later ones see it, so that the cost of a pixel doesn't grow with those before it.
    """

    def __init__(self, net: PixelNet, n: int, size: tuple[int, int], conditions: list[Tensor | None]) -> None:
        self.net, self.size = net, size
        height, width = size
        r = net.first.reach
        like = net.first.left.weight
        self.x = like.new_zeros(n, net.inputs, height + r, width + 2 * r)
        self.v, self.h = {}, {}
        self.biases = [bias if bias is None else bias.expand(*bias.shape[:2], height, width) for bias in conditions]
        for i, layer in enumerate(net.layers):
            if isinstance(layer, GatedConv):
                r = layer.reach
                self.v[i] = like.new_zeros(n, net.width, height + r, width + 2 * r)
                self.h[i] = like.new_zeros(n, net.width, 1, width + r)

    def row(self, i: int) -> None:
        """Begin row ``i``; those above are put."""
        net, r, width = self.net, self.net.first.reach, self.size[1]
        self.i, self.here = i, [b if b is None else b[..., i : i + 1, :] for b in self.biases]
        v, self.link = net.first.down(self.x[:, :, i : i + r], self.here[0])
        self.links = {}
        for k, layer in enumerate(net.layers):
            if isinstance(layer, GatedConv):
                r = layer.reach
                self.v[k][:, :, i + r, r : r + width] = v[:, :, 0]
                v, self.links[k] = layer.down(self.v[k][:, :, i : i + r + 1], self.here[k + 1])

    def at(self, j: int) -> Tensor:
        """The features ``(n, width, 1, 1)`` of column ``j``; the pixels to its left are put."""
        net, r = self.net, self.net.first.reach
        h = net.first.left(self.x[:, :, self.i + r : self.i + r + 1, j : j + r]) + self.link[..., j : j + 1]
        for k, layer in enumerate(net.layers):
            if isinstance(layer, GatedConv):
                r = layer.reach
                self.h[k][..., j + r] = h[..., 0]
                h = layer.across(self.h[k][..., j : j + r + 1], self.links[k][..., j : j + 1])
            else:
                bias = self.here[k + 1]
                h = layer(h, bias if bias is None else bias[..., j : j + 1])
        return h

    def put(self, j: int, pixel: Tensor) -> None:
        """Say what column ``j`` of this row is, ``(n, inputs)``."""
        r = self.net.first.reach
        self.x[:, :, self.i + r, j + r] = pixel


class ChannelHead(nn.Module):
    """``outputs`` numbers for each channel of a pixel, from the pixel's features and the channels before it.

    Args:
        width: of the features.
        channels: of a pixel.
        inputs: numbers that stand for each channel.
        outputs: numbers for each channel.
    """

    mask: Tensor

    def __init__(self, width: int, channels: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.channels, self.outputs = channels, outputs
        self.last = Conv(width * channels, outputs * channels, 1, groups=channels)
        if channels > 1:
            self.first = Conv(width, width * channels, 1)
            self.before = nn.Conv2d(inputs * channels, width * channels, 1, bias=False)
            order = torch.arange(channels)
            mask = order.repeat_interleave(width)[:, None] > order.repeat_interleave(inputs)[None, :]
            self.register_buffer("mask", mask[..., None, None].float(), persistent=False)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """``(n, channels, outputs, height, width)`` for features ``h`` and the image ``x`` as the net sees it."""
        if self.channels > 1:
            h = self.first(F.silu(h)) + F.conv2d(x, self.before.weight * self.mask)
        return self.last(F.silu(h)).unflatten(1, (self.channels, self.outputs))
