"""Whether sampled rows vary as real ones do: each class of each column, and how widely numbers spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from fusevae.evaluation.variety import shares, width
from fusevae.modalities.tables.schema import TableSchema

#: the classes of a column in several sets of rows, from 1 on, 0 where a cell is missing
Codes = Callable[..., tuple[np.ndarray, ...]]


def widths(real: np.ndarray, made: np.ndarray, numbers: Sequence[int]) -> tuple[float, list[float]] | None:
    """:func:`width` of some columns of rows; None where there are none that vary."""
    return width(*(torch.from_numpy(x[:, numbers]) for x in (real, made))) if numbers else None


def class_shares(
    schema: TableSchema, classed: Sequence[int], codes: Codes, made: np.ndarray, real: np.ndarray
) -> dict[str, list[float]]:
    """The parts of samples and of real rows that have each class of some columns."""
    found: dict[str, list[float]] = {}
    for i in classed:
        column, (a, b) = schema.columns[i], codes(i, made, real)
        names = column.classes or range(int(max(a.max(initial=0), b.max(initial=0))))
        found |= shares(a, b, [f"{column.name} missing", *(f"{column.name} = {name}" for name in names)])
    return found
