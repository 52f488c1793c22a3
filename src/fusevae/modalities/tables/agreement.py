"""How alike a column of two sets of rows is, and what columns of it have to do with each other."""

from __future__ import annotations

import numpy as np


def kolmogorov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two distribution functions, of the numbers that are there.

    Example:
        >>> kolmogorov(np.array([0.0, 1.0]), np.array([1.0, 2.0, np.nan]))
        0.5
    """
    a, b = np.sort(a[~np.isnan(a)]), np.sort(b[~np.isnan(b)])
    if not len(a) or not len(b):
        return float(len(a) != len(b))
    every = np.concatenate([a, b])
    left, right = (np.searchsorted(x, every, side="right") / len(x) for x in (a, b))
    return float(np.abs(left - right).max())


def variation(a: np.ndarray, b: np.ndarray) -> float:
    """The total variation distance of the shares of whole numbers of at least 0.

    Example:
        >>> variation(np.array([0, 0]), np.array([0, 1]))
        0.5
    """
    size = 1 + int(max(a.max(initial=0), b.max(initial=0)))
    if size > 10_000_000:  # pairs of columns of many classes
        _, both = np.unique(np.concatenate([a, b]), return_inverse=True)
        a, b, size = both[: len(a)], both[len(a) :], int(both.max()) + 1
    left, right = (np.bincount(x, minlength=size) / len(x) for x in (a, b))
    return float(np.abs(left - right).sum() / 2)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, of the rows that have both; 0 where one is constant."""
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
