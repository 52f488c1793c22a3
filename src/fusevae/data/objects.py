"""Tables of JSON objects: one a line, or a list of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.encodings import decoded

EXPECTED = 'expected one object a line, or a list of them, such as {"age": 31, "city": "Oslo"}'


class Columns:
    """Columns by name, as a frame has them, of a file in which the first row has the number ``start``."""

    def __init__(self, cells: Mapping[str, Any], start: int = 1) -> None:
        self.cells, self.columns, self.start = cells, list(cells), start

    def __getitem__(self, name: str) -> np.ndarray:
        cells = self.cells[name]
        if isinstance(cells, np.ndarray):
            return cells
        found = np.empty(len(cells), dtype=object)
        found[:] = cells
        return found


class Objects(Columns):
    """Columns by the names in the objects of a file, or in ``most`` of them: values as they are, None where one has no
    such name.

    Raises:
        InputError: for what is no object, names that an object has twice, and a file without rows.
    """

    def __init__(self, path: Path, most: int | None = None, skip: bool = False) -> None:
        rows: list[dict[str, Any]] = []
        text = decoded(path, "text table")
        listed = _parsed(text) if text.lstrip().startswith("[") else None
        what = "line" if not isinstance(listed, list) else "item"
        for i, item in enumerate(text.split("\n") if not isinstance(listed, list) else listed, 1):
            if what == "line" and not item.strip():
                continue
            row = object_of(item) if what == "line" else item
            if isinstance(row, dict):
                rows.append(row)
            elif not skip:
                wrong = row if isinstance(row, ValueError) else "is no JSON object"
                raise InputError(f"{path}: {what} {i} {wrong}: {EXPECTED}")
            if len(rows) == most:
                break
        names = dict.fromkeys(name for row in rows for name in row)
        super().__init__({name: [row.get(name) for row in rows] for name in names})
        if not self.columns:
            raise InputError(f"{path} holds no JSON objects: {EXPECTED}")


def object_of(line: str) -> dict[str, Any] | ValueError:
    """The object in a line, or what is wrong with it.

    Example:
        >>> object_of('{"a": 1}'), object_of("[1]"), object_of('{"a": 1, "a": 2}')
        ({'a': 1}, ValueError('is no JSON object'), ValueError("has the name 'a' twice"))
    """
    found = _parsed(line)
    return found if isinstance(found, dict | ValueError) else ValueError("is no JSON object")


def _parsed(text: str) -> Any:
    """What a text of JSON holds, or what is wrong with it."""
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(name for i, name in enumerate(names) if name in names[:i])
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        found = ValueError("is no JSON object")
    return ValueError(f"has the name {twice[0]!r} twice") if twice else found
