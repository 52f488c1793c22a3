"""Text: reading it from files and memory."""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import is_normalized, normalize

from fusevae.core.errors import InputError
from fusevae.data import delimited, parquet
from fusevae.data.conditions import as_column, parsed
from fusevae.data.folders import say_others
from fusevae.data.given import files_at
from fusevae.data.kinds import LOOKED_AT, values_kind, words_kind
from fusevae.data.parts import Options, Part, pick, splits_of

TABLES = (".csv", ".tsv")
BLANKS = " \t"  # end a field of a line
UNASKED = ("label", "labels")  # columns that are conditions without being asked for

logger = logging.getLogger("fusevae")

Places = list[tuple[int, str, int]]


class Looks(NamedTuple):
    """What files of a kind of text look like.

    Attributes:
        what: the texts in words.
        named: the column that holds them, in small letters.
        lines: endings of files of one a line.
        fields: those among them whose line begins with it; what follows a space is something else.
        computed: conditions that are computed where no column holds them.
    """

    what: str = "text"
    named: str = "text"
    lines: tuple[str, ...] = (".txt", ".jsonl")
    fields: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()

    def is_named(self, name: str) -> bool:
        """Whether a column has the usual name, or one that ends in it: ``canonical_smiles``."""
        return re.fullmatch(rf"(.*[\W_]|canonical|isomeric)?{self.named}", name.lower()) is not None


TEXT = Looks()


def text_part(
    cells: Sequence[Any],
    places: Places,
    options: Options,
    beside: Mapping[str, Any] | None = None,
    names: Mapping[str, list[str]] | None = None,
    what: str = "text",
) -> Part:
    """Texts as they were found, with what is known beside them: checked, without empty ones, which are counted.

    Args:
        cells: strings; bytes for what is no UTF-8, a ValueError that says what else is wrong, anything for no text.
        places: of the cells, as of :class:`Part`.
        options: how to read.
        beside: columns by name, a value for each cell.
        names: what the integers of a column stand for.
        what: the texts in words.
    """
    part = Part([], names=dict(names or {}), places=places, total=len(cells))
    where = file_of(part)
    if options.stream is not None and options.conditions.told and not options.conditions.optional:
        raise InputError(f"{where}: conditions were asked for of windows of a long text: leave them or stream out")
    kept: list[int] = []
    empty: list[int] = []
    damaged: list[int] = []
    for i, cell in enumerate(cells):
        reason = _wrong(cell)
        if reason is None:
            (kept if cell.strip() or options.stream is not None else empty).append(i)
            continue
        also = "; if all of it is in another encoding (Windows-1252, say), save it as UTF-8"
        refuse(f"{place(part, i)} {reason}: mend it", options, also if isinstance(cell, bytes) else "")
        damaged.append(i)
    say_left_out(part, empty, "empty texts")
    say_left_out(part, damaged, "damaged texts")
    part.x, part.kept = [cells[i] for i in kept], kept
    if not any(text.strip() for text in part.x):
        raise InputError(f"{where} holds no {what}: expected at least one line that isn't empty")
    if options.known is None and (both := spelt_twice(part.x)):
        said = "%s: %s: in some texts one character, in others two (letter and accent), which no model can know to be "
        logger.warning(said + "the same: write one form (unicodedata.normalize)", where, ", ".join(sorted(both)[:5]))
    if options.stream is not None:
        part.x, part.kept = ["\n".join(part.x)], None
        return part
    for name, values in (beside or {}).items():
        part.conditions[name] = as_column([values[i] for i in kept], len(kept), f"{where}: {name}")
    return part


def spelt_twice(texts: Sequence[str]) -> set[str]:
    r"""The characters that are composed in some texts and a letter with its accents in others.

    Example:
        >>> spelt_twice(["caf\u00e9", "cafe\u0301"]), spelt_twice(["cafe\u0301"])
        ({'é'}, set())
    """
    apart = [text for text in texts if not text.isascii() and not is_normalized("NFC", text)]
    composed = set[str]().union(*({*normalize("NFC", text)} - {*text} for text in apart))
    return composed.intersection(*[set[str]().union(*texts)] if composed else [])


def refuse(message: str, options: Options, also: str = "") -> None:
    """Raise for a damaged text, unless such are left out."""
    if not options.skip_damaged:
        raise InputError(f"{message}, or pass --skip-damaged (skip_damaged=True) to use the others{also}")


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


def text_splits(folder: Path, options: Options, looks: Looks) -> dict[str, list[Path]]:
    """The files in a folder by split, all of one type: of texts a line, or else tables. Others are counted in a
    warning."""
    here = files_at(folder)
    types = looks.lines if any(path.suffix.lower() in looks.lines for path in here) else TABLES
    paths = [path for path in here if path.suffix.lower() in types]
    if len(kinds := {path.suffix.lower() for path in paths}) > 1:
        raise InputError(f"{folder} holds {' and '.join(sorted(kinds))} files: expected one type; give a file")
    splits = splits_of(paths)
    plain = [path for path in splits.get("train", []) if "train" not in path.stem.lower()]
    if len(splits) > 1 and plain:
        raise InputError(
            f"{folder}: {plain[0].name} is neither for training nor for validation or test by its name, others are: "
            "move it away, or give one file"
        )
    if paths:
        say_others(folder, paths, options, f"are no {types[0]} in the folder itself")
    if splits and "train" not in splits:
        raise InputError(f"{folder} holds {' and '.join(p.name for p in paths)} and none for training: give one file")
    return splits


def read_table(path: Path, options: Options, looks: Looks = TEXT) -> Part:
    """A column of a ``.csv`` or ``.tsv``."""
    names, body, line, _ = delimited.read_table(path, options.header)
    kinds = {name: words_kind(row[i] for row in body[:LOOKED_AT]) for i, name in enumerate(names)}
    column, beside = pick_columns(kinds, options, str(path), looks)
    columns = {name: [row[names.index(name)] for row in body] for name in [column, *beside]}
    values = {name: parsed(columns[name]).tolist() for name in beside}
    return text_part(columns[column], [(0, f"{path}: row", line)], options, values, what=looks.what)


def read_parquet(paths: list[Path], options: Options, looks: Looks = TEXT) -> Part:
    """A column of the parquet files of a split."""
    files = parquet.Files(paths)
    column, beside = pick_columns(parquet.column_kinds(paths[0]), options, files.where, looks)
    counts = [file.metadata.num_rows for file in files.files]
    places = [(sum(counts[:i]), f"{path}: row", 0) for i, path in enumerate(paths)]
    names = {name: words for name in beside if (words := files.class_names(name))}
    values = {name: files.cells(name) for name in beside}
    return text_part(files.cells(column), places, options, values, names, looks.what)


def pick_columns(kinds: Mapping[str, str], options: Options, where: str, looks: Looks) -> tuple[str, list[str]]:
    """The column with the text (the one asked for, that of the usual name, the only one, the only one of sentences or
    of words), and those of the conditions: what was asked for, else ``label``. Of others it is said that they aren't
    used."""
    names = list(kinds)
    beside = options.conditions.among(names, where, looks.computed)
    if not options.conditions.told and options.stream is None:
        beside = [name for name in UNASKED if name in names][:1]
    if options.column is not None:
        column = pick(options.column, names, where, f"the {looks.what}")
    else:
        rest = [name for name in names if name not in beside]
        usual = [name for name in rest if name.lower() == looks.named] or [
            name for name in rest if looks.is_named(name)
        ]
        sentences, words = ([name for name in rest if kinds[name] in some] for some in (("text",), ("text", "words")))
        found = [some for some in (usual, rest, sentences, words) if len(some) == 1]
        if not found:
            hint = f"name the one with the {looks.what} (--set data.column=...)"
            raise InputError(f"{where} has columns {', '.join(rest)}: {hint}")
        (column,) = found[0]
    unused = [name for name in names if name not in (column, *beside)]
    if unused and options.known is None:
        said = "%s: of its columns %s is read as %s, %s not used: data.conditions names those that a model is given; "
        said += "all are read as a table by data.modality=tables"
        what = "and " + ", ".join(beside) + " beside it, " if beside else ""
        logger.warning(said, where, column, looks.what, what + ", ".join(unused))
    return column, beside


def read_datasets(found: Any, options: Options, where: str, looks: Looks = TEXT) -> dict[str, Part]:
    """The texts of a Hugging Face dataset, or of a dictionary of them."""
    if hasattr(found, "items"):
        if len(found) == 1:
            found = {"train": next(iter(found.values()))}
        if "train" not in found:
            raise InputError(f"{where} holds {', '.join(found)} and no train: expected it; give one of them by itself")
        parts = {name: data for name, data in found.items() if name in ("train", "validation", "test")}
        return {name: read_datasets(data, options, f"{where} {name}", looks)["train"] for name, data in parts.items()}
    some = found[:LOOKED_AT]
    kinds = {name: values_kind(list(some[name])) for name in found.column_names}
    column, beside = pick_columns(kinds, options, where, looks)
    names = {name: words for name in beside if (words := getattr(found.features[name], "names", None))}
    values = {name: list(found[name]) for name in beside}
    return {"train": text_part(list(found[column]), [(0, f"{where}: row", 0)], options, values, names, looks.what)}


def read_frame(frame: Any, options: Options, where: str, looks: Looks = TEXT) -> dict[str, Part]:
    """A column of a DataFrame."""
    kinds = {str(name): values_kind(list(frame[name][:LOOKED_AT])) for name in frame.columns}
    column, beside = pick_columns(kinds, options, where, looks)
    values = {name: list(frame[name]) for name in beside}
    return {"train": text_part(list(frame[column]), [(0, f"{where}: row", 0)], options, values, what=looks.what)}


def read_saved(folder: Path, options: Options, looks: Looks = TEXT) -> dict[str, Part]:
    """What ``datasets.save_to_disk`` wrote."""
    with parquet.saved(folder) as data:
        return read_datasets(data, options, str(folder), looks)


def _wrong(cell: Any) -> str | None:
    """Why a cell holds no text; None where it does."""
    if isinstance(cell, str):
        half = not cell.isascii() and any("\ud800" <= c <= "\udfff" for c in cell)
        return "holds half a character (a lone surrogate)" if half else None
    other = str(cell) if isinstance(cell, ValueError) else f"is no text but {str(cell)[:40]!r}"
    return "is no UTF-8" if isinstance(cell, bytes) else other
