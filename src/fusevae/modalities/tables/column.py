"""A column of a table: what its cells hold, and the form in which they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusevae.core.description import Described
from fusevae.core.errors import InputError, near
from fusevae.data.delimited import is_number
from fusevae.modalities.tables import dates
from fusevae.modalities.tables.digits import centre, decimals_of, single, spacing_of

SPIKE = 20  # rows that hold the same number, at least, for it to be a spike: a value of its own
SPIKES = 128  # of a column, at most
PART = 0.01  # of the rows, which a spike of reals has at least

CLASSES = ("binary", "categorical", "ordered")
WHOLE = ("integer", "count", "date")
FIXED = ("constant", "identifier")  # nothing is to be learned of these
KINDS = ("continuous", "skewed", *WHOLE, *CLASSES, *FIXED)


class Column(Described):
    """A column. Its cells are numbers, or codes of its classes; NaN is a missing one.

    Args:
        name: of the column.
        dtype: as it came: ``"int64"``, ``"bool"``, ``"float64"``, ``"str"``, ``"datetime64[us]"`` ...; ``"category"``
            for words that came with an order.
        low: its smallest value in training; None where that is not kept (of arrays without names).
        high: its largest value there.
        decimals: digits after the point that no value has more of; None where they are all that a double
            has.
        offset: what is taken off before a model sees it as float32, 0 unless float32 would lose which values differ.
        kind: one of :data:`KINDS`; None for numbers of which nothing more is known.
        classes: the words that codes 0, 1, ... stand for, in their order.
        spikes: numbers that come again and again in training.
        missing: the part of the cells that are missing in training.
        form: of dates, as of ``strftime``; of identifiers, with ``%d`` where they count, and ``high`` is the largest.
        step: seconds that a date's number counts by.
        spacing: what all values are apart or a multiple of it, where that is more than their form tells: 500 of incomes
            in round numbers, 7 days of Mondays; 0 where nothing is known.
    """

    def __init__(
        self,
        name: str,
        dtype: str = "float32",
        low: float | None = None,
        high: float | None = None,
        decimals: int | None = None,
        offset: float = 0.0,
        kind: str | None = None,
        classes: list[str] | None = None,
        spikes: list[float] | None = None,
        missing: float = 0.0,
        form: str | None = None,
        step: float = 1.0,
        spacing: float = 0.0,
    ) -> None:
        self.name, self.dtype, self.low, self.high = name, dtype, low, high
        self.decimals, self.offset, self.kind, self.missing = decimals, float(offset), kind, float(missing)
        self.classes = None if classes is None else list(classes)
        self.spikes, self.form, self.step, self.spacing = list(spikes or ()), form, float(step), float(spacing)

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers, flags or codes."""
        return (
            "int" in self.dtype or self.dtype == "bool" or self.kind in (*WHOLE, *CLASSES) or self.classes is not None
        )

    @property
    def plain(self) -> bool:
        """Whether it is of reals without gaps or a long tail, which a Gaussian can take."""
        return self.kind in (None, "continuous") and not self.missing

    @property
    def worded(self) -> bool:
        """Whether its cells are read as words."""
        return self.classes is not None or self.form is not None or self.dtype == "str"

    @property
    def order(self) -> list[Any] | None:
        """Its classes, where they came with an order: as categories of a frame or a file."""
        if self.kind != "ordered" or self.classes is None or self.dtype == "str":
            return None
        return [self.of_class(word) for word in self.classes]

    def of_class(self, word: str) -> Any:
        """What stands for a class: a number where pandas had such as categories."""
        return {"i": int, "u": int, "f": float}.get(self.dtype[0], str)(word)

    @property
    def dated(self) -> bool:
        """Whether its numbers tell a year."""
        return self.kind == "date" and (self.form is None or "%Y" in self.form or "%y" in self.form)

    @property
    def limits(self) -> tuple[float, float]:
        """Where what a model makes may lie: as in training where the values are whole or never negative."""
        if self.kind == "identifier" or self.low is None or self.high is None or not (self.whole or self.low >= 0):
            return -np.inf, np.inf
        return self.low, self.high

    def fitted(self, x: np.ndarray, named: bool) -> Column:
        """With what the values ``x`` ``(n,)`` of the training say; of an array without names offset and gaps alone."""
        known = x[~np.isnan(x)]
        missing = 1.0 - len(known) / len(x)
        if not named and not missing:
            return self.replaced(offset=centre(x, self.name))
        if not len(known):
            return self.replaced(kind="constant", missing=1.0)
        if self.kind == "identifier" and self.worded:  # its cells are places
            return self.replaced(missing=missing)
        ends = (0.0, len(self.classes) - 1.0) if self.classes else (float(known.min()), float(known.max()))
        decimals = 0 if self.whole else decimals_of(known)
        offset = 0.0 if self.classes or self.kind == "identifier" else centre(known, self.name)
        if self.kind == "constant" or (self.kind == "binary" and not self.classes):
            offset = ends[0]
        found = self.replaced(low=ends[0], high=ends[1], decimals=decimals, offset=offset, missing=missing)
        spacing = 0.0 if self.kind in (None, *CLASSES, *FIXED) else spacing_of(known, decimals)
        return found.replaced(spikes=found.spikes_of(known), spacing=spacing)

    def spikes_of(self, x: np.ndarray) -> list[float]:
        """The numbers that come so often in ``x`` that each has a probability of its own."""
        if self.kind in (None, *CLASSES, *FIXED):
            return []
        values, counts = np.unique(x, return_counts=True)
        least = SPIKE if self.whole else max(SPIKE, PART * len(x))
        often = np.argsort(-counts, kind="stable")[:SPIKES]
        found: list[float] = np.sort(values[often[counts[often] >= least]]).tolist()
        return found

    def kept(self, x: np.ndarray) -> bool:
        """Whether float32 gives every one of these values back as it is written."""
        near = single(x).astype(np.float64)
        return bool(((near if self.decimals is None else np.round(near, self.decimals)) == x)[~np.isnan(x)].all())

    def _float(self, word: str) -> Any:
        return (np.float32 if self.dtype in ("float16", "float32", "bfloat16") else np.float64)(word)

    # words

    def codes(self, words: Sequence[str]) -> np.ndarray:
        """The numbers that different words of the column stand for; NaN for one that isn't known."""
        if self.classes is not None:
            numbers = self.dtype[0] in "iuf"  # however they are written
            same = [self._float(w) if numbers and is_number(w) else w for w in (*self.classes, *words)]
            places = {word: float(i) for i, word in enumerate(same[: len(self.classes)])}
            return np.array([places.get(word, np.nan) for word in same[len(self.classes) :]])
        if self.kind == "date" and self.form is not None:
            form = dates.form_of_instants(words) if "datetime" in self.dtype else None  # of a frame: as a file has them
            found = dates.numbers_of(words, form or self.form) / self.step
            return found.round() if self.step < 1 else found
        if self.kind == "identifier":
            return np.arange(len(words), dtype=np.float64)
        return np.full(len(words), np.nan)  # its cells were all missing

    def cell(self, value: Any, within: bool = True) -> float:
        """The number that stands for a value, in the table's units; :class:`InputError` for one that the column can't
        have, beyond its range too unless ``within`` is false.

        Example:
            >>> Column("city", classes=["Lima", "Oslo"]).cell("Oslo"), Column("age", kind="count").cell("30")
            (1.0, 30.0)
        """
        given, word = f"{self.name}={value} was given", str(value).strip()
        if self.kind == "identifier":
            raise InputError(f"{given}: an identifier is made anew for each row, leave it out")
        if self.classes is not None:
            if np.isnan(code := self.codes([word])[0]):
                raise InputError(f"{given}: the column has no such class{near(word, self.classes)}")
            return float(code)
        if self.kind == "date" or "datetime" in self.dtype:
            form = self.form or next(iter(dates.forms_of([word])), "")
            found = dates.numbers_of([word], form)[0] / self.step if form else np.nan
            wanted = f"a date{f' of the form {self.form}' if self.form else ''}"
        else:
            flags = {"true": 1.0, "false": 0.0} if self.dtype == "bool" or self.kind == "binary" else {}
            found = flags.get(word.lower(), float(word) if is_number(word) else np.nan)
            wanted = "True or False" if self.dtype == "bool" else "a whole number" if self.whole else "a number"
        low, high = (self.low, self.high) if self.kind in FIXED else self.limits
        ends = [v for v in (low, high) if v is not None and np.isfinite(v)]
        outside = within and bool(ends) and not min(ends) <= found <= max(ends)
        if not np.isfinite(found) or (self.whole and found != round(found)) or outside:
            words = self.words(self.typed(np.array(ends))) if ends and self.dtype != "bool" else []
            raise InputError(f"{given}: expected {wanted}{f' from {words[0]} to {words[-1]}' if words else ''}")
        return float(found)

    def typed(self, x: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` in the dtype and with the decimals of the column, where they have that form; None where there
        is none, NaN among reals."""
        gone = np.isnan(x) if x.dtype.kind == "f" else np.zeros(len(x), bool)
        if self.kind == "identifier":
            return self._made_anew(x, gone)
        if self.classes is not None:
            last = len(self.classes)
            places = np.where(gone, last, np.nan_to_num(x).round().clip(0, last - 1)).astype(int)
            if self.dtype[0] == "f":
                return np.array([*map(self._float, [*self.classes, "nan"])])[places]
            return np.array([*map(self.of_class, self.classes), None], dtype=object)[places]
        if self.kind == "date":
            return self._dates(x.astype(np.float64) * self.step, gone)
        if self.whole and "float" not in self.dtype:
            if not bool((x == np.round(x))[~gone].all()):
                return x
            return _with_none(np.nan_to_num(x).astype(self.dtype), gone)
        double = np.full(len(x), np.nan) if self.missing == 1 else x.astype(np.float64)  # nothing is known of it
        if self.decimals is not None and x.dtype == np.float32:  # 0.1 is 0.1, not 0.10000000149
            short = np.round(double, self.decimals)
            double = np.where(short.astype(np.float32) == x, short, double)
        if self.dtype == "str":
            return np.full(len(x), None, dtype=object)
        return double.astype(np.float32) if self.dtype in ("float16", "float32", "bfloat16") else double

    def words(self, x: np.ndarray) -> list[str]:
        """Values ``(n,)`` to be read by people."""
        if x.dtype.kind != "f":
            x = of_python(x)
            return ["" if v is None else str(v) for v in x.tolist()]
        form = ".12g" if self.offset or self.whole else ".4g" if self.decimals is None else f".{self.decimals}f"
        return ["" if v != v else f"{v:{form}}" for v in x.tolist()]

    def _dates(self, seconds: np.ndarray, gone: np.ndarray) -> np.ndarray:
        if "datetime" in self.dtype:
            whole = np.where(gone, 0, np.nan_to_num(seconds) * 1e6).round().astype("datetime64[us]")
            whole[gone] = np.datetime64("NaT")
            return whole.astype(self.dtype)
        assert self.form is not None
        return _with_none(np.array(dates.words_of(seconds, self.form), dtype=object), gone)

    def _made_anew(self, x: np.ndarray, gone: np.ndarray) -> np.ndarray:
        """Numbers as they are, and new ones, which count on, where there are none."""
        start, counts = 0 if self.high is None else int(self.high), np.cumsum(gone)
        if self.dtype == "str":  # of any number of digits
            form = self.form or f"{self.name}-%d"
            fresh = [form % (start + n) if g else "" for n, g in zip(counts.tolist(), gone, strict=True)]
            return np.array(fresh, dtype=object)
        return np.where(gone, start + counts, np.nan_to_num(x)).astype(self.dtype)

    @property
    def about(self) -> str:
        """What it holds, in a few words."""
        said = {"categorical": "categories", "identifier": "an identifier, made anew and never learned"}
        parts = [said.get(self.kind or "", self.kind or "continuous")]
        if self.kind in CLASSES and self.classes:
            shown = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
            parts = [f"{len(self.classes)} {parts[0]}" if self.kind == "categorical" else parts[0], shown]
        elif self.kind == "constant":
            parts.append(self.words(self.typed(np.array([self.low if self.low is not None else np.nan])))[0] or "empty")
        elif self.kind != "identifier" and self.low is not None and self.high is not None:
            ends = self.words(self.typed(np.array([self.low, self.high])))
            parts.append(f"{ends[0]} to {ends[1]}")
            if self.kind in ("continuous", "skewed") and self.decimals is not None:
                parts.append(f"{self.decimals} decimal{'s' * (self.decimals != 1)}")
            if self.spacing:
                parts.append(f"in steps of {self.spacing:g}" if self.kind != "date" else "evenly apart")
        if self.missing:
            parts.append(f"{self.missing:.2g} missing" if self.missing < 0.001 else f"{self.missing:.1%} missing")
        return ", ".join(parts)


def of_python(x: np.ndarray) -> np.ndarray:
    """Times in a form that Python knows as such: finer ones are numbers to it."""
    return x.astype("datetime64[us]") if x.dtype.kind == "M" and np.datetime_data(x.dtype)[0] != "D" else x


def _with_none(values: np.ndarray, gone: np.ndarray) -> np.ndarray:
    if not bool(gone.any()):
        return values
    found = values.astype(object)
    found[gone] = None
    return found


def counted(words: Sequence[str]) -> tuple[str, float] | None:
    """How identifiers count, where they do: the same letters before a number, and the largest, or a little more where
    float64 doesn't hold it.

    Example:
        >>> counted(["cust_007", "cust_008"]), counted(["a1", "b2"])
        (('cust_%03d', 8.0), None)
    """
    found = [re.fullmatch(r"(\D*)(\d{1,30})", word) for word in words]
    if not all(found) or len({m[1] for m in found if m}) != 1:
        return None
    widths = {len(m[2]) for m in found if m}
    width = f"0{widths.pop()}" if len(widths) == 1 else ""
    most = max(int(m[2]) for m in found if m)
    assert found[0] is not None
    high = float(most)
    return f"{found[0][1].replace('%', '%%')}%{width}d", high if int(high) >= most else math.nextafter(high, math.inf)
