"""Columns by name, written to a file: what is latents, scores or rows of a table."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError

TABLES = (".npz", ".csv", ".parquet")


def check_table(path: Path, what: str = "this") -> None:
    """Refuse a place that can't hold named columns, before any work."""
    if path.suffix.lower() not in TABLES:
        raise InputError(f"{path} is no place for {what}: give a file that ends in {', '.join(TABLES)}")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise InputError(f"{path} needs pyarrow: pip install 'fusevae[data]', or give a .csv or .npz") from None


def beside_others(beside: Mapping[str, Any], taken: Iterable[str]) -> dict[str, Any]:
    """Columns that say what a row is of, to stand beside others; a name that these have becomes ``given_name``.

    Example:
        >>> beside_others({"row": [0], "text": ["a"]}, ["text"])
        {'row': [0], 'given_text': ['a']}
    """
    taken = set(taken)
    return {f"given_{name}" if name in taken else name: value for name, value in beside.items()}


def shortest(x: np.ndarray) -> np.ndarray:
    """Reals as float64, those of fewer bits as the shortest decimal number that stands for each; others as they are.

    Example:
        >>> shortest(np.float32([0.1])).item(), np.float32([0.1]).item()
        (0.1, 0.10000000149011612)
    """
    return x.astype("U").astype(np.float64) if x.dtype in (np.float16, np.float32) else x


def write_columns(
    columns: Mapping[str, Sequence[Any] | np.ndarray], path: Path, orders: Mapping[str, Sequence[Any]] | None = None
) -> None:
    """Write columns, a row an example: arrays as they are in an ``.npz`` (the array ``x`` alone in an ``.npy``), those
    of several dimensions as ``name_0``, ``name_1`` ... in a ``.csv``, ``.jsonl`` (an object a row, NaN is null) or
    ``.parquet``; in the latter those of classes whose ``orders`` are known keep these."""
    arrays = {name: np.asarray(value) for name, value in columns.items()}
    suffix = path.suffix.lower()
    if suffix == ".npy":
        np.save(path, arrays["x"])
    elif suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:  # numpy.savez takes no array of the name "file"
            for name, value in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, value, allow_pickle=False)
    else:
        flat = {
            name if value.ndim == 1 else f"{name}_{i}": column
            for name, value in arrays.items()
            for i, column in enumerate(value.reshape(len(value), -1).T)
        }
        if suffix == ".csv":
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(flat)
                writer.writerows(zip(*(shortest(column).tolist() for column in flat.values()), strict=True))
        elif suffix == ".jsonl":
            with open(path, "w", newline="", encoding="utf-8") as file:
                for row in zip(*(shortest(column).tolist() for column in flat.values()), strict=True):
                    known = {name: None if v != v else v for name, v in zip(flat, row, strict=True)}
                    file.write(json.dumps(known, ensure_ascii=False, default=str) + "\n")
        else:
            import pyarrow
            from pyarrow import parquet

            known = {n: np.ascontiguousarray(column) for n, column in flat.items()}
            for name, classes in (orders or {}).items():
                places = {word: i for i, word in enumerate(classes)}
                indices = pyarrow.array([places.get(cell) for cell in flat[name].tolist()], pyarrow.int32())
                words = pyarrow.array(list(classes))
                known[name] = pyarrow.DictionaryArray.from_arrays(indices, words, ordered=True)
            parquet.write_table(pyarrow.table(known), path)
