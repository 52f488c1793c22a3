"""Arrays as examples: dtype and range, checked before anything else starts."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec

logger = logging.getLogger("fusevae")

CHUNK = 4096
DIM = 64  # of 255: bytes that are all below it are not read as a part of 0..255
WHOLE = 2**24  # up to which float32 tells whole numbers apart


def finite_tensor(x: Any, name: str) -> Tensor:
    """``x`` as a tensor of examples along its first dimension, checked for values that are no numbers.

    Floats become float32 and must be finite; uint8, bool and other integers stay what they are (unsigned ones that
    torch computes little with become signed).
    """
    if len(x.shape) < 2 or 0 in x.shape:
        raise InputError(
            f"{name} has shape {tuple(x.shape)}: expected examples along the first dimension, at least one"
        )
    tensor = as_tensor(x, name)
    check_finite(tensor, name)
    return tensor


def as_tensor(x: Any, name: str, double: bool = False) -> Tensor:
    """A numpy array or tensor of numbers as a tensor; floats become float32, or float64 where they have so many digits
    and ``double`` says so. What is of the right dtype and order is not copied: a mapped file stays mapped."""
    if isinstance(x, Tensor):
        if x.is_complex() or x.is_quantized or x.is_meta or x.layout is not torch.strided:
            what = f"{x.dtype} values" if x.is_complex() or x.is_quantized else f"a tensor of layout {x.layout}"
            what = "no values (its device is meta)" if x.is_meta else what
            raise InputError(f"{name} holds {what}: expected plain real numbers; convert it (to_dense, dequantize)")
        x = x.detach().cpu()
        if x.dtype in (torch.uint16, torch.uint32, torch.uint64):
            return as_tensor(x.numpy(), name)
        if not x.is_floating_point() or (double and x.dtype == torch.float64):
            return x
        return x.float()
    if isinstance(x, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array: give the array itself, its gaps filled (x.filled(...))")
    kind, size = x.dtype.kind, x.dtype.itemsize
    if kind not in "buif":
        why = " (reading it would run a pickle)" if kind == "O" else ""
        raise InputError(f"{name} holds {x.dtype} values{why}: expected numbers; convert the array and save it again")
    if kind == "u" and size == 8 and x.size and x.max() > np.iinfo(np.int64).max:
        raise InputError(
            f"{name} holds whole numbers beyond 2^63, such as {x.max()}: take something off, or divide them"
        )
    floats = "float64" if double and size >= 8 else "float32"
    dtype = {"b": "bool", "f": floats, "i": f"int{8 * size}", "u": {1: "uint8", 2: "int32"}.get(size, "int64")}[kind]
    with np.errstate(over="ignore"):  # what is too large for float32 is reported as infinite
        array = np.ascontiguousarray(x, dtype=dtype)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def check_whole(x: Tensor, name: str) -> None:
    """Refuse whole numbers that float32, with which models compute, does not tell apart."""
    if x.dtype in (torch.int32, torch.int64) and len(x):
        far = max(int(extreme) for part in x.split(CHUNK) for extreme in (-part.min(), part.max()))
        if far > WHOLE:
            raise InputError(
                f"{name} holds whole numbers up to {far:,}, and float32 tells them apart up to {WHOLE:,}: take "
                "something off, divide them, or give them as floats"
            )


def check_finite(x: Tensor, name: str) -> None:
    """Raise :class:`InputError` with the count and the first example of NaN or infinite values."""
    if not x.is_floating_point():
        return
    count, first = 0, -1
    for start in range(0, len(x), CHUNK):
        bad = ~x[start : start + CHUNK].isfinite().flatten(1).all(1)
        if bad.any():
            count += int((~x[start : start + CHUNK].isfinite()).sum())
            first = first if first >= 0 else start + int(bad.nonzero()[0])
    if count:
        raise InputError(
            f"{name}: {count} values are NaN, infinite or too large for float32, the first in example {first} "
            "(counted from 0): mend or drop those examples"
        )


def extremes(x: Tensor) -> Tensor:
    """The smallest and largest value of each example, ``(N, 2)`` in float64."""
    parts = [torch.stack(part.flatten(1).aminmax(dim=1), 1).double() for part in x.split(CHUNK)]
    return torch.cat(parts) if parts else torch.zeros(0, 2, dtype=torch.float64)


def fixed_range(x: Tensor) -> tuple[float, float] | None:
    """The range that a dtype itself tells: bool, and uint8 as of :func:`byte_range`; else None."""
    if x.dtype == torch.bool:
        return 0.0, 1.0
    if x.dtype != torch.uint8:
        return None
    most = 0
    for part in x.split(CHUNK):
        most = max(most, int(part.max()) if part.numel() else 0)
        if most >= DIM:
            break
    return byte_range(most)


def byte_range(most: float) -> tuple[float, float]:
    """The range of bytes whose largest is ``most``: 0..255, or, where no byte is DIM or more, what they reach: as dark
    pictures would be hard to see; values of 4 bits, 17 grey levels or a mask are common.

    Example:
        >>> byte_range(254), byte_range(16), byte_range(0)
        ((0.0, 255.0), (0.0, 16.0), (0.0, 1.0))
    """
    return 0.0, 255.0 if most >= DIM else max(1.0, float(most))


def say_levels(spec: DataSpec, known: DataSpec | None = None) -> None:
    """Say that bytes are read as fewer than 256 levels, or than those of a model that they are read for."""
    if known is not None:
        if spec.dtype == "uint8" and spec.high < DIM <= known.high:
            text = "the largest value of the data is %g, the model was trained on up to %g: are they of another depth?"
            logger.warning(text, spec.high, known.high)
    elif spec.dtype == "uint8" and 1 < spec.high < DIM:
        logger.warning(
            "the largest byte of the data is %d of 255, so that they are read as %d levels, %d the brightest: where "
            "255 is to be, give PNG, or floats from 0 to 1",
            spec.high,
            spec.high + 1,
            spec.high,
        )


def spec_of(x: Tensor, conditions: Conditions | None = None) -> DataSpec:
    """The :class:`DataSpec` of checked examples ``(N, *shape)``.

    Example:
        >>> spec = spec_of(torch.tensor([[0, 7], [2, 3]]))
        >>> spec.dtype, spec.low, spec.high
        ('int64', 0.0, 7.0)
    """
    dtype = str(x.dtype).removeprefix("torch.")
    low, high = fixed_range(x) or observed_range(extremes(x), x.is_floating_point())
    return DataSpec(tuple(x.shape[1:]), dtype, low, high, conditions)


def observed_range(ends: Tensor, floating: bool) -> tuple[float, float]:
    """The range of examples with these :func:`extremes`; integers start at 0 unless some are negative."""
    if not len(ends):
        return 0.0, 1.0
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return (low if floating else min(low, 0.0)), high
