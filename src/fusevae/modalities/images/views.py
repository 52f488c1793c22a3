"""Views: what changes the data themselves, so that a likelihood is over the view."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.steps import View


class Binarize(View):
    r"""Black or white with the grey value as probability, :math:`y \sim \mathrm{Bernoulli}((x - l) / (h - l))`.

    ``l`` and ``h`` are the range of the data (0 and 255 for uint8), remembered when an artifact asks for :meth:`spec`.
    Returns float 0 and 1 of the same shape.

    Args:
        mode: ``"dynamic"`` draws anew each time that an example is seen in training (Burda et al. 2016); in
            evaluation the noise is keyed by the example, so that the test set is binarized once.
            ``"fixed"`` binarizes training data once, too, as in Salakhutdinov & Murray 2008: the noise of an
            example is computed from its own pixels and ``seed``, so it is the same in every epoch, batch and
            process, and equal images become equal. ``"threshold"`` draws nothing: above the middle is white.
        seed: which fixed binarization; the other modes don't use it.

    Example:
        >>> view = Binarize("fixed")
        >>> view.spec(DataSpec((1, 2, 2), "uint8", 0, 255)).dtype
        'bool'
        >>> view(torch.tensor([[[[0, 255], [255, 0]]]], dtype=torch.uint8)).flatten()
        tensor([0., 1., 1., 0.])
    """

    def __init__(self, mode: Literal["dynamic", "fixed", "threshold"] = "dynamic", seed: int = 0) -> None:
        super().__init__()
        if mode not in ("dynamic", "fixed", "threshold"):
            raise InputError(f"Binarize was given mode={mode!r}: expected 'dynamic', 'fixed' or 'threshold'")
        self.mode, self.seed = mode, seed
        self.low, self.high = 0.0, 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "threshold":
            return (x > (self.low + self.high) / 2).float()
        u = content_noise(x, self.seed) if self.mode == "fixed" else noise.uniform(x.shape, x.device)
        u = u.mul_(self.high - self.low)  # in the data's units, which saves a pass over them
        return ((u.add_(self.low) if self.low else u) < x).float()

    def spec(self, data: DataSpec) -> DataSpec:
        if not (math.isfinite(data.low) and math.isfinite(data.high) and 0 <= data.low < data.high):
            raise InputError(
                f"Binarize takes grey values as probabilities, these data are in [{data.low:g}, {data.high:g}]: "
                "expected a range from 0 or above; leave the view out, or rescale the data first"
            )
        if not data.schema.numeric:
            raise InputError(f"Binarize is for grey values, these data are {data.modality}: leave the view out")
        self.low, self.high = data.low, data.high
        return data.replaced(dtype="bool", low=0, high=1)

    def remark(self, x: Tensor) -> str | None:
        grey = ((x != self.low) & (x != self.high)).double().mean().item()
        if not grey:
            return None
        return (
            f"{max(grey, 1e-3):.1%} of the values are neither black nor white: they are binarized ({self.mode}), so "
            "the model learns black and white alone; one without the view Binarize keeps the grey values"
        )

    def restore(self, x: Tensor) -> Tensor:
        return x * (self.high - self.low) + self.low

    @property
    def label(self) -> str:
        return f"binarized ({self.mode})"


class Resize(View):
    """Images to ``height`` x ``width``, bilinear with antialiasing; integers are rounded and stay integers.

    Example:
        >>> Resize(2, 2)(torch.tensor([[[[0, 0, 9, 9]] * 4]], dtype=torch.uint8)).tolist()
        [[[[1, 8], [1, 8]]]]
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = _positive(height, width, "Resize")
        self.discrete = False

    def forward(self, x: Tensor) -> Tensor:
        y = F.interpolate(x.float(), (self.height, self.width), mode="bilinear", antialias=True)
        if self.discrete or not x.is_floating_point():
            y = y.round()
        return y.to(x.dtype)

    def spec(self, data: DataSpec) -> DataSpec:
        _need_image(data, "Resize")
        self.discrete = data.is_discrete  # binarized images are discrete although they come as floats
        return data.with_shape((data.shape[0], self.height, self.width))

    @property
    def label(self) -> str:
        return f"resized to {self.height}x{self.width}"


class Crop(View):
    """A window of ``height`` x ``width``: anywhere in training, the centre in evaluation.

    Example:
        >>> Crop(1, 2).eval()(torch.arange(12).view(1, 1, 3, 4)).tolist()
        [[[[5, 6]]]]
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = _positive(height, width, "Crop")

    def forward(self, x: Tensor) -> Tensor:
        room = (x.shape[-2] - self.height, x.shape[-1] - self.width)
        if not self.training:
            top, left = room[0] // 2, room[1] // 2
            return x[..., top : top + self.height, left : left + self.width]
        space = torch.tensor(room, device=x.device)
        # u below 1 may still round up to the next integer
        start = (noise.uniform((len(x), 2), x.device) * (space + 1)).long().minimum(space)
        rows = start[:, :1] + torch.arange(self.height, device=x.device)
        columns = start[:, 1:] + torch.arange(self.width, device=x.device)
        here = torch.arange(len(x), device=x.device)
        # indices around a slice: the channels come last
        return x[here[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    def spec(self, data: DataSpec) -> DataSpec:
        _need_image(data, "Crop")
        if self.height > data.shape[1] or self.width > data.shape[2]:
            raise InputError(
                f"Crop was given {self.height}x{self.width}, the images are {data.shape[1]}x{data.shape[2]}: "
                "crop to at most their size"
            )
        return data.with_shape((data.shape[0], self.height, self.width))

    @property
    def label(self) -> str:
        return f"cropped to {self.height}x{self.width}"


class Flip(View):
    """Mirrors each image left to right with probability 1/2 in training, never in evaluation.

    Example:
        >>> Flip().eval()(torch.tensor([[[[1, 2]]]])).tolist()
        [[[[1, 2]]]]
    """

    changes_support = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        flip = noise.uniform((len(x),), x.device) < 0.5
        return torch.where(flip[:, None, None, None], x.flip(-1), x)

    def spec(self, data: DataSpec) -> DataSpec:
        _need_image(data, "Flip")
        return data


class Affine(View):
    """Turns, scales and moves each image a little in training, its edge repeated and bilinear between pixels; never in
    evaluation.

    Args:
        degrees: of the turn, at most.
        scale: part by which it is larger or smaller, at most.
        shift: part of height and width by which it is moved, at most.

    Example:
        >>> Affine().eval()(torch.tensor([[[[1, 2]]]])).tolist()
        [[[[1, 2]]]]
    """

    changes_support = False

    def __init__(self, degrees: float = 15.0, scale: float = 0.1, shift: float = 0.08) -> None:
        super().__init__()
        if not (0 <= degrees <= 180 and 0 <= scale < 1 and 0 <= shift < 1):
            raise InputError(
                f"Affine was given degrees={degrees}, scale={scale}, shift={shift}: expected at most 180, and parts "
                "below 1"
            )
        self.degrees, self.scale, self.shift = degrees, scale, shift

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        turn, size, *move = (2 * noise.uniform((len(x), 4), x.device) - 1).unbind(1)
        turn, size = turn * math.radians(self.degrees), 1 + self.scale * size
        ratio = x.shape[-2] / x.shape[-1]  # coordinates are from -1 to 1 along either side
        cos, sin = size * turn.cos(), size * turn.sin()
        rows = [cos, -sin * ratio, 2 * self.shift * move[0], sin / ratio, cos, 2 * self.shift * move[1]]
        grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
        moved = F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
        return moved if x.is_floating_point() else moved.round().to(x.dtype)

    def spec(self, data: DataSpec) -> DataSpec:
        _need_image(data, "Affine")
        return data


def content_noise(x: Tensor, seed: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) of the shape of ``x`` that are a function of each example's values and ``seed``.

    An example's 64-bit digest is the sum of its values' bits times random odd numbers, modulo 2^64; it keys SplitMix64
    (Steele et al. 2014), a counter-based generator, at each element. Two different examples share a digest
    with a probability below 2^-32. Integer arithmetic only: the same on every device, whatever else is in the batch.

    Example:
        >>> x = torch.rand(3, 1, 4, 4)
        >>> torch.equal(content_noise(x)[1], content_noise(x[1:2])[0])
        True
    """
    bits = x.detach().float().flatten(1).view(torch.int32).long()
    counter = torch.arange(1, bits.shape[1] + 1, device=x.device) * _signed(0x9E3779B97F4A7C15)
    odd = _splitmix(counter + noise.key(seed, "binarize")) | 1
    digest = _splitmix((bits * odd).sum(1, keepdim=True))
    u = _shift(_splitmix(digest + counter), 40).float() / 2**24  # 24 bits are exact in float32
    return u.view(x.shape)


def _splitmix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shift(z, 31)


def _shift(z: Tensor, by: int) -> Tensor:
    return (z >> by) & ((1 << (64 - by)) - 1)  # torch shifts the sign in, this doesn't


def _signed(value: int) -> int:
    return value - (1 << 64)


def _positive(height: int, width: int, who: str) -> tuple[int, int]:
    if height < 1 or width < 1:
        raise InputError(f"{who} was given {height}x{width}: expected a height and width of at least 1")
    return height, width


def _need_image(data: DataSpec, who: str) -> None:
    if len(data.shape) != 3:
        raise InputError(
            f"{who} is for images (channels, height, width), these data have shape {data.shape}: leave it out"
        )
