"""Reading files that may come from a stranger: nothing but a regular file is opened, and what a text describes is
bounded before it is built."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from fusevae.core.errors import InputError

LONGEST = 2**24  # characters of a description or a configuration
MOST = 1_000_000  # values in it, each counted as often as it is referred to
DEEPEST = 100  # levels of nesting


def regular(path: str | os.PathLike[str], what: str) -> Path:
    """``path`` where it is a regular file that may be read, or :class:`InputError`: a pipe would never end."""
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no {what} at {path}: check the path") from None
    except (OSError, ValueError) as error:  # a loop of links, a folder that may not be looked into, a name with a NUL
        raise InputError(f"{path} can't be opened ({getattr(error, 'strerror', None) or error}): give a file") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(f"{path} is {kind}: expected a regular file ({what}); copy it to one")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read (no permission): change its mode, or give another file")
    return path


def text_of(path: str | os.PathLike[str], what: str, longest: int | None = None) -> str:
    """The text of a file in UTF-8."""
    path = regular(path, what)
    if longest is not None and path.stat().st_size > longest:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes: expected at most {longest:,} ({what})")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error}): expected {what} in it") from None


def from_json(text: str, where: str) -> Any:
    """A JSON text as plain data; :class:`InputError` for what is none, a name that stands twice in one object, half of
    a surrogate pair.

    Example:
        >>> from_json('{"a": [1, 2.5]}', "it")
        {'a': [1, 2.5]}
    """
    try:
        found = json.loads(text, object_pairs_hook=_once)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON ({_line(error)}): give what fusevae wrote") from None
    return found


def from_yaml(text: str, where: str) -> Any:
    """A YAML text as plain data; :class:`InputError` for what is none, or larger or deeper than any description.

    Example:
        >>> from_yaml("{a: [1, 2.5], b: &x {c: no}, d: *x}", "it")
        {'a': [1, 2.5], 'b': {'c': False}, 'd': {'c': False}}
    """
    if len(text) > LONGEST:
        raise InputError(f"{where} has {len(text):,} characters: expected at most {LONGEST:,}")
    try:
        _bound(text, where)
        return yaml.load(text, Loader=_Loader)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # the last ones are what malformed numbers, dates and binaries raise
        raise InputError(f"{where} is no YAML ({_line(error)}): mend it there") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a name that stands twice in one mapping, or is none."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                what = f"{key.value!r} as a name" if isinstance(key, yaml.ScalarNode) else "a name that is no word"
                raise yaml.constructor.ConstructorError(None, None, f"{what}: expected a string", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} twice", key.start_mark)
            seen.add(key.value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def _bound(text: str, where: str) -> None:
    """Refuse a text with too many values, of which those that are referred to count each time, or that nests too
    deep; going through its events takes neither."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise InputError(f"{where} refers by *{event.anchor} to nothing, or to itself: mend it there")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > MOST:
            raise InputError(f"{where} holds over {MOST:,} values: expected no more")
        if len(open_) > DEEPEST:
            raise InputError(f"{where} nests over {DEEPEST} levels deep: expected no more")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} stands twice in an object")
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
