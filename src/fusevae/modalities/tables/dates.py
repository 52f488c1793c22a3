"""Dates and times as numbers, in the form that they were written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

#: forms, the plain ones first; ``%-d`` is a day of one digit where it has one
FORMS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%-d.%-m.%Y", "%-d/%-m/%Y", "%-m/%-d/%Y"),
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %-H:%M"),
    *("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M", "%-d/%-m/%Y %-H:%M", "%-m/%-d/%Y %-H:%M"),
    *("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%H:%M:%S", "%H:%M", "%-H:%M", "%-H:%M:%S"),
    *("%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p", "%-m/%-d/%Y %-I:%M %p", "%-m/%-d/%Y %-I:%M:%S %p", "%-I:%M %p"),
    *("%d-%b-%Y", "%-d-%b-%Y", "%d %b %Y", "%-d %b %Y", "%b %d, %Y", "%b %-d, %Y"),
    *("%d %B %Y", "%-d %B %Y", "%B %-d, %Y"),
    *("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%b-%Y", "%d-%b-%y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%-m/%-d/%y"),
    "%a, %d %b %Y %H:%M:%S",
)
TRIED = 50  # words by which a form is chosen before all are looked at
DAY = 86_400.0  # seconds
START = datetime(1970, 1, 1, tzinfo=UTC)
ZONE = re.compile(r"(?<=\d:\d\d)(:\d\d)?(\.\d+)?( ?Z| UTC| GMT| ?[+-]\d\d(?::?\d\d)?)$")
FRACTION = re.compile(r"%\.([1-6]?)f")  # so many digits after a point, or six where they aren't zeros


def parsed_date(word: str, form: str) -> datetime | None:
    """A date, or None for what isn't one of that form, to the letter; with ``%z`` an instant, in the time of UTC.

    Besides those of ``strftime`` there are ``%.3f``, a point and three digits, and ``%.f``, a point and six digits, or
    nothing.
    """
    plain = FRACTION.sub(".%f" if re.search(r":\d\d\.\d", word) else "", form) if "%." in form else form
    try:
        found = datetime.strptime(word, plain.replace("%-", "%"))
    except ValueError:
        return None
    if form.endswith("%z"):
        return found.astimezone(UTC)
    found = found.replace(tzinfo=UTC)
    return found if _written(found, form) == word else None


def _written(when: datetime, form: str) -> str:
    digits = f"{when.microsecond:06}"
    return when.strftime(
        FRACTION.sub(lambda m: "." + digits[: int(m[1] or 6)] if m[1] or when.microsecond else "", form)
    )


def forms_of(words: Sequence[str]) -> list[str]:
    """The forms that all of some words have; several where day and month could be either.

    Example:
        >>> forms_of(["2024-01-31"]), forms_of(["01/02/2024"]), forms_of(["31/02/2024", "x"])
        (['%Y-%m-%d'], ['%d/%m/%Y', '%m/%d/%Y'], [])
        >>> forms_of(["2024-01-31T12:30:00+01:00"]), forms_of(["2024-01-31 12:30:00.250"])
        (['%Y-%m-%dT%H:%M:%S+01:00'], ['%Y-%m-%d %H:%M:%S%.3f'])
    """
    if not words:
        return []
    some = words[:: -(-len(words) // TRIED)]
    few = [form for form in _variants(some) if all(parsed_date(word, form) for word in some)]
    found = [form for form in few if all(parsed_date(word, form) for word in words)]
    if few and not found:  # a summer in another zone, a fraction that is zero
        found = [form for form in _variants(words) if all(parsed_date(word, form) for word in words)]
    return found


def form_of_instants(words: Sequence[str]) -> str | None:
    """The one form of some words, of which a zone is taken off; None where there are none, or several.

    Example:
        >>> form_of_instants(["2024-01-31T12:30:00+01:00"]), form_of_instants(["01/02/2024"])
        ('%Y-%m-%dT%H:%M:%S%z', None)
    """
    found = forms_of(words)
    return re.sub(r"[+-]\d\d:?\d\d$", "%z", found[0]) if len(found) == 1 else None


def _variants(words: Sequence[str]) -> list[str]:
    """The forms that some words may have, with the fractions of seconds and the zones that they have."""
    zones = {m[3] if (m := ZONE.search(word)) else "" for word in words}
    digits = {len(m[1]) if (m := re.search(r":\d\d\.(\d+)", word)) else 0 for word in words}
    zone = zones.pop() if len(zones) == 1 else "%z"
    fraction = "" if digits == {0} else f"%.{digits.pop()}f" if len(digits) == 1 else "%.f"
    if not zone and not fraction:
        return [*FORMS]
    return [
        re.sub("%S", "%S" + fraction, form) + zone for form in FORMS if "%M" in form and (not fraction or "%S" in form)
    ]


def strangers(words: Sequence[str]) -> tuple[str, list[int]]:
    """The form of dates that the most of some words have, and the places of those that are none; no place where all
    are of one form, or too few."""
    some = words[:: -(-len(words) // TRIED)] if words else []
    dated = [word for word in some if re.search(r"\d\D+\d", word)]
    if 2 * len(dated) <= len(some) or forms_of(words):
        return "", []
    count, form = max((sum(parsed_date(w, f) is not None for w in some), f) for f in _variants(dated))
    found = [i for i, word in enumerate(words) if parsed_date(word, form) is None] if 2 * count > len(some) else []
    return form, found


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
    return ["" if s != s else _written(start + timedelta(seconds=s), form) for s in seconds.tolist()]


def _start(form: str) -> datetime:
    return START if "%Y" in form or "%y" in form else datetime(1900, 1, 1, tzinfo=UTC)
