"""Text: reading it from files and memory."""

from __future__ import annotations

import json
import logging
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError, near
from fusevae.data.parts import Options, Part, splits_of

SMILES = (".smi", ".smiles")
LINES = (".txt", ".jsonl", *SMILES)  # files of a text a line

logger = logging.getLogger("fusevae")

Places = list[tuple[int, str, int]]


def is_text(part: Part) -> bool:
    """Whether a part holds texts."""
    return isinstance(part.x, list)


def are_texts(x: Any) -> bool:
    """Whether something in memory is texts: a list or tuple of strings, or an array of them.

    Example:
        >>> are_texts(["a", "b"]), are_texts(np.array(["a"])), are_texts([1, 2])
        (True, True, False)
    """
    if isinstance(x, np.ndarray):
        return x.ndim == 1 and (x.dtype.kind == "U" or (x.dtype.kind == "O" and are_texts(x.tolist())))
    return isinstance(x, list | tuple) and len(x) > 0 and all(isinstance(text, str) for text in x)


def text_part(
    cells: Sequence[Any],
    places: Places,
    options: Options,
    y: Any = None,
    names: list[str] | None = None,
    tokens: str | None = None,
) -> Part:
    """Texts as they were found, with their labels: checked, without empty ones, which are counted.

    Args:
        cells: strings; bytes for what is no UTF-8, a ValueError that says what else is wrong, anything for no text.
        places: of the cells, as of :class:`Part`.
        options: how to read.
        y: a label for each cell, or None.
        names: what integer labels stand for.
        tokens: the kind that the format suggests.
    """
    part = Part([], names=names, places=places, total=len(cells), tokens=tokens)
    where = file_of(part)
    if options.stream is not None and y is not None:
        raise InputError(f"{where}: labels were asked for of windows of a long text: leave labels or stream out")
    kept: list[int] = []
    empty: list[int] = []
    damaged: list[int] = []
    for i, cell in enumerate(cells):
        if isinstance(cell, str):
            (kept if cell.strip() or options.stream is not None else empty).append(i)
            continue
        other = str(cell) if isinstance(cell, ValueError) else f"is no text but {str(cell)[:40]!r}"
        reason = "is no UTF-8" if isinstance(cell, bytes) else other
        refuse(f"{place(part, i)} {reason}: mend it", options)
        damaged.append(i)
    say_left_out(part, empty, "empty texts")
    say_left_out(part, damaged, "damaged texts")
    part.x, part.kept = [cells[i] for i in kept], kept
    if not any(text.strip() for text in part.x):
        raise InputError(f"{where} holds no text: expected at least one line that isn't empty")
    if options.stream is not None:
        part.x, part.kept = ["\n".join(part.x)], None
    if y is not None:
        some = [y[i] for i in kept] if isinstance(y, list) else y[kept]
        part.y = options.given(some, len(kept), f"{where}: the labels" if options.properties is None else where)
    return part


def refuse(message: str, options: Options) -> None:
    """Raise for a damaged text, unless such are left out."""
    if not options.skip_damaged:
        raise InputError(f"{message}, or pass --skip-damaged (skip_damaged=True) to use the others")


def place(part: Part, i: int) -> str:
    """Where example ``i`` of the file or files stands: ``"a.txt: line 3"``."""
    assert part.places is not None
    first, words, number = part.places[bisect_right([p[0] for p in part.places], i) - 1]
    return f"{words} {i - first + number}"


def file_of(part: Part) -> str:
    """The file that a part's texts are from, or the first of several."""
    assert part.places is not None
    return part.places[0][1].rpartition(":")[0]


def say_left_out(part: Part, found: list[int], what: str) -> None:
    """A warning that counts what is left out."""
    if found:
        said = "%s: left out %d %s of %d, first %s"
        logger.warning(said, file_of(part), len(found), what, part.total, place(part, found[0]))


# ---------------------------------------------------------------- reading


def text_splits(folder: Path, options: Options) -> dict[str, list[Path]]:
    """The files of text in a folder by split, all of one type."""
    types = (*LINES, ".csv", ".tsv") if options.text else LINES
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in types)
    if len(kinds := {path.suffix.lower() for path in paths}) > 1:
        raise InputError(f"{folder} holds {' and '.join(sorted(kinds))} files: expected one type; give a file")
    splits = splits_of(paths)
    plain = [path for path in splits.get("train", []) if "train" not in path.stem.lower()]
    if len(splits) > 1 and plain:
        raise InputError(
            f"{folder}: {plain[0].name} is neither for training nor for validation or test by its name, others are: "
            "move it away, or give one file"
        )
    if splits and "train" not in splits:
        raise InputError(f"{folder} holds {' and '.join(p.name for p in paths)} and none for training: give one file")
    return splits


def read_lines(paths: list[Path], options: Options) -> Part:
    """A text a line: ``.txt``, the first field of ``.smi``, a column of the objects of ``.jsonl``."""
    cells: list[Any] = []
    labels: list[Any] = []
    places: Places = []
    for path in paths:
        places.append((len(cells), f"{path}: line", 1))
        lines: list[Any] = _lines(path, whole=options.stream is not None)
        if path.suffix.lower() in SMILES:
            lines = [next(iter(line.split()), "") if isinstance(line, str) else line for line in lines]
        elif path.suffix.lower() == ".jsonl":
            lines, found = _columns(lines, path, options)
            labels += found
        elif options.label_name or options.column:
            raise InputError(f"{path} has lines and no columns: leave labels={options.label_name!r} and column out")
        else:
            options.columns([], str(path))
        cells += lines
    tokens = "smiles" if paths[0].suffix.lower() in SMILES else None
    return text_part(cells, places, options, labels or None, None, tokens)


def pick_column(names: Sequence[str], options: Options, where: str) -> str:
    """The column with the text: the one asked for, ``text``, or the only one."""
    if options.column is not None:
        if options.column not in names:
            raise InputError(f"{where} has no column {options.column!r}{near(options.column, names)}")
        return options.column
    beside = {options.label_name, *(options.properties or ())}
    names = [name for name in names if name not in beside]
    if "text" in names or len(names) == 1:
        return "text" if "text" in names else names[0]
    raise InputError(f"{where} has columns {', '.join(names)}: name the one with the text (--set data.column=...)")


def read_datasets(found: Any, options: Options, where: str) -> dict[str, Part]:
    """The texts of a Hugging Face dataset, or of a dictionary of them."""
    if hasattr(found, "items"):
        if len(found) == 1:
            found = {"train": next(iter(found.values()))}
        if "train" not in found:
            raise InputError(f"{where} holds {', '.join(found)} and no train: expected it; give one of them by itself")
        parts = {name: data for name, data in found.items() if name in ("train", "validation", "test")}
        return {name: read_datasets(data, options, f"{where} {name}")["train"] for name, data in parts.items()}
    beside = options.columns(found.column_names, where)
    if not beside and options.labels is None and options.properties is None and "label" in found.column_names:
        beside = ["label"]
    column = pick_column([name for name in found.column_names if name not in beside], options, where)
    if options.stream is not None and options.label_name is None:
        beside = []
    names = getattr(found.features[beside[0]], "names", None) if beside else None
    y = _beside([list(found[name]) for name in beside], options)
    return {"train": text_part(list(found[column]), [(0, f"{where}: row", 0)], options, y, names)}


def read_saved(folder: Path, options: Options) -> dict[str, Part]:
    """What ``datasets.save_to_disk`` wrote."""
    try:
        import datasets
    except ImportError:
        raise InputError(f"{folder}: reading it needs Hugging Face datasets; pip install 'fusevae[data]'") from None
    return read_datasets(datasets.load_from_disk(str(folder)), options, str(folder))


def _lines(path: Path, whole: bool) -> list[str | bytes]:
    """The lines of a file; those that are no UTF-8 as bytes. ``whole``: joined by line ends they are the file."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    found: list[str | bytes]
    try:
        found = list(data.decode("utf-8").split("\n"))
    except UnicodeDecodeError:
        found = [_decoded(line) for line in data.split(b"\n")]
    if whole:
        return found
    found = [line.removesuffix("\r") if isinstance(line, str) else line for line in found]
    return found[:-1] if found[-1] == "" else found


def _decoded(line: bytes) -> str | bytes:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line


def _columns(lines: list[str | bytes], path: Path, options: Options) -> tuple[list[Any], list[Any]]:
    """The texts and the labels of JSON objects; an error stands in the place of what has none."""
    rows = [_object(line) for line in lines]
    first = next((row for row in rows if isinstance(row, dict)), None)
    if first is None:
        raise InputError(f'{path} holds no JSON objects: expected one a line, such as {{"text": "..."}}')
    beside = options.columns(list(first), str(path))
    column = pick_column(list(first), options, str(path))
    missing = ValueError(f"has no {column!r}")
    texts = [row.get(column, missing) if isinstance(row, dict) else row for row in rows]
    columns = [[row.get(name) if isinstance(row, dict) else None for row in rows] for name in beside]
    return texts, _beside(columns, options) or []


def _beside(columns: list[list[Any]], options: Options) -> list[Any] | None:
    """A label for each text, or a row of properties; None where there is no column of them."""
    if not columns:
        return None
    return columns[0] if options.properties is None else [list(row) for row in zip(*columns, strict=True)]


def _object(line: str | bytes) -> Any:
    if isinstance(line, bytes) or not line.strip():
        return line
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else ValueError("is no JSON object")
