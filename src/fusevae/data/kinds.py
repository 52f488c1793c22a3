"""What a column holds, told from some of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from fusevae.data import delimited
from fusevae.data.conditions import LABELS

Kind = Literal["number", "words", "text", "image", "audio", "other"]
LOOKED_AT = 200  # values of a column


def words_kind(cells: Iterable[str]) -> Kind:
    """What the cells of a text table hold."""
    known = [cell.strip() for cell in cells if cell.strip().lower() not in delimited.GAPS]
    if all(map(delimited.is_number, known)) or all(map(delimited.is_flag, known)):
        return "number"
    spaces = sum(cell.count(" ") >= 2 and not all(map(delimited.is_number, cell.split())) for cell in known)
    return "text" if spaces > len(known) / 2 and len(set(known)) > len(known) / 2 else "words"


def is_text(kinds: Mapping[str, Kind]) -> bool:
    """Whether a column of words is called ``text``, stands alone, or beside labels: as short texts do, and columns of a
    table don't.

    Example:
        >>> is_text({"name": "words", "label": "number"}), is_text({"city": "words", "age": "number"})
        (True, False)
    """
    words = [name for name, kind in kinds.items() if kind == "words" and name not in LABELS]
    alone = len(words) == 1 and all(name in (*words, *LABELS) for name in kinds)
    return alone or kinds.get("text", "number") != "number"


def values_kind(values: list[Any]) -> Kind:
    """What the values of a column hold."""
    known = [v for v in values if v is not None]
    if all(isinstance(v, str) for v in known):
        return words_kind(known) if words_kind(known) != "number" else "words"
    if all(isinstance(v, bool | int | float | np.number | np.bool_) for v in known):
        return "number"
    return "image" if known and hasattr(known[0], "getbands") else "other"
