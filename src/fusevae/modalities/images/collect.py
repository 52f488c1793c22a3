"""Many images, decoded one by one: into memory where they fit, else again when they are wanted."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.folders import UnfitError
from fusevae.data.parts import Options, Part
from fusevae.modalities.images.decode import Encoded, Shown, decode

WORKERS = min(4, os.cpu_count() or 1)  # decoding releases Python's lock, so threads do

Fetch = Callable[[int], tuple[str, Encoded]]

logger = logging.getLogger("fusevae")


class Decoded:
    """A map-style dataset that decodes image ``i`` when it is asked for: items ``(channels, H, W)``, uint8 or int32.

    Args:
        fetch: gives the name and the bytes (or the path) of a file by its number.
        kept: the file of each example, and the page in it.
        channels: of every item.
        options: how to decode.
    """

    def __init__(
        self,
        fetch: Fetch,
        kept: list[tuple[int, int]],
        channels: int,
        options: Options,
    ) -> None:
        self.fetch, self.kept, self.channels, self.options = fetch, kept, channels, options
        self.workers = WORKERS

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, i: int) -> Tensor:
        row, page = self.kept[i]
        image = decode(*self.fetch(row), self.options, page)[0].pixels
        return torch.from_numpy(np.array(np.broadcast_to(image, (self.channels, *image.shape[1:]))))


@dataclass
class Collected:
    """What :func:`collect` found: pixels ``(N, C, H, W)``, or None where memory doesn't hold them; file and page of
    each, and of pictures of 16 bits the least and the greatest value."""

    pixels: Tensor | None
    kept: list[tuple[int, int]]
    channels: int
    ends: Tensor | None

    @property
    def rows(self) -> list[int]:
        """The file of each example."""
        return [row for row, _ in self.kept]

    def names(self, names: Callable[[int], str]) -> list[str]:
        """A word for each example, by that for its file."""
        several = any(page for _, page in self.kept)
        return [f"{names(row)} page {page + 1}" if several else names(row) for row, page in self.kept]

    def part(self, fetch: Fetch | None, total: int, options: Options) -> Part:
        """The examples of a split of ``total`` files, of which ``fetch`` gives one where memory doesn't hold them."""
        x: Any = self.pixels
        if x is None:
            assert fetch is not None
            x = Decoded(fetch, self.kept, self.channels, options)
        known = (0.0, 255.0) if self.ends is None else None  # of 16 bits what is used: 10 or 12 of them are common
        return Part(x, range=known, ends=self.ends, kept=self.rows, total=total)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Pillow says of files that it reads all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@_quiet()
def collect(images: Iterable[tuple[str, Encoded]], total: int, options: Options, memory: int, where: str) -> Collected:
    """Decode every image once: into one tensor if that takes at most ``memory`` bytes, else only to check it.

    One colour image makes all of them RGB. Raises :class:`InputError` for a damaged image (unless they are skipped),
    two sizes, two depths, or nothing to use.
    """
    pixels: np.ndarray | None = None
    kept: list[tuple[int, int]] = []
    damaged: list[str] = []
    first: tuple[str, tuple[int, ...], np.dtype] | None = None
    ends: list[tuple[int, int]] = []
    channels = laid = converted = 0
    for row, (name, pages) in enumerate(_decoded(images, options)):
        if isinstance(pages, InputError):
            if isinstance(pages, UnfitError) or not options.skip_damaged:
                raise pages
            damaged.append(name)
            continue
        for page, (image, transparent, profiled) in enumerate(pages):
            shape = image.shape[1:]
            first = first or (name, shape, image.dtype)
            if shape != first[1]:
                at = f" page {page + 1}" if page else ""
                raise InputError(
                    f"{name}{at} is {shape[0]}x{shape[1]}, {first[0]} is {first[1][0]}x{first[1][1]} (height x width): "
                    "expected one size; have them resized with --set data.size=[32,32] (size=(32, 32))"
                )
            if image.dtype != first[2]:
                ours, theirs = (8 if dtype == np.uint8 else 16 for dtype in (image.dtype, first[2]))
                raise InputError(
                    f"{name} has {ours} bits a channel, {first[0]} {theirs}: expected one depth; convert one of them"
                )
            full = pixels is not None and len(kept) == len(pixels)
            if len(image) > channels or full:
                before, channels = pixels, max(channels, len(image))
                room = max(total, 2 * len(kept) if full else 0 if pixels is None else len(pixels))
                size = room * channels * shape[0] * shape[1] * image.itemsize
                fits = size <= memory and (before is not None or not kept)
                pixels = np.empty((room, channels, *shape), image.dtype) if fits else None
                if pixels is not None and before is not None:
                    pixels[: len(kept)] = before[: len(kept)]
            if pixels is not None:
                pixels[len(kept)] = image
            if image.dtype != np.uint8:
                ends.append((int(image.min()), int(image.max())))
            kept.append((row, page))
            laid += transparent
            converted += profiled
    if not kept:
        raise InputError(f"{where} holds no image that can be decoded: expected files such as .png or .jpg")
    if damaged:
        text = "%s: left out %d damaged images of %d, the first %s"
        logger.warning(text, where, len(damaged), total, damaged[0])
    if laid:
        text = "%s: %d of %d images are transparent; they are laid on %s (data.background)"
        logger.warning(text, where, laid, len(kept), options.background)
    if converted:
        text = "%s: %d of %d images are in another colour space by their profiles; they are converted to sRGB"
        logger.warning(text, where, converted, len(kept))
    found = None if pixels is None else torch.from_numpy(pixels[: len(kept)])
    return Collected(found, kept, channels, torch.tensor(ends, dtype=torch.float64) if ends else None)


def _decoded(images: Iterable[tuple[str, Encoded]], options: Options) -> Iterator[tuple[str, list[Shown] | InputError]]:
    def attempt(item: tuple[str, Encoded]) -> tuple[str, list[Shown] | InputError]:
        try:
            return item[0], decode(*item, options)
        except InputError as error:
            return item[0], error

    rest = iter(images)
    large = False
    with ThreadPoolExecutor(WORKERS) as pool:
        while chunk := list(islice(rest, 256)):  # the pool's own map would queue everything at once
            # below some 64x64 pixels decoding is too short: threads only wait for each other (measured, 1.6x slower)
            found = list(pool.map(attempt, chunk) if large else map(attempt, chunk))
            large = any(pages[0].pixels.size > 64 * 64 * 3 for _, pages in found if isinstance(pages, list))
            yield from found
