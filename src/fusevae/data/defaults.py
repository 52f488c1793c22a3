"""What the defaults of all modalities have in common: how long they train, and when they stop."""

from __future__ import annotations

PATIENCE = 6  # validations of a default, of 20: more than those in which a beta rises over the first 30 %


def epochs(n: int, batch: int, steps: int, least: int, most: int) -> int:
    """Passes over ``n`` examples that take about so many steps, between two ends.

    Example:
        >>> epochs(50_000, 64, 20_000, 10, 100), epochs(2000, 64, 20_000, 10, 100)
        (26, 100)
    """
    return round(min(most, max(least, steps * batch / max(1, n))))
