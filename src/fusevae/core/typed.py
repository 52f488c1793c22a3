"""What a public function is given, against its type hints."""

from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from annotated_types import Ge
from torch import Tensor

from fusevae.core.description import adapter
from fusevae.core.errors import InputError, shown

Function = TypeVar("Function", bound=Callable[..., Any])

Count = Annotated[int, Ge(1), "a whole number of at least 1"]

WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a string", type(None): "None"}
HOW = {
    "Artifact": "what fusevae.fit or fusevae.load(path) gives",
    "Run": "what fusevae.Run.open(folder) gives",
    "Splits": "what fusevae.read_data(data) gives",
    "Tensor": "torch.as_tensor(values)",
}


def typed(function: Function) -> Function:
    """The function, whose arguments are taken as settings are ("7" for a number, a list for a tuple); what its type
    hints do not allow is refused in a line.

    Example:
        >>> def twice(steps: int) -> int:
        ...     return 2 * steps
        >>> typed(twice)("7")
        14
        >>> typed(twice)("many")
        Traceback (most recent call last):
        ...
        fusevae.core.errors.InputError: twice was given steps='many': expected a whole number
    """
    signature = inspect.signature(function)
    hints = functools.cache(lambda: hints_of(function))

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind_partial(*args, **kwargs)
        except TypeError:  # which Python says itself, by the name of the function, as it does what is missing
            return function(*args, **kwargs)
        for name, value in given.arguments.items():
            hint = hints()[name]
            if hint is not Any:
                given.arguments[name] = _taken(value, hint, f"{function.__name__} was given {name}")
        return function(*given.args, **given.kwargs)

    return typing.cast(Function, checked)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of arguments; that of the result may be of what is not imported."""
    told = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=told), function.__globals__, include_extras=True)


def _taken(value: Any, hint: Any, what: str) -> Any:
    if fits(value, hint):
        return adapter(hint).validate_python(value)
    if isinstance(value, os.PathLike) and fits(path := os.fspath(value), hint):
        return Path(path)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) and fits(several := [*value], hint):
        return several  # an array, a Series, a set, a generator
    for one in _one_of(hint):  # the first that is of another type
        within = typing.get_args(one)
        if within and _is(one, Sequence) and isinstance(value, (list, tuple)):
            for i, part in enumerate(value):
                _taken(part, within[0], f"{what}[{i}]")
        elif within and _is(one, Mapping) and isinstance(value, Mapping):
            for key, part in value.items():
                _taken(part, within[1], f"{what}[{key!r}]")
    own = next((name for name in ("artifact", "artifact_") if hasattr(value, name)), None)
    how = f", its .{own}" if own and "Artifact" in words(hint) else ""
    raise InputError(f"{what}={shown(value)}: expected {words(hint).removesuffix(',')}{how}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what a type hint wants, or can be read as that."""
    from pydantic import ValidationError

    try:
        adapter(hint).validate_python(value)
    except ValidationError:
        return False
    return True


def array_of(value: Any, what: str, kinds: str = "") -> np.ndarray:
    """An array of what is said to be one, whose dtype is of some ``kinds``.

    Example:
        >>> array_of([1, 2], "the mask", "biuf")
        array([1, 2])
    """
    try:
        found = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    except (TypeError, ValueError):
        found = np.asarray(None)
    if found.dtype.kind not in (kinds or found.dtype.kind) or (found.dtype.kind == "O" and not found.ndim):
        raise InputError(f"{what} is {shown(value)}: expected an array")
    return found


def words(hint: Any) -> str:
    """What a type hint allows, in words.

    Example:
        >>> words(int | None), words(Sequence[str]), words(Literal["a", "b"]), words(Count)
        ('a whole number or None', 'several, each a string', "'a' or 'b'", 'a whole number of at least 1')
    """
    parts, within = _one_of(hint), typing.get_args(hint)
    if len(parts) > 1:
        return " or ".join(dict.fromkeys(map(words, parts)))
    if typing.get_origin(hint) is Annotated:
        return str(hint.__metadata__[-1])
    if typing.get_origin(hint) is Literal:
        return " or ".join([", ".join(map(repr, within[:-1])), repr(within[-1])])
    if _is(hint, Mapping):
        return f"a mapping, each {words(within[1])}" if within and within[1] is not Any else "a mapping"
    if _is(hint, Sequence) and within:
        return f"several, each {words(within[0])}"
    if typing.get_origin(hint) is Callable:
        return "a function"
    name = getattr(hint, "__name__", str(hint))
    said = WORDS.get(hint, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")
    return f"{said}, {HOW[name]}," if name in HOW else said


def _one_of(hint: Any) -> tuple[Any, ...]:
    """The types of a union."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _is(hint: Any, kind: Any) -> bool:
    found = typing.get_origin(hint) or hint
    return isinstance(found, type) and issubclass(found, kind)
