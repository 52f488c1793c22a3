"""Grids of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fusevae.core.spec import DataSpec

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 48  # pixels that an image of a grid has at least, so that tiny ones can be seen
GAP = 2
PAPER = (228, 228, 228)


def bands(channels: int) -> list[int]:
    """The channels that are drawn as red, green and blue: of four the first three, else three spread evenly.

    Example:
        >>> bands(1), bands(3), bands(4), bands(8)
        ([0, 0, 0], [0, 1, 2], [0, 1, 2], [0, 4, 7])
    """
    return [0, 1, 2] if channels == 4 else [0, channels // 2, channels - 1]


def pixels(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Images ``(n, channels, h, w)`` in the data's units as uint8 ``(n, h, w, 3)``, of channels :func:`bands`."""
    scaled = (x[:, bands(x.shape[1])].float() - spec.low) / ((spec.high - spec.low) or 1.0)
    bytes_ = (scaled.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    return bytes_.permute(0, 2, 3, 1).contiguous().numpy()


def picture(x: Tensor, spec: DataSpec) -> Image:
    """One image ``(channels, h, w)`` in its own size; grey where it has one channel."""
    from PIL import Image

    image = Image.fromarray(pixels(x[None], spec)[0])
    return image.convert("L") if x.shape[0] == 1 else image


def grid(x: Tensor, spec: DataSpec, columns: int | None = None, labels: Sequence[str] = ()) -> Image:
    """Images ``(n, channels, h, w)`` row by row, enlarged without smoothing where they are tiny.

    Args:
        x: in the data's units.
        spec: of the data.
        columns: images in a row; by default about as many as rows.
        labels: a word for each row, at its left.
    """
    from PIL import Image, ImageDraw, ImageFont

    n, _, height, width = x.shape
    columns = columns or max(1, math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    scale = max(1, math.ceil(TILE / max(height, width)))
    height, width = height * scale + GAP, width * scale + GAP
    font = ImageFont.load_default(size=13)
    margin = max((math.ceil(font.getlength(label)) + 8 for label in labels), default=0)
    sheet = Image.new("RGB", (margin + columns * width + GAP, rows * height + GAP), PAPER)
    for i, image in enumerate(pixels(x, spec)):
        tile = Image.fromarray(image.repeat(scale, 0).repeat(scale, 1))
        sheet.paste(tile, (margin + i % columns * width + GAP, i // columns * height + GAP))
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(labels):
        draw.text((4, row * height + height // 2), label, fill=(40, 40, 40), font=font, anchor="lm")
    return sheet


def pairs(x: Tensor, again: Tensor, spec: DataSpec, columns: int = 12) -> Image:
    """Originals, and below each row of them what the model makes of them."""
    columns = min(columns, len(x))
    n = len(x) // columns * columns
    rows = [part for a, b in zip(x[:n].split(columns), again[:n].split(columns), strict=True) for part in (a, b)]
    return grid(torch.cat(rows), spec, columns, labels=["data", "model"] * (len(rows) // 2))


def sheet(rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Image:
    """Rows of images, each with its word at the left; a single row without one as a grid."""
    words = [word for word, _ in rows]
    if len(rows) == 1 and not words[0]:
        return grid(rows[0][1], spec)
    columns, shape = max(len(x) for _, x in rows), rows[0][1].shape[1:]  # those of a model of smaller images
    blank = torch.full((1, *shape), spec.low)
    full = [torch.cat([x.float(), blank.expand(columns - len(x), *shape)]) for _, x in rows]
    return grid(torch.cat(full), spec, columns, words)
