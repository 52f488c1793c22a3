"""Numpy files: which array is what, and reading them without ever unpickling."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError, near
from fusevae.data import delimited
from fusevae.data.array_files import Header, load_arrays, load_npy, npz_headers
from fusevae.data.conditions import USUAL, Asked, named, parsed
from fusevae.data.parts import SPLITS, Options, Part, need_memory

_LABEL_WORDS = {"y", "label", "labels", "target", "targets", "class", "classes"}
OURS = ("row", "file")  # columns that the library writes beside examples, to say which is which
SMALL = 1e8  # bytes of labels that memory always holds, beside streamed images
_DATA_WORDS = {"x", "image", "images", "img", "imgs", "data", "arr"}

logger = logging.getLogger("fusevae")


def role(key: str) -> tuple[str | None, str]:
    """Split (or None) and kind (``"x"`` or ``"y"``) that an array's name tells.

    Example:
        >>> role("x_train"), role("testLabels"), role("arr_0")
        (('train', 'x'), ('test', 'y'), (None, 'x'))
    """
    words = _words(key)
    split = next((SPLITS[w] for w in words if w in SPLITS), None)
    return split, "y" if _LABEL_WORDS & set(words) else "x"


def choose(shapes: Mapping[str, tuple[int, ...]], options: Options, name: str) -> dict[str, tuple[str, dict[str, str]]]:
    """For each split the name of its array of examples, and those of its conditions by the condition's name. An array
    that belongs to the examples and is neither is refused, unless ``options.column`` names that of the examples."""
    asked, column = options.conditions, options.column
    if column is not None and any(_is_called(key, column) for key in shapes):
        wanted = [column, *asked.names]
        shapes = {k: v for k, v in shapes.items() if role(k)[1] == "y" or any(_is_called(k, w) for w in wanted)}
    chosen = _choose(shapes, asked, name)
    used = {key for x, beside in chosen.values() for key in (x, *beside.values())}
    rows = {shapes[x][0] for x, _ in chosen.values() if shapes[x]}
    rest = [key for key in shapes if key not in used and role(key)[1] == "x" and key not in OURS]
    belongs = [key for key in rest if shapes[key] and shapes[key][0] in rows]
    if belongs:
        first = next(iter(chosen.values()))[0]
        raise InputError(
            f"{name} holds {belongs[0]} {shapes[belongs[0]]} beside {first}, which nothing would use: leave it out, "
            f"name it as a condition (data.conditions=[{belongs[0]}]), or say that {first} is all (data.column={first})"
        )
    if rest:
        logger.warning("%s: left out %s, which belongs to no example", name, ", ".join(rest))
    return chosen


def _is_called(key: str, name: str) -> bool:
    """Whether an array has that name, a word for its split left out."""
    return key == name or [word for word in _words(key) if word not in SPLITS] == _words(name)


def _choose(shapes: Mapping[str, tuple[int, ...]], asked: Asked, name: str) -> dict[str, tuple[str, dict[str, str]]]:
    data: dict[str | None, list[str]] = {}
    labels: dict[str | None, list[str]] = {}
    wanted = asked.names if not asked.pattern else []
    found: dict[str | None, dict[str, str]] = {}
    for key in shapes:
        split, kind = role(key)
        column = next((c for c in wanted if _is_called(key, c)), None)
        if column is not None:
            found.setdefault(split, {})[column] = key
        elif kind == "x":
            data.setdefault(split, []).append(key)
        elif not wanted:
            labels.setdefault(split, []).append(key)
    missing = [column for column in wanted if not any(column in columns for columns in found.values())]
    several = len(wanted) > 1 and missing == wanted and not asked.optional  # one array may hold them all
    if several:
        for split, keys in {role(k)[0]: [k for k in shapes if role(k)[1] == "y"] for k in shapes}.items():
            labels[split] = keys
    elif missing and not asked.optional:
        raise InputError(f"{name} has no array {missing[0]!r} for the conditions{near(missing[0], shapes)}")
    if wanted and missing == wanted and asked.optional:
        labels = {split: [k for k in shapes if role(k) == (split, "y")] for split in {role(k)[0] for k in shapes}}

    def beside(split: str | None) -> dict[str, str]:
        if split in found:
            return found[split]
        keys = labels.get(split, [])
        if len(keys) > 1:
            raise InputError(
                f"{name} holds {', '.join(keys)}: can't tell which are the labels; name them with "
                f"conditions={keys[0]!r}"
            )
        return {"": keys[0]} if keys else {}

    if "train" in data or (None not in data and data):
        data.pop(None, None)  # arrays of no split beside x_train are something else
        if len(data) == 1:
            (split,) = data
            return {"train": (_only(data[split], shapes, name), beside(split) or beside(None))}
        if "train" not in data:
            raise InputError(f"{name} holds {', '.join(shapes)}: expected an array x_train beside them")
        return {str(s): (_only(keys, shapes, name), beside(s)) for s, keys in data.items()}
    if not data:
        raise InputError(f"{name} holds {', '.join(shapes) or 'nothing'}: expected an array x, or x_train and x_test")
    return {"train": (_only(data[None], shapes, name), beside(None))}


def in_memory(data: Any) -> dict[str, Any]:
    """What is in memory as values by name: an array or texts alone are ``x``, a pair ``x`` and ``y``; a mapping's pairs
    are ``train_x`` and ``train_y``."""
    if isinstance(data, Mapping):
        found: dict[str, Any] = {}
        for key, value in data.items():
            pair = isinstance(value, tuple) and not are_texts(value)
            if pair and len(value) != 2:
                raise InputError(f"{key!r} is a tuple of {len(value)}: expected x or (x, y)")
            found |= {f"{key}_x": value[0], f"{key}_y": value[1]} if pair else {str(key): value}
        return found
    if isinstance(data, Tensor | np.ndarray) or are_texts(data):
        return {"x": data}
    if (
        isinstance(data, tuple | list)
        and len(data) == 2
        and (isinstance(data[0], Tensor | np.ndarray) or are_texts(data[0]))
    ):
        return {"x": data[0], "y": data[1]}
    if hasattr(data, "to_numpy") and not hasattr(data, "columns"):
        return {"x": data.to_numpy()}
    return {}


Make = Callable[[Any, str], Part]


def parts_of(data: Any, options: Options, name: str, make: Make) -> dict[str, Part]:
    """Splits of what is in memory; ``make`` gives the part of an array or of texts, by a name to call it."""
    values = in_memory(data)
    for key, value in values.items():
        if (
            not isinstance(value, Tensor | np.ndarray | list | tuple)
            and not hasattr(value, "to_numpy")
            and role(key)[1] == "x"
        ):
            raise InputError(f"{key!r} is a {type(value).__name__}: expected a numpy array, tensor or list of texts")
    plain = set(values) <= {"x", "y"} and not isinstance(data, Mapping)
    if plain and "x" not in values:
        odd = (
            next((i for i, one in enumerate(data) if not isinstance(one, str)), None)
            if isinstance(data, list)
            else None
        )
        which = f" (its item {odd} is of type {type(data[odd]).__name__})" if odd is not None else ""
        raise InputError(f"{name}{which} holds nothing to learn: expected an array, a tensor or a list of texts")
    if plain:
        part = make(values["x"], name)
        part.beside(named(values.get("y"), options.conditions, "the labels"), name)
        return {"train": part}
    chosen = choose({k: tuple(np.shape(v)) for k, v in values.items()}, options, name)
    return _parts(chosen, values, options, name, make)


def _parts(
    chosen: Mapping[str, Any], values: Mapping[str, Any], options: Options, name: str, make: Make
) -> dict[str, Part]:
    parts = {}
    for split, (x, beside) in chosen.items():
        part = parts[split] = make(values[x], f"{name}: {x}")
        for column, key in beside.items():
            given = {column: values[key]} if column else named(values[key], options.conditions, f"{name}: {key}")
            part.beside(given, f"{name}: {key}")
    return parts


def are_texts(x: Any) -> bool:
    """Whether something in memory is texts: a list or tuple of strings, or an array of them.

    Example:
        >>> are_texts(["a", "b"]), are_texts(np.array(["a"])), are_texts([1, 2])
        (True, True, False)
    """
    if isinstance(x, np.ndarray):
        return x.ndim == 1 and (x.dtype.kind == "U" or (x.dtype.kind == "O" and are_texts(x.tolist())))
    return isinstance(x, list | tuple) and len(x) > 0 and all(isinstance(text, str) for text in x)


def read_npz(path: Path, options: Options, make: Make) -> dict[str, Part]:
    """An ``.npz`` with one array, or x and y, or x_train, y_train, x_test, y_test (or names like these)."""
    headers = npz_headers(path)
    chosen = choose({k: shape for k, (shape, _) in headers.items()}, options, str(path))
    wanted = [key for x, beside in chosen.values() for key in (x, *beside.values())]
    labels = [key for _, beside in chosen.values() for key in beside.values()]
    need_memory(sum(_bytes(headers[key], key in labels) for key in wanted), options, str(path))
    return _parts(chosen, load_arrays(path, wanted, headers), options, str(path), make)


def read_npy(path: Path, options: Options, make: Make) -> dict[str, Part]:
    """An ``.npy`` with all examples."""
    if (asked := options.conditions.names) and not options.conditions.optional:
        raise InputError(
            f"{path} holds one array, so conditions {', '.join(asked)} can't be in it: give a file of them"
        )
    array = load_npy(path)
    if array.dtype.kind in "fu" and array.dtype not in (np.uint8, np.float32):  # others stay mapped
        need_memory(_bytes((array.shape, array.dtype)), options, str(path))
    return {"train": make(array, str(path))}


def read_condition_file(path: Path, options: Options) -> dict[str | None, dict[str, np.ndarray]]:
    """Columns by split (None: of everything) from ``.npz``, ``.npy`` or a ``.csv`` with a row for each example."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {None: {USUAL: load_npy(path)}}
    if suffix == ".npz":
        headers = npz_headers(path)
        keys = list(headers) if len(headers) == 1 else [key for key in headers if role(key)[1] == "y"]
        splits = [role(key)[0] for key in keys]
        if not keys or len(set(splits)) < len(splits):
            raise InputError(
                f"{path} holds {', '.join(headers)}: can't tell which are the labels; name them y, or y_train "
                "and y_test"
            )
        if (size := sum(_bytes(headers[key], labels=True) for key in keys)) > SMALL:
            need_memory(size, options, str(path))
        arrays = load_arrays(path, keys, headers)
        return {split: named(arrays[key], Asked(), str(path)) for split, key in zip(splits, keys, strict=True)}
    rows = delimited.read_rows(path)[0]
    columns = [parsed(column) for column in zip(*rows[1:], strict=True)] if len(rows) > 1 else []
    whole = [parsed(column) for column in zip(*rows, strict=True)]
    # text above numbers is a header; text above text is told by the name
    header = any(
        below.dtype.kind != "U" and all_.dtype.kind == "U" for below, all_ in zip(columns, whole, strict=False)
    )
    if header or role(rows[0][0])[1] == "y" or (len(rows[0]) > 1 and not any(map(delimited.is_number, rows[0]))):
        return {None: dict(zip(map(str.strip, rows[0]), columns, strict=True))}
    names = [USUAL] if len(whole) == 1 else [f"{USUAL}_{i}" for i in range(len(whole))]
    return {None: dict(zip(names, whole, strict=True))}


def with_condition_file(parts: dict[str, Part], path: Path, options: Options) -> dict[str, Part]:
    """The parts with the columns of a file."""
    found = read_condition_file(path, options)
    if len(parts) == 1 and len(found) == 1:
        found = {next(iter(parts)): next(iter(found.values()))}
    for split, part in parts.items():
        if split not in found:
            raise InputError(
                f"{path} holds no labels for the {split} part (it holds {', '.join(map(str, found))}): expected an "
                f".npz with {', '.join(f'y_{name}' for name in parts)}"
            )
        part.conditions, part.names = {}, {}
        columns = by_names(found[split], part, f"{path} ({split})")
        part.beside(columns or found[split], f"{path} ({split})", None if columns else part.kept)
    return parts


def by_names(columns: Mapping[str, np.ndarray], part: Part, where: str) -> dict[str, np.ndarray]:
    """The other columns in the order of the examples, where one of them holds the names of their files; else none."""
    forms: list[Callable[[str], str]] = [str, lambda name: PurePath(name).name, lambda name: PurePath(name).stem]
    for form in forms:
        ours = [form(name) for name in part.ids or ()]
        for name, values in columns.items() if len(set(ours)) == len(ours) > 0 and len(columns) > 1 else ():
            theirs = [form(str(value)) for value in values.tolist()]
            places = {word: i for i, word in enumerate(theirs)}
            if 2 * len(places.keys() & set(ours)) <= len(ours):
                continue
            if missing := [word for word in ours if word not in places]:
                raise InputError(f"{where}: column {name} names files, and not {missing[0]!r}: add a row for it")
            if twice := [word for word in ours if theirs.count(word) > 1][:1] if len(places) < len(theirs) else []:
                raise InputError(f"{where}: column {name} names {twice[0]!r} twice: expected a row for each file")
            logger.warning("%s: its rows belong to the files that its column %s names", where, name)
            rows = [places[word] for word in ours]
            return {other: column[rows] for other, column in columns.items() if other != name}
    return {}


def _words(key: str) -> list[str]:
    key = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)
    key = re.sub(r"(?i)^([xy])(?=(train|test|val|valid|validation)$)", r"\1_", key)
    return [word for word in re.split(r"[^a-z]+", key.lower()) if word]


def _only(keys: list[str], shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    likely = [key for key in keys if _DATA_WORDS & set(_words(key))] if len(keys) > 1 else keys
    if len(likely) == 1:
        return likely[0]
    found = ", ".join(f"{key} {tuple(shapes[key])}" for key in keys)
    flat = ", or give columns as a DataFrame" if all(len(shapes[key]) == 1 for key in keys) else ""
    raise InputError(
        f"{name} holds {found}: can't tell which are the examples; keep one array, or name it x (x_train, x_test){flat}"
    )


def _bytes(header: Header, labels: bool = False) -> int:
    """What an array takes in memory: floats 4 bytes a value, labels 8 at least."""
    shape, dtype = header
    size = max(8, dtype.itemsize) if labels else min(dtype.itemsize, 4) if dtype.kind == "f" else dtype.itemsize
    return math.prod(shape) * size
