"""How much memory and how many tensors a description may ask for when it is built."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from fusevae.core.errors import InputError
from fusevae.core.memory import free_memory

FEW = 2**20  # elements for which nothing is worked out ahead
SHRINK = tuple(f"aten::{name}" for name in ("mv", "dot", "linalg_vector_norm", "sum", "mean", "prod", "all", "any"))
MOST_TENSORS = 100_000  # made while one model is built


class Budget(TorchDispatchMode):
    """Inside, tensors are counted before they are made, and :class:`InputError` is raised by the one that goes over.

    What a constructor computes on the way counts, too. Parts are built as ever and may look at values, which a build
    on the meta device forbids.

    Args:
        size: bytes in all.
        tensors: how many.
        says: what to say of the error.

    Example:
        >>> with Budget(1000, 10, "too large"):
        ...     torch.empty(10**15)
        Traceback (most recent call last):
        ...
        fusevae.core.errors.InputError: too large
    """

    def __init__(self, size: float, tensors: float, says: str) -> None:
        super().__init__()
        self.size, self.tensors, self.says = size, tensors, says

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, which takes two seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _makes(func):
            return func(*args, **kwargs)
        self.tensors -= 1
        if (at := _size_at(func)) is not None:
            size = args[at] if at < len(args) else kwargs["size"]
            if 0 in size:
                raise InputError(f"a tensor would be of shape {tuple(size)}: give all sizes above 0")
            self._take(math.prod(size) * getattr(kwargs.get("dtype"), "itemsize", 8))
        elif _most(func, args, kwargs) > FEW:
            self._take(_bytes(_on_meta(func, args, kwargs)))
        else:  # the most that it can be is little: what it is will do
            found = func(*args, **kwargs)
            self._take(_bytes(found))
            return found
        return func(*args, **kwargs)

    def _take(self, size: int) -> None:
        self.size -= size
        if self.size < 0 or self.tensors < 0:
            raise InputError(self.says)


def within_memory() -> Budget:
    """Inside, a model that is larger than the free memory is refused before it takes any."""
    free = free_memory() or 2**50
    says = f"the model is larger than the free memory ({free / 1e9:.1f} GB), or has over {MOST_TENSORS:,} tensors"
    return Budget(free, MOST_TENSORS, f"{says}: make it smaller")


@functools.cache
def _makes(func: Any) -> bool:
    """Whether a function makes a tensor: neither a view nor in place."""
    return all(found.alias_info is None for found in func._schema.returns)


@functools.cache
def _size_at(func: Any) -> int | None:
    """Which argument is the shape of what a function makes, where one is."""
    names = [argument.name for argument in func._schema.arguments]
    made = func._schema.name.startswith(("aten::empty", "aten::zeros", "aten::ones", "aten::full", "aten::rand"))
    return names.index("size") if "size" in names and (made or "aten::new_" in func._schema.name) else None


def _most(func: Any, args: Any, kwargs: Any) -> float:
    """More elements than a function can give, by the sizes and the numbers that it is given."""
    given = tree_flatten((args, kwargs))[0]
    tensors = [each for each in given if isinstance(each, Tensor)]
    if torch.Tag.pointwise in func.tags:
        return math.prod(torch.broadcast_shapes(*(each.shape for each in tensors)))
    if func._schema.name in SHRINK:
        return max(each.numel() for each in tensors)
    numbers = [abs(each) for each in given if isinstance(each, (int, float)) and abs(each) > 1]
    return math.prod([float(each.numel()) for each in tensors if each.numel()] + (numbers if tensors else 2 * numbers))


def _on_meta(func: Any, args: Any, kwargs: Any) -> Any:
    """What a function gives, without its values; nothing where that depends on values, which bound it themselves."""
    args, kwargs = tree_map_only(Tensor, _empty, (args, kwargs))
    kwargs = {key: value for key, value in kwargs.items() if key != "generator"}
    if any(argument.name == "device" for argument in func._schema.arguments):
        kwargs["device"] = "meta"
    try:
        return func(*args, **kwargs)
    except (NotImplementedError, RuntimeError):
        return None


def _bytes(made: Any) -> int:
    return sum(math.prod(x.shape) * x.element_size() for x in tree_flatten(made)[0] if isinstance(x, Tensor))


def _empty(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
