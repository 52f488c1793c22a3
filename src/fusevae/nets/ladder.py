"""Nets of a hierarchy of latents: a bottom-up encoder, and the top-down pass that inference and generation share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.nets.conv import sizes
from fusevae.nets.mlp import TOLD, Embedding, as_shape


class TopDownBlock(nn.Module):
    """One level of the top-down pass: ``prior`` and ``posterior`` give a mean and a log-scale of its latent, ``merge``
    adds the latent to the state, ``block`` goes on from there. The prior starts at the standard normal (Child 2021)."""

    def __init__(
        self, layer: Callable[[int, int], nn.Module], width: int, latent: int, levels: int, size: Sequence[int]
    ) -> None:
        super().__init__()
        self.latent = (latent, *size)
        self.prior = nn.Sequential(nn.SiLU(), layer(width, width), nn.SiLU(), layer(width, 2 * latent))
        self.posterior = nn.Sequential(nn.SiLU(), layer(2 * width, width), nn.SiLU(), layer(width, 2 * latent))
        self.merge = layer(latent, width)
        self.block = residual(layer, width, levels)
        shrink(self.merge, levels)
        for p in self.prior[-1].parameters():
            nn.init.zeros_(p)


class LadderNet(Described, nn.Module):
    """What a :class:`fusevae.Ladder` asks of its nets; ``state`` is the shape of the top-down state, which the decoder
    is given at the end. Leading dimensions are free."""

    levels: nn.ModuleList
    stem: nn.Module
    blocks: nn.ModuleList
    state: tuple[int, ...]

    @abstractmethod
    def up(self, x: Tensor, label: Tensor | None) -> list[Tensor]:
        """What the encoder sees of ``x`` for each level, from the top down."""

    @abstractmethod
    def start(self, top: Tensor | None, label: Tensor | None) -> Tensor:
        """The state before the first level: from the latent above, if there is one, and the label."""

    @abstractmethod
    def resize(self, level: int, h: Tensor) -> Tensor:
        """The state as a level wants it."""

    def inference(self) -> list[nn.Module]:
        """The nets of the posterior alone."""
        posterior = [level.posterior for level in self.levels]
        return [*posterior, self.stem, self.blocks]  # type: ignore[list-item]

    def prior(self, level: int, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of p(z | what is above)."""
        return self._halves(level, self._run(self.levels[level].prior, h))  # type: ignore[arg-type]

    def posterior(self, level: int, h: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of q(z | what is above, x), relative to the prior's."""
        batch = torch.broadcast_shapes(h.shape[: -len(self.state)], seen.shape[: -len(self.state)])
        both = [t.expand(*batch, *t.shape[-len(self.state) :]) for t in (h, seen)]
        return self._halves(level, self._run(self.levels[level].posterior, torch.cat(both, -len(self.state))))  # type: ignore[arg-type]

    def down(self, level: int, h: Tensor, z: Tensor) -> Tensor:
        """The state after a level whose latent is ``z``."""
        part = self.levels[level]
        h = h + self._run(part.merge, z)  # type: ignore[arg-type]
        return h + self._run(part.block, h)  # type: ignore[arg-type]

    def _run(self, net: nn.Module, x: Tensor) -> Tensor:
        dims = len(self.state)
        out: Tensor = net(x.reshape(-1, *x.shape[-dims:]))
        return out.view(*x.shape[:-dims], *out.shape[1:])

    def _halves(self, level: int, out: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = out.float().chunk(2, -len(self.state))
        return mean, raw


class DenseLadder(LadderNet):
    """Levels of vectors.

    Args:
        inputs: shape of one example.
        latents: sizes of the levels, from the top down.
        width: of the state, and of the encoder.
        top: size of a latent above the levels, which starts the pass; 0 for none.
        classes: number of labels, or :class:`Conditions`, if it is conditioned on one.
        centred: whether it looks at how examples differ from their mean, as of :class:`MLP`.
    """

    data_mean: Tensor | None

    def __init__(
        self,
        inputs: int | tuple[int, ...],
        latents: tuple[int, ...] = (16, 32),
        width: int = 256,
        top: int = 0,
        classes: int | Conditions = 0,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.state, self.classes = as_shape(inputs), (width,), classes
        n = len(latents)
        self.levels = nn.ModuleList(TopDownBlock(nn.Linear, width, latent, n, ()) for latent in latents)
        self.stem = nn.Linear(math.prod(self.inputs), width)
        self.register_buffer("data_mean", torch.zeros(self.inputs) if centred else None)
        self.blocks = nn.ModuleList(residual(nn.Linear, width, n) for _ in latents)
        self.first = nn.Parameter(torch.zeros(width))
        self.above = nn.Linear(top, width) if top else None
        self.label_up = Embedding(classes, width, TOLD) if classes else None
        self.label_down = Embedding(classes, width, TOLD) if classes else None

    def up(self, x: Tensor, label: Tensor | None) -> list[Tensor]:
        x = x if self.data_mean is None else x - self.data_mean
        h = self.stem(x.flatten(-len(self.inputs)))
        if self.label_up is not None:
            h = h + self.label_up(label)
        found = []
        for block in self.blocks:
            h = h + block(h)
            found.append(h)
        return found[::-1]

    def start(self, top: Tensor | None, label: Tensor | None) -> Tensor:
        h = self.first + 0.0
        if self.above is not None and top is not None:
            h = h + self.above(top)
        return h + self.label_down(label) if self.label_down is not None else h

    def resize(self, level: int, h: Tensor) -> Tensor:
        return h


class ConvLadder(LadderNet):
    """Levels of feature maps, more of them at each doubling of the image's size.

    Args:
        inputs: ``(channels, height, width)`` of an image, of any size.
        levels: how many levels at each size, from the smallest to the largest; each has half the height and width of
            the one after it. ``(2, 4)`` for 28 x 28 are 2 of 7 x 7 and 4 of 14 x 14.
        stride: how many times smaller than the image the largest level is: 2, 4, 8 ...; time falls with its square.
        latent: channels of each level's latent.
        width: channels of the state, and of the encoder.
        top: size of a vector above the levels, which starts the pass; 0 for none.
        classes: number of labels, or :class:`Conditions`, if it is conditioned on one.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        levels: tuple[int, ...] = (2, 4),
        latent: int = 4,
        width: int = 32,
        top: int = 0,
        classes: int | Conditions = 0,
        stride: int = 2,
    ) -> None:
        super().__init__()
        if not levels or min(levels) < 1:
            raise InputError(f"levels is {levels}, expected at least one level at each size: (2, 4), say")
        if stride < 2 or stride & (stride - 1):
            raise InputError(f"stride is {stride}, expected a power of 2 from 2 on")
        self.inputs, self.classes, self.stride = as_shape(inputs), classes, stride
        halvings = len(levels) + stride.bit_length() - 2
        self.sizes = sizes(inputs[1], inputs[2], halvings)[: -len(levels) - 1 : -1]  # from the smallest on
        self.state = (width, *self.sizes[-1])
        self.at = [i for i, count in enumerate(levels) for _ in range(count)]  # the size of each level
        n = len(self.at)
        self.levels = nn.ModuleList(TopDownBlock(_conv3, width, latent, n, self.sizes[i]) for i in self.at)
        self.stem = nn.Conv2d(inputs[0], width, 2 * stride, stride=stride, padding=stride // 2)
        self.halvings = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in levels[1:])
        self.blocks = nn.ModuleList(residual(_conv3, width, n) for _ in self.at)
        self.first = nn.Parameter(torch.zeros(width, *self.sizes[0]))
        self.above = nn.Linear(top, self.first.numel()) if top else None
        self.label_up = Embedding(classes, width, TOLD) if classes else None
        self.label_down = Embedding(classes, width, TOLD) if classes else None

    def up(self, x: Tensor, label: Tensor | None) -> list[Tensor]:
        batch = x.shape[:-3]
        height, width = self.inputs[1:]
        # an image that the stride doesn't divide gets rows or columns more, so that the stem's output is rounded up
        more = (0, -width % self.stride, 0, -height % self.stride)
        h = self.stem(F.pad(x.reshape(-1, *self.inputs), more)).view(*batch, *self.state)
        if self.label_up is not None:
            h = h + self.label_up(label)[..., None, None]
        found = []
        for i in reversed(range(len(self.at))):
            h = h + self._run(self.blocks[i], h)
            found.append(h)
            if i and self.at[i - 1] != self.at[i]:
                h = self._run(self.halvings[self.at[i] - 1], h)
        return found[::-1]

    def start(self, top: Tensor | None, label: Tensor | None) -> Tensor:
        h = self.first + 0.0
        if self.above is not None and top is not None:
            h = h + self.above(top).unflatten(-1, self.first.shape)
        return h + self.label_down(label)[..., None, None] if self.label_down is not None else h

    def resize(self, level: int, h: Tensor) -> Tensor:
        size = self.sizes[self.at[level]]
        if h.shape[-2:] == size:
            return h
        larger = F.interpolate(h.reshape(-1, *h.shape[-3:]), size=size, mode="nearest")
        return larger.view(*h.shape[:-2], *size)


class SubPixel(Described, nn.Module):
    """The state of a :class:`ConvLadder` to an image that is several times as high and wide, by a convolution that
    gives all pixels of a place at once (Shi et al. 2016): the net of its decoder.

    Args:
        inputs: shape of the state, ``(channels, height, width)``.
        outputs: ``(channels, height, width)``, channels counting every parameter of the likelihood.
        hidden: channels at the image's own size.
    """

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], hidden: int = 32) -> None:
        super().__init__()
        self.inputs, self.outputs = as_shape(inputs), as_shape(outputs)
        self.factor = max(-(-large // small) for large, small in zip(outputs[1:], inputs[1:], strict=True))
        self.widen = nn.Conv2d(inputs[0], self.factor**2 * hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, outputs[0], 3, padding=1)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    @property
    def last(self) -> nn.Module:
        """The layer whose outputs are the net's."""
        return self.head

    def forward(self, h: Tensor) -> Tensor:
        """``(*batch, *outputs)`` for states ``(*batch, *inputs)``."""
        x = F.pixel_shuffle(self.widen(F.silu(h.reshape(-1, *self.inputs))), self.factor)
        x = x[..., : self.outputs[1], : self.outputs[2]]  # the state may be larger than its part of the image
        return self.head(F.silu(x)).view(*h.shape[:-3], *self.outputs)


def _conv3(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def residual(layer: Callable[[int, int], nn.Module], width: int, levels: int) -> nn.Sequential:
    """What a block adds to a state."""
    net = nn.Sequential(nn.SiLU(), layer(width, width), nn.SiLU(), layer(width, width))
    shrink(net[-1], levels)
    return net


def shrink(layer: nn.Module, levels: int) -> None:
    """Make a sum of so many outputs keep its scale."""
    cast(Tensor, layer.weight).data /= math.sqrt(levels)
