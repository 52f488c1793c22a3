"""Numpy files: which array is what, and reading them without ever unpickling."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError, near
from fusevae.data.arrays import as_examples
from fusevae.data.parts import SPLITS, Options, Part, need_memory
from fusevae.data.text import are_texts, text_part

_LABEL_WORDS = {"y", "label", "labels", "target", "targets", "class", "classes"}
_DATA_WORDS = {"x", "image", "images", "img", "imgs", "data", "arr"}

Header = tuple[tuple[int, ...], np.dtype]


def role(key: str) -> tuple[str | None, str]:
    """Split (or None) and kind (``"x"`` or ``"y"``) that an array's name tells.

    Example:
        >>> role("x_train"), role("testLabels"), role("arr_0")
        (('train', 'x'), ('test', 'y'), (None, 'x'))
    """
    words = _words(key)
    split = next((SPLITS[w] for w in words if w in SPLITS), None)
    return split, "y" if _LABEL_WORDS & set(words) else "x"


def choose(
    shapes: Mapping[str, tuple[int, ...]], label_name: str | None, name: str
) -> dict[str, tuple[str, str | None]]:
    """For each split the names of its array of examples and of its labels (or None), by the names of all arrays."""
    data: dict[str | None, list[str]] = {}
    labels: dict[str | None, list[str]] = {}
    wanted = _words(label_name) if label_name else None
    for key in shapes:
        split, kind = role(key)
        if wanted:
            rest = [w for w in _words(key) if w not in SPLITS]
            kind = "y" if key == label_name or rest == wanted else "x" if kind == "x" else "other"
        (labels if kind == "y" else data if kind == "x" else {}).setdefault(split, []).append(key)
    if wanted and not labels:
        raise InputError(f"{name} has no array {label_name!r} for the labels{near(str(label_name), shapes)}")
    if "train" in data or (None not in data and data):
        data.pop(None, None)  # arrays of no split beside x_train are something else
        if len(data) == 1:
            (split,) = data
            return {"train": (_only(data[split], shapes, name), _label(labels.get(split) or labels.get(None), name))}
        if "train" not in data:
            raise InputError(f"{name} holds {', '.join(shapes)}: expected an array x_train beside them")
        return {str(s): (_only(keys, shapes, name), _label(labels.get(s), name)) for s, keys in data.items()}
    if not data:
        raise InputError(f"{name} holds {', '.join(shapes) or 'nothing'}: expected an array x, or x_train and x_test")
    return {"train": (_only(data[None], shapes, name), _label(labels.get(None), name))}


def parts_of(arrays: Mapping[str, Any], options: Options, name: str) -> dict[str, Part]:
    """Splits of arrays or texts that are in memory."""
    chosen = choose({k: tuple(np.shape(v)) for k, v in arrays.items()}, options.label_name, name)
    return {
        split: part_of(arrays[x], arrays[y] if y else None, options, f"{name}: {x}", f"{name}: {y}")
        for split, (x, y) in chosen.items()
    }


def part_of(x: Any, y: Any, options: Options, name: str, labels: str) -> Part:
    """An array or texts in memory, with labels or None, as one split."""
    if are_texts(x):
        return text_part(list(map(str, x)), [(0, f"{name}: text", 0)], options, options.given(y, len(x), labels))
    examples = as_examples(x, name)
    return Part(examples, options.given(y, len(examples), labels), total=len(examples))


def read_npz(path: Path, options: Options) -> dict[str, Part]:
    """An ``.npz`` with one array, or x and y, or x_train, y_train, x_test, y_test (or names like these)."""
    headers = npz_headers(path)
    chosen = choose({k: shape for k, (shape, _) in headers.items()}, options.label_name, str(path))
    wanted = [key for pair in chosen.values() for key in pair if key is not None]
    need_memory(sum(_bytes(headers[x]) for x, _ in chosen.values()), options, str(path))
    parts = {}
    arrays = load_arrays(path, wanted, headers)
    for split, (x, y) in chosen.items():
        examples = as_examples(arrays.pop(x), f"{path}: {x}")
        labels = options.given(arrays[y], len(examples), f"{path}: {y}") if y else None
        parts[split] = Part(examples, labels, total=len(examples))
    return parts


def read_npy(path: Path, options: Options) -> dict[str, Part]:
    """An ``.npy`` with all examples."""
    if options.label_name:
        raise InputError(f"{path} holds one array, so labels={options.labels!r} can't be in it: give a file of labels")
    array = load_npy(path)
    need_memory(_bytes((array.shape, array.dtype)), options, str(path))
    examples = as_examples(array, str(path))
    return {"train": Part(examples, total=len(examples))}


def load_npy(path: Path) -> np.ndarray:
    """The array of an ``.npy`` file, mapped, not yet read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path} is no whole .npy file of numbers ({_reason(error)}): save it with numpy.save"
        ) from None


def npz_headers(path: Path) -> dict[str, Header]:
    """Shape and dtype of each array in an ``.npz``, without reading the arrays."""
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if not member.endswith(".npy"):
                    raise InputError(
                        f"{path} holds {member}, which is no array: expected a file written by numpy.savez"
                    )
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(file)
                    headers[member.removesuffix(".npy")] = (shape, dtype)
    except InputError:
        raise
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{path} is no whole .npz file ({_reason(error)}): save it with numpy.savez_compressed"
        ) from None
    return headers


def load_arrays(path: Path, keys: list[str], headers: Mapping[str, Header]) -> dict[str, np.ndarray]:
    """The arrays ``keys`` of an ``.npz``; an array of Python objects is refused."""
    for key in keys:
        if headers[key][1].hasobject:
            raise InputError(
                f"{path}: {key} holds Python objects, which only a pickle could read: save it as numbers or text"
            )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({_reason(error)}): get or save the file again") from None


def _words(key: str) -> list[str]:
    key = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)
    key = re.sub(r"(?i)^([xy])(?=(train|test|val|valid|validation)$)", r"\1_", key)
    return [word for word in re.split(r"[^a-z]+", key.lower()) if word]


def _only(keys: list[str], shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    likely = [key for key in keys if _DATA_WORDS & set(_words(key))] if len(keys) > 1 else keys
    if len(likely) == 1:
        return likely[0]
    found = ", ".join(f"{key} {tuple(shapes[key])}" for key in keys)
    raise InputError(
        f"{name} holds {found}: can't tell which are the examples; keep one array, or name it x (x_train, x_test)"
    )


def _label(keys: list[str] | None, name: str) -> str | None:
    if keys and len(keys) > 1:
        raise InputError(
            f"{name} holds {', '.join(keys)}: can't tell which are the labels; name one with labels={keys[0]!r}"
        )
    return keys[0] if keys else None


def _bytes(header: Header) -> int:
    shape, dtype = header
    size = min(dtype.itemsize, 4) if dtype.kind == "f" else dtype.itemsize
    return int(np.prod(shape, dtype=np.int64)) * size


def _reason(error: Exception) -> str:
    if "pickle" in str(error):
        return "it is a pickle, which can run any code when opened"
    return " ".join(str(error).split())[:120] or type(error).__name__
