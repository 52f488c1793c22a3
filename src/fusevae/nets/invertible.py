"""Invertible layers for images, each with its log-determinant, and their multi-scale chain (Glow, Kingma & Dhariwal
2018)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.description import Described
from fusevae.core.errors import InputError

BOUND = 3.0  # of the logarithm of a coupling's scale: neither a density nor a gradient explodes


class Invertible(nn.Module):
    """y = f(x) for images ``(n, C, H, W)`` and a context ``(n, k)`` or None; both ways give ``log|det|`` of their own
    direction, ``(n,)``."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class ActNorm(Invertible):
    """A learned scale and shift of each channel: y = exp(a) x + b.

    It starts as the identity, not from the data: the layers around it start as rotations and identities, which keep
    the unit scale that the step ``Standardise`` gives to the data.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp() + self.shift, self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (y - self.shift) * torch.exp(-self.log_scale), -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))


class Mixing(Invertible):
    r"""A 1 x 1 convolution with :math:`W = P L (U + \mathrm{diag}(s))`, a rotation at the start: its log-determinant is
    :math:`HW \sum \log|s|`. P and the signs of s stay as they are."""

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", upper.diagonal().sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        weight = self.permutation @ lower @ upper
        return F.conv2d(x, weight[:, :, None, None]), self._log_det(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        half = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
        weight = torch.linalg.solve_triangular(upper, half, upper=True)
        return F.conv2d(y, weight[:, :, None, None]), -self._log_det(y)

    def _triangles(self) -> tuple[Tensor, Tensor]:
        lower = self.lower.tril(-1) + torch.eye(len(self.sign), dtype=self.sign.dtype, device=self.sign.device)
        return lower, self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_diagonal.sum() * x[0, 0].numel()).expand(len(x))


class CouplingNet(Described, nn.Module):
    """Image to image of the same size: three convolutions, of which the last gives zeros at the start; a context is
    added to the hidden channels."""

    def __init__(self, channels: int, outputs: int, width: int, context: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.middle = nn.Conv2d(width, width, 1)
        self.last = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.given = nn.Linear(context, width) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.first(x)
        if self.given is not None:
            h = h + self.given(context)[..., None, None]
        return self.last(F.silu(self.middle(F.silu(h))))


class Coupling(Invertible):
    """The second half of the channels is scaled and shifted by what a net makes of the first (Dinh et al. 2017)."""

    def __init__(self, channels: int, width: int, context: int = 0) -> None:
        super().__init__()
        self.sizes = [channels // 2, channels - channels // 2]
        self.net = self._net(width, context)

    def _net(self, width: int, context: int) -> nn.Module:
        return CouplingNet(self.sizes[0], 2 * self.sizes[1], width, context)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, moved = x.split(self.sizes, 1)
        log_scale, shift = self._moments(kept, context)
        return torch.cat([kept, moved * log_scale.exp() + shift], 1), log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, moved = y.split(self.sizes, 1)
        log_scale, shift = self._moments(kept, context)
        return torch.cat([kept, (moved - shift) * torch.exp(-log_scale)], 1), -log_scale.flatten(1).sum(1)

    def _moments(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(kept, context).chunk(2, 1)
        return BOUND * torch.tanh(raw / BOUND), shift


class Split(Coupling):
    """What leaves the chain at a level, the second half of the channels, standardised by the moments that a
    convolution expects of it given the first: so its Gaussian prior is learned."""

    def __init__(self, channels: int, context: int = 0) -> None:
        super().__init__(channels, 0, context)

    def _net(self, width: int, context: int) -> nn.Module:
        return Expectation(self.sizes[0], 2 * self.sizes[1], context)


class Expectation(nn.Module):
    """One convolution that gives zeros at the start, and a context's share."""

    def __init__(self, channels: int, outputs: int, context: int = 0) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, outputs, 3, padding=1)
        self.given = nn.Linear(context, outputs, bias=False) if context else None
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.layer(x)
        return h + self.given(context)[..., None, None] if self.given is not None else h


class MultiScale(nn.Module):
    """Images to vectors of as many numbers and back: at each level the image is squeezed (its even axes are halved,
    the channels multiplied), taken through ``steps`` times an activation norm, a mixing of the channels and a coupling;
    then half of the channels leave and the others go on.

    Args:
        shape: ``(channels, height, width)``.
        levels: at most; there are no more than there are axes to halve.
        steps: a level.
        width: of the couplings' nets.
        context: width of a vector that every coupling is given; 0 for none.
    """

    def __init__(self, shape: tuple[int, ...], levels: int, steps: int, width: int, context: int = 0) -> None:
        super().__init__()
        self.shape = shape
        c, h, w = shape
        self.factors: list[tuple[int, int]] = []
        chain: list[nn.ModuleList] = []
        splits: list[Split] = []
        while len(chain) < levels:
            factor = (2 - h % 2, 2 - w % 2)
            if factor == (1, 1) and (chain or c < 2):
                break
            if chain:
                splits.append(Split(c, context))
                c //= 2
            c, h, w = c * math.prod(factor), h // factor[0], w // factor[1]
            self.factors.append(factor)
            each = (m for _ in range(steps) for m in (ActNorm(c), Mixing(c), Coupling(c, width, context)))
            chain.append(nn.ModuleList([*each, ActNorm(c)]))
        if not chain:
            raise InputError(
                f"images of shape {shape} have one channel and an odd height and width, so nothing can be halved: crop "
                "or resize them (the views Crop, Resize) to an even size, 32 x 32, say"
            )
        self.levels = cast(Sequence[Sequence[Invertible]], nn.ModuleList(chain))
        self.splits = cast(Sequence[Split], nn.ModuleList(splits))
        self.last = (c, h, w)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(n, D)`` and log-determinants ``(n,)`` for images ``(n, C, H, W)``, flat or not."""
        left, total = [], x.new_zeros(len(x))
        x = x.view(-1, *self.shape)
        for i, level in enumerate(self.levels):
            if i:
                x, log_det = self.splits[i - 1](x, context)
                total = total + log_det
                x, out = x.split(self.splits[i - 1].sizes, 1)
                left.append(out.flatten(1))
            x = squeeze(x, self.factors[i])
            for layer in level:
                x, log_det = layer(x, context)
                total = total + log_det
        return torch.cat([*left, x.flatten(1)], 1), total

    def inverse(self, u: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(n, C, H, W)`` and log-determinants ``(n,)`` for vectors ``(n, D)``."""
        *left, x = u.split(list(self._sizes()), 1)
        x, total = x.view(-1, *self.last), u.new_zeros(len(u))
        for i in reversed(range(len(self.levels))):
            for layer in reversed(self.levels[i]):
                x, log_det = layer.inverse(x, context)
                total = total + log_det
            x = unsqueeze(x, self.factors[i])
            if i:
                split = self.splits[i - 1]
                out = left[i - 1].view(len(x), split.sizes[1], *x.shape[2:])
                x, log_det = split.inverse(torch.cat([x, out], 1), context)
                total = total + log_det
        return x, total

    def _sizes(self) -> Iterator[int]:
        """How many numbers leave at each level, and at the end."""
        _, h, w = self.shape
        for split, (fh, fw) in zip(self.splits, self.factors, strict=False):
            h, w = h // fh, w // fw
            yield split.sizes[1] * h * w
        yield math.prod(self.last)


def squeeze(x: Tensor, factor: tuple[int, int]) -> Tensor:
    """Blocks of pixels become channels: ``(n, C, H, W)`` to ``(n, C * fh * fw, H / fh, W / fw)``."""
    (n, c, h, w), (fh, fw) = x.shape, factor
    return x.view(n, c, h // fh, fh, w // fw, fw).permute(0, 1, 3, 5, 2, 4).reshape(n, c * fh * fw, h // fh, w // fw)


def unsqueeze(x: Tensor, factor: tuple[int, int]) -> Tensor:
    """The reverse of :func:`squeeze`."""
    (n, c, h, w), (fh, fw) = x.shape, factor
    c //= fh * fw
    return x.view(n, c, fh, fw, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c, h * fh, w * fw)
