"""Numbers of a column: the form in which they are written, and what float32 keeps of them."""

from __future__ import annotations

import math

import numpy as np

from fusevae.core.errors import InputError

DECIMALS = 6  # after the point that are a form whatever the size of the numbers
DIGITS = 15  # in all that a double keeps: as long as there are fewer, more decimals are a form too, and no chance
COUNTED = 100_000  # values of a column whose difference is looked at
GAIN = 4.0  # how much nearer to 0 a column must come for its centre to be taken off
LOST = 0.01  # part of the different values that float32 may not lose without need
APART = 20  # different values that tell what all are apart


def decimals_of(x: np.ndarray) -> int | None:
    """Digits after the point that no value has more of, None where these are all that a double has.

    Example:
        >>> decimals_of(np.array([1.5, 20.25])), decimals_of(np.array([0.12345678])), decimals_of(np.array([1 / 3]))
        (2, 8, None)
    """
    largest = float(np.abs(x).max(initial=1.0))
    most = max(DECIMALS, DIGITS - math.ceil(math.log10(largest)) - 1) if math.isfinite(largest) else DECIMALS
    with np.errstate(over="ignore", invalid="ignore"):
        return next((d for d in range(most + 1) if bool((np.round(x, d) == x).all())), None)


def spacing_of(x: np.ndarray, decimals: int | None) -> float:
    """What all values are apart, or a multiple of it, where it is more than one of their last digit; 0 where it isn't,
    and where few different values can't tell.

    Example:
        >>> spacing_of(np.arange(40) * 500 + 250.0, 0), spacing_of(np.arange(40) * 0.05, 2)
        (500.0, 0.05)
    """
    values = np.unique(x)
    if decimals is None or len(values) < APART or np.abs(values).max() * 10.0**decimals >= 2.0**53:
        return 0.0
    found = int(np.gcd.reduce(np.diff(np.round(values * 10.0**decimals).astype(np.int64))))
    return float(found / 10**decimals) if found > 1 else 0.0


def centre(x: np.ndarray, name: str) -> float:
    """What to take off values ``(n,)`` so that float32 tells them apart, 0 where it does so already (or where the
    values are spread too wide for that to help).

    A shift of the data changes no density: its log-determinant is 0.

    Example:
        >>> centre(np.array([1760000001.0, 1760000002.0, 1760000003.0]), "t"), centre(np.array([0.1, 7.25]), "x")
        (1760000002.0, 0.0)
    """
    if bool((single(x) == x).all()):
        return 0.0
    middle = float(np.sort(x)[len(x) // 2])  # one of the values
    some = x[np.arange(min(len(x), COUNTED)) * len(x) // min(len(x), COUNTED)]
    different = len(np.unique(some))
    offset = 0.0
    if GAIN * np.median(np.abs(x - middle)) < np.median(np.abs(x)):
        lost = different - len(np.unique(single(some)))
        whole = bool((x == np.round(x)).all())
        offset = middle if whole or lost > LOST * different else 0.0
    if 2 * len(np.unique(single(some - offset))) < different:
        raise InputError(
            f"column {name} has {different:,} different values that float32 does not tell apart: split it into parts, "
            "take something off it, or leave it out (data.columns=[...])"
        )
    return offset


def single(x: np.ndarray) -> np.ndarray:
    """Values as float32, what is too large as infinite."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32)
