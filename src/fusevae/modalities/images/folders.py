"""Folders of images."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data import delimited
from fusevae.data.conditions import USUAL, parsed
from fusevae.data.given import files_in
from fusevae.data.parts import SPLITS, Options, Part
from fusevae.modalities.images.collect import collect, usual
from fusevae.modalities.images.decode import SUFFIXES

INDEX, NAME = "metadata.csv", "file_name"  # what says more of the files of a folder, as Hugging Face has it
SYSTEM = ("thumbs.db", "desktop.ini")  # what Windows leaves in a folder
GRID = "grid.png"  # what is written beside images, so that they can be seen at once

logger = logging.getLogger("fusevae")


def find_images(folder: Path) -> list[Path]:
    """The images below a folder, sorted by path; hidden ones are left out."""
    return [path for path in files_in(folder) if path.suffix.lower() in SUFFIXES]


def read_file(path: Path, options: Options) -> dict[str, Part]:
    """The pages of one file."""
    found = collect([(str(path), path)], 1, options, options.memory, str(path))
    part = found.part(lambda _: (str(path), path), 1, options)
    part.ids = found.names(lambda _: path.name)
    return {"train": part}


def read_folder(folder: Path, options: Options) -> dict[str, Part]:
    """A folder of images; sub-folders are classes, or splits where they are called train, test, validation. A file
    ``metadata.csv`` says which images count (``file_name``) and what else is known of them, a column each."""
    paths = find_images(folder)
    if not paths:
        raise InputError(
            f"{folder} holds no images and no parquet files: expected {', '.join(SUFFIXES[:6])} in it or in sub-folders"
        )
    ours = {*paths, Path(options.conditions.file or "")}
    if others := [p for p in files_in(folder) if p not in ours and p.name.lower() not in (INDEX, *SYSTEM)]:
        kinds = ", ".join(sorted({path.suffix.lower() or "no type" for path in others}))
        text = "%s: left out %d files that are no images (%s), such as %s"
        logger.warning(text, folder, len(others), kinds, others[0].relative_to(folder))
    tops = {path.relative_to(folder).parts[0] for path in paths if path.parent != folder}
    splits = {top: SPLITS.get(top.lower()) for top in tops}
    told = {split for split in splits.values() if split}
    if told and len(tops) > 1 and (("train" in told) == (None in splits.values())):
        raise InputError(
            f"{folder} has sub-folders {', '.join(sorted(tops))}: are they splits or classes? Expected train, and test "
            "or validation; or classes alone: move or rename the others"
        )
    if "train" in splits.values() and None not in splits.values() and all(path.parent != folder for path in paths):
        roots = {split: folder / top for top, split in sorted(splits.items()) if split}
        if len(roots) < len(tops):
            raise InputError(
                f"{folder} has sub-folders {', '.join(sorted(tops))}, two for one split: leave one of them"
            )
    else:
        roots = {"train": folder}
    parts: dict[str, Part] = {}
    memory = options.memory
    for split in sorted(roots, key=list(roots).index):
        parts[split] = _read_split(roots[split], options, memory)
        x = parts[split].x
        memory -= x.numel() if isinstance(x, Tensor) else 0
    return parts


def _read_split(root: Path, options: Options, memory: int) -> Part:
    asked, paths, index = options.conditions, find_images(root), read_index(root)
    if index is not None:
        paths = _listed(root, paths, list(index.pop(NAME)))
    inside = [path for path in paths if path.parent != root]
    if inside and len(inside) < len(paths) and index is None:
        loose = next(path for path in paths if path.parent == root)
        raise InputError(
            f"{loose} lies beside sub-folders with images: expected all images in sub-folders (the classes) or none"
        )
    found = collect(((str(path), path) for path in paths), len(paths), options, memory, str(root))
    part = found.part(lambda i: (str(paths[i]), paths[i]), len(paths), options)
    names = [path.relative_to(root).as_posix() for path in paths]
    part.ids = found.names(lambda i: names[i])
    if asked.pattern:
        depth = asked.pattern.count("/") + 1
        part.beside(asked.in_names(["/".join(names[i].split("/")[-depth:]) for i in found.rows]), str(root))
    elif index and (chosen := asked.among(index, f"{root}/{INDEX}") or usual(index, asked)):
        part.beside({name: parsed(index[name]) for name in chosen}, f"{root}/{INDEX}", found.rows)
    elif inside and len(inside) == len(paths) and not asked.file:
        name = asked.names[0] if asked.names else USUAL
        part.beside({name: [names[i].split("/")[0] for i in found.rows]}, str(root))
    elif index is None:
        asked.among((), f"{root}, a folder of images,")
    return part


def read_index(root: Path) -> dict[str, list[str]] | None:
    """The columns of a folder's ``metadata.csv``, if there is one with a ``file_name``; in the order of those names."""
    path = root / INDEX
    if not path.is_file():
        return None
    names, body, _ = delimited.read_table(path, True)
    if NAME not in names:
        return None
    body = sorted(body, key=lambda row: row[names.index(NAME)])
    columns = {name: [row[i] for row in body] for i, name in enumerate(names)}
    if len(set(columns[NAME])) < len(body):
        raise InputError(f"{path} names a file twice: expected a row for each")
    return columns


def _listed(root: Path, paths: list[Path], names: list[str]) -> list[Path]:
    """The images that an index names, in its order; others are counted in a warning."""
    known = {path.relative_to(root).as_posix(): path for path in paths}
    if missing := [name for name in names if name not in known]:
        raise InputError(f"{root}/{INDEX} names {missing[0]!r}, which isn't there: mend it, or delete the row")
    if others := [name for name in known.keys() - set(names) if name != GRID]:
        logger.warning("%s: left out %d images that %s doesn't name, such as %s", root, len(others), INDEX, min(others))
    return [known[name] for name in names]
