"""Intervals of 95 % confidence, however few examples they are from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusevae.core import noise

INSIDE = 0.975  # the quantile of the upper end
HALVES = 40  # parts that are drawn of two sets
LARGEST = 500  # examples of a part, at most


class Spread(NamedTuple):
    """Of each figure of two sets, by name: its standard ``error``, and by how much its expectation is off for so few
    (``bias``, positive where it is too large)."""

    error: dict[str, float]
    bias: dict[str, float]


def interval(value: float, error: float, n: int) -> list[float]:
    """Where a mean of ``n`` examples is whose standard error is ``error``, estimated from them: by Student's t of
    n - 1 degrees of freedom (Student 1908), which for many is 1.96.

    Example:
        >>> [round(end, 2) for end in interval(0.0, 1.0, 3)], [round(end, 2) for end in interval(0.0, 1.0, 10_000)]
        ([-4.3, 4.3], [-1.96, 1.96])
    """
    from scipy.special import stdtrit  # scikit-learn needs it, too

    reach = float(stdtrit(max(1, n - 1), INSIDE)) * error
    return [value - reach, value + reach]


def interval_of_part(part: float, n: int, beside: Sequence[float] = ()) -> list[float]:
    """Where a probability is of which ``part`` was found in ``n`` draws (Wilson 1927): of none or all of few, too; at
    least as wide as another interval ``beside`` it.

    Example:
        >>> [round(end, 3) for end in interval_of_part(1.0, 30)]
        [0.886, 1.0]
    """
    square = 1.96**2 / n
    middle, reach = part + square / 2, math.sqrt(square * (part * (1 - part) + square / 4))
    low, high = (middle - reach) / (1 + square), (middle + reach) / (1 + square)
    return [max(0.0, min(low, *beside, part)), min(1.0, max(high, *beside, part))]


def spread(
    figures: Callable[[Tensor, Tensor], Mapping[str, float]], a: Tensor, b: Tensor, whole: Mapping[str, float]
) -> Spread:
    r"""How figures of two sets ``(n, d)`` and ``(m, d)`` vary with both, and what so few add to them.

    From parts drawn without replacement (Shao & Wu 1989), half of each set or less: with replacement, examples that
    are drawn twice would be neighbours of each other and a covariance of fewer. Of a part f, a figure's variance is
    :math:`(1-f)/f` times that of the whole, and a bias that falls as 1/n is as much larger.

    Args:
        figures: of two sets, by name.
        a: the one.
        b: the other.
        whole: the figures of the two.

    Example:
        >>> a, b = torch.randn(2, 400, 1, generator=torch.Generator().manual_seed(0))
        >>> found = spread(lambda a, b: {"mean": (a.mean() - b.mean()).item()}, a, b, {"mean": 0.0})
        >>> 0.05 < found.error["mean"] < 0.1  # sqrt(2 / 400) is 0.07
        True
    """
    fewest = min(len(a), len(b))
    if fewest < 4:
        return Spread({}, {})
    f = min(fewest // 2, LARGEST) / fewest
    generator = torch.Generator().manual_seed(noise.key("spread"))

    def some(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=generator)[: round(f * len(x))]]

    drawn = [figures(some(a), some(b)) for _ in range(HALVES)]
    each = {name: torch.tensor([found[name] for found in drawn], dtype=torch.float64) for name in whole}
    return Spread(
        {name: math.sqrt(f / (1 - f)) * values.std().item() for name, values in each.items()},
        {name: f / (1 - f) * (values.mean().item() - whole[name]) for name, values in each.items()},
    )
