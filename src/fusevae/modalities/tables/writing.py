"""Cells of a text table that is opened by other programs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusevae.data.delimited import is_number
from fusevae.data.rows import shortest
from fusevae.modalities.tables.column import of_python

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the begin of one

logger = logging.getLogger("fusevae")


def plain(values: Sequence[Any]) -> np.ndarray:
    """A column for a text table: nothing where a cell is missing, and words that a spreadsheet would run as formulas
    with an apostrophe before them, which is said.

    Example:
        >>> plain(np.array(["=1+1", None, "-5"], dtype=object)).tolist(), plain(np.array([0.5, np.nan])).tolist()
        (["'=1+1", None, '-5'], [0.5, None])
    """
    array = np.asarray(values)
    if array.dtype.kind == "f":
        array = shortest(array)
        gaps = np.isnan(array)
        if gaps.any():
            array = array.astype(object)
            array[gaps] = None
        return array
    if array.dtype.kind == "M":
        return of_python(array)
    if array.dtype.kind not in "OU":
        return array
    unsafe = [isinstance(v, str) and v.startswith(FORMULA) and not is_number(v) for v in array.tolist()]
    if any(unsafe):
        logger.warning(
            "%d cells, such as %r, would be run as formulas by a spreadsheet: written with an apostrophe before them",
            *(sum(unsafe), array[unsafe.index(True)]),
        )
        array = array.astype(object)
        array[unsafe] = ["'" + v for v in array[unsafe]]
    return array
