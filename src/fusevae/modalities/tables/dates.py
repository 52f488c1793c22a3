"""Dates and times as numbers, in the form that they were written in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

#: forms, the plain ones first; ``%-d`` is a day of one digit where it has one
FORMS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%-d.%-m.%Y", "%-d/%-m/%Y", "%-m/%-d/%Y"),
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"),
    *("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M"),
    *("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%H:%M:%S", "%H:%M"),
)
TRIED = 50  # words by which a form is chosen before all are looked at
DAY = 86_400.0  # seconds
START = datetime(1970, 1, 1, tzinfo=UTC)


def parsed_date(word: str, form: str) -> datetime | None:
    """A date, or None for what isn't one of that form, to the letter."""
    try:
        found = datetime.strptime(word, form.replace("%-", "%")).replace(tzinfo=UTC)
        return found if found.strftime(form) == word else None
    except ValueError:
        return None


def forms_of(words: Sequence[str]) -> list[str]:
    """The forms that all of some words have; several where day and month could be either.

    Example:
        >>> forms_of(["2024-01-31"]), forms_of(["01/02/2024"]), forms_of(["31/02/2024", "x"])
        (['%Y-%m-%d'], ['%d/%m/%Y', '%m/%d/%Y'], [])
    """
    if not words:
        return []
    few = [form for form in FORMS if all(parsed_date(word, form) for word in words[:: -(-len(words) // TRIED)])]
    return [form for form in few if all(parsed_date(word, form) for word in words)]


def numbers_of(words: Sequence[str], form: str) -> np.ndarray:
    """Seconds since 1970 (or midnight), ``(n,)``; NaN for what is no date of the form.

    Example:
        >>> numbers_of(["1970-01-02", "?"], "%Y-%m-%d")
        array([86400.,    nan])
    """
    found = [parsed_date(word, form) for word in words]
    return np.array([np.nan if one is None else (one - _start(form)).total_seconds() for one in found])


def words_of(seconds: np.ndarray, form: str) -> list[str]:
    """The reverse of :func:`numbers_of`; an empty word for NaN.

    Example:
        >>> words_of(np.array([86400.0, np.nan]), "%Y-%m-%d")
        ['1970-01-02', '']
    """
    start = _start(form)
    return ["" if s != s else (start + timedelta(seconds=s)).strftime(form) for s in seconds.tolist()]


def _start(form: str) -> datetime:
    return START if "%Y" in form else datetime(1900, 1, 1, tzinfo=UTC)
