"""Texts of a run as tables: what pictures are for images."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from fusevae.core.files import written_whole
from fusevae.core.spec import DataSpec


def write_rows(path: Path, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A ``.csv`` with a header."""
    with written_whole(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a table of :func:`write_rows`, its header first."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def side_by_side(a: Tensor, b: Tensor, spec: DataSpec) -> list[tuple[str, str]]:
    """Texts ``(n, length)`` and what became of each, a row each."""
    return list(zip(spec.text(a), spec.text(b), strict=True))


def in_groups(words: Sequence[str], x: Tensor, spec: DataSpec) -> list[tuple[str, str]]:
    """Texts ``(groups, n, length)`` one below the other; the first of a group has its word beside it."""
    return [
        (word if i == 0 else "", text)
        for word, group in zip(words, x, strict=True)
        for i, text in enumerate(spec.text(group))
    ]
