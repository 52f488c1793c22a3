"""Images: decoding, and folders of them."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data import parquet
from fusevae.data.conditions import USUAL
from fusevae.data.given import files_in
from fusevae.data.parts import SPLITS, Options, Part

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
WORKERS = min(4, os.cpu_count() or 1)  # decoding releases Python's lock, so threads do

Encoded = bytes | Path


def decode(name: str, encoded: Encoded, size: tuple[int, int] | None = None) -> np.ndarray:
    """Pixels uint8 ``(H, W)`` of a grey image, ``(H, W, 3)`` of any other; transparency is dropped.

    ``size`` (height, width) scales the image to cover it and cuts what sticks out at the sides. A damaged image is an
    :class:`InputError` with its ``name``.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as file:
            if file.mode[0] in "IF":
                raise _DeepError(
                    f"{name} has more than 8 bits a pixel: expected 8; convert it, or give the values as .npz"
                )
            image = file.convert("L" if file.mode in ("1", "L", "LA") else "RGB")
            if size is not None and image.size != (size[1], size[0]):
                image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
            return np.asarray(image)
    except _DeepError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = (
            " ".join(str(error).split())
            if not isinstance(error, OSError) or "truncated" in str(error)
            else "no whole image"
        )
        raise InputError(
            f"{name} can't be decoded ({reason}): mend or delete it, or pass --skip-damaged "
            "(skip_damaged=True) to use the others"
        ) from None


class _DeepError(InputError):
    """Not damaged, so not to be skipped."""


class Decoded:
    """A map-style dataset that decodes image ``i`` when it is asked for: items uint8 ``(channels, H, W)``."""

    def __init__(
        self, fetch: Callable[[int], tuple[str, Encoded]], kept: list[int], channels: int, size: tuple[int, int] | None
    ) -> None:
        self.fetch, self.kept, self.channels, self.size = fetch, kept, channels, size

        self.workers = WORKERS

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, i: int) -> Tensor:
        image = planes(decode(*self.fetch(self.kept[i]), self.size))
        return torch.from_numpy(np.array(np.broadcast_to(image, (self.channels, *image.shape[1:]))))


def planes(image: np.ndarray) -> np.ndarray:
    """``(H, W)`` or ``(H, W, 3)`` as ``(channels, H, W)``."""
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


@dataclass
class Collected:
    """What :func:`collect` found: pixels ``(N, C, H, W)``, or None where memory doesn't hold them; which are whole."""

    pixels: Tensor | None
    kept: list[int]
    channels: int


def collect(images: Iterable[tuple[str, Encoded]], total: int, options: Options, memory: int, where: str) -> Collected:
    """Decode every image once: into one tensor if that takes at most ``memory`` bytes, else only to check it.

    One colour image makes all of them RGB. Raises :class:`InputError` for a damaged image (unless they are skipped),
    two sizes, or nothing to use.
    """
    pixels: np.ndarray | None = None
    kept: list[int] = []
    damaged: list[str] = []
    first: tuple[str, tuple[int, ...]] | None = None
    channels = 0
    for index, (name, image) in enumerate(_decoded(images, options)):
        if isinstance(image, InputError):
            if isinstance(image, _DeepError) or not options.skip_damaged:
                raise image
            damaged.append(name)
            continue
        shape = image.shape[:2]
        first = first or (name, shape)
        if shape != first[1]:
            raise InputError(
                f"{name} is {shape[0]}x{shape[1]}, {first[0]} is {first[1][0]}x{first[1][1]} (height x width): "
                "expected one size; "
                "have them resized with --set data.size=[32,32] (size=(32, 32))"
            )
        image = planes(image)
        if len(image) > channels:
            before, channels = pixels, len(image)
            fits = total * channels * shape[0] * shape[1] <= memory and (before is not None or not kept)
            pixels = np.empty((total, channels, *shape), np.uint8) if fits else None
            if pixels is not None and before is not None:
                pixels[: len(kept)] = before[: len(kept)]
        if pixels is not None:
            pixels[len(kept)] = image
        kept.append(index)
    if not kept:
        raise InputError(f"{where} holds no image that can be decoded: expected files such as .png or .jpg")
    if damaged:
        text = "%s: left out %d damaged images of %d, the first %s"
        logging.getLogger("fusevae").warning(text, where, len(damaged), total, damaged[0])
    return Collected(None if pixels is None else torch.from_numpy(pixels[: len(kept)]), kept, channels)


def _decoded(images: Iterable[tuple[str, Encoded]], options: Options) -> Iterator[tuple[str, np.ndarray | InputError]]:
    def attempt(item: tuple[str, Encoded]) -> tuple[str, np.ndarray | InputError]:
        try:
            return item[0], decode(*item, options.size)
        except InputError as error:
            return item[0], error

    rest = iter(images)
    large = False
    with ThreadPoolExecutor(WORKERS) as pool:
        while chunk := list(islice(rest, 256)):  # the pool's own map would queue everything at once
            # below some 64x64 pixels decoding is too short: threads only wait for each other (measured, 1.6x slower)
            found = list(pool.map(attempt, chunk) if large else map(attempt, chunk))
            large = any(isinstance(image, np.ndarray) and image.size > 64 * 64 * 3 for _, image in found)
            yield from found


def find_images(folder: Path) -> list[Path]:
    """The images below a folder, sorted by path; hidden ones are left out."""
    return [path for path in files_in(folder) if path.suffix.lower() in SUFFIXES]


def read_folder(folder: Path, options: Options) -> dict[str, Part]:
    """A folder of images; sub-folders are classes, or splits where they are called train, test, validation."""
    paths = find_images(folder)
    if not paths:
        raise InputError(
            f"{folder} holds no images and no parquet files: expected {', '.join(SUFFIXES[:6])} in it or in sub-folders"
        )
    tops = {path.relative_to(folder).parts[0] for path in paths if path.parent != folder}
    splits = {top: SPLITS.get(top.lower()) for top in tops}
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
    paths = find_images(root)
    inside = [path for path in paths if path.parent != root]
    if inside and len(inside) < len(paths):
        loose = next(path for path in paths if path.parent == root)
        raise InputError(
            f"{loose} lies beside sub-folders with images: expected all images in sub-folders (the classes) or none"
        )
    found = collect(((str(path), path) for path in paths), len(paths), options, memory, str(root))
    lazy = Decoded(lambda i: (str(paths[i]), paths[i]), found.kept, found.channels, options.size)
    part = Part(
        found.pixels if found.pixels is not None else lazy,
        ids=[paths[i].relative_to(root).as_posix() for i in found.kept],
        range=(0.0, 255.0),
        kept=found.kept,
        total=len(paths),
    )
    asked = options.conditions
    if asked.pattern:
        part.beside(asked.in_names([paths[i].name for i in found.kept]), str(root))
    elif inside and not asked.file:
        part.beside({asked.names[0] if asked.names else USUAL: [p.split("/")[0] for p in part.ids or ()]}, str(root))
    elif asked.among((), f"{root}, a folder of images,"):
        pass
    return part


def read_parquet(splits: dict[str, list[Path]], options: Options, usual: tuple[str, ...]) -> dict[str, Part]:
    """Every split's images in the Hugging Face layout; decoded into memory where they fit, else when wanted."""
    parts: dict[str, Part] = {}
    memory = options.memory
    for split, paths in splits.items():
        files = parquet.Files(paths)
        kinds = parquet.column_kinds(paths[0])
        image = next(name for name, kind in kinds.items() if kind == "image")
        found = collect(_encoded(files, image), files.total, options, memory, files.where)
        x = found.pixels if found.pixels is not None else _lazy(paths, image, found.kept, found.channels, options)
        parts[split] = Part(x, range=(0.0, 255.0), kept=found.kept, total=files.total)
        names = files.conditions(parts[split], options.conditions, usual)
        if wrong := [name for name in names if files.gaps(name) and kinds[name] != "number"]:
            raise InputError(f"{files.where}: column {wrong[0]} has missing labels: fill them in, or drop the column")
        memory -= x.numel() if isinstance(x, Tensor) else 0
    return parts


def _encoded(files: parquet.Files, column: str) -> Iterator[tuple[str, bytes]]:
    for path, file in zip(files.paths, files.files, strict=True):
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
