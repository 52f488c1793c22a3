"""From a path to what it holds: which reader, labels from a file of their own, and what to say if nothing is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fusevae.core.errors import InputError, near
from fusevae.data.images import SUFFIXES, read_folder
from fusevae.data.npz import load_arrays, load_npy, npz_headers, read_npy, read_npz, role
from fusevae.data.parquet import parquet_splits, read_parquet
from fusevae.data.parts import Options, Part
from fusevae.data.tables import label_values, read_csv, read_rows
from fusevae.data.text import LINES, read_lines, read_saved, text_splits

FORMATS = (
    "a folder of images, .npz, .npy, .csv, .tsv, .parquet, or text in .txt, .smi, .jsonl (or a folder of these, or of "
    "datasets.save_to_disk)"
)
SAVED = ("dataset_dict.json", "dataset_info.json")  # what datasets.save_to_disk leaves in a folder


def read_path(path: str, options: Options) -> dict[str, Part]:
    """What a path holds: always ``"train"``, and ``"test"`` or ``"validation"`` where the data come with their own."""
    place = existing(path, "data")
    suffix = place.suffix.lower()
    if place.is_dir():
        parts = _folder(place, options)
    elif suffix == ".npz":
        parts = read_npz(place, options)
    elif suffix == ".npy":
        parts = read_npy(place, options)
    elif suffix == ".parquet":
        parts = read_parquet({"train": [place]}, options)
    elif suffix in (".csv", ".tsv"):
        parts = read_csv(place, options)
    elif suffix in LINES:
        parts = {"train": read_lines([place], options)}
    else:
        raise InputError(f"{path} is {_what(suffix)}: expected {FORMATS}")
    return parts


def read_digits(options: Options) -> dict[str, Part]:
    """The 1,797 hand-written digits of scikit-learn: ``(1, 8, 8)`` in 0..16."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("the digits need scikit-learn: pip install scikit-learn, or give a path of data") from None
    if asked := options.label_name or options.properties:
        raise InputError(f"{asked!r} was asked for without a path: the digits have their own labels; leave it out")
    digits = load_digits()
    x = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
    return {"train": Part(x, digits.target.astype(np.int64), range=(0.0, 16.0), total=len(x))}


def existing(path: str, what: str) -> Path:
    """``path``, or :class:`InputError` with the names nearest to the first part of it that isn't there."""
    place = Path(path).expanduser()
    if place.exists():
        return place
    missing = place
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    siblings = [p.name for p in missing.parent.iterdir()] if missing.parent.is_dir() else []
    hint = near(missing.name, siblings)
    hint = hint if hint.startswith("; did") else f"; {str(missing.parent)!r} holds nothing of a similar name"
    raise InputError(f"no {what} at {path}: {missing.name!r} doesn't exist{hint}")


def with_label_file(parts: dict[str, Part], options: Options) -> dict[str, Part]:
    """The parts with the labels of the file that ``options`` name, if it is one."""
    if options.label_file is None:
        return parts
    found = read_label_file(existing(options.label_file, "labels"))
    if len(parts) == 1 and len(found) == 1:
        found = {next(iter(parts)): next(iter(found.values()))}
    for split, part in parts.items():
        if split not in found:
            raise InputError(
                f"{options.label_file} holds no labels for the {split} part (it holds "
                f"{', '.join(map(str, found))}): expected an "
                f".npz with {', '.join(f'y_{name}' for name in parts)}"
            )
        name = f"{options.label_file} ({split})"
        if part.kept is not None and len(part.kept) < part.total:
            y = options.given(found[split], part.total, name)
            part.y = None if y is None else y[part.kept]
        else:
            part.y = options.given(found[split], len(part), name)
        part.names = None
    return parts


def read_label_file(path: Path) -> dict[str | None, np.ndarray]:
    """Labels by split (None: of everything) from ``.npz``, ``.npy``, or a ``.csv`` of one column."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {None: np.array(load_npy(path))}
    if suffix == ".npz":
        headers = npz_headers(path)
        keys = list(headers) if len(headers) == 1 else [key for key in headers if role(key)[1] == "y"]
        splits = [role(key)[0] for key in keys]
        if not keys or len(set(splits)) < len(splits):
            raise InputError(
                f"{path} holds {', '.join(headers)}: can't tell which are the labels; name them y, or y_train "
                "and y_test"
            )
        arrays = load_arrays(path, keys, headers)
        return {split: arrays[key] for split, key in zip(splits, keys, strict=True)}
    rows = read_rows(path)
    if len(rows[0]) != 1:
        raise InputError(f"{path} has {len(rows[0])} columns: expected one, the labels, a row for each example")
    cells = [row[0] for row in rows]
    # text above numbers is a header; text above text is told by the name
    header = len(cells) > 1 and (label_values(cells[1:]).dtype.kind == "i") and (label_values(cells).dtype.kind != "i")
    header = header or role(cells[0])[1] == "y"
    return {None: label_values(cells[1:] if header else cells)}


def _folder(folder: Path, options: Options) -> dict[str, Part]:
    if splits := parquet_splits(folder):
        return read_parquet(splits, options)
    if any((folder / name).is_file() for name in SAVED):
        return read_saved(folder, options)
    if options.text or not any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*")):
        if texts := text_splits(folder, options):
            return {split: _texts(paths, options) for split, paths in texts.items()}
    if asked := options.label_name or (options.properties if options.label_file is None else None):
        raise InputError(f"{asked!r} was asked of a folder of images: expected labels=FILE (.npz, .npy or .csv)")
    return read_folder(folder, options)


def _texts(paths: list[Path], options: Options) -> Part:
    if paths[0].suffix.lower() in LINES:
        return read_lines(paths, options)
    if len(paths) > 1:
        raise InputError(f"{paths[0].parent} holds several tables of one split: give one file, or store lines (.jsonl)")
    return read_csv(paths[0], options)["train"]


def _what(suffix: str) -> str:
    if suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib"):
        return "a pickle, which can run any code when opened"
    if suffix in SUFFIXES:
        return "a single image (give the folder that it lies in)"
    return f"a file of type {suffix!r}" if suffix else "a file without a type"
