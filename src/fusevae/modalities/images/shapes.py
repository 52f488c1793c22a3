"""Shapes: generated images whose factors of variation are known, to judge what latents have found."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.typed import Count

#: how many values each factor has; every combination is as likely
FACTORS = {"shape": 3, "size": 5, "rotation": 9, "x": 16, "y": 16}
SHAPES = ("square", "ellipse", "heart")
FINE = 4  # points a pixel in each direction, of which the part inside is its grey value
CHUNK = 2**23  # points tested at once


class Shapes(NamedTuple):
    """``images`` ``(n, 1, size, size)`` uint8, and the ``factors`` ``(n, 5)`` int64 behind each, in the order of
    :data:`FACTORS`."""

    images: Tensor
    factors: Tensor


def shapes(n: Count, seed: int = 0, size: Count = 32) -> Shapes:
    """White squares, ellipses and hearts on black, with five independent factors, each drawn uniformly.

    Args:
        n: how many.
        seed: of the factors; image i depends on the seed and on i alone.
        size: of the images in pixels.

    ========  =====================================================
    shape     square, ellipse, heart
    size      5 steps, from 0.6 to 1 of the largest
    rotation  9 steps of 10 degrees, from -40 to 40
    x         16 places of the centre, left to right
    y         16 places, top to bottom
    ========  =====================================================

    The factors are those of dSprites (Matthey et al. 2017), but no rotation makes a square of another, so that each can
    be told from its image. Edges are smooth: a grey value is the part of the pixel that is covered.

    Example:
        >>> images, factors = shapes(100)
        >>> images.shape, images.dtype, factors.shape, factors.max(0).values
        (torch.Size([100, 1, 32, 32]), torch.uint8, torch.Size([100, 5]), tensor([ 2,  4,  8, 15, 15]))
    """
    if n < 1 or size < 16:
        raise InputError(f"n={n} and size={size} were given: expected at least 1 image, of at least 16 pixels")
    counts = torch.tensor(list(FACTORS.values()))
    uniform = torch.rand(n, len(counts), generator=torch.Generator().manual_seed(noise.key(seed, "shapes")))
    factors = (uniform * counts).long()
    return Shapes(draw_shapes(factors, size), factors)


def draw_shapes(factors: Tensor, size: int = 32) -> Tensor:
    """Images ``(n, 1, size, size)`` uint8 for ``factors`` ``(n, 5)``, each from 0 to below its count."""
    steps = ((np.arange(size * FINE) + 0.5) / (size * FINE)).astype(np.float32)
    images = []
    for part in factors.split(max(1, CHUNK // (size * FINE) ** 2)):
        kind, scale, turn, right, down = (column[:, None, None] for column in part.numpy().T.astype(np.float32))
        radius = 0.22 * (0.6 + 0.1 * scale)  # of the image's width
        x, y = steps - (0.32 + 0.36 * right / 15), steps[:, None] - (0.32 + 0.36 * down / 15)
        angle = np.deg2rad(10 * (turn - 4))
        u = (np.cos(angle) * x + np.sin(angle) * y) / radius
        v = (np.cos(angle) * y - np.sin(angle) * x) / radius
        inside = np.empty(u.shape, bool)
        for k, test in enumerate((_square, _ellipse, _heart)):
            rows = np.flatnonzero(kind.ravel() == k)
            inside[rows] = test(u[rows], v[rows])
        covered = inside.reshape(len(part), size, FINE, size, FINE).mean((2, 4))
        images.append(torch.from_numpy(np.round(255 * covered).astype(np.uint8))[:, None])
    return torch.cat(images)


# each of an area of 4 x 0.8 squared where the radius is 1, so that the size tells nothing of the shape


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) <= 0.8


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.square(u / 1.2) + np.square(v * (1.2 * math.pi / (4 * 0.64))) <= 1


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = u / 0.836, -v / 0.836 + 0.1
    square, up = u * u, v * v
    edge = square + up - 1
    return edge * edge * edge <= square * up * v
