"""What passes between the readers and the split: options, and what was found for each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError, near
from fusevae.core.vocabulary import Vocabulary
from fusevae.data.arrays import as_labels, as_numbers
from fusevae.data.molecules import PROPERTIES

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
    column: str | None = None
    tokens: str | None = None
    vocabulary_size: int | None = None
    longest: int = 512
    stream: int | None = None
    properties: tuple[str, ...] | None = None
    vocabulary: Vocabulary | None = None  # of a model that the data are read for, instead of one fitted on them

    @property
    def text(self) -> bool:
        """Whether something was said that only text has."""
        return self.column is not None or self.tokens is not None or self.stream is not None

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

    def given(self, y: Any, n: int, name: str) -> np.ndarray | None:
        """What was found beside ``n`` examples, as labels or as properties."""
        if y is None:
            return None
        return as_labels(y, n, name) if self.properties is None else as_numbers(y, n, self.properties, name)

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        """The columns of a table that aren't data but stand beside them: of the labels, or of the properties; none
        where properties are computed from molecules."""
        wanted = list(self.properties or ()) or ([self.label_name] if self.label_name else [])
        if self.properties and set(wanted) <= set(PROPERTIES) and not set(wanted) & set(names):
            return []
        for name in wanted:
            if name not in names:
                what = "labels" if self.properties is None else "properties"
                raise InputError(f"{where} has no column {name!r} for the {what}{near(name, names)}")
        return wanted


@dataclass
class Part:
    """One split as a reader found it.

    Attributes:
        x: checked examples ``(N, *shape)``, or a map-style dataset of them where memory doesn't hold them; a list of
            texts, which become tokens when it is known which of them are for training.
        y: labels as int64 or text ``(N,)``, properties as float32 ``(N, properties)``, or None.
        names: what integer labels stand for, where the file says so.
        range: the values that the data can take, where the format says so.
        ends: extremes of each example ``(N, 2)`` where ``x`` is a dataset of floats.
        kept: which examples of ``total`` in the file are here, where damaged ones were skipped.
        places: of texts: for each file the number of its first example, and the words and the number that name it
            (``"a.txt: line", 1``).
        tokens: the kind of token that the format suggests.
    """

    x: Tensor | Any
    y: np.ndarray | None = None
    names: list[str] | None = None
    range: tuple[float, float] | None = None
    ends: Tensor | None = None
    kept: list[int] | None = None
    total: int = 0
    places: list[tuple[int, str, int]] | None = None
    tokens: str | None = None

    def __len__(self) -> int:
        return len(self.x)


def splits_of(paths: list[Path]) -> dict[str, list[Path]]:
    """Files by the split that a word in their names tells, those without one as training; one split alone is all.

    Example:
        >>> list(splits_of([Path("captions_valid.txt"), Path("captions_train.txt")]))
        ['train', 'validation']
    """
    splits: dict[str, list[Path]] = {}
    for path in paths:
        words = path.stem.lower().replace("_", "-").replace(".", "-").split("-")
        splits.setdefault(next((SPLITS[word] for word in words if word in SPLITS), "train"), []).append(path)
    if splits and "train" not in splits and len(splits) == 1:
        return {"train": next(iter(splits.values()))}
    return {split: splits[split] for split in ("train", "validation", "test") if split in splits}


def need_memory(n_bytes: int, options: Options, name: str) -> None:
    """Raise :class:`InputError` for an array too large for memory, which has no way to be streamed."""
    if n_bytes > options.memory:
        raise InputError(
            f"{name} takes {n_bytes / 1e9:.1f} GB in memory, more than memory_gb={options.memory_gb:g}: raise it "
            "(--set data.memory_gb=...), or store images as a folder or parquet, which are streamed"
        )
