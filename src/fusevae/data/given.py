"""Data that are given in Python: arrays, texts, pairs, mappings of splits, datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.examples import Scan
from fusevae.data.npz import part_of, parts_of
from fusevae.data.parts import Options, Part
from fusevae.data.text import are_texts, read_datasets


def parts_from(data: Any, options: Options) -> dict[str, Part]:
    """The splits of data that are in memory, or of datasets."""
    from torch.utils.data import TensorDataset

    kind = type(data).__name__
    sets = list(data.values()) if isinstance(data, Mapping) else [data]
    if sets and all(hasattr(one, "column_names") and hasattr(one, "features") for one in sets):
        return read_datasets(data, options, f"the {kind}")
    if hasattr(data, "to_numpy"):  # a table of pandas or polars
        data = data.to_numpy()
    if isinstance(data, TensorDataset):
        data = data.tensors if len(data.tensors) > 1 else data.tensors[0]
    if isinstance(data, Mapping) and data and all(_is_dataset(v) for v in data.values()):
        if "train" not in data or not set(data) <= {"train", "validation", "test"}:
            raise InputError(
                f"a mapping of datasets has keys {', '.join(data)}: expected train, and validation or test"
            )
        parts = {name: _scanned(dataset, options, f"the {name} dataset") for name, dataset in data.items()}
    elif isinstance(data, Mapping):
        arrays: dict[str, Any] = {}
        for key, value in data.items():
            pair = isinstance(value, tuple) and not are_texts(value)
            if pair and len(value) != 2:
                raise InputError(f"{key!r} is a tuple of {len(value)}: expected x or (x, y)")
            arrays |= {f"{key}_x": value[0], f"{key}_y": value[1]} if pair else {key: value}
        for key, value in arrays.items():
            if not isinstance(value, (Tensor, np.ndarray, list)):
                raise InputError(
                    f"{key!r} is a {type(value).__name__}: expected a numpy array, tensor or list of texts"
                )
        parts = parts_of(arrays, options, "the mapping")
    elif are_texts(data):
        parts = {"train": part_of(data, None, options, "the texts", "the labels")}
    elif is_array(data):
        parts = {"train": part_of(data, None, options, "the array", "the labels")}
    elif isinstance(data, (tuple, list)) and len(data) == 2 and (is_array(data[0]) or are_texts(data[0])):
        name = "the array" if is_array(data[0]) else "the texts"
        parts = {"train": part_of(data[0], data[1], options, name, "the labels")}
    elif _is_dataset(data):
        parts = {"train": _scanned(data, options, kind)}
    else:
        raise InputError(
            f"{kind} was given as data: expected a path, an array, a list of texts, a pair (x, y), a mapping of splits "
            "or a torch dataset"
        )
    return parts


def is_array(data: Any) -> bool:
    """Whether something is a tensor or a numpy array."""
    return isinstance(data, (Tensor, np.ndarray))


def _scanned(dataset: Any, options: Options, name: str) -> Part:
    scan = Scan(dataset, name)
    known = scan.range(scan.ends) if scan.dtype in (torch.uint8, torch.bool) else None
    return Part(
        dataset, options.given(scan.labels, len(dataset), name), scan.names, known, scan.ends, total=len(dataset)
    )


def _is_dataset(data: Any) -> bool:
    from torch.utils.data import Dataset, IterableDataset

    # an iterable one counts, so that it is refused by name
    return isinstance(data, (Dataset, IterableDataset)) or (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, (Tensor, np.ndarray, Mapping, list, tuple, str))
    )
