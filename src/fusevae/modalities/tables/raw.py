"""A column as it came: numbers, or different words and the places of each cell's among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.delimited import GAPS, is_flag, is_number

SIGNS = re.compile(r"^\(|[\s%$€£¥₹−]|\)$")  # what stands beside numbers that are written for people
DIGITS = 17  # characters of a number, beyond which float64 may not hold it


class Raw(NamedTuple):
    """A column as it came.

    Attributes:
        values: ``(n,)`` float64, NaN where a cell is missing; of words the places in ``levels``.
        dtype: as it came.
        levels: the different words of a column that holds such, sorted.
    """

    values: np.ndarray
    dtype: str
    levels: list[str] | None = None


def hint(word: str) -> str:
    """What may be wrong with a word that is nearly a number."""
    if re.fullmatch(r"[+-]?[\d.]*,[\d,]+", word):
        return " (is it a decimal comma, or one between thousands?)"
    if len(word.split()) > 1 and all(map(is_number, word.split())):
        return " (are these several numbers? put commas between them)"
    if re.search(r"\d", word) and SIGNS.search(word) and is_number(SIGNS.sub("", word).replace(",", "")):
        return " (is it a number? write it without %, currency or brackets, and a minus as -)"
    return ""


def of_words(cells: Sequence[str], dtype: str = "str") -> Raw:
    """Words; those that stand for nothing are missing cells."""
    places: dict[str, int] = {}
    values = np.array([places.setdefault(cell, len(places)) for cell in cells], dtype=np.int64)
    levels = sorted(word for word in places if word.strip().lower() not in GAPS)  # one word may be very long
    rank = {word: float(i) for i, word in enumerate(levels)}
    return Raw(np.array([rank.get(word, np.nan) for word in places], dtype=np.float64)[values], dtype, levels)


def of_numbers(cells: Sequence[str], what: str) -> Raw:
    """Cells of a text table as numbers, or flags; NaN for what is neither."""
    if any(map(is_flag, cells)) and not any(map(is_number, cells)):
        flags = {"true": 1.0, "false": 0.0}
        return Raw(np.array([flags.get(cell.lower(), np.nan) for cell in cells]), "bool")
    known = [is_number(cell) for cell in cells]
    values = np.array([cell if ok else "nan" for cell, ok in zip(cells, known, strict=True)], dtype=np.float64)
    words = [cell for cell, ok in zip(cells, known, strict=True) if ok and cell.lower() not in GAPS]
    whole = all(re.fullmatch(r"[+-]?\d+", cell) for cell in words)
    if not whole and any(len(cell) > DIGITS for cell in words):
        _tell_apart([Decimal(cell) for cell in words], values, what)
    return Raw(values, "int64" if whole and words else "float64")


def _tell_apart(exact: Sequence[Decimal], values: np.ndarray, what: str) -> None:
    """Refuse numbers of so many digits that float64 makes the half of them alike; whole ones are refused by
    :data:`WHOLE`."""
    different = len(set(exact))
    if 2 * len(np.unique(values[np.isfinite(values)])) < different:
        raise InputError(
            f"{what} holds {different:,} different numbers, such as {exact[0]}, of more digits than float64 tells "
            "apart: take something off the column, or leave it out (data.columns=[...])"
        )


def of_array(column: Any, what: str, worded: bool | None = None) -> Raw | None:
    """A column of a frame or of a file; None where it holds something else."""
    if getattr(getattr(column, "dtype", None), "tz", None) is not None:  # of pandas; as parquet gives them
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        return _as_words(array.tolist()) if worded else Raw(array.astype(np.float64), str(array.dtype))
    if array.dtype.kind == "M":
        whole = np.datetime_as_string(array.astype("datetime64[us]")).tolist()
        return of_words(["" if word == "NaT" else word for word in whole], str(array.dtype))
    if array.dtype.kind in "US":
        return of_words([str(word) for word in array.astype(str).tolist()])
    if array.dtype.kind != "O":
        return None
    values: list[float] = []
    exact: list[Decimal] = []
    kinds: set[type] = set()
    for value in array.tolist():
        missing = _is_missing(value)
        if worded or not (missing or isinstance(value, bool | int | float | Decimal)):
            return _as_words(array.tolist())
        values.append(np.nan if missing else float(value))
        if not missing:
            kinds.add(type(value))
            if isinstance(value, Decimal):
                exact.append(value)
    if not kinds:
        return of_words([""] * len(array))
    if exact:
        _tell_apart(exact, np.array(values), what)
    return Raw(
        np.array(values), {frozenset({bool}): "bool", frozenset({int}): "int64"}.get(frozenset(kinds), "float64")
    )


def _is_missing(value: Any) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _as_words(values: Sequence[Any]) -> Raw | None:
    """Values of any plain kinds as words; whole floats, which pandas has beside gaps, without a point."""
    if {str} >= set(map(type, values)):
        return of_words(values)
    known = [value for value in values if not _is_missing(value)]
    if not all(isinstance(v, str | bool | int | float | Decimal) or hasattr(v, "isoformat") for v in known):
        return None
    whole = all(isinstance(v, float) and v.is_integer() for v in known)
    said = [int(v) if whole and not _is_missing(v) else v for v in values]
    return of_words(["" if _is_missing(v) else v.isoformat() if hasattr(v, "isoformat") else str(v) for v in said])
