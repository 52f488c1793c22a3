"""Arrays as images: which dimension holds the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.arrays import as_tensor

THIN = 8  # times that a picture is longer than wide, at most, to be taken for one unasked


def looks_like_images(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array may be pictures: four dimensions, or three whose last two are the sides of a picture; numbers
    with a point in a strip may as well be a signal.

    Example:
        >>> [looks_like_images(shape, np.dtype("f4")) for shape in ((9, 28, 28), (9, 1, 800), (9, 20, 3))]
        [True, False, False]
    """
    if len(shape) == 4:
        return dtype.kind in "biuf"
    if len(shape) != 3 or dtype.kind not in "biuf":
        return False
    short, long = sorted(shape[1:])
    return short >= 4 and (dtype.itemsize == 1 or long <= THIN * short)


def item_looks_like_image(item: Any) -> bool:
    """Whether an item of a dataset may be a picture: one of Pillow, or an array as :func:`looks_like_images` has it.

    Example:
        >>> [item_looks_like_image(np.zeros(shape)) for shape in ((3, 8, 8), (8, 8), (1, 800), (5,))]
        [True, True, False, False]
    """
    if hasattr(item, "getbands"):
        return True
    if not isinstance(item, Tensor | np.ndarray) or len(item.shape) not in (2, 3):
        return False
    size = item.element_size() if isinstance(item, Tensor) else item.dtype.itemsize
    return len(item.shape) == 3 or looks_like_images((1, *item.shape), np.dtype("u1" if size == 1 else "f4"))


def as_images(x: Any, name: str = "the data") -> Tensor:
    """``x`` as a tensor of images ``(N, channels, height, width)``; ``(N, H, W)`` are of one channel, for four
    dimensions see :func:`channels_first`.

    Example:
        >>> as_images(np.zeros((5, 8, 8, 3), "uint8")).shape
        torch.Size([5, 3, 8, 8])
    """
    shown = tuple(x.shape)
    if len(shown) not in (3, 4) or 0 in shown:
        raise InputError(
            f"{name} has shape {shown}: expected images along the first dimension, (N, height, width), (N, height, "
            "width, channels) or (N, channels, height, width), N at least 1"
        )
    return channels_first(as_tensor(x, name), name, sure=isinstance(x, Tensor))


def channels_first(x: Tensor, name: str, sure: bool = False) -> Tensor:
    """``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` as ``(N, C, H, W)``; ``(N, D)`` stays.

    A size of 1 or 3 at exactly one of the two places tells where the channels are, else a size of 2 or 4 does, else the
    two sides of a square.
    Where that doesn't decide: the torch order if ``sure`` (tensors), otherwise :class:`InputError`.
    """
    if x.dim() == 3:
        return x[:, None]
    if x.dim() == 2:
        return x
    if x.dim() > 4:
        raise InputError(
            f"{name} has {x.dim()} dimensions {tuple(x.shape)}: expected at most 4; flatten to (N, features)"
        )
    for sizes in ((1, 3), (2, 4)):
        first, last = x.shape[1] in sizes, x.shape[3] in sizes
        if last and not first and not (sure and x.shape[1] <= 4):
            return x.permute(0, 3, 1, 2).contiguous()
        if first != last:
            return x
        if first:
            break
    if sure:
        return x
    if (x.shape[2] == x.shape[3]) != (x.shape[1] == x.shape[2]):  # the two sides of a square are alike
        return x if x.shape[2] == x.shape[3] else x.permute(0, 3, 1, 2).contiguous()
    raise InputError(
        f"{name} has shape {tuple(x.shape)}, where the channels could be dimension 1 or 3: expected 1 or 3 "
        "channels at one "
        "of them; give a torch tensor, which is taken as (N, channels, height, width)"
    )
