"""One file of sound: decoded to samples of one channel, as they are."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.folders import UnfitError
from fusevae.data.parts import Options

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf")
NEEDS = "reading and writing sound needs soundfile and soxr; pip install 'fusevae[audio]'"
PEAK = 16.0  # beyond which numbers are no samples in units of full scale
STREAMED = (0, 2**32 - 1)  # sizes of a chunk that was written before its length was known
SHIFTED = 0.05  # mean of samples, which sound does not have
CLIPPED = 3  # samples at full scale, one after the other, that are no chance

CANCELLED = 1e-3  # of the power of the channels, which a mixture of them has at least

Encoded = bytes | Path


class Clip(NamedTuple):
    """Samples ``(n,)`` float32 in units of full scale, their rate in Hz, and how many channels were mixed down."""

    samples: np.ndarray
    rate: int
    channels: int = 1

    @property
    def silent(self) -> bool:
        """Whether every sample is 0."""
        return not self.samples.any()

    @property
    def shifted(self) -> bool:
        """Whether its samples lie about another value than 0."""
        return abs(float(self.samples.mean())) > SHIFTED

    @property
    def clipped(self) -> bool:
        """Whether some samples in a row are as large as samples can be."""
        full = np.flatnonzero(np.abs(self.samples) >= 1 - 2**-15)
        return bool((full[CLIPPED - 1 :] - full[: 1 - CLIPPED] == CLIPPED - 1).any())


def soundfile() -> Any:
    """The package that reads and writes sound, or :class:`InputError` with what installs it."""
    try:
        import soundfile as package
        import soxr  # noqa: F401
    except ImportError:
        raise InputError(NEEDS) from None
    return package


def decode(name: str, encoded: Encoded, options: Options) -> Clip:
    """The samples of a file; those of several channels are their mean.

    :class:`InputError` with the ``name`` for a file that is empty, cut off or no sound; :class:`UnfitError` for what
    can't be read truly: more than memory holds, numbers that are no samples in units of full scale.
    """
    package = soundfile()
    try:
        with package.SoundFile(BytesIO(encoded) if isinstance(encoded, bytes) else str(encoded)) as file:
            n, rate, channels = file.frames, file.samplerate, file.channels
            if n * channels * 4 > options.memory:
                raise UnfitError(
                    f"{name} lasts {n / rate:,.0f} s and takes {n * channels * 4 / 1e9:.1f} GB in memory, more than "
                    f"memory_gb={options.memory_gb:g}: cut it into clips, or raise it"
                )
            x = file.read(dtype="float32", always_2d=True)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # libsndfile raises whatever its decoders do
        reason = " ".join(str(error).rpartition("Error : ")[2].split()).rstrip(".")[:100]
        raise _damaged(name, f"can't be decoded ({reason})") from None
    if not len(x):
        raise _damaged(name, "holds no sound")
    if len(x) < n or (lost := missing(encoded)):
        said = f"{len(x) / rate:.2f} of {n / rate:.2f} s" if len(x) < n else lost
        raise _damaged(name, f"is cut off ({said})")
    if not np.isfinite(x).all():
        raise _damaged(name, "holds samples that are NaN or infinite")
    if (peak := float(np.abs(x).max())) > PEAK:
        raise UnfitError(f"{name} holds samples up to {peak:g}: expected -1 to 1, full scale; divide them")
    if channels == 1:
        return Clip(np.ascontiguousarray(x[:, 0]), rate)
    mixed = x.mean(1, dtype=np.float32)
    if np.square(mixed).mean() < CANCELLED * np.square(x).mean():
        raise _damaged(name, f"has {channels} channels that cancel out when they are mixed to one (turn one of them)")
    return Clip(mixed, rate, channels)


def _damaged(name: str, what: str) -> InputError:
    return InputError(f"{name} {what}: mend or delete it, or pass --skip-damaged (skip_damaged=True) to use the others")


def missing(encoded: Encoded) -> str:
    """What of a RIFF or Ogg file isn't there although it says so, in words; libsndfile reads what there is."""
    data = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        at = 12
        while at + 8 <= len(data):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] == b"data":
                there = len(data) - at - 8
                return f"{there:,} of {size:,} bytes" if size > there and size not in STREAMED else ""
            at += 8 + size + size % 2
    if data[:4] == b"OggS":
        last = data.rfind(b"OggS")
        return "" if last + 6 <= len(data) and data[last + 5] & 4 else "its last page is missing"
    return ""
