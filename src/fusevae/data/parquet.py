"""Parquet files: their splits, their columns and what these hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.conditions import Label
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.untrusted import regular
from fusevae.data.conditions import Asked
from fusevae.data.kinds import values_kind
from fusevae.data.parts import Part, splits_of

INDEX = "__index_level_0__"  # what pandas leaves


def parquet_splits(folder: Path) -> dict[str, list[Path]]:
    """The parquet files in a folder (or its ``data/``) by split: ``train*``, ``test*``, ``valid*``."""
    paths = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    return splits_of(paths)


def splits(path: Path) -> dict[str, list[Path]]:
    """The files of each split, of a file or a folder; there is one for training."""
    found = parquet_splits(path) if path.is_dir() else {"train": [path]}
    if "train" not in found:
        names = ", ".join(file.name for files in found.values() for file in files)
        raise InputError(
            f"found {names} and no train*.parquet beside them: expected one; give one file by its own path"
        )
    return found


class Files:
    """The files of one split, whose columns are the same."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.files = paths, [opened(path) for path in paths]
        self.schema = self.files[0].schema_arrow
        self.names = [name for name in self.schema.names if name != INDEX]
        for path, file in zip(paths, self.files, strict=True):
            if file.schema_arrow.names != self.schema.names:
                raise InputError(
                    f"{path} has columns {file.schema_arrow.names}, {paths[0]} has {self.schema.names}: expected the "
                    "same"
                )
        self.total = sum(file.metadata.num_rows for file in self.files)
        if not self.total:
            raise InputError(f"{paths[0]} has no rows: expected at least one")

    @property
    def where(self) -> str:
        return str(self.paths[0] if len(self.paths) == 1 else self.paths[0].parent)

    def column(self, name: str) -> np.ndarray:
        """A column as it is in the files, missing values as None or NaN."""
        from pyarrow.types import is_dictionary, is_integer

        kind, told = self.schema.field(name).type, self.schema.field(name).metadata or {}
        own = getattr(kind, "extension_name", told.get(b"ARROW:extension:name", b"").decode())
        if own.startswith("pandas."):  # what is stored are numbers, which mean nothing by themselves
            raise InputError(
                f"{self.where}: column {name} holds values of {own}, which only pandas knows: write dates "
                "(to_timestamp()) or words (astype(str))"
            )
        with undamaged(self.where):
            values = [file.read(columns=[name]).column(0) for file in self.files]
            if is_dictionary(kind):  # pyarrow has the last category for a missing one
                values = [v.cast(kind.value_type) for v in values]
        if is_integer(self.schema.field(name).type) and any(v.null_count for v in values):  # floats would round them
            return np.array([cell for v in values for cell in v.to_pylist()], dtype=object)
        return np.concatenate([v.to_numpy() for v in values])

    def order(self, name: str) -> list[Any] | None:
        """The categories of a column in their order, where the files say that they have one."""
        if not getattr(self.schema.field(name).type, "ordered", False):
            return None
        with undamaged(self.where):
            found = [file.read(columns=[name]).column(0).unify_dictionaries() for file in self.files]
            return list(dict.fromkeys(word for v in found for word in v.chunk(0).dictionary.to_pylist()))

    def cells(self, name: str) -> list[Any]:
        """A column as Python values."""
        with undamaged(self.where):
            return [cell for file in self.files for cell in file.read(columns=[name]).column(0).to_pylist()]

    def gaps(self, name: str) -> int:
        """How many values of a column are missing."""
        with undamaged(self.where):
            return sum(file.read(columns=[name]).column(0).null_count for file in self.files)

    def conditions(self, part: Part, asked: Asked, usual: tuple[str, ...] = ()) -> list[str]:
        """Put the columns that were asked for, else the first of the ``usual`` ones, beside a part; returns their
        names."""
        names = asked.among(self.names, self.where) or (
            [] if asked.file else [name for name in usual if name in self.names][:1]
        )
        part.beside({name: self.column(name) for name in names}, self.where, part.kept)
        part.names |= {name: words for name in names if (words := self.class_names(name))}
        return names

    def class_names(self, column: str) -> list[str] | None:
        """The names of a Hugging Face ClassLabel, from the file's metadata."""
        try:
            features = json.loads((self.schema.metadata or {})[b"huggingface"])["info"]["features"]
            names = features[column]["names"]
        except (KeyError, ValueError, TypeError):
            return None
        return [str(name) for name in names]


def opened(path: Path) -> Any:
    """A parquet file of pyarrow, whose rows have not been read."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{path}: reading parquet needs pyarrow; pip install 'fusevae[data]'") from None
    with undamaged(str(path)):
        return pyarrow.parquet.ParquetFile(regular(path, "parquet"))


@contextmanager
def undamaged(where: str) -> Iterator[None]:
    """Inside, whatever the libraries for parquet and datasets raise about a file is an :class:`InputError`; some of it
    shows only when values are read."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{where} is no whole parquet or dataset ({' '.join(str(error).split())[:100]}): get it again"
        ) from error


@contextmanager
def saved(folder: Path) -> Iterator[Any]:
    """What ``datasets.save_to_disk`` wrote, as it was; what is wrong with it is an :class:`InputError`."""
    try:
        import datasets
    except ImportError:
        raise InputError(f"{folder}: reading it needs Hugging Face datasets; pip install 'fusevae[data]'") from None
    with undamaged(str(folder)):
        yield datasets.load_from_disk(str(folder))


def saved_holds(folder: Path, kind: str) -> bool:
    """Whether a column of what ``datasets.save_to_disk`` wrote is of a kind: ``"Image"``, ``"Audio"``."""
    told = (path for path in folder.rglob("dataset_info.json") if path.is_file())
    return any(f'"_type": "{kind}"' in path.read_text(encoding="utf-8", errors="replace") for path in told)


def column_kinds(path: Path) -> dict[str, Any]:
    """What the columns of a file hold, as of :mod:`fusevae.data.kinds`: bytes are images, unless the file's
    metadata, or their name, say that they are audio."""
    file = opened(path)
    import pyarrow.types as kinds

    found: dict[str, Any] = {}
    told = (file.schema_arrow.metadata or {}).get(b"huggingface", b"").decode("utf-8", "replace")
    for column in file.schema_arrow:
        kind = column.type
        if column.name == INDEX:
            continue
        encoded = kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0
        if encoded or kinds.is_binary(kind) or kinds.is_large_binary(kind):
            sound = "audio" in column.name.lower() or f'"{column.name}": {{"_type": "Audio"' in told
            found[column.name] = "audio" if sound else "image"
        elif kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind) or kinds.is_decimal(kind):
            found[column.name] = "number"
        elif kinds.is_string(kind) or kinds.is_large_string(kind):
            with undamaged(str(path)):
                some = next(file.iter_batches(batch_size=200, columns=[column.name]), None)
                found[column.name] = values_kind(some.column(0).to_pylist() if some is not None else [])
        else:
            found[column.name] = "other"
    return found


def write_files(
    files: Sequence[bytes], column: str, kind: str, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]
) -> None:
    """Encoded files as a column of ``{bytes, path}`` in the Hugging Face layout; columns of classes beside them are
    numbers whose names the file knows.

    Args:
        files: of the examples.
        column: its name.
        kind: as Hugging Face calls it: ``"Image"``, ``"Audio"``.
        spec: of the data.
        path: to write to.
        beside: columns by name, a value an example.
    """
    import pyarrow
    from pyarrow import parquet

    form = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {column: pyarrow.array([{"bytes": file, "path": None} for file in files], form)}
    features: dict[str, Any] = {column: {"_type": kind}}
    known = {one.name: one for one in spec.conditions.columns} if spec.conditions is not None else {}
    for name, values in beside.items():
        label = known.get(name)
        array = np.asarray(values)
        if isinstance(label, Label):
            array = np.array([label.places.get(str(word), -1) for word in array.tolist()], dtype=np.int64)
            features[name] = {"names": label.classes, "_type": "ClassLabel"}
        else:
            features[name] = {"dtype": "string" if array.dtype.kind == "U" else str(array.dtype), "_type": "Value"}
        columns[name] = pyarrow.array(array.tolist() if array.dtype.kind == "U" else array)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), path)
