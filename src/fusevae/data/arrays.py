"""Arrays as examples: layout, dtype, range and labels, each checked before anything else starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError, near
from fusevae.core.properties import Properties
from fusevae.core.spec import DataSpec

CHUNK = 4096


def as_examples(x: Any, name: str = "the data") -> Tensor:
    """``x`` as a tensor of examples ``(N, *shape)``, checked.

    Floats become float32 and must be finite; uint8, bool and other integers stay what they are (unsigned ones
    that torch computes little with become signed). ``(N, D)`` stays; ``(N, H, W)`` are images of one channel;
    for four dimensions see :func:`channels_first`.

    Example:
        >>> as_examples(np.zeros((5, 8, 8, 3), "uint8")).shape
        torch.Size([5, 3, 8, 8])
    """
    shown = tuple(x.shape)
    if len(shown) < 2 or 0 in shown:
        raise InputError(
            f"{name} has shape {shown}: expected examples along the first dimension, (N, features), (N, "
            "height, width), "
            "(N, height, width, channels) or (N, channels, height, width), N at least 1"
        )
    tensor = channels_first(as_tensor(x, name), name, sure=isinstance(x, Tensor))
    check_finite(tensor, name)
    return tensor


def as_tensor(x: Any, name: str) -> Tensor:
    """A numpy array or tensor of numbers as a tensor; floats become float32."""
    if isinstance(x, Tensor):
        if x.is_complex():
            raise InputError(f"{name} holds {x.dtype} values: expected real numbers; split them into two features")
        x = x.detach().cpu()
        return x.float() if x.is_floating_point() else x
    kind, size = x.dtype.kind, x.dtype.itemsize
    if kind not in "buif":
        why = " (reading it would run a pickle)" if kind == "O" else ""
        raise InputError(f"{name} holds {x.dtype} values{why}: expected numbers; convert the array and save it again")
    dtype = {"b": "bool", "f": "float32", "i": f"int{8 * size}", "u": {1: "uint8", 2: "int32"}.get(size, "int64")}[kind]
    with np.errstate(over="ignore"):  # what is too large for float32 is reported as infinite
        array = np.ascontiguousarray(x, dtype=dtype)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def channels_first(x: Tensor, name: str, sure: bool = False) -> Tensor:
    """``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` as ``(N, C, H, W)``; ``(N, D)`` stays.

    A size of 1 or 3 at exactly one of the two places tells where the channels are, else a size of 2 or 4 does.
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
    raise InputError(
        f"{name} has shape {tuple(x.shape)}, where the channels could be dimension 1 or 3: expected 1 or 3 "
        "channels at one "
        "of them; give a torch tensor, which is taken as (N, channels, height, width)"
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
    """The range that a dtype itself tells: bool, and uint8 (0..255, or 0..1 where nothing else occurs); else None."""
    if x.dtype == torch.bool:
        return 0.0, 1.0
    if x.dtype == torch.uint8:
        return 0.0, 255.0 if any(bool((part > 1).any()) for part in x.split(CHUNK)) else 1.0
    return None


def spec_of(x: Tensor, classes: list[str] | None = None) -> DataSpec:
    """The :class:`DataSpec` of checked examples ``(N, *shape)``.

    Example:
        >>> spec = spec_of(torch.tensor([[0, 7], [2, 3]]))
        >>> spec.dtype, spec.low, spec.high
        ('int64', 0.0, 7.0)
    """
    dtype = str(x.dtype).removeprefix("torch.")
    low, high = fixed_range(x) or observed_range(extremes(x), x.is_floating_point())
    return DataSpec(tuple(x.shape[1:]), dtype, low, high, classes)


def observed_range(ends: Tensor, floating: bool) -> tuple[float, float]:
    """The range of examples with these :func:`extremes`; integers start at 0 unless some are negative."""
    if not len(ends):
        return 0.0, 1.0
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return (low if floating else min(low, 0.0)), high


def as_labels(y: Any, n: int, name: str) -> np.ndarray:
    """One label an example as int64 or text ``(n,)``; :class:`InputError` for any other shape or kind."""
    array = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise InputError(
            f"{name} has shape {array.shape}: expected one label an example, ({n},); take the argmax of one-hot"
        )
    if len(array) != n:
        raise InputError(
            f"{name} has {len(array)} labels for {n} examples: expected one for each; check the two belong together"
        )
    if array.dtype.kind == "O" and all(isinstance(v, str) for v in array):
        array = array.astype(str)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    whole = array.dtype.kind == "f" and bool(np.isfinite(array).all()) and bool((array == np.round(array)).all())
    if array.dtype.kind in "bui" or whole:
        return array.astype(np.int64)
    if array.dtype.kind != "U":
        raise InputError(
            f"{name} holds {array.dtype} values: expected whole numbers or text, and none missing; convert them"
        )
    return array


def as_numbers(y: Any, n: int, names: Sequence[str], name: str) -> np.ndarray:
    """Properties as float32 ``(n, len(names))``, NaN where one isn't known; :class:`InputError` for anything else."""
    try:
        array = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{name}: {', '.join(names)} are not all numbers: expected numbers, or NaN") from None
    array = array[:, None] if array.ndim == 1 else array
    if array.shape != (n, len(names)):
        raise InputError(
            f"{name}: {', '.join(names)} have shape {array.shape}: expected ({n}, {len(names)}), a number of each for "
            "every example"
        )
    if np.isinf(array).any():
        raise InputError(f"{name}: {', '.join(names)} have infinite values: expected numbers, or NaN for unknown ones")
    return array


def encode_conditions(
    parts: Sequence[np.ndarray | None],
    names: list[str] | None = None,
    classes: list[str] | None = None,
    properties: Sequence[str] | None = None,
) -> tuple[list[Tensor | None], list[str] | None, Properties | None]:
    """:func:`encode_labels`, or properties as tensors, with their moments in the first part."""
    if properties is None:
        return *encode_labels(parts, names, classes), None
    found = [None if part is None else torch.from_numpy(part) for part in parts]
    first = next((part for part in found if part is not None), None)
    return found, None, None if first is None else Properties.fitted(properties, first)


def encode_labels(
    parts: Sequence[np.ndarray | None], names: list[str] | None = None, classes: list[str] | None = None
) -> tuple[list[Tensor | None], list[str] | None]:
    """Labels of several splits as indices 0..K-1 into common class names.

    Args:
        parts: the labels of each split (see :func:`as_labels`), None where a split has none.
        names: what the integers 0..K-1 stand for, where the file says so; their order is kept.
        classes: the names that a model already knows; an unknown one is refused. Without, the labels found, sorted.

    Example:
        >>> encode_labels([np.array([10, 2, 10])])
        ([tensor([1, 0, 1])], ['2', '10'])
    """
    named = [_name(part, names) for part in parts]
    present = [part for part in named if part is not None]
    if not present:
        return [None for _ in parts], classes
    found, _ = np.unique(np.concatenate(present), return_inverse=True)
    known = classes or names or [str(v) for v in found]
    if unknown := [str(v) for v in found if str(v) not in known]:
        raise InputError(f"label {unknown[0]!r} is not one of the model's classes{near(unknown[0], known)}")
    place = {name: i for i, name in enumerate(known)}
    coded: list[Tensor | None] = []
    for part in named:
        if part is None:
            coded.append(None)
            continue
        values, inverse = np.unique(part, return_inverse=True)
        coded.append(torch.from_numpy(np.array([place[str(v)] for v in values], dtype=np.int64)[inverse]))
    return coded, list(known)


def _name(part: np.ndarray | None, names: list[str] | None) -> np.ndarray | None:
    """Integers replaced by what they stand for; a split whose labels are all -1 (withheld) has none."""
    if part is None or names is None or part.dtype.kind == "U":
        return part
    if (part == -1).all():
        return None
    if part.min() < 0 or part.max() >= len(names):
        raise InputError(
            f"labels are in {part.min()}..{part.max()}: expected 0..{len(names) - 1} for {len(names)} class names"
        )
    return np.array(names)[part]
