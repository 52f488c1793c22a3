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
        if _makes(func):
            self.size -= _bytes(func, args, kwargs)
            self.tensors -= 1
            if self.size < 0 or self.tensors < 0:
                raise InputError(self.says)
        return func(*args, **kwargs)


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
def _places(func: Any) -> bool:
    return any(argument.name == "device" for argument in func._schema.arguments)


def _bytes(func: Any, args: Any, kwargs: Any) -> int:
    """Of what a function will make; 0 where that depends on values, which bound it themselves."""
    args, kwargs = tree_map_only(Tensor, _empty, (args, kwargs))
    kwargs = {key: value for key, value in kwargs.items() if key != "generator"}
    if _places(func):
        kwargs["device"] = "meta"
    try:
        found = func(*args, **kwargs)
    except (NotImplementedError, RuntimeError):
        return 0
    made = [each for each in tree_flatten(found)[0] if isinstance(each, Tensor)]
    return sum(math.prod(each.shape) * each.element_size() for each in made)


def _empty(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
