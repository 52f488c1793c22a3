"""What holds in every row of a table, though nobody has said it: orders, sums, columns that tell others."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from fusevae.core.errors import InputError
from fusevae.data.delimited import is_number
from fusevae.modalities.tables.column import CLASSES, FIXED, Column
from fusevae.modalities.tables.constraints import Constraint

ROWS, FIRST = 2000, 32  # that are looked at before all are
SURE = 20  # rows that would break a law by chance, at least, if its columns were independent
DIFFERENT = 5  # values of a column of numbers, at least
LEVELS = 200  # values of a column that may tell another one, or be told, at most
MOST = 60  # columns of a table that are held against each other
SHOWN = 6  # laws that are said

logger = logging.getLogger("fusevae")


def say_laws(columns: Sequence[Column], x: np.ndarray) -> None:
    """Say which constraints would keep what holds in all rows ``x`` ``(n, columns)``: a model learns it nearly."""
    if laws := laws_of(columns, x):
        shown = ", ".join(map(json.dumps, laws[:SHOWN]))
        more = f" (and {len(laws) - SHOWN} more such hold)" if len(laws) > SHOWN else ""
        said = "what holds in all %s rows is held in samples, too, by --set data.constraints='[%s]'%s"
        logger.warning(said, f"{len(x):,}", shown, more)


def laws_of(columns: Sequence[Column], x: np.ndarray) -> list[str]:
    """Constraints that hold in all rows, and that ``SURE`` rows would break if columns were independent: a column that
    is the sum of two, one that tells another's value, one that is never above another. What follows from others is
    left out; columns whose names are numbers, as of a spectrum, are only alike.

    Example:
        >>> rows = np.random.default_rng(0).integers(0, 9, (300, 2)).astype(float)
        >>> laws_of([Column(c, "int64", kind="count") for c in "abc"], np.column_stack([rows, rows.sum(1)]))
        ['c = a + b']
    """
    rows = x[:ROWS]
    named = [i for i, column in enumerate(columns) if column.kind not in (*FIXED, None) and not is_number(column.name)]
    numbers = [i for i in named if columns[i].kind not in CLASSES and len(_different(rows[:, i])) >= DIFFERENT]
    told = [i for i in named if 2 <= len(_different(rows[:, i])) <= LEVELS]
    found: list[str] = []
    if len(numbers) <= MOST:
        steps = {i: columns[i].step for i in numbers if columns[i].kind == "date"}
        sums = [(c, a, b) for c, a, b in _sums(rows, numbers) if _adds([steps.get(i) for i in (c, a, b)])]
        parts = {(part, total) for total, *both in sums for part in both}
        orders = {(a, b) for a, b in _orders(rows, columns, numbers) if (a, b) not in parts}
        found += [f"{columns[c].name} = {columns[a].name} + {columns[b].name}" for c, a, b in sums]
        between = {(a, c) for a, b in orders for d, c in orders if b == d}  # what others say
        found += [f"{columns[a].name} <= {columns[b].name}" for a, b in sorted(orders - between)]
    if len(told) <= MOST:
        found += [f"fixed({columns[a].name}, {columns[b].name})" for a, b in _telling(rows, told)]
    return [text for text in found if _holds(text, columns, x)]


def _different(values: np.ndarray) -> np.ndarray:
    return np.unique(values[~np.isnan(values)])


def _sums(x: np.ndarray, numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Places of a column and of two others whose sum it is."""
    some = x[:, numbers]
    near = 1e-9 * np.nan_to_num(np.abs(some)).max(0, initial=0.0)
    for a, b in itertools.combinations(range(len(numbers)), 2):
        total, close = some[:, a] + some[:, b], near[a] + near[b]
        first = ~(np.abs(total[:FIRST, None] - some[:FIRST]) > close).any(0)
        for c in set(np.flatnonzero(first).tolist()) - {a, b}:
            away = np.abs(total - some[:, c])
            both = (np.abs(some[:, a]) > near[a]) & (np.abs(some[:, b]) > near[b]) & ~np.isnan(away)
            if both.sum() >= SURE and not bool((away > close).any()):
                yield numbers[c], numbers[a], numbers[b]


def _adds(steps: Sequence[float | None]) -> bool:
    """Whether a column may be the sum of two by what dates among them count by (None: a number): a date is another
    one and a number of its steps."""
    total, *parts = steps
    return parts.count(None) == (2 if total is None else 1) and total in (None, *parts)


def _orders(x: np.ndarray, columns: Sequence[Column], numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Places of two columns of which the first is never above the second."""
    turn = np.random.default_rng(0).permutation(len(x))
    for a, b in itertools.permutations(numbers, 2):
        one, other = columns[a], columns[b]
        if (one.kind == "date") != (other.kind == "date") or one.step != other.step:
            continue
        if not bool((x[:, a] > x[:, b]).any()) and (x[:, a] > x[turn, b]).sum() >= SURE:
            yield a, b


def _telling(x: np.ndarray, told: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Places of two columns of which the first has one value of the second beside each of its own."""
    codes = {i: np.unique(x[:, i], return_inverse=True)[1].astype(np.int64) for i in told}
    seen: set[tuple[int, int]] = set()
    for a, b in itertools.permutations(told, 2):
        there = ~np.isnan(x[:, [a, b]]).any(1)
        one, other = codes[a][there], codes[b][there]
        first, counts = len(np.unique(one)), np.bincount(other)
        if (b, a) in seen or (counts > 0).sum() < 2 or len(np.unique(one * len(counts) + other)) > first:
            continue
        chance = 1 - ((counts / len(other)) ** 2).sum()  # that two rows differ in the second
        if (len(other) - first) * chance >= SURE:
            seen.add((a, b))
            yield a, b


def _holds(text: str, columns: Sequence[Column], x: np.ndarray) -> bool:
    """Whether a constraint can be said of the columns, by their names, and holds in all rows."""
    rows = torch.from_numpy(x)
    try:
        return bool(Constraint(text, [*columns]).fitted(rows).holds(rows).all())
    except InputError:
        return False
