"""One file of sound: decoded to samples of one channel, as they are."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.encodings import foreign
from fusevae.data.folders import UnfitError
from fusevae.data.parts import Options

SUFFIXES = tuple(".wav .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .snd .w64 .caf .wave .rf64".split())
NEEDS = "reading and writing sound needs soundfile and soxr; pip install 'fusevae[audio]'"
PEAK = 16.0  # beyond which numbers are no samples in units of full scale
STREAMED = (0, 2**32 - 1, 2**64 - 1)  # sizes of a chunk that was written before its length was known
SHIFTED = 0.05  # mean of samples, which sound does not have
FAINT = 1e-3  # largest sample, -60 dB
BRIEF = 0.01  # seconds
CLIPPED = 3  # samples at full scale, one after the other, that are no chance

RATES = (100, 1_000_000)  # Hz, beyond which a header is wrong
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
    def faint(self) -> bool:
        """Whether it is nearly silent, as samples are that were divided twice."""
        return 0 < float(np.abs(self.samples).max()) < FAINT

    @property
    def brief(self) -> bool:
        """Whether it is shorter than any sound that says something."""
        return len(self.samples) < BRIEF * self.rate

    @property
    def shifted(self) -> bool:
        """Whether its samples lie about another value than 0."""
        return not self.brief and abs(float(self.samples.mean())) > SHIFTED

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
            if not RATES[0] <= rate <= RATES[1]:
                raise _damaged(name, f"says that it has {rate:,} samples a second, as no sound has")
            if n * channels * 4 > options.memory:
                raise UnfitError(
                    f"{name} lasts {n / rate:,.0f} s and takes {n * channels * 4 / 1e9:.1f} GB in memory, more than "
                    f"memory_gb={options.memory_gb:g}: cut it into clips, or raise it"
                )
            x = file.read(dtype="float32", always_2d=True)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # libsndfile raises whatever its decoders do
        raise _damaged(name, undecodable(error, encoded)) from None
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


def undecodable(error: Exception, encoded: Encoded) -> str:
    """Why there is no sound in a file, in words: what it is instead where that is known, else what libsndfile says."""
    try:
        if isinstance(encoded, Path):
            with open(encoded, "rb") as file:
                encoded = file.read(100)
    except OSError as closed:
        return f"can't be opened ({closed.strerror})"
    if found := foreign(encoded):
        return f"is no sound but {found}"
    reason = re.sub(r"^Error opening .*?['>]: ", "", " ".join(str(error).rpartition("Error : ")[2].split()))
    return f"can't be decoded ({reason.rstrip('.')[:100]})"


def _damaged(name: str, what: str) -> InputError:
    return InputError(f"{name} {what}: mend or delete it, or pass --skip-damaged (skip_damaged=True) to use the others")


def missing(encoded: Encoded) -> str:
    """What of a file isn't there although it says so, in words; libsndfile reads what there is."""
    data = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
    kind = data[:4]
    if kind == b"OggS":
        last = data.rfind(b"OggS")
        return "" if last + 6 <= len(data) and data[last + 5] & 4 else "its last page is missing"
    if kind == b"FORM":  # AIFF
        said, there = int.from_bytes(data[4:8], "big"), len(data) - 8
    elif kind == b".snd":  # AU
        said, there = int.from_bytes(data[8:12], "big"), len(data) - int.from_bytes(data[4:8], "big")
    elif kind == b"riff":  # W64
        said, there = int.from_bytes(data[16:24], "little"), len(data)
    elif kind == b"caff":
        at = 8
        while data[at : at + 4] not in (b"data", b""):
            at += 12 + int.from_bytes(data[at + 4 : at + 12], "big")
        said, there = int.from_bytes(data[at + 4 : at + 12], "big"), len(data) - at - 12
    elif kind == b"RIFF" and data[8:12] == b"WAVE":
        return _missing_of_wav(data)
    else:
        return ""
    return _fewer(there, said)


def _missing_of_wav(data: bytes) -> str:
    """The same of a WAV file; where more samples follow than its header says, that is wrong."""
    at = 12
    while at + 8 <= len(data):
        size, begin = int.from_bytes(data[at + 4 : at + 8], "little"), at + 8
        if data[at : at + 4] == b"data":
            rest = data[begin + size + size % 2 :]
            if 0 < size < len(rest) and not rest[:4].decode("latin-1").isprintable():  # no chunk, and more than half
                return f"its header tells of {size:,} of {size + len(rest):,} bytes"
            return _fewer(len(data) - begin, size)
        at = begin + size + size % 2
    return ""


def _fewer(there: int, said: int) -> str:
    return f"{there:,} of {said:,} bytes" if there < said and said not in STREAMED else ""
