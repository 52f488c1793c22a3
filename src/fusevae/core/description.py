"""The constructor is the configuration: objects to plain data and back.

``describe`` turns a nest of objects into dictionaries, lists and numbers: ``{"class": "Bernoulli", "net":
{"class": "MLP", ...}}``. ``build`` turns that back. A recipe, a YAML file, an override of the command line and
an artifact's description are this one format. An object that stands in two places is one dictionary in two places (a
YAML anchor), and is built once. ``build`` imports nothing but the library's own classes, unless a module is trusted.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

from fusevae.core.errors import InputError, near, shown

#: what to trust beyond the library: names of modules or classes, or a class or builder for each name
Trust = Sequence[str] | Mapping[str, Callable[..., Any]]

T = TypeVar("T", bound=type)

FOLDERS = ("core", "nets", "distributions", "models", "data", "objectives", "training", "modalities")


class Described:
    """Base of everything that a configuration can name: it remembers the arguments it was built with."""

    _arguments: dict[str, Any] = {}  # of a class that takes none

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            described(cls)

    def replaced(self, **changes: Any) -> Self:
        """The same, built anew with some arguments changed; its parts are shared, not copied."""
        return type(self)(**self._arguments | changes)


def described(cls: T) -> T:
    """Class decorator that makes a network of your own part of a model's description.

    Example:
        >>> import torch
        >>> @described
        ... class Net(torch.nn.Module):
        ...     def __init__(self, width: int = 8):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(4, width)
        >>> describe(Net(width=3))["width"]
        3
    """
    init = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        # a class below this one whose own arguments nobody remembers is not described by these
        if "_arguments" not in self.__dict__ and type(self).__init__ is remember:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            arguments = dict(list(bound.arguments.items())[1:])
            for name, parameter in signature.parameters.items():
                if parameter.kind is parameter.VAR_KEYWORD:
                    arguments |= arguments.pop(name)
            self.__dict__["_arguments"] = arguments
        init(self, *args, **kwargs)

    cls.__init__ = remember  # type: ignore[misc]
    return cls


def class_name(cls: type) -> str:
    """The name that a description gives a class: short for the library's own, dotted for others."""
    return cls.__name__ if cls.__module__.startswith("fusevae.") else f"{cls.__module__}.{cls.__qualname__}"


def describe(value: Any, _seen: dict[int, Any] | None = None) -> Any:
    """Plain data (dictionaries, lists, strings, numbers) from which :func:`build` makes ``value`` again.

    Raises :class:`InputError` where a value has no plain form (an open file, a lambda).
    """
    seen = {} if _seen is None else _seen
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(v, seen) for v in value]
    if isinstance(value, Mapping):
        return {str(k): describe(v, seen) for k, v in value.items()}
    if id(value) in seen:
        return seen[id(value)]
    if hasattr(value, "_arguments"):
        node = seen[id(value)] = {"class": class_name(type(value))}
        node |= {k: describe(v, seen) for k, v in value._arguments.items()}
        return node
    if _is_module(value):  # a network of the user's own, whose arguments nobody knows
        seen[id(value)] = {"class": class_name(type(value))}
        return seen[id(value)]
    if inspect.isroutine(value):
        raise InputError(
            f"{value.__qualname__} can't be described, so it would not load again: make a class of the plain function "
            "(a View, an Objective, a net that fusevae.described decorates)"
        )
    raise InputError(
        f"{shown(value)} can't be described: expected numbers, strings, lists or modules; decorate the class with "
        "fusevae.described so that its arguments are remembered"
    )


def check_remembered(value: Any) -> None:
    """Raise :class:`InputError` where a part of ``value`` could not be built again: a network whose constructor takes
    arguments that nobody remembers."""
    if isinstance(value, (list, tuple)):
        for part in value:
            check_remembered(part)
    elif isinstance(value, Mapping):
        check_remembered(list(value.values()))
    elif hasattr(value, "_arguments"):
        check_remembered(value._arguments)
    elif _is_module(value):
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        names = [p.name for p in inspect.signature(type(value)).parameters.values() if p.kind not in kinds]
        if names:
            raise InputError(
                f"{class_name(type(value))} can't be saved so that it loads again, since nobody remembers what it was "
                f"made with ({', '.join(names)}): decorate its class by fusevae.described"
            )


def build(
    node: Any, trust: Trust = (), where: str = "", expect: Any = None, _built: dict[int, Any] | None = None
) -> Any:
    """Make the objects that ``node`` describes; the reverse of :func:`describe`.

    Args:
        node: plain data; a mapping with the key ``class`` becomes an object of that class.
        trust: modules or classes outside the library that may be imported (their names, or name to builder).
        where: dotted path of ``node``, for messages.
        expect: type hint of the place, for messages.

    Raises :class:`InputError` for an unknown class or argument (with near matches), an ill-typed value, or a class from
    outside the library that isn't trusted.
    """
    built = {} if _built is None else _built
    if isinstance(node, (list, tuple)):
        return [build(v, trust, f"{where}[{i}]", None, built) for i, v in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    if "class" not in node:
        return {k: build(v, trust, f"{where}.{k}".strip("."), None, built) for k, v in node.items()}
    if id(node) not in built:
        cls = resolve(str(node["class"]), trust, where)
        arguments = {k: v for k, v in node.items() if k != "class"}
        built[id(node)] = _construct(cls, arguments, trust, where, built)
    return built[id(node)]


def resolve(name: str, trust: Trust = (), where: str = "") -> Callable[..., Any]:
    """The class of that name: one of the library's by its short name, or a trusted one by its dotted name."""
    place = f"{where}: " if where else ""
    if isinstance(trust, Mapping) and name in trust:
        return trust[name]
    if "." not in name:
        if name in (known := library_classes()):
            return known[name]
        raise InputError(f"{place}unknown part {name!r}{near(name, known)}")
    module, _, short = name.rpartition(".")
    if any(name == t or name.startswith(f"{t}.") for t in trust):
        try:
            return getattr(importlib.import_module(module), short)
        except (ImportError, AttributeError) as error:
            raise InputError(f"{place}{name} can't be imported ({error}); check the name and the Python path") from None
    raise InputError(
        f"{place}{name} is not one of the library's classes and is not trusted: pass --trust {name} "
        f"(in Python trust=[{name!r}]) if you know where it comes from"
    )


@functools.cache
def library_classes() -> dict[str, type]:
    """Every class that a configuration can name, found by walking the library's folders."""
    found: dict[str, type] = {}
    for folder in FOLDERS:
        package = importlib.import_module(f"fusevae.{folder}")
        for info in pkgutil.walk_packages(package.__path__, f"fusevae.{folder}."):
            module = importlib.import_module(info.name)
            for name, cls in vars(module).items():
                own = isinstance(cls, type) and cls.__module__ == module.__name__
                if (
                    own
                    and issubclass(cls, Described)
                    and cls is not Described
                    and not _is_abstract(cls)
                    and name[0] != "_"
                ):
                    if name in found:
                        raise RuntimeError(f"two classes are called {name}: {found[name]} and {cls}")
                    found[name] = cls
    return found


def _construct(
    cls: Callable[..., Any], arguments: dict[str, Any], trust: Trust, where: str, built: dict[int, Any]
) -> Any:
    name = getattr(cls, "__name__", str(cls))
    place = f"{where}: " if where else ""
    signature = inspect.signature(cls)
    hints = _hints(cls)
    kinds = {p.kind for p in signature.parameters.values()}
    values = {}
    for key, node in arguments.items():
        path = f"{where}.{key}".strip(".")
        if key not in signature.parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise InputError(f"{place}{name} has no setting {key!r}{near(key, signature.parameters)}")
        values[key] = fit_type(build(node, trust, path, hints.get(key), built), hints.get(key, Any), path)
    missing = [
        p.name
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in values
    ]
    if missing:
        raise InputError(f"{place}{name} needs {', '.join(map(repr, missing))}: add it to the configuration")
    try:
        return cls(**values)
    except InputError as error:
        raise type(error)(f"{place}{error}") from None
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, RecursionError):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{place}{name} can't be built with these settings ({reason}): mend them") from error


def _hints(cls: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls.__init__ if isinstance(cls, type) else cls)  # type: ignore[misc]
    except (NameError, AttributeError, TypeError):  # a trusted class may have hints that don't resolve
        return {}


@functools.cache
def adapter(hint: Any) -> Any:
    """What reads values as a type hint wants them."""
    from pydantic import ConfigDict, InstanceOf, TypeAdapter

    if dataclasses.is_dataclass(hint):
        return TypeAdapter(InstanceOf[hint])  # or a mapping would be made one
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def fit_type(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the type hint wants it ("1e-3" for a float, a list for a tuple), or :class:`InputError`."""
    from pydantic import ValidationError

    try:
        return adapter(hint).validate_python(value)
    except ValidationError as error:
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        wanted = wanted.replace("fusevae.core.conditional.", "").replace("torch.nn.modules.module.", "")
        given = class_name(type(value)) if hasattr(value, "_arguments") or _is_module(value) else repr(value)
        reason = error.errors()[0]["msg"].lower()
        raise InputError(f"{where}: expected {wanted}, got {given} ({reason}); mend this setting") from None


def _is_abstract(cls: type) -> bool:
    """Whether a method is left to subclasses; ``inspect.isabstract`` sees that only in subclasses of ABC."""
    return any(getattr(getattr(cls, name, None), "__isabstractmethod__", False) for name in dir(cls))


def _is_module(value: Any) -> bool:
    from torch import nn

    return isinstance(value, nn.Module)
