"""Text tables: the cells of a .csv or .tsv."""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from fusevae.core.errors import InputError
from fusevae.core.untrusted import regular

GAPS = {"", "?", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"}  # cells that hold no value
LOOKED_AT = 100  # rows below the first by which it is judged
ENOUGH = 10  # of them to tell a first row from chance

logger = logging.getLogger("fusevae")


def read_table(path: Path, header: bool | None, say: bool = True) -> tuple[list[str], list[list[str]], int]:
    """The names of the columns, the rows below them, and the number of the first row's line.

    ``header`` says whether the first row names the columns; None looks (:func:`is_header`), and says what was found
    where a first row may be either, if ``say``.
    """
    rows = read_rows(path)
    if header is None:
        header, sure = is_header(rows)
        if not sure and say:
            shown = ", ".join(cell.strip() for cell in rows[0][:3]) + (", ..." if len(rows[0]) > 3 else "")
            how = "names of the columns (data.header=false" if header else "data (data.header=true"
            logger.warning("%s: the first row, %s, was taken for %s, if it is not)", path, shown, how)
    if not header:
        return nameless(len(rows[0])), rows, 1
    if empty := [i for i in range(len(rows[0])) if not any(row[i].strip() for row in rows)]:  # commas at the ends
        rows = [[cell for i, cell in enumerate(row) if i not in empty] for row in rows]
    names = [cell.strip() for cell in rows[0]]
    if len(rows) == 1:
        raise InputError(f"{path} has a header and no rows: expected at least one row of numbers")
    check_names(names, str(path))
    return names, rows[1:], 2


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse two columns of one name."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{where} has two columns of the name {twice[0]!r}: rename one")


def nameless(n: int) -> list[str]:
    """Names of columns that have none: ``x_0``, ``x_1``, ..."""
    return [f"x_{i}" for i in range(n)]


def is_header(rows: Sequence[Sequence[str]]) -> tuple[bool, bool]:
    """Whether a first row names the columns, and whether that is sure.

    Words name them, unless numbers stand beside them and the words come again below (a row of data with a class).
    Numbers are data, unless they are unlike the rows below by two of: whole numbers above cells with a point; farther
    from all values of their column than these are apart; three or more in order, as wavelengths are, above rows that
    aren't. By one of them it is not sure. The numbers from 0 (or 1) on of five columns or more are names.

    Example:
        >>> is_header([["a", "b"], ["1", "2"]]), is_header([["5.1", "iris"], ["4.9", "iris"]])
        ((True, True), (False, False))
    """
    first, body = [cell.strip() for cell in rows[0]], rows[1 : LOOKED_AT + 1]
    words = [i for i, cell in enumerate(first) if not is_number(cell) and cell.lower() not in GAPS]
    if words:
        if len(words) == len(first) or not any(is_number(cell) for cell in first) or not body:
            return True, True
        again = any(row[i].strip() == first[i] for row in body for i in words)
        return not again, False
    if not all(is_number(cell) for cell in first) or len(body) == 0 or len(set(first)) < len(first):
        return False, True
    values = [float(cell) for cell in first]
    whole = all(cell.isdecimal() for cell in first)
    if whole and len(first) >= 5 and values in ([*range(len(first))], [*range(1, len(first) + 1)]):
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
    return unlike >= 2, unlike == 0 or (unlike == 1 and ordered)


def _ordered(values: Sequence[float]) -> bool:
    steps = [b - a for a, b in pairwise(values)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def read_rows(path: Path) -> list[list[str]]:
    """The cells of a delimited text file, each row as long as the first; empty lines are left out."""
    try:
        with open(regular(path, "text table"), "rb") as raw:
            wide = raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what Excel calls Unicode text
        with open(path, newline="", encoding="utf-16" if wide else "utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(";,\t|", key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
            rows = [row for row in csv.reader(file, delimiter=delimiter) if len(row) > 1 or (row and row[0].strip())]
    except (UnicodeError, csv.Error) as error:
        raise InputError(
            f"{path} is no text table ({error}): expected UTF-8 rows of numbers with commas between"
        ) from None
    if not rows:
        raise InputError(f"{path} is empty: expected rows of numbers")
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}: row {i + 1} has {len(row)} cells, row 1 has {len(rows[0])}: expected the same in every row"
            )
    return rows


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
