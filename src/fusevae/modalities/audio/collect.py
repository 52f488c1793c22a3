"""Many clips, decoded one by one; all of them at one rate."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.frames import MARK
from fusevae.data.folders import UnfitError
from fusevae.data.parts import Options, Part
from fusevae.modalities.audio.decode import BRIEF, FAINT, SHIFTED, Clip, Encoded, decode
from fusevae.modalities.audio.laid import Laid

#: what is said of clips, with how many there are
REMARKS: dict[str, Callable[[Clip], bool]] = {
    "are mixed down to one channel": lambda clip: clip.channels > 1,
    "are silent: every sample is 0": lambda clip: clip.silent,
    f"are nearly silent: no sample is beyond {FAINT:g} of full scale": lambda clip: clip.faint,
    f"are shorter than {BRIEF:g} s": lambda clip: clip.brief,
    f"have a constant offset, a mean beyond {SHIFTED:g} (kept)": lambda clip: clip.shifted,
    "are clipped: samples in a row are at full scale": lambda clip: clip.clipped,
}

logger = logging.getLogger("fusevae")


def collect(files: Iterable[tuple[str, Encoded]], total: int, options: Options, where: str) -> Part:
    """Decode every file once, each at its own rate. Raises :class:`InputError` for a damaged one (unless they are
    skipped), or nothing to use."""
    laid, ends, about = Laid(options, where), [0], list[tuple[int, int]]()
    found: Counter[str] = Counter()
    kept: list[int] = []
    damaged: list[str] = []
    for row, (name, encoded) in enumerate(files):
        try:
            clip = decode(name, encoded, options)
        except InputError as error:
            if isinstance(error, UnfitError) or not options.skip_damaged:
                raise
            damaged.append(name)
            continue
        laid.add(clip.samples)
        ends.append(ends[-1] + len(clip.samples))
        about.append((clip.rate, clip.channels))
        kept.append(row)
        found.update(remarks(clip))
    if not kept:
        raise InputError(f"{where} holds no sound that can be decoded: expected files such as .wav or .flac")
    if damaged:
        logger.warning("%s: left out %d damaged files of %d, the first %s", where, len(damaged), total, damaged[0])
    say(found, len(kept), where)
    if laid.file is not None:
        text = "%s: the samples take %.1f GB, more than memory_gb=%g, and are kept in a file in %s (TMPDIR) meanwhile"
        logger.warning(text, where, laid.size / 1e9, options.memory_gb, tempfile.gettempdir())
    samples = laid.whole()
    clips = [Clip(samples[a:b], *each) for (a, b), each in zip(pairwise(ends), about, strict=True)]
    return Part(clips, kept=kept, total=total)


def common_rate(parts: Mapping[str, Part], options: Options) -> int:
    """The rate in Hz of all clips: the one that is asked for, else the commonest, of equals the lowest."""
    if options.rate is not None:
        return options.rate
    counts = Counter(clip.rate for part in parts.values() for clip in part.x)
    return min(counts, key=lambda rate: (-counts[rate], rate))


def remarks(clip: Clip) -> list[str]:
    """What is said of a clip."""
    return [what for what, is_it in REMARKS.items() if is_it(clip)]


def say(found: Counter[str], total: int, where: str) -> None:
    """Warn of what was remarked, with how many of so many clips it is."""
    for what in REMARKS:
        if n := found[what]:
            logger.warning("%s: %d of %d clips %s", where, n, total, what)


def part_of(name: str, options: Options) -> str:
    """A part in words; what a model is given is of none."""
    return f"the {name} part" if options.known is None else "the data"


def at_one_rate(part: Part, rate: int, options: Options, where: str) -> tuple[Tensor, Tensor]:
    """The samples of all clips ``(total,)`` at a rate in Hz, one after the other, and how many each has ``(N,)``; what
    is of another rate is resampled (soxr), which is said."""
    laid, lengths = Laid(options, where), list[int]()
    others: Counter[int] = Counter()
    for clip in part.x:
        x = clip.samples
        if clip.rate != rate:
            import soxr

            others[clip.rate] += 1
            x = soxr.resample(x, clip.rate, rate)
            x = x if len(x) else np.zeros(1, np.float32)
        samples = np.array(x, np.float32)
        samples[-1] = samples[-1] or MARK  # as :func:`fusevae.core.frames.ended` does
        laid.add(samples)
        lengths.append(len(x))
    if others:
        rates = ", ".join(f"{n} of {from_:,}" for from_, n in sorted(others.items()))
        text = "%s: %d of %d clips are resampled to %s Hz (%s Hz)"
        logger.warning(text, where, sum(others.values()), len(part.x), f"{rate:,}", rates)
    return torch.from_numpy(laid.whole()), torch.tensor(lengths)
