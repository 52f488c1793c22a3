"""What the defaults of all modalities have in common: how long they train, when they stop, and their sizes where there
are few examples."""

from __future__ import annotations

import math

from fusevae.core.spec import DataSpec

PATIENCE = 6  # validations of a default, of 20: more than those in which a beta rises over the first 30 %
PLENTY = 5000  # examples from which on a recipe is as its paper has it
LEAST = 32  # units that a hidden layer keeps


def epochs(n: int, batch: int, steps: int, least: int, most: int) -> int:
    """Passes over ``n`` examples that take about so many steps, between two ends.

    Example:
        >>> epochs(50_000, 64, 20_000, 10, 100), epochs(2000, 64, 20_000, 10, 100)
        (26, 100)
    """
    return round(min(most, max(least, steps * batch / max(1, n))))


def few(data: DataSpec) -> bool:
    """Whether there are fewer examples than the sizes of recipes are for; not where nobody knows how many there are."""
    return data.examples is not None and data.examples < PLENTY


def widths(data: DataSpec, usual: tuple[int, ...]) -> tuple[int, ...]:
    """Widths of hidden layers: the usual ones times the root of the part of PLENTY that there is, so that the weights
    between two layers are in proportion to the examples; in steps of 8, and not below LEAST.

    Example:
        >>> widths(DataSpec((13,), examples=60_000), (512, 512)), widths(DataSpec((13,), examples=110), (512, 512))
        ((512, 512), (80, 80))
    """
    if not few(data):
        return usual
    part = math.sqrt((data.examples or 0) / PLENTY)
    return tuple(min(width, max(LEAST, 8 * math.ceil(width * part / 8))) for width in usual)
