"""Text tables: the cells of a .csv or .tsv."""

from __future__ import annotations

import csv
from pathlib import Path

from fusevae.core.errors import InputError

GAPS = {"", "?", "na", "n/a", "nan", "null", "none"}  # cells that hold no value


def read_table(path: Path, header: bool | None) -> tuple[list[str], list[list[str]], int]:
    """The names of the columns, the rows below them, and the number of the first row's line.

    ``header`` says whether the first row names the columns; None takes it as names unless it holds nothing but numbers
    that could as well be data.
    """
    rows = read_rows(path)
    if header is None:
        header = not all(is_number(cell) for cell in rows[0]) or names_by_look(rows)
    if not header:
        return nameless(len(rows[0])), rows, 1
    names = [cell.strip() for cell in rows[0]]
    if len(rows) == 1:
        raise InputError(f"{path} has a header and no rows: expected at least one row of numbers")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path} has two columns of the name {twice[0]!r}: rename one")
    return names, rows[1:], 2


def nameless(n: int) -> list[str]:
    """Names of columns that have none: ``x_0``, ``x_1``, ..."""
    return [f"x_{i}" for i in range(n)]


def names_by_look(rows: list[list[str]]) -> bool:
    """Whether a first row of numbers names the columns: whole numbers, all different and in order, such as wavelengths,
    above cells with a point."""
    first = [cell.strip() for cell in rows[0]]
    if len(rows) < 2 or len(first) < 3 or not all(cell.isdecimal() for cell in first):
        return False
    steps = [int(b) - int(a) for a, b in zip(first, first[1:], strict=False)]
    ordered = all(step > 0 for step in steps) or all(step < 0 for step in steps)
    return ordered and all("." in cell for row in rows[1:20] for cell in row[:1])


def read_rows(path: Path) -> list[list[str]]:
    """The cells of a delimited text file, each row as long as the first; empty lines are left out."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (UnicodeDecodeError, csv.Error) as error:
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
