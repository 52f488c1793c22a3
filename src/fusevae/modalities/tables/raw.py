"""A column as it came: numbers, or different words and the places of each cell's among them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.delimited import GAPS, is_flag, is_number
from fusevae.data.rows import shortest

MINUS = r"\u2010-\u2015\u2212\ufe63\uff0d"  # dashes and others; between numbers they make a range
SIGNS = re.compile(rf"^\(|(?:^|(?<=[eE]))[{MINUS}]|[\s%$€£¥₹'’]|\)$|-$")  # beside numbers written for people
STARS = re.compile(r"(\.\d+)[*†‡]+$")  # how sure a figure is; 5* is a hotel
CODE = re.compile(r"(?m)^[ \t]*(?:[+-]?0\d+|\+\d{7,})[ \t]*$")  # numbers written as codes, telephone numbers
EXPONENT = re.compile(r"(?m)^\d+[eE]\d+$")  # a number, or a code of digits and an E
DECIMAL = re.compile(r"\d+\.\d+")
COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?([eE][+-]?\d+)?")  # a number whose decimal point is one
EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # the comma may as well stand between thousands
FEW = 1000  # different cells, up to which those of a column are held against each other
SPELLED = {"none", "null", "na", "n/a"}  # gaps that may be words
WHOLE = 2.0**53  # whole numbers beyond it are not told apart as floats
MANY = 20  # rows from which on words that are all different are identifiers
DIGITS = 17  # characters of a number, beyond which float64 may not hold it
GAPS_SAID = "%s holds %r in %d cells, which were taken for missing ones: spell it otherwise if it is a value (NA., say)"

logger = logging.getLogger("fusevae")


class Raw(NamedTuple):
    """A column as it came.

    Attributes:
        values: ``(n,)`` float64, NaN where a cell is missing; of words the places in ``levels``.
        dtype: as it came.
        levels: the different words of a column that holds such, sorted.
        order: the same, and those that no cell holds, in the order that they have where the data say so.
    """

    values: np.ndarray
    dtype: str
    levels: list[str] | None = None
    order: list[str] | None = None


def hint(word: str) -> str:
    """What may be wrong with a word that is nearly a number."""
    if re.fullmatch(r"[+-]?[\d.]*,[\d,]+", word):
        return " (is it a decimal comma, or one between thousands?)"
    if re.fullmatch(r"[+-]?\d{1,3}(\.\d{3}){2,}", word):
        return " (are these points between thousands?)"
    if re.fullmatch(r"[+-]?\d*\.\d*[dD][+-]?\d+", word):
        return " (is it a number of Fortran's? write e for its D)"
    if len(word.split()) > 1 and all(map(is_number, word.split())):
        return " (are these several numbers? put commas between them)"
    bare = SIGNS.sub("", STARS.sub(r"\1", word))
    if bare != word and re.search(r"\d", word) and is_number(bare.replace(",", "")):
        return " (is it a number? write it without %, currency, brackets or marks, and a minus as - before it)"
    return ""


def with_points(cells: Sequence[str], sure: bool = False) -> list[str] | None:
    """The cells of a column whose commas are decimal points, written with such; None for any other column, and where
    the commas may as well stand between thousands, unless that is ``sure``.

    Example:
        >>> with_points(["1,5", "", "1.234,25"]), with_points(["1,500"]), with_points(["1,500"], sure=True)
        (['1.5', '', '1234.25'], None, ['1.500'])
    """
    known = {bare for cell in cells if (bare := cell.strip()).lower() not in GAPS}
    commas = [cell for cell in known if "," in cell]
    if not commas or not (sure or any(not EITHER.fullmatch(cell) for cell in commas)):
        return None
    if not all(map(COMMA.fullmatch, known)):
        return None
    return [cell.replace(".", "").replace(",", ".") if cell.strip() in known else cell for cell in cells]


def of_text(column: Sequence[str], name: str, where: str, worded: bool | None) -> Raw:
    """A column of a text table: numbers where most of its cells are such, NaN for what is none; flags; else words.

    What is written like codes, or beyond what a float tells apart and different in each row, is taken for words, and
    said; words that are nearly numbers are refused.

    Args:
        column: its cells.
        name: of the column.
        where: it is.
        worded: whether it is read as words, where that is said.
    """
    told = worded is not None
    raw = None if worded else _all_numbers(column)
    counts = Counter(map(str.strip, column)) if raw is None else Counter[str]()
    known = {cell: n for cell, n in counts.items() if cell.lower() not in GAPS}
    if not told and CODE.search("\n".join(column if raw is not None else known)):
        text = "%s: column %s is written with leading zeros or a + and taken for codes"
        logger.warning(text + " (data.columns.%s=integer: numbers)", where, name, name)
        worded = True
    elif not told and raw is None:
        numbers, flags = (sum(n for cell, n in known.items() if is_it(cell)) for is_it in (is_number, is_flag))
        if 2 * max(numbers, flags) < sum(known.values()) or not known:
            _check_words(known, name, where)
            worded = True
        elif not numbers and flags < sum(known.values()):
            other = next(cell for cell in known if not is_flag(cell))
            logger.warning("%s: column %s holds flags and %r, taken for classes", where, name, other[:40])
            worded = True
    if worded:
        if foreign := next((cell for cell in counts if "\0" in cell), None):
            raise InputError(f"{where}: column {name} holds {foreign[:40]!r}, with a zero byte: mend it")
        if not told and known and (gaps := [cell for cell in counts if cell.lower() in SPELLED]):
            logger.warning(GAPS_SAID, f"{where}: column {name}", gaps[0], counts[gaps[0]])
        return of_words(list(map(str.strip, column)))
    raw = raw or of_numbers([cell.strip() for cell in column], f"{where}: column {name}")
    if not told and is_long(raw) and len(set(column)) == len(column):
        logger.warning("%s: column %s holds numbers beyond 2^53, all different: taken for an identifier", where, name)
        return of_words(list(map(str.strip, column)))
    if not told and raw.dtype == "float64" and EXPONENT.search("\n".join(column)):
        text = "%s: column %s is written like 12e3 and taken for numbers (data.columns.%s=categorical: codes)"
        logger.warning(text, where, name, name)
    elif not told and raw.dtype == "float64" and (two := twice_written(column)):
        text = "%s: column %s holds %s and %s, taken for one number (data.columns.%s=categorical: codes)"
        logger.warning(text, where, name, *two, name)
    return raw


def twice_written(cells: Sequence[str]) -> tuple[str, str] | None:
    """Two spellings of one number of which one has a zero more, as versions and sections have, not measurements.

    Example:
        >>> twice_written(["1.1", "1.2", "1.10"]), twice_written(["1.10", "1.25"])
        (('1.1', '1.10'), None)
    """
    different = dict.fromkeys(cells)
    if len(different) > FEW:
        return None
    seen: dict[float, str] = {}
    for cell in filter(DECIMAL.fullmatch, map(str.strip, different)):
        other = seen.setdefault(float(cell), cell)
        if len(other) != len(cell):
            return other, cell
    return None


def _all_numbers(column: Sequence[str]) -> Raw | None:
    """A column in which each cell is a number or missing, looked at as a whole; None for any other."""
    try:
        try:
            values = np.fromiter(map(float, column), np.float64, len(column))
        except ValueError:
            column = ["nan" if cell.strip().lower() in GAPS else cell for cell in column]
            values = np.fromiter(map(float, column), np.float64, len(column))
    except ValueError:
        return None
    text = "\n".join(column)
    if "_" in text or bool(np.isnan(values).all()) or max(map(len, column)) > DIGITS:
        return None  # which needs a closer look
    return Raw(values, "int64" if re.fullmatch(r"[\d\s+-]*", text.lower().replace("nan", "")) else "float64")


def is_long(raw: Raw) -> bool:
    """Whether it is whole numbers that no float tells apart, all different, as identifiers are."""
    return "int" in raw.dtype and len(raw.values) >= MANY and bool((np.abs(raw.values) >= WHOLE).any())


def of_words(cells: Sequence[str], dtype: str = "str") -> Raw:
    """Words; those that stand for nothing are missing cells."""
    different = dict.fromkeys(cells)  # one word may be very long
    levels = sorted(word for word in different if word.strip().lower() not in GAPS)
    rank = {word: float(i) for i, word in enumerate(levels)}
    places = {word: rank.get(word, np.nan) for word in different}
    return Raw(np.fromiter(map(places.__getitem__, cells), np.float64, len(cells)), dtype, levels)


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


def _check_words(counts: Mapping[str, int], name: str, where: str) -> None:
    """Refuse words that are nearly numbers, as most of a column."""
    words = {cell: n for cell, n in counts.items() if not is_number(cell)}
    if words and 2 * sum(n for word, n in words.items() if hint(word)) > sum(words.values()):
        first = next(iter(words))
        raise InputError(
            f"{where}: column {name} holds no numbers; the first holds {first[:40]!r}{hint(first)}: mend it, or "
            f"take it for words (data.columns.{name}=categorical)"
        )


def _tell_apart(exact: Sequence[Decimal], values: np.ndarray, what: str) -> None:
    """Refuse numbers of so many digits that float64 makes the half of them alike; whole ones are refused by
    :data:`WHOLE`."""
    different = len(set(exact))
    if 2 * len(np.unique(values[np.isfinite(values)])) <= different > 1:
        raise InputError(
            f"{what} holds {different:,} different numbers, such as {exact[0]}, of more digits than float64 tells "
            "apart: take something off the column, or leave it out (data.columns=[...])"
        )


def of_array(column: Any, what: str, worded: bool | None = None, say: bool = True) -> Raw | None:
    """A column of a frame or of a file; None where it holds something else."""
    kind = getattr(column, "dtype", None)
    if (zone := getattr(kind, "tz", None)) is not None:  # of pandas; as parquet gives them
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if say:
        say_zone(zone or getattr(kind, "time_zone", None), what)
    array = _plain(column)
    if array.ndim != 1:
        return None
    if array.dtype.kind in "biuf":
        raw = Raw(shortest(array).astype(np.float64), array.dtype.name)  # in whatever order of bytes
        long = worded is None and is_long(raw) and len(np.unique(array)) == len(array)
        if long:
            logger.warning("%s holds numbers beyond 2^53, all different: taken for an identifier", what)
        return _as_words(array.tolist()) if worded or long else raw
    if array.dtype.kind == "M":
        whole = array.astype("datetime64[us]")
        if np.datetime_data(array.dtype)[0] == "ns" and bool((whole != array)[~np.isnat(array)].any()):
            raise InputError(
                f"{what} holds times finer than a microsecond: round them, or give them as numbers from a start"
            )
        words = np.datetime_as_string(whole).tolist()
        return of_words(["" if word == "NaT" else word for word in words], array.dtype.name)
    if array.dtype.kind in "US":
        array = array.astype(str).astype(object)
    if array.dtype.kind != "O":
        return None
    values: list[float] = []
    exact: list[Decimal] = []
    kinds: set[type] = set()
    for value in [v.item() if isinstance(v, np.generic) else v for v in array.tolist()]:
        missing = _is_missing(value)
        if worded or not (missing or isinstance(value, bool | int | float | Decimal)):
            words = array.tolist()
            if worded is None:
                _check_mixture(words, what)
                _say_gaps(words, what)
            return _as_words(words)
        values.append(np.nan if missing else float(value))
        if not missing:
            kinds.add(type(value))
            if isinstance(value, Decimal):
                exact.append(value)
    if not kinds:
        return of_words([""] * len(array))
    if bool in kinds and len(kinds) > 1:
        raise InputError(f"{what} holds flags beside numbers: give one of the two, or words (astype(str))")
    if exact:
        _tell_apart(exact, np.array(values), what)
    return Raw(
        np.array(values), {frozenset({bool}): "bool", frozenset({int}): "int64"}.get(frozenset(kinds), "float64")
    )


def of_ordered(cells: Sequence[Any], categories: Sequence[Any], what: str) -> Raw | None:
    """A column of classes whose ``categories`` have an order."""
    raw = of_array(np.array([*categories, None], dtype=object)[:-1], what, True)
    if raw is None or raw.levels is None:
        return None
    places = dict(zip(categories, raw.values.tolist(), strict=True))
    values = np.array([np.nan if _is_missing(cell) else places[cell] for cell in cells], dtype=np.float64)
    order = [raw.levels[int(place)] for place in raw.values if place == place]
    return Raw(values, "category", raw.levels, order)


def _plain(column: Any) -> np.ndarray:
    """A column of a frame as numpy has it; whole numbers beside gaps, which that rounds, as they are."""
    try:
        array = np.asarray(column)
        exact = array.dtype.kind != "f" or "int" not in str(getattr(column, "dtype", "")).lower()
    except Exception:  # polars raises its own of whole numbers of 128 bits
        exact = False
    return array if exact else np.array(column.to_list(), dtype=object)


def say_zone(zone: Any, what: str) -> None:
    """Say of times of another zone how they are read."""
    if zone is not None and str(zone) not in ("UTC", "Etc/UTC", "+00:00"):
        logger.warning(
            "%s holds times of the zone %s: read as instants, and written to files in that of UTC", what, zone
        )


def _check_mixture(cells: Sequence[Any], what: str) -> None:
    """Refuse numbers of which some are words, as a text table with such is; say of words of which some are numbers."""
    kinds = (int, float, Decimal, np.number)
    numbers = [cell for cell in cells if isinstance(cell, kinds) and not (_is_missing(cell) or isinstance(cell, bool))]
    words = [cell for cell in cells if isinstance(cell, str)]
    if len(numbers) > len(words) > 0:
        raise InputError(
            f"{what} holds numbers, such as {numbers[0]}, and words, such as {words[0][:40]!r}: give numbers or "
            "missing cells for these (pandas.to_numeric), or words of all (astype(str))"
        )
    if numbers and words:
        logger.warning("%s holds numbers, such as %s, among words: taken for words", what, numbers[0])


def _say_gaps(cells: Sequence[Any], what: str) -> None:
    """Say of None and NA in a frame, which may be words, that they are missing cells."""
    gaps = [cell for cell in cells if isinstance(cell, str) and cell.strip().lower() in SPELLED]
    if 0 < len(gaps) < len(cells):
        logger.warning(GAPS_SAID, what, gaps[0], len(gaps))


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
