"""What passes between the readers and the split: options, and what was found for each split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.conditions import Conditions, Label
from fusevae.core.errors import InputError, near
from fusevae.core.spec import DataSpec, Schema
from fusevae.data.conditions import Asked, as_column
from fusevae.data.delimited import is_number

logger = logging.getLogger("fusevae")

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

    modality: str | None = None
    conditions: Asked = Asked()
    unknown: str | None = None
    memory_gb: float = 4.0
    skip_damaged: bool = False
    size: tuple[int, int] | None = None
    background: str = "white"
    pages: str = "refuse"
    column: str | None = None
    columns: tuple[str, ...] | None = None
    kinds: tuple[tuple[str, str], ...] = ()  # what columns of a table hold, where it is said
    layer: str | None = None
    constraints: tuple[str, ...] = ()  # what holds in each row of a table
    header: bool | None = None
    tokens: str | None = None
    vocabulary_size: int | None = None
    longest: int = 512
    stream: int | None = None
    rate: int | None = None
    window: float | None = None
    gaps: bool = False  # missing numbers are NaN, not refused: they are to be filled in
    known: DataSpec | None = None  # of a model that the data are read for: its vocabulary and its columns hold

    @property
    def memory(self) -> int:
        """Bytes that the data may take."""
        return int(self.memory_gb * 1e9)


@dataclass
class Part:
    """One split as a reader found it.

    Attributes:
        x: checked examples ``(N, *shape)``, or a map-style dataset of them where memory doesn't hold them; a list of
            texts, which become tokens when it is known which of them are for training.
        conditions: columns ``(N,)`` beside the examples by name: int64, text, or float64 with NaN for unknown.
        names: what the integers of a column stand for, by its name, where the file says so.
        texts: the column that holds what is said in each example, if there is one.
        ids: a word for each example where it has one: the name of its file.
        own: words of each example that no model makes, by the column of a table that holds them.
        columns: the names of the features where a table has them.
        dtypes: of each feature of a table, as it came.
        levels: the different words of each feature that holds such, which its numbers are places in.
        orders: the order of these, where the data say one.
        schema: of all parts, once it is fitted.
        range: the values that the data can take, where the format says so.
        ends: extremes of each example ``(N, 2)`` where ``x`` is a dataset of floats.
        kept: which examples of ``total`` in the file are here, where damaged ones were skipped.
        places: of texts: for each file the number of its first example, and the words and the number that name it
            (``"a.txt: line", 1``).
    """

    x: Tensor | Any
    conditions: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    texts: str | None = None
    ids: list[str] | None = None
    own: dict[str, list[str]] = field(default_factory=dict)
    columns: list[str] | None = None
    dtypes: list[str] | None = None
    levels: dict[str, list[str]] = field(default_factory=dict)
    orders: dict[str, list[str]] = field(default_factory=dict)
    schema: Schema | None = None
    range: tuple[float, float] | None = None
    ends: Tensor | None = None
    kept: list[int] | None = None
    total: int = 0
    places: list[tuple[int, str, int]] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def beside(self, columns: Mapping[str, Any], where: str, chosen: list[int] | None = None) -> None:
        """Take over columns that stand beside the examples, each checked; of those in a file only the ``chosen``."""
        n = self.total if chosen is not None else len(self)
        for name, values in columns.items():
            found = as_column(values, n, f"{where}: {name}")
            self.conditions[name] = found if chosen is None else found[chosen]

    def hide(self, options: Options) -> None:
        """Take as not known what stands for that in columns of classes."""
        for name, values in self.conditions.items():
            if (
                options.unknown is not None
                and options.conditions.kind(name) != "number"
                and name not in (*self.names, self.texts)
            ):
                self.conditions[name] = hidden(values, options.unknown, name)

    def settle_unseen(self, known: Conditions, used: bool, where: str) -> None:
        """Refuse classes beside the examples that a model does not know; where it makes no use (``used``) of them they
        are not known, and it is said."""
        for column in known.columns:
            if not isinstance(column, Label) or column.name not in self.conditions:
                continue
            values, words, strange = self.conditions[column.name], self.names.get(column.name), {}
            for value in np.unique(values).tolist():
                word = words[value] if words and isinstance(value, int) and 0 <= value < len(words) else value
                try:
                    column.number(None if words and value == -1 else word)
                except InputError as error:
                    strange[value] = error
            if not strange:
                continue
            gone = np.isin(values, list(strange))
            found = (
                f"{where}: {next(iter(strange.values()))}; {gone.sum()} of {len(values)} examples are of such classes"
            )
            if used:
                raise InputError(f"{found}: leave them out, or give them another")
            logger.warning("%s, of which the model makes no use", found)
            empty = "" if values.dtype.kind == "U" else -1 if words else np.nan
            self.conditions[column.name] = np.where(gone, empty, values)

    def at(self, rows: Tensor) -> Part:
        """Some examples of a part whose examples are a list."""
        chosen = rows.tolist()
        kept = list(range(len(self.x))) if self.kept is None else self.kept
        return replace(
            self,
            x=[self.x[i] for i in chosen],
            conditions={name: values[chosen] for name, values in self.conditions.items()},
            ids=None if self.ids is None else [self.ids[i] for i in chosen],
            own={name: [words[i] for i in chosen] for name, words in self.own.items()},
            kept=[kept[i] for i in chosen],
        )


def hidden(values: np.ndarray, unknown: str, name: str) -> np.ndarray:
    """A column ``(n,)`` in which a value, as a word or a number, stands for one that isn't known.

    Example:
        >>> hidden(np.array([-1, 0, 1]), "-1", "y"), hidden(np.array(["a", "?"]), "?", "y")
        (array([nan,  0.,  1.]), array(['a', ''], dtype='<U1'))
    """
    if values.dtype.kind == "U":
        gaps, found = values == "", values == unknown
    else:
        gaps, found = np.isnan(values), values == (float(unknown) if is_number(unknown) else np.nan)
    if not found.any():
        return values
    if gaps.any():
        raise InputError(
            f"{name} has {unknown} and also empty cells (NaN), and data.unknown={unknown} says that the first isn't "
            "known: leave one of them in the data, or set data.unknown=null, and it is a class"
        )
    n = int(found.sum())
    logger.warning(
        "%s: %d of %d values are %s, which stands for not known (data.unknown)", name, n, len(values), unknown
    )
    return np.where(found, "", values) if values.dtype.kind == "U" else np.where(found, np.nan, values)


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


def datasets_of(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A dictionary of datasets by what their names mean; one alone is all, others without a meaning are left out."""
    data = {"train": next(iter(data.values()))} if len(data) == 1 else data
    if "train" not in data:
        raise InputError(f"{where} holds {', '.join(data)} and no train: expected it; give one of them by itself")
    return {SPLITS[name]: one for name, one in data.items() if name in SPLITS}


def need_memory(n_bytes: int, options: Options, name: str) -> None:
    """Raise :class:`InputError` for an array too large for memory, which has no way to be streamed."""
    if n_bytes > options.memory:
        raise InputError(
            f"{name} takes {n_bytes / 1e9:.1f} GB in memory, more than memory_gb={options.memory_gb:g}: raise it "
            "(--set data.memory_gb=...), or store images as a folder or parquet, which are streamed"
        )


def only(names: Sequence[str], options: Options, where: str, what: str) -> str:
    """The column that is asked for, or the only one that holds ``what``."""
    if options.column is not None:
        return pick(options.column, names, where, f"the {what}")
    if len(names) != 1:
        held = f"{what} in columns {', '.join(names)}" if names else f"no column of {what}"
        raise InputError(f"{where} holds {held}: expected one; name it, --set data.column=...")
    return names[0]


def pick(name: str, names: Sequence[str], where: str, what: str) -> str:
    """A column by its name, or :class:`InputError` with the near ones."""
    if name not in names:
        raise InputError(f"{where} has no column {name!r} for {what}{near(name, names)}")
    return name
