"""Durations: as one writes them, in seconds, and in words."""

from __future__ import annotations

import math
import re
from numbers import Real

from fusevae.core.errors import InputError


def duration(text: str) -> float:
    """Seconds of ``"90s"``, ``"20m"``, ``"1h30m"``, ``"1.5h"``.

    Example:
        >>> duration("1h30m"), duration("0.5m")
        (5400.0, 30.0)
    """
    found = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", text.strip())
    try:
        parts = [float(part or 0) for part in found.groups()] if found else []
    except ValueError:
        parts = []
    seconds = sum(size * part for size, part in zip((3600, 60, 1), parts, strict=False))
    if not seconds > 0:
        raise InputError(f"{text!r} is no time: expected a number of hours, minutes or seconds: 1h30m, 20m, 90s")
    return seconds


def seconds_of(budget: str | float) -> float:
    """The seconds of a budget: a :func:`duration`, or a number of seconds."""
    seconds = duration(budget) if isinstance(budget, str) else float(budget) if isinstance(budget, Real) else 0.0
    if not 0 < seconds < math.inf:
        raise InputError(f"budget={budget!r} was given: expected seconds above 0, or 90s, 20m, 1h30m")
    return seconds


def clock(seconds: float) -> str:
    """``3 min 20 s``.

    Example:
        >>> clock(200), clock(1.5), clock(3700)
        ('3 min 20 s', '1.5 s', '1 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
