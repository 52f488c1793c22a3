"""Text: reading it from files and memory."""

from __future__ import annotations

import json
import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusevae.core.errors import InputError
from fusevae.data import delimited, parquet
from fusevae.data.conditions import as_column, parsed
from fusevae.data.kinds import words_kind
from fusevae.data.parts import Options, Part, pick, splits_of

SMILES = (".smi", ".smiles")
COMPUTED = ("qed", "logp", "sa", "weight")  # of molecules, where no column holds them
LINES = (".txt", ".jsonl", *SMILES)  # files of a text a line

logger = logging.getLogger("fusevae")

Places = list[tuple[int, str, int]]


def text_part(
    cells: Sequence[Any],
    places: Places,
    options: Options,
    beside: Mapping[str, Any] | None = None,
    names: Mapping[str, list[str]] | None = None,
    tokens: str | None = None,
) -> Part:
    """Texts as they were found, with what is known beside them: checked, without empty ones, which are counted.

    Args:
        cells: strings; bytes for what is no UTF-8, a ValueError that says what else is wrong, anything for no text.
        places: of the cells, as of :class:`Part`.
        options: how to read.
        beside: columns by name, a value for each cell.
        names: what the integers of a column stand for.
        tokens: the kind that the format suggests.
    """
    part = Part([], names=dict(names or {}), places=places, total=len(cells), tokens=tokens)
    where = file_of(part)
    if options.stream is not None and options.conditions.told and not options.conditions.optional:
        raise InputError(f"{where}: conditions were asked for of windows of a long text: leave them or stream out")
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
        return part
    for name, values in (beside or {}).items():
        part.conditions[name] = as_column([values[i] for i in kept], len(kept), f"{where}: {name}")
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
    asked = options.column or options.tokens or options.stream
    types = (*LINES, ".csv", ".tsv") if asked else LINES
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
    beside: dict[str, list[Any]] = {}
    places: Places = []
    for path in paths:
        places.append((len(cells), f"{path}: line", 1))
        lines: list[Any] = _lines(path, whole=options.stream is not None)
        if path.suffix.lower() in SMILES:
            lines = [next(iter(line.split()), "") if isinstance(line, str) else line for line in lines]
        elif path.suffix.lower() == ".jsonl":
            lines, found = _columns(lines, path, options)
            for name, values in found.items():
                beside.setdefault(name, []).extend(values)
        elif options.column:
            raise InputError(f"{path} has lines and no columns: leave column={options.column!r} out")
        if path.suffix.lower() != ".jsonl":
            options.conditions.among((), str(path), COMPUTED)
        cells += lines
    tokens = "smiles" if paths[0].suffix.lower() in SMILES else None
    return text_part(cells, places, options, beside, None, tokens)


def read_table(path: Path, options: Options) -> Part:
    """A column of a ``.csv`` or ``.tsv``."""
    names, body, line = delimited.read_table(path, options.header)
    kinds = {name: words_kind(row[i] for row in body) for i, name in enumerate(names)}
    column, beside = pick_columns(names, options, str(path), kinds)
    columns = {name: [row[names.index(name)] for row in body] for name in [column, *beside]}
    values = {name: parsed(columns[name]).tolist() for name in beside}
    return text_part(columns[column], [(0, f"{path}: row", line)], options, values)


def read_parquet(paths: list[Path], options: Options) -> Part:
    """A column of the parquet files of a split."""
    files = parquet.Files(paths)
    kinds = parquet.column_kinds(paths[0])
    column, beside = pick_columns(files.names, options, files.where, kinds)
    counts = [file.metadata.num_rows for file in files.files]
    places = [(sum(counts[:i]), f"{path}: row", 0) for i, path in enumerate(paths)]
    names = {name: words for name in beside if (words := files.class_names(name))}
    return text_part(files.cells(column), places, options, {name: files.cells(name) for name in beside}, names)


def pick_columns(
    names: Sequence[str], options: Options, where: str, kinds: Mapping[str, str] | None = None
) -> tuple[str, list[str]]:
    """The column with the text (the one asked for, ``text``, the only one, or the only one of sentences), and those of
    the conditions: what was asked for, else ``label``."""
    beside = options.conditions.among(names, where, COMPUTED)
    if not options.conditions.told and options.stream is None:
        beside = [name for name in ("label", "labels") if name in names][:1]
    if options.column is not None:
        return pick(options.column, names, where, "the text"), beside
    rest = [name for name in names if name not in beside]
    sentences = [name for name in rest if (kinds or {}).get(name) == "text"]
    for found in ([name for name in rest if name == "text"], rest, sentences):
        if len(found) == 1:
            return found[0], beside
    raise InputError(f"{where} has columns {', '.join(rest)}: name the one with the text (--set data.column=...)")


def read_datasets(found: Any, options: Options, where: str) -> dict[str, Part]:
    """The texts of a Hugging Face dataset, or of a dictionary of them."""
    if hasattr(found, "items"):
        if len(found) == 1:
            found = {"train": next(iter(found.values()))}
        if "train" not in found:
            raise InputError(f"{where} holds {', '.join(found)} and no train: expected it; give one of them by itself")
        parts = {name: data for name, data in found.items() if name in ("train", "validation", "test")}
        return {name: read_datasets(data, options, f"{where} {name}")["train"] for name, data in parts.items()}
    column, beside = pick_columns(found.column_names, options, where)
    names = {name: words for name in beside if (words := getattr(found.features[name], "names", None))}
    values = {name: list(found[name]) for name in beside}
    return {"train": text_part(list(found[column]), [(0, f"{where}: row", 0)], options, values, names)}


def read_frame(frame: Any, options: Options, where: str) -> dict[str, Part]:
    """A column of a DataFrame."""
    names = [str(name) for name in frame.columns]
    column, beside = pick_columns(names, options, where)
    values = {name: list(frame[name]) for name in beside}
    return {"train": text_part(list(frame[column]), [(0, f"{where}: row", 0)], options, values)}


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


def _columns(lines: list[str | bytes], path: Path, options: Options) -> tuple[list[Any], dict[str, list[Any]]]:
    """The texts and the conditions of JSON objects; an error stands in the place of what has none."""
    rows = [_object(line) for line in lines]
    first = next((row for row in rows if isinstance(row, dict)), None)
    if first is None:
        raise InputError(f'{path} holds no JSON objects: expected one a line, such as {{"text": "..."}}')
    column, beside = pick_columns(list(first), options, str(path))
    missing = ValueError(f"has no {column!r}")
    texts = [row.get(column, missing) if isinstance(row, dict) else row for row in rows]
    return texts, {name: [row.get(name) if isinstance(row, dict) else None for row in rows] for name in beside}


def _object(line: str | bytes) -> Any:
    if isinstance(line, bytes) or not line.strip():
        return line
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else ValueError("is no JSON object")
