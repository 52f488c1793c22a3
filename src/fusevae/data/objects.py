"""Tables of JSON objects, one a line: ``.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.encodings import decoded


class Objects:
    """Columns by the names in the objects of a file, or in ``most`` of them: values as they are, None where one has no
    such name.

    Raises:
        InputError: for a line that is no object, names that an object has twice, and a file without rows.
    """

    def __init__(self, path: Path, most: int | None = None, skip: bool = False) -> None:
        rows: list[dict[str, Any]] = []
        for i, line in enumerate(decoded(path, "text table").split("\n"), 1):
            row = object_of(line) if line.strip() else None
            if isinstance(row, dict):
                rows.append(row)
            elif row is not None and not skip:
                raise InputError(f"{path}: line {i} {row}: expected one object a line")
            if len(rows) == most:
                break
        self.columns = list(dict.fromkeys(name for row in rows for name in row))
        if not self.columns:
            raise InputError(
                f'{path} holds no JSON objects: expected one a line, such as {{"age": 31, "city": "Oslo"}}'
            )
        self.cells = {name: [row.get(name) for row in rows] for name in self.columns}

    def __getitem__(self, name: str) -> np.ndarray:
        found = np.empty(len(self.cells[name]), dtype=object)
        found[:] = self.cells[name]
        return found


def object_of(line: str) -> dict[str, Any] | ValueError:
    """The object in a line, or what is wrong with it.

    Example:
        >>> object_of('{"a": 1}'), object_of("[1]"), object_of('{"a": 1, "a": 2}')
        ({'a': 1}, ValueError('is no JSON object'), ValueError("has the name 'a' twice"))
    """
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(name for i, name in enumerate(names) if name in names[:i])
        return dict(pairs)

    try:
        found = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError):
        found = None
    if twice:
        return ValueError(f"has the name {twice[0]!r} twice")
    return found if isinstance(found, dict) else ValueError("is no JSON object")
