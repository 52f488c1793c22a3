"""Text tables: the cells of a .csv or .tsv."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from fusevae.core.errors import InputError
from fusevae.data.encodings import decoded

GAPS = {"", "?", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"}  # cells that hold no value
LOOKED_AT = 100  # rows below the first by which it is judged
ENOUGH = 10  # of them to tell a first row from chance
HEAD = 100_000  # characters by which the delimiter is told
FEW = 20  # rows above a table, at most, that may be a title
COMMENT = ("#", "%", "//")  # begin lines that are no rows

logger = logging.getLogger("fusevae")


class Table(NamedTuple):
    """A text table.

    Attributes:
        names: of the columns.
        rows: below them.
        line: number of the first of these.
        delimiter: between cells.
    """

    names: list[str]
    rows: list[list[str]]
    line: int
    delimiter: str


def read_table(path: Path, header: bool | None, say: bool = True, most: int | None = None) -> Table:
    """A text table, or ``most`` of its rows.

    ``header`` says whether the first row names the columns; None looks (:func:`is_header`), and says what was found
    where a first row may be either, if ``say``.
    """
    rows, above, delimiter = read_rows(path, most, say)
    header = has_header(rows, header, path, say)
    if not header:
        return Table(nameless(len(rows[0])), rows, above + 1, delimiter)
    if empty := [i for i in range(len(rows[0])) if not any(row[i].strip() for row in rows)]:  # commas at the ends
        rows = [[cell for i, cell in enumerate(row) if i not in empty] for row in rows]
    names = [cell.strip() for cell in rows[0]]
    _check_one(rows, path)
    if len(rows) == 1:
        raise InputError(f"{path} has a header and no rows: expected at least one row below it")
    if names.count("") > 1:
        raise InputError(
            f"{path} has {names.count('')} columns without a name: name each in the first row, delete what stands "
            "above that, or say that there are no names (data.header=false)"
        )
    check_names(names, str(path))
    return Table(names, rows[1:], above + 2, delimiter)


def _check_one(rows: Sequence[Sequence[str]], path: Path) -> None:
    """Refuse one column whose cells are rows themselves: as many values in each, numbers at most places."""
    for mark, what in ((None, "blanks"), ("^", "'^'"), ("~", "'~'")) if len(rows[0]) == 1 else ():
        cells = [row[0].strip().split(mark) for row in rows[: LOOKED_AT + 1]]
        if len({*map(len, cells)}) > 1 or len(cells[0]) < 2 or len(cells) <= ENOUGH:
            continue
        numbers = sum(all(is_number(cell.strip()) for cell in column[1:]) for column in zip(*cells, strict=True))
        if 2 * numbers > len(cells[0]):
            raise InputError(
                f"{path} has one column, of {len(cells[0])} values with {what} between them, such as "
                f"{rows[1][0].strip()[:40]!r}: put commas there; or name it .txt, if each line is a text"
            )


def has_header(rows: Sequence[Sequence[str]], told: bool | None, where: Path, say: bool) -> bool:
    """Whether the first row names the columns: as ``told``, or by :func:`is_header`, which says what is not sure."""
    if told is not None:
        return told
    found, sure = is_header(rows)
    if not sure and say:
        shown = ", ".join(" ".join(cell.split()) for cell in rows[0][:3]) + (", ..." if len(rows[0]) > 3 else "")
        how = "names of the columns (data.header=false" if found else "data (data.header=true"
        logger.warning("%s: the first row, %s, was taken for %s, if it is not)", where, shown, how)
    return found


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse two columns of one name."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{where} has two columns of the name {twice[0]!r}: rename one")


def nameless(n: int) -> list[str]:
    """Names of columns that have none: ``x_0``, ``x_1``, ..."""
    return [f"x_{i}" for i in range(n)]


def is_header(rows: Sequence[Sequence[str]]) -> tuple[bool, bool]:
    """Whether a first row names the columns, and whether that is sure.

    Words name them, unless one of them comes again below in its column (a row of data with a class) and none stands
    above numbers; it is not sure where one does.
    Numbers are data, unless they are unlike the rows below by two of: whole numbers above cells with a point; farther
    from all values of their column than these are apart; three or more in order, as wavelengths are, above rows that
    aren't. By one of them it is not sure. The numbers from 0 (or 1) on of five columns or more are names.

    Example:
        >>> is_header([["a", "b"], ["1", "2"]]), is_header([["5.1", "iris"], ["4.9", "iris"]])
        ((True, True), (False, False))
        >>> is_header([["good", "a fine play"], ["bad", "too long"], ["good", "once more"]])
        (False, False)
    """
    first, body = [cell.strip() for cell in rows[0]], rows[1 : LOOKED_AT + 1]
    words = [i for i, cell in enumerate(first) if not is_number(cell) and cell.lower() not in GAPS]
    if words:
        again = any(row[i].strip() == first[i] for row in body for i in words if row != rows[0] or len(row) == 1)
        names = [i for i in words if any(map(str.isalpha, first[i]))]
        found = not again or any(_are_numbers([row[i].strip() for row in body]) for i in names)
        if len(words) == len(first) or not any(is_number(cell) for cell in first) or not body:
            return found, not again
        return found, False
    if not all(is_number(cell) for cell in first) or len(body) == 0 or len(set(first)) < len(first):
        return False, True
    values = [float(cell) for cell in first]
    whole = all(cell.isdecimal() for cell in first)
    counts = ([*range(len(first))], [*range(1, len(first) + 1)])
    if whole and len(first) >= 5 and values in counts:
        return True, False
    below = [[float(row[i]) for row in body if is_number(row[i].strip())] for i in range(len(first))]
    many = len(body) >= ENOUGH and all(len(column) >= ENOUGH for column in below)
    written = whole and all(re.search(r"[.eE]", cell) for row in body for cell in row if is_number(cell))
    apart = many and all(
        max(min(column) - v, v - max(column)) > max(column) - min(column)
        for v, column in zip(values, below, strict=True)
    )
    ordered = len(first) >= 3 and _ordered(values) and not all(map(_ordered, zip(*below, strict=False)))
    unlike = written + apart + ordered
    counted = whole and values in counts and any("." in cell for row in body for cell in row)
    return unlike >= 2, not counted and (unlike == 0 or (unlike == 1 and ordered))


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether nine in ten cells hold a number, or nothing, and enough of them a number to tell."""
    numbers = sum(map(is_number, cells))
    return numbers >= ENOUGH and numbers + sum(cell.lower() in GAPS for cell in cells) >= 0.9 * len(cells)


def _ordered(values: Sequence[float]) -> bool:
    steps = [b - a for a, b in pairwise(values)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def read_rows(path: Path, most: int | None = None, say: bool = False) -> tuple[list[list[str]], int, str]:
    """The cells of a delimited text file, or ``most`` rows of it, each as long as the first; empty lines are left out,
    and comments above the first row, of which the number is given back (and said, if ``say``); then the delimiter."""
    text = decoded(path, "text table")
    if re.match(r'\s*(\[\s*\{|\{\s*")', text):
        raise InputError(f"{path} holds JSON, no text table: save it as .csv or .parquet, or texts as .jsonl")
    told = re.match(r'"?sep=(.)"?\r?\n', text)  # for Excel
    text = text[told.end() :] if told else text
    delimiter = told[1] if told else _delimiter([line for line in text[:HEAD].splitlines() if line.strip()])
    rows = _rows(path, text, delimiter, most, bool(told))
    if not rows:
        raise InputError(f"{path} is empty: expected rows, and a header above them")
    usual = Counter(map(len, rows[: LOOKED_AT + 1])).most_common(1)[0][0]
    above = 0
    while above < len(rows) - 1 and rows[above][0].lstrip().startswith(COMMENT) and len(rows[above]) != usual:
        above += 1
    if above and say:
        logger.warning("%s: %d lines above the first row begin with %s and are left out", path, above, rows[0][0][:1])
    return _even(path, rows[above:], above), above + bool(told), delimiter


def _delimiter(lines: Sequence[str]) -> str:
    """What stands between the cells of the first line that has some and is no comment."""
    for line in [line for line in lines if not line.startswith(COMMENT)] or lines:
        cells = {one: len(next(csv.reader([line], delimiter=one), [])) for one in ";,\t|"}
        if max(cells.values()) > 1:
            return max(cells, key=lambda one: cells[one])
    return ","


def _rows(path: Path, text: str, delimiter: str, most: int | None, line: int) -> list[list[str]]:
    csv.field_size_limit(2**31 - 1)  # a text may be long
    found: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    first = line
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                found.append(row)
                if len(found) == most:
                    break
            line = first + reader.line_num
    except csv.Error:
        plain = [line.split(delimiter) for line in text.splitlines() if line.strip()] if delimiter == "\t" else []
        if plain and {len(row) for row in plain} == {len(plain[0])}:  # tabs need no quotes
            return plain[:most]
        raise InputError(
            f"{path}: line {line + 1} has a cell that begins with a quote and does not end with one before the next "
            f"{delimiter!r}: close it, and write a quote within quotes twice"
        ) from None
    return found


def _even(path: Path, rows: list[list[str]], above: int) -> list[list[str]]:
    """Rows, each as long as the first: a delimiter too much at the end of the first or of all others is taken off."""
    n = len(rows[0])
    others = set(map(len, rows[1:]))
    if others == {n + 1} and not any(row[-1].strip() for row in rows[1:]):
        return [rows[0], *(row[:-1] for row in rows[1:])]
    if others == {n - 1} and not rows[0][-1].strip():
        return [rows[0][:-1], *rows[1:]]
    if others <= {n}:
        return rows
    i = next(i for i, row in enumerate(rows) if len(row) != n)
    why = ""
    if i < FEW and len({len(row) for row in rows[i:]}) == 1:
        why = f" (what stands in the first {i} rows? delete it if it is no header)"
        if i == 1 and len(rows[1]) == n + 1:
            why = " (a name is missing in the first row: that of the rows' names, say)"
    shown = rows[i][0].strip()[:40]
    raise InputError(
        f"{path}: row {i + 1 + above} has {len(rows[i])} cells (the first is {shown!r}), row {1 + above} has {n}: "
        f"expected the same in every row{why}"
    )


def is_number(cell: str) -> bool:
    """Whether a cell is a number; Python's ``1_0`` is none."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def is_flag(cell: str) -> bool:
    """Whether a cell is True or False."""
    return cell.lower() in ("true", "false")
