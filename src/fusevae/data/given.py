"""What is given as data, looked at but not yet read: so much that a modality can say whether it is its own."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError, near
from fusevae.core.untrusted import regular
from fusevae.data import delimited, npz, parquet
from fusevae.data.array_files import load_npy, npz_headers
from fusevae.data.encodings import foreign
from fusevae.data.examples import check_dataset, split_item
from fusevae.data.kinds import LOOKED_AT, Kind, values_kind, words_kind
from fusevae.data.objects import Objects
from fusevae.data.parts import SPLITS, datasets_of, splits_of
from fusevae.data.workbook import Workbook

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
SHEET = "grid.png"  # what is written beside examples in a folder, so that they can be seen at once
LISTED = "metadata.jsonl"  # what says more of the files of a folder
OBJECTS = (".jsonl", ".json")  # of texts, or a table: an object a line, or a list of objects
TABLES = ((".csv", ".tsv"), OBJECTS)  # endings of text tables; a folder holds those of one kind
SAVED = ("dataset_dict.json", "dataset_info.json")  # what datasets.save_to_disk leaves in a folder


class Array(NamedTuple):
    """Shape and dtype of an array, whose values may not have been read."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Given:
    """Data as they are given: a path, or something in memory.

    Args:
        data: a path; an array, a tensor, texts, a pair ``(x, y)``, a mapping of these, a DataFrame, a dataset.

    Attributes:
        data: the same.
        path: where it is, or None.
        name: what to call it.
    """

    def __init__(self, data: Any) -> None:
        from torch.utils.data import TensorDataset

        if isinstance(data, TensorDataset):
            data = data.tensors if len(data.tensors) > 1 else data.tensors[0]
        if isinstance(data, Tensor) and data.is_nested:
            raise InputError("a nested tensor was given as data: expected one shape for all; pad it (to_padded_tensor)")
        if isinstance(data, Mapping) and hasattr(data, "tocsr"):  # one of the kinds of sparse matrix
            data = data.tocsr()
        self.data = data
        self.path = existing(data, "data") if isinstance(data, str | os.PathLike) else None
        self.name = str(data) if self.path is not None else f"the {type(data).__name__} in memory"

    @property
    def some(self) -> Any:
        """What is given, of a mapping the first."""
        return next(iter(self.data.values()), None) if isinstance(self.data, Mapping) else self.data

    @property
    def frames(self) -> dict[str, Given]:
        """The DataFrames of a mapping of splits, by split; empty for anything else."""
        data = self.data if isinstance(self.data, Mapping) else {}
        frames = [name for name, value in data.items() if is_frame(value) and (name in SPLITS or len(data) == 1)]
        if frames and (others := [name for name in data if name not in frames]):
            other = f"{others[0]!r}, a {type(data[others[0]]).__name__}"
            raise InputError(
                f"{frames[0]!r} is a DataFrame beside {other}: expected DataFrames alone, called train, validation and "
                "test"
            )
        return {name: Given(one) for name, one in datasets_of(data, self.name).items()} if frames else {}

    @property
    def suffix(self) -> str:
        """The ending of a file's name; empty for a folder, and in memory."""
        return "" if self.path is None or self.path.is_dir() else self.path.suffix.lower()

    @functools.cached_property
    def inside(self) -> set[str]:
        """The endings of the files in a folder and below it, hidden ones and our own sheets left out."""
        if self.path is None or not self.path.is_dir():
            return set()
        return {file.suffix.lower() for file in files_in(self.path) if file.name not in (SHEET, LISTED)}

    @property
    def is_saved(self) -> bool:
        """Whether it is a folder that Hugging Face datasets saved."""
        return self.path is not None and any((self.path / name).is_file() for name in SAVED)

    @property
    def is_dataset(self) -> bool:
        """Whether it is a map-style dataset, or a mapping of them (or something that is refused as one)."""
        from torch.utils.data import Dataset, IterableDataset

        def one(value: Any) -> bool:
            frame = hasattr(value, "to_numpy")  # or a column of one
            plain = frame or isinstance(value, Tensor | np.ndarray | Mapping | list | tuple | str)
            items = hasattr(value, "__getitem__") and hasattr(value, "__len__") and not plain
            return isinstance(value, Dataset | IterableDataset) or items or is_hugging_face(value)

        if isinstance(self.data, Mapping):
            return bool(self.data) and all(one(value) for value in self.data.values())
        return self.path is None and one(self.data)

    @functools.cached_property
    def item(self) -> Any:
        """The first item of a dataset, without its label; None where there is none."""
        try:
            item = self.some[0]
        except Exception:  # what is wrong is said when it is read
            return None
        return item[0] if isinstance(item, tuple | list) and len(item) in (1, 2) else item

    @functools.cached_property
    def arrays(self) -> dict[str, Array]:
        """The arrays of examples of an ``.npz`` or ``.npy``, or in memory, by name."""
        if self.suffix == ".npz":
            found = {name: Array(*header) for name, header in npz_headers(self._file).items()}
        elif self.suffix == ".npy":
            array = load_npy(self._file)
            found = {"x": Array(array.shape, array.dtype)}
        elif self.path is None and not self.is_dataset:
            found = {
                name: Array(tuple(v.shape), _dtype(v))
                for name, v in npz.in_memory(self.data).items()
                if isinstance(v, Tensor | np.ndarray)
            }
        else:
            return {}
        chosen = [name for name in found if npz.role(name)[1] == "x"]
        return {name: found[name] for name in chosen or found}

    @functools.cached_property
    def columns(self) -> dict[str, Kind]:
        """The columns of a table (a text table, objects of JSON, ``.xlsx``, ``.parquet``, a DataFrame, a Hugging Face
        dataset) by name, each with what it holds: numbers, words (a few different ones, or short), text (sentences),
        images, audio, other."""
        if self.tables:
            path = next(iter(self.tables.values()))[0]
            if path.suffix.lower() in OBJECTS:
                lines = path.suffix.lower() == OBJECTS[0]
                with suppress(*[InputError] * lines):  # what is wrong with texts is said when they are read
                    return {n: values_kind(cells) for n, cells in Objects(path, LOOKED_AT, lines).cells.items()}
                return {}
            names, body, *_ = delimited.read_table(path, None, say=False, most=LOOKED_AT + 1)
            return {n: words_kind(row[i] for row in body) for i, n in enumerate(names)}
        if self.workbook is not None:
            cells = self.workbook.columns(say=False)
            return {name: values_kind(list(cells[name][:LOOKED_AT])) for name in cells.columns}
        files = [self._file] if self.suffix == ".parquet" else []
        if self.path is not None and self.path.is_dir() and not self.is_saved:
            files = next(iter(parquet.parquet_splits(self.path).values()), [])
        if files:
            return parquet.column_kinds(files[0])
        data = self.some
        if is_frame(data):
            return {str(n): values_kind(list(data[n][:LOOKED_AT])) for n in data.columns}
        if is_hugging_face(data) and hasattr(data, "__len__"):
            sound = [n for n, kind in (data.features or {}).items() if type(kind).__name__ == "Audio"]
            plain = data.remove_columns(sound)  # datasets would decode it, which takes more than it has here
            some = plain[:LOOKED_AT] if len(plain) else {}
            return {**dict.fromkeys(sound, "audio"), **{n: values_kind(list(values)) for n, values in some.items()}}
        return {}

    @functools.cached_property
    def tables(self) -> dict[str, list[Path]]:
        """The text tables, by split: the file itself, or those that lie in a folder without anything else."""
        if self.path is not None and self.path.is_dir() and self.inside:
            ends = next((ends for ends in TABLES if self.inside <= {*ends}), ())
            return splits_of([path for path in files_at(self.path) if path.suffix.lower() in ends])
        return {"train": [self._file]} if any(self.suffix in ends for ends in TABLES) else {}

    @functools.cached_property
    def workbook(self) -> Workbook | None:
        """The sheet of an ``.xlsx``."""
        return Workbook(self._file) if self.suffix == ".xlsx" else None

    @property
    def are_objects(self) -> bool:
        """Whether it is objects of JSON."""
        return any(paths[0].suffix.lower() in OBJECTS for paths in self.tables.values())

    @property
    def are_texts(self) -> bool:
        """Whether it is texts in memory."""
        return (
            self.path is None
            and not self.is_dataset
            and any(npz.are_texts(v) for name, v in npz.in_memory(self.data).items() if npz.role(name)[1] == "x")
        )

    @property
    def _file(self) -> Path:
        assert self.path is not None
        return self.path

    def refuse(self, kinds: Mapping[str, Any]) -> NoReturn:
        """Raise :class:`InputError`: nobody knows what this is."""
        what = type(self.data).__name__
        for way in ("to_frame", "to_pandas", "collect"):  # of one column; of pyarrow; of what is lazy
            if hasattr(self.data, way) and not self.columns:
                raise InputError(f"a {what} was given as data: give the DataFrame of its {way}()")
        if is_frame(self.data) and not self.columns:
            raise InputError(f"{self.name} has no columns: expected at least one")
        if hasattr(self.data, "dataset") and hasattr(self.data, "batch_size"):
            raise InputError(f"a {what} was given as data: give what it draws batches from, its dataset")
        if isinstance(self.data, list | tuple) and len(self.data) and not self.arrays:
            others = [(i, one) for i, one in enumerate(self.data) if not isinstance(one, str)]
            if others and len(others) < len(self.data):
                i, other = others[0]
                raise InputError(f"{self.name}: item {i} is no text but {str(other)[:40]!r}: mend it, or leave it out")
            held = f"a {what} of {len(self.data)} that begins with a {type(self.data[0]).__name__} was given as data"
            how = "expected one array (numpy.stack), a list of texts, or a pair (x, y) of arrays"
            if isinstance(self.data[0], Mapping):
                how = "expected rows as a table (pandas.DataFrame), a list of texts, or an array"
            raise InputError(f"{held}: {how}; what stands beside a DataFrame is a column of it (conditions=[...])")
        known = "; ".join(f"{one.what}, data.modality={name}" for name, one in kinds.items())
        for key, (shape, dtype) in self.arrays.items():
            where = self.name if self.path is None or (key == "x" and self.suffix == ".npy") else f"{self.name}: {key}"
            if dtype.kind not in "biufU":
                why = "Python objects, which only a pickle could read" if dtype.hasobject else f"{dtype} values"
                how = "convert the array and save it again"
                if self.path is None:
                    why, how = f"{dtype} values", "convert the array (x.astype(float)), or give a DataFrame"
                raise InputError(f"{where} holds {why}: expected numbers; {how}")
            if len(shape) < 2 or 0 in shape:
                how = "; give columns as a DataFrame" if isinstance(self.data, Mapping) else ""
                raise InputError(
                    f"{where} has shape {shape}: expected examples along the first dimension, at least one{how}"
                )
            if len(shape) > 4:
                raise InputError(
                    f"{where} has {len(shape)} dimensions {shape}: expected at most 4; flatten to (N, features)"
                )
        if self.is_dataset:
            for dataset in self.data.values() if isinstance(self.data, Mapping) else [self.data]:
                check_dataset(dataset)
                split_item(dataset[0], "item 0")
        if self.suffix == ".npz" and not self.arrays:
            raise InputError(f"{self.name} holds no arrays: expected x, or x_train and x_test")
        if self.path is None or self.arrays or self.columns:
            about = ", ".join(f"{n} {a.dtype} {a.shape}" for n, a in self.arrays.items())
            about = about or ", ".join(f"{n} ({k})" for n, k in self.columns.items())
            if not about and self.is_dataset and hasattr(self.item, "shape"):
                about = f"items of shape {tuple(self.item.shape)}"
            if not about:
                raise InputError(
                    f"{type(self.data).__name__} was given as data: expected a path, an array, a list of texts, a pair "
                    "(x, y), a mapping of splits, a DataFrame or a torch dataset"
                )
            raise InputError(f"{self.name} holds {about}, which may be anything: say what it is ({known})")
        if self.path.is_dir():
            ends = ", ".join(sorted(end or "no type" for end in self.inside)[:8])
            held = f", but files of {ends}, here or in folders below it" if ends else ""
            raise InputError(
                f"{self.path} holds no images, no sound, no parquet files and no text{held}: expected some ({known})"
            )
        if self.suffix in PICKLES:
            raise InputError(f"{self.path} is a pickle, which can run any code when opened: save arrays as .npz")
        with open(self.path, "rb") as file:
            held = foreign(file.read(100))
        if held:
            raise InputError(f"{self.path} is no file of data but {held}")
        what = f"a file of type {self.suffix!r}" if self.suffix else "a file without a type"
        ends = ", ".join(dict.fromkeys(end for one in kinds.values() for end in one.formats if end))
        raise InputError(
            f"{self.path} is {what}: expected a folder, or a file whose name ends in {ends} or another known type; "
            "rename it if it is one, or convert it"
        )


def _dtype(x: Tensor | np.ndarray) -> np.dtype:
    if isinstance(x, np.ndarray):
        return x.dtype
    if x.is_floating_point():
        return np.dtype("float64" if x.dtype == torch.float64 else "float32")  # numpy has no bfloat16
    return np.dtype("float32" if x.is_quantized else str(x.dtype).removeprefix("torch."))


def existing(path: str | os.PathLike[str], what: str) -> Path:
    """``path``, or :class:`InputError` with the names nearest to the first part of it that isn't there."""
    place = Path(path).expanduser()
    if "\n" in str(path):
        raise InputError(f"{str(path)[:40]!r}..., of several lines, is no path of {what}: give texts as a list of them")
    if os.path.exists(place):
        return place if place.is_dir() else regular(place, what)
    missing = place
    while not os.path.exists(missing.parent) and missing.parent != missing:
        missing = missing.parent
    siblings = [p.name for p in missing.parent.iterdir()] if missing.parent.is_dir() else []
    hint = near(missing.name, siblings)
    hint = hint if hint.startswith("; did") else f"; {str(missing.parent)!r} holds nothing of a similar name"
    raise InputError(f"no {what} at {path}: {missing.name!r} doesn't exist{hint}")


def files_in(folder: Path) -> list[Path]:
    """The files below a folder, sorted by path, those of linked folders among them; hidden ones and those of
    ``__MACOSX`` are left out. A link to nothing is there: reading it says so."""
    found: list[Path] = []
    walked: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        inside = [one for one in folders if not one.startswith(".") and one not in ("__MACOSX", "@eaDir")]
        folders[:] = [] if real in walked else sorted(inside)  # a link may lead back
        names = [] if real in walked else names
        walked.add(real)
        found += [Path(place) / name for name in names if not name.startswith(".")]
    found = [path for path in found if path.is_file() or path.is_symlink()]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def files_at(folder: Path) -> list[Path]:
    """The files that lie in a folder itself, sorted, as :func:`files_in` has them."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and not path.is_dir()]


def is_frame(data: Any) -> bool:
    """Whether something is a table of pandas or polars."""
    return hasattr(data, "to_numpy") and hasattr(data, "columns")


def is_hugging_face(data: Any) -> bool:
    """Whether something is a dataset of Hugging Face."""
    return hasattr(data, "column_names") and hasattr(data, "features")
