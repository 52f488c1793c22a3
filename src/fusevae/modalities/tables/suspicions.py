"""What in a table is read as it stands, and yet may not be meant so: said in a line each, never changed."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusevae.data.delimited import is_number
from fusevae.modalities.molecules.spelling import are_smiles
from fusevae.modalities.tables import dates
from fusevae.modalities.tables.column import CLASSES, Column
from fusevae.modalities.tables.raw import Raw, hint

AGAIN = 2  # cells that hold the same, at least, to be a sign for a missing one
APART = 0.25  # of the range of all others, that such a number is away from them
NINES = re.compile(r"-(9+(\.9+)?|8+|7+)|9{2,}(\.9+)?|8{2,}|7{2,}")  # numbers that are typed for what is not known
FILLS = {-1.0, 1e20, -1e20, 1e30, -1e30, 1e35, -1e35, 9.96921e36, -9.96921e36, -32768.0, 32767.0, 65535.0}
FILLS |= {2.0**31 - 1, -(2.0**31), 2.0**32 - 1}
DAYS = {"0001-01-01", "1753-01-01", "1899-12-30", "1900-01-01", "1970-01-01", "2099-12-31", "9999-12-31"}
WORDS = {"-", "--", "---", ".", "..", "unknown", "missing", "not available", "unspecified", "(null)", "nil", "#value!"}
WORDS |= {"n.a.", "n.a", "na.", "n\\a", "not known", "\\n", "#div/0!", "#ref!", "undefined", "xxx", "tbd", "(blank)"}
LOOKED_AT = 1000  # rows
BYTES = 128  # the greatest of some, at least
SIDE = 8  # pixels of a picture, at least
MANY = 20  # different words, above which they are hardly classes
TOTALS = {"total", "totals", "sum", "grand total", "subtotal", "sub-total", "average", "mean", "summe", "gesamt"}
YEAR = 12  # months
SERIAL = (20_000, 60_000)  # days since 1899, as a sheet counts them: 1954 to 2064
#: numbers in a form that is not read: with a unit, a duration, hexadecimal, several with signs between
FORMED = re.compile(
    r"[-+]?[\d.,]*\d\s*[^\W\d_]{1,3}|P[\dTYMWDHS.,]+|0x[\da-f]+|[-+]?[\d.]+(±[\d.]+|[-+][\d.]+[ij])|"
    r"\d{4}-\d\d-\d\d.*|\d{4}-?[QW]\d+(-\d)?|Q\d[\s/-]*\d{4}|\d{4}-\d{3}|\d+(_\d+)+|"
    r"(\d\d?[.\s-]+(de )?[^\W\d_]{3,9}|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)\.?[\s'’-]+(de )?"
    r"(\d\d|\d{4})|"
    r"(?=\D*\d)[^\W\d_]{0,3}[\s\d+-]*[.,:/°'()\[\]{}\"][\d.,:/°'()\[\]{}+\s\"-]*[^\W\d_]{0,3}"
)

FILE = re.compile(r"[^\s@]+\.[A-Za-z][A-Za-z0-9]{1,4}")  # the name of one

logger = logging.getLogger("fusevae")


def say_columns(columns: Sequence[Column], x: np.ndarray) -> None:
    """Say what is strange in columns as they are understood, whose values ``x`` are ``(n, columns)``."""
    some = x[:LOOKED_AT]
    whole = ((some >= 0) & (some <= 255) & (some == np.round(some))).all(0)
    if whole.any() and some[:, whole].max() >= BYTES:
        say_pixels(int(whole.sum()), "the table")
    for column, values in zip(columns, x.T, strict=True):
        known = values[~np.isnan(values)]
        if not len(known):
            continue
        if column.classes is not None:
            _say_words(column, np.bincount(known.astype(np.int64), minlength=len(column.classes)))
        elif column.kind not in ("identifier", "constant", "binary"):
            _say_gaps(column, known)
            if column.kind != "date":
                _say_days(column, known)


def say_pixels(n: int, where: str) -> None:
    """Say that ``n`` columns of bytes (and of a label) may be pictures."""
    for pixels, colour in ((n, 1), (n - 1, 1), (n, 3), (n - 1, 3)):
        side = math.isqrt(pixels // colour)
        if side >= SIDE and colour * side * side == pixels:
            text = "%s: %d columns hold whole numbers from 0 to 255: if they are pixels, give an array (N, %d, %d%s)"
            logger.warning(text, where, n, side, side, ", 3" * (colour == 3))
            return


def _say_gaps(column: Column, known: np.ndarray) -> None:
    for end, others in ((known.min(), known[known > known.min()]), (known.max(), known[known < known.max()])):
        n = len(known) - len(others)
        if n < AGAIN or len(others) < AGAIN or not is_gap(column, float(end)):
            continue
        width = float(others.max() - others.min())
        away = float(np.abs(others - end).min())
        if away > APART * width or (end == -1 and others.min() >= 0 and others.max() > 1):
            word = column.words(column.typed(np.array([end])))[0]
            text = (
                "column %s holds %s in %d cells, away from all other values: if it stands for a missing one, empty them"
            )
            logger.warning(text, column.name, word, n)
            return


def is_gap(column: Column, value: float) -> bool:
    """Whether a value is one that others write where none is known.

    Example:
        >>> [is_gap(Column("x"), v) for v in (-999.0, -99.9, 9999.0, -1.0, 100.0)]
        [True, True, True, True, False]
    """
    if column.kind == "date":
        return dates.words_of(np.array([value * column.step]), "%Y-%m-%d")[0] in DAYS if column.dated else False
    return value in FILLS or NINES.fullmatch(f"{value:.10g}") is not None


def _say_days(column: Column, known: np.ndarray) -> None:
    if not bool((known == np.round(known)).all()):
        return
    low, high = float(known.min()), float(known.max())
    if low >= 19_000_101 and high <= 21_001_231 and low < high:
        words = [f"{v:.0f}" for v in np.unique(known[:1000]).tolist()]
        if not np.isnan(dates.numbers_of(words, "%Y%m%d")).any():
            text = "column %s holds whole numbers such as %s, and was read as such (data.columns.%s='%%Y%%m%%d': dates)"
            logger.warning(text, column.name, words[0], column.name)
    elif low >= 190_001 and high <= 210_012 and len(months := np.unique(known)) >= YEAR and _are_months(months):
        text = "column %s holds whole numbers such as %.0f, and was read as such (data.columns.%s='%%Y%%m': months)"
        logger.warning(text, column.name, months[0], column.name)
    elif SERIAL[0] <= low and high <= SERIAL[1] and re.search(r"(?i)date|datum|day", column.name):
        text = (
            "column %s holds whole numbers from %.0f on, and was read as such: are they dates as a sheet counts them?"
        )
        logger.warning(text, column.name, low)


def _are_months(values: np.ndarray) -> bool:
    return bool(((values % 100 >= 1) & (values % 100 <= YEAR)).all())


def _say_words(column: Column, counts: np.ndarray) -> None:
    words = column.classes or []
    for word, n in zip(words, counts.tolist(), strict=True):
        if n and word.strip().lower() in WORDS and len(words) > 1:
            text = "column %s holds %r in %d cells, taken for a class: if it stands for a missing one, empty them"
            logger.warning(text, column.name, word, n)
    alike: dict[str, list[str]] = defaultdict(list)
    for word in words:
        seen = "".join(c for c in unicodedata.normalize("NFKC", word) if unicodedata.category(c) != "Cf")  # of no width
        alike[" ".join(seen.casefold().split())].append(word)
    if same := [group for group in alike.values() if len(group) > 1]:
        more = f", and {len(same) - 1} more such" if len(same) > 1 else ""
        text = "column %s: %s differ in case, spaces or code points alone, and were taken for different classes%s"
        logger.warning(text, column.name, ", ".join(map(ascii, same[0])), more)


def say_levels(name: str, levels: Sequence[str], column: Column) -> None:
    """Say that words of a column hold numbers, in a form that is not read as such."""
    if column.kind not in (*CLASSES, "identifier") or len(levels) < 2:
        return
    what = "an identifier, never learned" if column.kind == "identifier" else f"{len(levels)} classes"
    if (
        column.dtype == "str"
        and all(map(is_number, levels))
        and not any(re.fullmatch(r"[+-]?0\d+|\+\d{7,}|\d{16,}", word) for word in levels)
    ):
        text = (
            "column %s holds words that are numbers, such as %r, and was taken for %s: convert it if they are meant so"
        )
        logger.warning(text, name, levels[0], what)
    elif all(map(FILE.fullmatch, levels)):
        text = (
            "column %s holds names of files such as %r, and was taken for %s: to learn what is in the files give "
            "their folder as data, with this table as data.conditions"
        )
        logger.warning(text, name, levels[0], what)
    elif len(levels) >= AGAIN and are_smiles(levels):
        text = (
            "column %s holds SMILES such as %r, and was taken for %s: to learn molecules data.modality=molecules and "
        )
        logger.warning(text + "data.column=%s", name, levels[0], what, name)
    elif column.form is None and (
        all(map(hint, levels))
        or (len(levels) > MANY and 2 * sum(bool(FORMED.fullmatch(w)) for w in levels) > len(levels))
    ):
        text = (
            "column %s holds words such as %r, and was taken for %s: write them as numbers, or dates, if they are such"
        )
        logger.warning(text, name, levels[0], what)


def say_last(row: Sequence[str], names: Sequence[str], columns: Mapping[str, Raw], where: str) -> None:
    """Say that the last row of a text table may be the sum of the others."""
    for name, cell in zip(names, row, strict=True):
        raw = columns.get(name)
        if raw is not None and raw.levels is not None and cell.strip().lower() in TOTALS:
            code = raw.levels.index(cell.strip()) if cell.strip() in raw.levels else -1
            if int((raw.values == code).sum()) == 1:
                logger.warning(
                    "%s: the last row has %r in column %s: delete it if it sums up the others", where, cell, name
                )


def say_thousands(columns: Mapping[str, Any], where: str) -> None:
    """Say of a table with semicolons that points may stand between thousands."""
    for name, cells in columns.items():
        known = [cell for cell in cells if cell.strip()]
        if known and all(re.fullmatch(r"\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*", cell) for cell in known):
            text = "%s: column %s has three digits after each point (%s), which was taken for a decimal point"
            logger.warning(text + ": delete it if it stands between thousands", where, name, known[0])
