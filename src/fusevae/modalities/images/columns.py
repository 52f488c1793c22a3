"""Images in a column: of parquet in the Hugging Face layout, of its datasets."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data import parquet
from fusevae.data.conditions import LABELS
from fusevae.data.folders import usual
from fusevae.data.parts import Options, Part, datasets_of, only
from fusevae.modalities.images.collect import Fetch, collect
from fusevae.modalities.images.decode import Encoded

logger = logging.getLogger("fusevae")


def read_parquet(splits: dict[str, list[Path]], options: Options) -> dict[str, Part]:
    """Every split's images in the Hugging Face layout, decoded into memory where they fit, else when they are
    wanted."""
    parts: dict[str, Part] = {}
    memory = options.memory
    for split, paths in splits.items():
        files = parquet.Files(paths)
        kinds = parquet.column_kinds(paths[0])
        image = only([name for name, kind in kinds.items() if kind == "image"], options, files.where, "images")
        found = collect(_encoded(files, image), files.total, options, memory, files.where)
        fetch = _fetch(paths, image, options) if found.pixels is None else None
        part = parts[split] = found.part(fetch, files.total, options)
        if found.kept != [(i, 0) for i in range(files.total)]:
            part.ids = found.names(lambda i: f"row {i}")
        names = files.conditions(part, options.conditions, LABELS)
        _say_unused([name for name in files.names if name not in (image, *names)], options, files.where)
        if wrong := [name for name in names if files.gaps(name) and kinds[name] != "number"]:
            raise InputError(f"{files.where}: column {wrong[0]} has missing labels: fill them in, or drop the column")
        memory -= part.x.nbytes if isinstance(part.x, Tensor) else 0
    return parts


def read_datasets(data: Any, options: Options, where: str) -> dict[str, Part]:
    """The images of a Hugging Face dataset, or of a dictionary of them."""
    import datasets

    if isinstance(data, Mapping):
        found = datasets_of(data, where)
        return {name: read_datasets(one, options, f"{where}, {name}")["train"] for name, one in found.items()}
    kinds, asked = data.features, options.conditions
    image = only([name for name, kind in kinds.items() if isinstance(kind, datasets.Image)], options, where, "images")
    rows = data.with_format(None).select_columns([image]).cast_column(image, datasets.Image(decode=False))

    def fetch(i: int) -> tuple[str, Encoded]:
        return _bytes(rows[i][image], f"{where} row {i}")

    found_images = collect(map(fetch, range(len(rows))), len(rows), options, options.memory, where)
    part = found_images.part(fetch, len(rows), options)
    if found_images.kept != [(i, 0) for i in range(len(rows))]:
        part.ids = found_images.names(lambda i: f"row {i}")
    names = asked.among(kinds, where) or usual(kinds, asked)
    _say_unused([name for name in kinds if name not in (image, *names)], options, where)
    plain = data.with_format(None)
    part.beside({name: list(plain[name]) for name in names}, where, part.kept)
    part.names = {name: list(words) for name in names if (words := getattr(kinds[name], "names", None))}
    return {"train": part}


def read_saved(folder: Path, options: Options) -> dict[str, Part]:
    """What ``datasets.save_to_disk`` wrote."""
    with parquet.saved(folder) as data:
        return read_datasets(data, options, str(folder))


def _say_unused(names: list[str], options: Options, where: str) -> None:
    if names and options.known is None:
        text = "%s: columns %s are not used: data.conditions names those that a model is given"
        logger.warning(text, where, ", ".join(names))


def _encoded(files: parquet.Files, column: str) -> Iterator[tuple[str, Encoded]]:
    for path, file in zip(files.paths, files.files, strict=True):
        row = 0
        with parquet.undamaged(str(path)):
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                for value in batch.column(0).to_pylist():
                    yield _bytes(value, f"{path} row {row}")
                    row += 1


def _bytes(value: Any, name: str) -> tuple[str, Encoded]:
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None and isinstance(value, dict) and value.get("path"):
        if Path(value["path"]).is_file():
            return name, Path(value["path"])
        raise InputError(f"{name} holds only a path, {value['path']}: store the images in the file")
    return name, b"" if data is None else data  # which is damaged


def _fetch(paths: list[Path], column: str, options: Options) -> Fetch:
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

    def fetch(i: int) -> tuple[str, Encoded]:
        return _bytes(rows[i][column], f"{paths[0].parent} row {i}")

    return fetch
