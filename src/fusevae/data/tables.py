"""Tables of numbers, or with a column of text: .csv and .tsv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.arrays import as_examples
from fusevae.data.parts import Options, Part
from fusevae.data.text import pick_column, text_part


def read_csv(path: Path, options: Options) -> dict[str, Part]:
    """Rows of numbers as float32 ``(N, D)``; a first row that isn't numbers names the columns.

    The column called ``labels`` holds the labels (numbers or text), those of ``properties`` these, every other must be
    numeric; unless text is asked for, which is in one column, and the first row then names the columns.
    """
    rows = read_rows(path)
    header = (
        None if not options.text and all(_is_number(cell) for cell in rows[0]) else [cell.strip() for cell in rows[0]]
    )
    body = rows[1:] if header else rows
    if not body:
        raise InputError(f"{path} has a header and no rows: expected at least one row of numbers")
    names = header or [str(i + 1) for i in range(len(rows[0]))]
    if header is None and (options.label_name or options.properties):
        asked = options.label_name or options.properties
        raise InputError(f"{path} has no header row, so no column {asked!r}: add one")
    beside = options.columns(names, str(path))
    y: Any = None
    if beside:
        cells = [[row[names.index(name)].strip() for name in beside] for row in body]
        y = label_values([one for (one,) in cells]) if options.properties is None else _with_gaps(cells)
        y = options.given(y, len(body), f"{path}: {beside[0]}")
        others = [i for i, name in enumerate(names) if name not in beside]
        names, body = [names[i] for i in others], [[row[i] for i in others] for row in body]
    if options.text:
        at = names.index(pick_column(names, options, str(path)))
        return {"train": text_part([row[at] for row in body], [(0, f"{path}: row", 2)], options, y)}
    if not names:
        raise InputError(f"{path} has no column beside the labels: expected columns of numbers")
    x = as_examples(_numbers(body, names, path, line=2 if header else 1), str(path))
    return {"train": Part(x, y, total=len(x))}


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


def label_values(cells: list[str]) -> np.ndarray:
    """Labels as integers where all of them are, else as text."""
    cells = [cell.strip() for cell in cells]
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except ValueError:
        return np.array(cells)


def _with_gaps(cells: list[list[str]]) -> list[list[str]]:
    """An empty cell is a number that isn't known."""
    return [[cell or "nan" for cell in row] for row in cells]


def _numbers(body: list[list[str]], names: list[str], path: Path, line: int) -> np.ndarray:
    try:
        return np.array(body, dtype=np.float64)
    except ValueError:
        for i, row in enumerate(body):
            for name, cell in zip(names, row, strict=True):
                if not _is_number(cell):
                    given = f"{cell.strip()[:40]!r}, no number" if cell.strip() else "empty"
                    raise InputError(
                        f"{path}: row {i + line}, column {name} is {given}: expected numbers everywhere but in "
                        "the column "
                        "named by labels=...; fill it in, drop it, or encode text as numbers"
                    ) from None
        raise


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
