"""Text: a line each, in ``.txt`` and the like, or the objects of ``.jsonl``."""

from __future__ import annotations

import logging
import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fusevae.core.errors import InputError
from fusevae.core.untrusted import regular
from fusevae.data.delimited import is_number
from fusevae.data.encodings import check_known, encoding_of
from fusevae.data.folders import Split, index_of, is_indexed, roots
from fusevae.data.kinds import LOOKED_AT, values_kind
from fusevae.data.objects import object_of
from fusevae.data.parts import Options, Part
from fusevae.modalities.molecules.spelling import are_smiles
from fusevae.modalities.text.reading import BLANKS, TEXT, Looks, Places, pick_columns, text_part

ZEROS = 0.25  # part of a file's bytes that no UTF-8 text has
FEW = 10  # lines, below which what they have in common is chance

logger = logging.getLogger("fusevae")


def read_lines(paths: list[Path], options: Options, looks: Looks = TEXT) -> Part:
    """A text a line, or its first field; of ``.jsonl`` a column of the objects."""
    cells: list[Any] = []
    beside: dict[str, list[Any]] = {}
    places: Places = []
    for path in paths:
        suffix = path.suffix.lower()
        places.append((len(cells), f"{path}: line", 1))
        lines: list[Any] = _lines(path, whole=options.stream is not None)
        if suffix == ".jsonl":
            lines, found = _columns(lines, path, options, looks)
            for name, values in found.items():
                beside.setdefault(name, []).extend(values)
        elif options.column:
            raise InputError(f"{path} has lines and no columns: leave column={options.column!r} out")
        else:
            options.conditions.among((), str(path), looks.computed)
            if options.known is None and options.stream is None and suffix not in looks.fields:
                _say_form(path, [line for line in lines[:LOOKED_AT] if isinstance(line, str) and line.strip()], looks)
        if suffix in looks.fields:
            lines = [_field(line) if isinstance(line, str) else line for line in lines]
        cells += lines
    return text_part(cells, places, options, beside, what=looks.what)


def read_folders(folder: Path, paths: Sequence[Path], options: Options, looks: Looks = TEXT) -> dict[str, Part]:
    """Texts of which each is a ``.txt``, in sub-folders (classes, or splits where they are called train, test,
    validation), or named by a ``metadata.csv``."""
    if options.stream is not None:
        raise InputError(f"{folder} holds {looks.what}, an example a file: leave data.stream out")
    parts: dict[str, Part] = {}
    for name, root in roots(folder, paths, options, looks.what).items():
        split = Split(root, (".txt",), looks.what)
        cells = [_document(path) for path in split.paths]
        places = [(i, f"{path}: text", 1) for i, path in enumerate(split.paths)]
        part = parts[name] = text_part(cells, places, options, what=looks.what)
        assert part.kept is not None
        part.ids = [split.names[i] for i in part.kept]
        split.beside(part, part.kept, options)
    if options.known is None:
        where, beside = "in its sub-folders ", "the name of the folder"
        if is_indexed(folder):
            where, beside = "", f"what {index_of(folder).name} says of it"
        said = "%s: each of %d files %sis read as one example of %s, with %s"
        logger.warning(said, folder, len(paths), where, looks.what, beside)
    return parts


def _document(path: Path) -> str | bytes:
    data = _utf8(path)
    try:
        return "\n".join(data.decode("utf-8").splitlines())
    except UnicodeDecodeError:
        return data


def _lines(path: Path, whole: bool) -> list[str | bytes]:
    """The lines of a file; those that are no UTF-8 as bytes. ``whole``: joined by line ends they are the file."""
    data = _utf8(path)
    found: list[str | bytes]
    try:
        text = data.decode("utf-8")
        found = list(text.split("\n" if "\n" in text or whole else "\r"))  # of old, lines ended with a \r alone
    except UnicodeDecodeError:
        found = [_decoded(line) for line in data.split(b"\n")]
    if whole:
        return found
    found = [line.removesuffix("\r") if isinstance(line, str) else line for line in found]
    return found[:-1] if found[-1] == "" else found


def _utf8(path: Path) -> bytes:
    """The bytes of a file without the mark of its encoding; UTF-16 and UTF-32 as UTF-8."""
    data = regular(path, "text").read_bytes()
    check_known(path, data, "text")
    if (encoding := encoding_of(data)) not in ("utf-8", "utf-8-sig"):
        with suppress(UnicodeError):
            data = data.decode(encoding).encode("utf-8")
    if data.count(0) > ZEROS * len(data):
        raise InputError(f"{path} holds zeros as no text in UTF-8 does: save it as UTF-8, if it is text (UTF-16, say)")
    while data.startswith(BOM_UTF8):  # two programs may have set one
        data = data.removeprefix(BOM_UTF8)
    return data


def _say_form(path: Path, lines: Sequence[str], looks: Looks) -> None:
    """Say that lines, which are read as texts, may be something else."""
    tabs, commas = ({line.count(one) for line in lines} for one in "\t,")
    if len(lines) < FEW:
        return
    if all(line.lstrip().startswith("{") and isinstance(_object(line), dict) for line in lines):
        what, end = "is a JSON object", ".jsonl"
    elif all(map(is_number, re.split(r"[\s,;]+", " ".join(lines).strip()))):
        what, end = "holds numbers alone", ".csv, with commas between them,"
    elif looks == TEXT and are_smiles(lines):
        what, end = "is spelt as SMILES", ".smi"
    elif lines[0].startswith(">") and not any(line.startswith(">") for line in lines[1:2]):
        logger.warning("%s: lines that begin with > are taken for texts as they stand: leave FASTA's headers out", path)
        return
    elif len(tabs) == 1 and 0 not in tabs:
        what, end = f"has {max(tabs)} tabs", ".tsv"
    elif len(commas) == 1 and 0 not in commas:
        what, end = f"has {max(commas)} commas", ".csv"
    else:
        return
    logger.warning("%s: each line %s, and is taken for a text as it stands: name it %s if it isn't", path, what, end)


def _field(line: str) -> str:
    """What stands before the first blank."""
    return line.strip(BLANKS).replace("\t", " ").partition(" ")[0]


def _decoded(line: bytes) -> str | bytes:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line


def _columns(
    lines: list[str | bytes], path: Path, options: Options, looks: Looks
) -> tuple[list[Any], dict[str, list[Any]]]:
    """The texts and the conditions of JSON objects; an error stands in the place of what has none."""
    rows = [_object(line) for line in lines]
    some = [row for row in rows if isinstance(row, dict)][:LOOKED_AT]
    if not some:
        wrong = f" (line 1 {rows[0]})" if rows and isinstance(rows[0], ValueError) else ""
        raise InputError(
            f'{path} holds no JSON objects{wrong}: expected one a line, such as {{"{looks.named}": "..."}}'
        )
    kinds = {name: values_kind([row.get(name) for row in some]) for name in some[0]}
    column, beside = pick_columns(kinds, options, str(path), looks)
    missing = ValueError(f"has no {column!r}")
    texts = [row.get(column, missing) if isinstance(row, dict) else row for row in rows]
    return texts, {name: [row.get(name) if isinstance(row, dict) else None for row in rows] for name in beside}


def _object(line: str | bytes) -> Any:
    if isinstance(line, bytes):
        line = _decoded(line)
    if isinstance(line, bytes) or not line.strip():
        return line
    return object_of(line)
