"""Parquet: images in the Hugging Face layout, and tables of numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.arrays import as_examples
from fusevae.data.images import Decoded, collect
from fusevae.data.parts import Options, Part, need_memory, splits_of
from fusevae.data.text import pick_column, text_part

_LABELS = ("label", "labels", "fine_label", "class", "target", "y")


def parquet_splits(folder: Path) -> dict[str, list[Path]]:
    """The parquet files in a folder (or its ``data/``) by split: ``train*``, ``test*``, ``valid*``."""
    paths = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    return splits_of(paths)


def read_parquet(splits: dict[str, list[Path]], options: Options) -> dict[str, Part]:
    """Every split's rows; images are decoded into memory where they fit, else when they are wanted."""
    if "train" not in splits:
        found = ", ".join(path.name for paths in splits.values() for path in paths)
        raise InputError(
            f"found {found} and no train*.parquet beside them: expected one; give one file by its own path"
        )
    parts: dict[str, Part] = {}
    memory = options.memory
    for split, paths in splits.items():
        parts[split] = _read(paths, options, memory)
        x = parts[split].x
        memory -= x.numel() if isinstance(x, Tensor) else 0
    return parts


def _read(paths: list[Path], options: Options, memory: int) -> Part:
    files = [_open(path) for path in paths]
    schema = files[0].schema_arrow
    for path, file in zip(paths, files, strict=True):
        if file.schema_arrow.names != schema.names:
            raise InputError(
                f"{path} has columns {file.schema_arrow.names}, {paths[0]} has {schema.names}: expected the same"
            )
    total = sum(file.metadata.num_rows for file in files)
    if not total:
        raise InputError(f"{paths[0]} has no rows: expected at least one")
    beside = _beside(schema.names, options, paths[0])
    image = None if options.text else _image_column(schema)
    names = _class_names(schema, beside[0]) if beside and options.properties is None else None
    y = _columns(files, beside, options, paths[0])
    if options.text:
        column = pick_column([name for name in schema.names if name not in beside], options, str(paths[0]))
        cells = [cell for file in files for cell in file.read(columns=[column]).column(0).to_pylist()]
        counts = [file.metadata.num_rows for file in files]
        firsts = [sum(counts[:i]) for i in range(len(counts))]
        places = [(first, f"{path}: row", 0) for first, path in zip(firsts, paths, strict=True)]
        return text_part(cells, places, options, y, names)
    if image is None:
        return _table(files, schema, beside, y, names, options, paths[0])
    found = collect(
        _encoded(paths, files, image), total, options, memory, str(paths[0].parent if len(paths) > 1 else paths[0])
    )
    y = None if y is None else y[found.kept]
    x = found.pixels if found.pixels is not None else _lazy(paths, image, found.kept, found.channels, options)
    return Part(x, y, names, (0.0, 255.0), kept=found.kept, total=total)


def _open(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{path}: reading parquet needs pyarrow; pip install 'fusevae[data]'") from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path} is no whole parquet file ({' '.join(str(error).split())[:100]}): get it again"
        ) from None


def _encoded(paths: list[Path], files: list[Any], column: str) -> Iterator[tuple[str, bytes]]:
    for path, file in zip(paths, files, strict=True):
        row = 0
        for batch in file.iter_batches(batch_size=256, columns=[column]):
            for value in batch.column(0).to_pylist():
                yield _bytes(value, f"{path} row {row}")
                row += 1


def _bytes(value: Any, name: str) -> tuple[str, bytes]:
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None:
        raise InputError(f"{name} holds no image bytes (null, or only a path): store the images in the file")
    return name, data


def _lazy(paths: list[Path], column: str, kept: list[int], channels: int, options: Options) -> Decoded:
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{paths[0]} is larger than memory_gb={options.memory_gb:g} and streaming it needs Hugging Face datasets; "
            "pip install 'fusevae[data]', or raise memory_gb"
        ) from None
    rows = datasets.Dataset.from_parquet([str(path) for path in paths], columns=[column])
    if isinstance(rows.features[column], datasets.Image):
        rows = rows.cast_column(column, datasets.Image(decode=False))

    def fetch(i: int) -> tuple[str, bytes]:
        return _bytes(rows[i][column], f"{paths[0].parent} row {i}")

    return Decoded(fetch, kept, channels, options.size)


def _image_column(schema: Any) -> str | None:
    import pyarrow.types as kinds

    for field in schema:
        kind = field.type
        if kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return str(field.name)
        if kinds.is_binary(kind) or kinds.is_large_binary(kind):
            return str(field.name)
    return None


def _beside(names: list[str], options: Options, path: Path) -> list[str]:
    """The columns of the labels or properties: those asked for, else one with a usual name."""
    if options.labels or options.properties:
        return options.columns(names, str(path))
    return [name for name in _LABELS if name in names][:1]


def _columns(files: list[Any], columns: list[str], options: Options, path: Path) -> np.ndarray | None:
    found = []
    for column in columns:
        values = [file.read(columns=[column]).column(0) for file in files]
        if options.properties is None and any(v.null_count for v in values):
            raise InputError(f"{path}: column {column} has missing labels: fill them in, or drop the column")
        found.append(np.concatenate([v.to_numpy() for v in values]))
    if not found:
        return None
    y = found[0] if options.properties is None else np.stack(found, 1)
    return options.given(y, len(y), f"{path}: {columns[0]}")


def _class_names(schema: Any, column: str) -> list[str] | None:
    """The names of a Hugging Face ClassLabel, from the file's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return [str(name) for name in names]


def _table(
    files: list[Any], schema: Any, beside: list[str], y: Any, names: list[str] | None, options: Options, path: Path
) -> Part:
    import pyarrow.types as kinds

    columns = [field for field in schema if field.name not in (*beside, "__index_level_0__")]
    other = [
        f.name
        for f in columns
        if not (kinds.is_integer(f.type) or kinds.is_floating(f.type) or kinds.is_boolean(f.type))
    ]
    if other or not columns:
        raise InputError(
            f"{path}: columns {', '.join(other) or 'none'} are neither images ({{bytes, path}}) nor numbers: "
            "drop them, or name "
            "the one with the labels with labels=..."
        )
    total = sum(file.metadata.num_rows for file in files)
    need_memory(total * len(columns) * 4, options, str(path))
    wanted = [field.name for field in columns]
    tables = [file.read(columns=wanted) for file in files]
    for name in wanted:
        if any(table.column(name).null_count for table in tables):
            raise InputError(f"{path}: column {name} has missing values: fill them in, or drop the column")
    x = np.stack([np.concatenate([t.column(n).to_numpy() for t in tables]).astype(np.float32) for n in wanted], 1)
    return Part(as_examples(x, str(path)), y, names, total=total)
