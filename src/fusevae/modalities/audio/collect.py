"""Many clips, decoded one by one; all of them at one rate."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.frames import ended
from fusevae.data.folders import UnfitError
from fusevae.data.parts import Options, Part
from fusevae.modalities.audio.decode import SHIFTED, Clip, Encoded, decode

logger = logging.getLogger("fusevae")


def collect(files: Iterable[tuple[str, Encoded]], total: int, options: Options, where: str) -> Part:
    """Decode every file once, each at its own rate. Raises :class:`InputError` for a damaged one (unless they are
    skipped), more than memory holds, or nothing to use."""
    clips: list[Clip] = []
    kept: list[int] = []
    damaged: list[str] = []
    size = 0
    for row, (name, encoded) in enumerate(files):
        try:
            clip = decode(name, encoded, options)
        except InputError as error:
            if isinstance(error, UnfitError) or not options.skip_damaged:
                raise
            damaged.append(name)
            continue
        size += clip.samples.nbytes
        if size > options.memory:
            raise InputError(
                f"{where} takes more than memory_gb={options.memory_gb:g} in memory: raise it "
                "(--set data.memory_gb=...), or give less"
            )
        clips.append(clip)
        kept.append(row)
    if not clips:
        raise InputError(f"{where} holds no sound that can be decoded: expected files such as .wav or .flac")
    if damaged:
        logger.warning("%s: left out %d damaged files of %d, the first %s", where, len(damaged), total, damaged[0])
    for what, found in (
        ("are mixed down to one channel", [clip.channels > 1 for clip in clips]),
        ("are silent: every sample is 0", [clip.silent for clip in clips]),
        (f"have a constant offset, a mean beyond {SHIFTED:g} (kept)", [clip.shifted for clip in clips]),
        ("are clipped: samples in a row are at full scale", [clip.clipped for clip in clips]),
    ):
        if any(found):
            logger.warning("%s: %d of %d clips %s", where, sum(found), len(clips), what)
    return Part(clips, kept=kept, total=total)


def common_rate(parts: Mapping[str, Part], options: Options) -> int:
    """The rate in Hz of all clips: the one that is asked for, else the commonest, of equals the lowest."""
    if options.rate is not None:
        return options.rate
    counts = Counter(clip.rate for part in parts.values() for clip in part.x)
    return min(counts, key=lambda rate: (-counts[rate], rate))


def at_one_rate(part: Part, rate: int, where: str) -> list[Tensor]:
    """The samples of each clip ``(n,)`` at a rate in Hz; what is of another is resampled (soxr), which is said."""
    found: list[Tensor] = []
    others: Counter[int] = Counter()
    for clip in part.x:
        x = clip.samples
        if clip.rate != rate:
            import soxr

            others[clip.rate] += 1
            x = soxr.resample(x, clip.rate, rate)
            x = x if len(x) else np.zeros(1, np.float32)
        samples = torch.from_numpy(np.array(x, np.float32))
        found.append(ended(samples, torch.tensor(len(samples))))
    if others:
        rates = ", ".join(f"{n} of {from_:,}" for from_, n in sorted(others.items()))
        text = "%s: %d of %d clips are resampled to %s Hz (%s Hz)"
        logger.warning(text, where, sum(others.values()), len(part.x), f"{rate:,}", rates)
    return found
