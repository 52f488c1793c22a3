"""Arrays as images: which dimension holds the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.arrays import as_tensor

THIN = 4  # pixels that a picture has at least in each direction to be taken for one unasked


def looks_like_images(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array may be pictures: four dimensions, the sides no strip; or three, of bytes, or square. Numbers of
    another dtype in another rectangle may as well be a signal in time.

    Example:
        >>> [looks_like_images(shape, np.dtype("f4")) for shape in ((9, 28, 28), (9, 1, 800), (9, 20, 3), (9, 20, 8))]
        [True, False, False, False]
    """
    if dtype.kind not in "biuf":
        return False
    if len(shape) == 4:
        return sorted(shape[1:])[1] > 1 or 0 in shape
    return len(shape) == 3 and min(shape[1:]) >= THIN and (dtype.itemsize == 1 or shape[1] == shape[2])


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
    return looks_like_images((1, *item.shape), np.dtype("u1" if size == 1 else "f4"))


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
            return x.permute(0, 3, 1, 2)  # a view: a mapped file stays mapped
        if first != last:
            return x
        if first:
            break
    if sure:
        return x
    if (x.shape[2] == x.shape[3]) != (x.shape[1] == x.shape[2]):  # the two sides of a square are alike
        return x if x.shape[2] == x.shape[3] else x.permute(0, 3, 1, 2)
    raise InputError(
        f"{name} has shape {tuple(x.shape)}, where the channels could be dimension 1 or 3: expected 1 or 3 "
        "channels at one "
        "of them; give a torch tensor, which is taken as (N, channels, height, width)"
    )
