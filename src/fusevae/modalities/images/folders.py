"""Folders of images."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.folders import NAME, Split, find, index_of, roots
from fusevae.data.parts import Options, Part
from fusevae.modalities.images.collect import collect
from fusevae.modalities.images.decode import SUFFIXES

logger = logging.getLogger("fusevae")


def read_file(path: Path, options: Options) -> dict[str, Part]:
    """The pages of one file."""
    found = collect([(str(path), path)], 1, options, options.memory, str(path))
    part = found.part(lambda _: (str(path), path), 1, options)
    part.ids = found.names(lambda _: path.name)
    return {"train": part}


def read_folder(folder: Path, options: Options) -> dict[str, Part]:
    """A folder of images; sub-folders are classes, or splits where they are called train, test, validation. A file
    ``metadata.csv`` says which images count (``file_name``) and what else is known of them, a column each."""
    paths = find(folder, SUFFIXES)
    if not paths:
        raise InputError(
            f"{folder} holds no images and no parquet files: expected {', '.join(SUFFIXES[:6])} in it or in sub-folders"
        )
    parts: dict[str, Part] = {}
    memory = options.memory
    for name, root in roots(folder, paths, options, "images").items():
        split = Split(root, SUFFIXES, "images")
        if split.index is None and index_of(root).is_file():
            logger.warning(
                "%s has no column %s, and so is not used: name the one of the files so", index_of(root), NAME
            )
        parts[name] = _read_split(split, options, memory)
        x = parts[name].x
        memory -= x.nbytes if isinstance(x, Tensor) else 0
    return parts


def _read_split(split: Split, options: Options, memory: int) -> Part:
    paths, names = split.paths, split.names
    found = collect(((str(path), path) for path in paths), len(paths), options, memory, str(split.root))
    part = found.part(lambda i: (str(paths[i]), paths[i]), len(paths), options)
    part.ids = found.names(lambda i: names[i])
    split.beside(part, found.rows, options)
    return part
