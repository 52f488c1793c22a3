"""What passes between the readers and the split: options, and what was found for each split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError

#: words in the names of files, folders and arrays, and the split that they mean
SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}


@dataclass(frozen=True)
class Options:
    """How to read: see :class:`fusevae.data.source.Source` for each."""

    labels: str | None = None
    memory_gb: float = 4.0
    skip_damaged: bool = False
    size: tuple[int, int] | None = None

    @property
    def memory(self) -> int:
        """Bytes that the data may take."""
        return int(self.memory_gb * 1e9)

    @property
    def label_file(self) -> str | None:
        """``labels`` where it is a file, not the name of an array or column."""
        return self.labels if self.labels and self.labels.lower().endswith((".npz", ".npy", ".csv", ".tsv")) else None

    @property
    def label_name(self) -> str | None:
        """``labels`` where it is the name of an array or column."""
        return None if self.label_file else self.labels


@dataclass
class Part:
    """One split as a reader found it.

    Attributes:
        x: checked examples ``(N, *shape)``, or a map-style dataset of them where memory doesn't hold them.
        y: labels as int64 or text ``(N,)``, or None.
        names: what integer labels stand for, where the file says so.
        range: the values that the data can take, where the format says so.
        ends: extremes of each example ``(N, 2)`` where ``x`` is a dataset of floats.
        kept: which examples of ``total`` in the file are here, where damaged ones were skipped.
    """

    x: Tensor | Any
    y: np.ndarray | None = None
    names: list[str] | None = None
    range: tuple[float, float] | None = None
    ends: Tensor | None = None
    kept: list[int] | None = None
    total: int = 0

    def __len__(self) -> int:
        return len(self.x)


def need_memory(n_bytes: int, options: Options, name: str) -> None:
    """Raise :class:`InputError` for an array too large for memory, which has no way to be streamed."""
    if n_bytes > options.memory:
        raise InputError(
            f"{name} takes {n_bytes / 1e9:.1f} GB in memory, more than memory_gb={options.memory_gb:g}: raise it "
            "(--set data.memory_gb=...), or store images as a folder or parquet, which are streamed"
        )
