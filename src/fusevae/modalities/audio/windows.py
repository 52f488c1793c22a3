"""Long recordings as examples: cut into windows, of which training, validation and test have each their own stretch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from fusevae.core.errors import InputError
from fusevae.data.parts import Options, Part
from fusevae.modalities.audio.collect import at_one_rate, common_rate, part_of
from fusevae.modalities.audio.decode import Clip

LONG = 60.0  # seconds from which on a recording is no example, unasked
WINDOW = 4.0  # seconds that it is then cut into

logger = logging.getLogger("fusevae")


def places(n: int, window: int) -> list[int]:
    """Where windows of about ``window`` of ``n`` samples begin, and where the last one ends. What remains is a window
    of its own where it is half of one, else it belongs to the last; one and a half windows stay as they are.

    Example:
        >>> places(10, 4), places(9, 4), places(6, 4)
        ([0, 4, 8, 10], [0, 4, 9], [0, 6])
    """
    if 2 * n <= 3 * window:
        return [0, n]
    return [*range(0, n - (window - 1) // 2, window), n]


def in_windows(parts: Mapping[str, Part], options: Options, rate: int | None = None) -> tuple[dict[str, Part], bool]:
    """Each part with its long recordings cut, at one rate in Hz, which is said; and whether there were any. What is
    known of a recording is known of its windows, and they have its name with the second at which they begin."""
    seconds = options.window or WINDOW
    longest = max((len(c.samples) / c.rate, n) for n, part in parts.items() for c in part.x)
    if longest[0] <= max(1.5 * seconds, 0.0 if options.window else LONG):
        return dict(parts), False
    if any(part.texts for part in parts.values()):
        if options.window is None:
            return dict(parts), False
        raise InputError(
            f"data.window={options.window:g} was given for clips with a text each: expected none, since no part of a "
            "text is known to be of a window; leave it out"
        )
    rate = rate or common_rate(parts, options)
    found = {name: _cut(part, rate, round(seconds * rate), options, name) for name, part in parts.items()}
    logger.warning(
        "recordings of up to %.0f s: %d are cut into %d windows of about %g s (data.window)",
        longest[0],
        sum(len(part) for part in parts.values()),
        sum(len(part) for part in found.values()),
        seconds,
    )
    return found, True


def apart(part: Part, fractions: Mapping[str, float]) -> dict[str, Part]:
    """Windows for training and, for each name, a fraction of them from the end of each recording, so that no two parts
    hear a stretch in turns; over all recordings the fractions are met as nearly as can be."""
    stems = [name.rpartition(" @")[0] for name in part.ids or []]
    edges = [0, *(i for i in range(1, len(stems)) if stems[i] != stems[i - 1]), len(stems)]
    chosen: dict[str, list[int]] = {name: [] for name in ("train", *fractions)}
    for start, end in pairwise(edges):
        last = end
        for name, fraction in fractions.items():
            n = min(last - start, max(0, round(fraction * end) - len(chosen[name])))
            chosen[name] += range(last - n, last)
            last -= n
        chosen["train"] += range(start, last)
    return {name: part.at(torch.tensor(rows)) for name, rows in chosen.items() if rows}


def _cut(part: Part, rate: int, window: int, options: Options, where: str) -> Part:
    names = part.ids or [f"recording {i}" for i in range(len(part))]
    samples, lengths = at_one_rate(part, rate, options, part_of(where, options))
    whole = samples.numpy()
    clips, ids, rows, begin = list[Clip](), list[str](), list[int](), 0
    for i, n in enumerate(lengths.tolist()):
        for start, end in pairwise(places(n, window)):
            clips.append(Clip(whole[begin + start : begin + end], rate))
            ids.append(f"{names[i]} @{start / rate:g} s")
            rows.append(i)
        begin += n
    conditions = {name: values[np.array(rows)] for name, values in part.conditions.items()}
    return replace(part, x=clips, conditions=conditions, ids=ids, kept=None, total=len(clips))
