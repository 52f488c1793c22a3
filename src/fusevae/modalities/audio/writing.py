"""Sound written: a folder of WAV, one file, parquet in the Hugging Face layout, arrays."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.frames import MARK, extent
from fusevae.core.spec import DataSpec
from fusevae.data.folders import INDEX, NAME
from fusevae.data.parquet import write_files
from fusevae.data.rows import beside_others, write_columns
from fusevae.modalities.audio.decode import soundfile
from fusevae.modalities.audio.schema import rate_of

FILES = (".wav", ".flac", ".ogg")
PAUSE = 0.25  # seconds between clips that are written to one file
STEP = 2.0**-15  # of 16 bits

logger = logging.getLogger("fusevae")


def write(x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
    """Clips ``(n, samples)`` as the name of ``path`` says, with what is known beside them.

    A folder holds a WAV each and, where there are columns, ``metadata.csv``; a single file holds all of them with
    pauses of a quarter of a second. Samples that are whole steps of 16 bits are written in 16 bits, others as floats
    (of FLAC in 24 bits), so that WAV gives them back as they are; what exceeds full scale is no file's but WAV's.
    """
    suffix, rate, beside = path.suffix.lower(), rate_of(spec), beside_others(beside, ("x", "rate", "audio", NAME))
    if suffix in FILES:
        if len(x) > 1:
            logger.warning(
                "%d clips are written one after the other, %g s between them: a folder keeps them", len(x), PAUSE
            )
        pause = torch.zeros(round(PAUSE * rate))
        parts = [part for clip in x for part in (pause, clip[: int(extent(clip[None]))])][1:]
        path.write_bytes(encoded(torch.cat(parts), rate, suffix[1:].upper()))
    elif suffix == ".parquet":
        write_files([wav(clip, rate) for clip in x], "audio", "Audio", spec, path, beside)
    elif suffix == ".npz":
        write_columns({**beside, "x": x.numpy(), "rate": np.array(rate)}, path)
    else:
        path.mkdir(parents=True, exist_ok=True)
        width = max(5, len(str(len(x) - 1)))
        names = [f"{i:0{width}}.wav" for i in range(len(x))]
        for name, clip in zip(names, x, strict=True):
            (path / name).write_bytes(wav(clip, rate))
        if beside:
            write_columns({NAME: names, **beside}, path / INDEX)


def wav(x: Tensor, rate: int) -> bytes:
    """A WAV file of a clip ``(samples,)``, without the zeros that follow its end."""
    return encoded(x[: max(1, int(extent(x[None])))], rate, "WAV")


def encoded(x: Tensor, rate: int, format: str) -> bytes:
    """A file of samples ``(n,)``."""
    package = soundfile()
    samples = x.detach().cpu().float().numpy().copy()
    if samples[-1] == MARK:
        samples[-1] = 0.0
    whole = bool((samples == np.round(samples / STEP) * STEP).all()) and bool((np.abs(samples + STEP / 2) < 1).all())
    kind = {"WAV": "FLOAT", "FLAC": "PCM_24", "OGG": "VORBIS"}[format]
    if whole and format != "OGG":
        samples, kind = np.round(samples / STEP).astype(np.int16), "PCM_16"
    file = BytesIO()
    try:
        package.write(file, samples, rate, format=format, subtype=kind)
    except Exception as error:
        raise InputError(f"{format} takes no sound at {rate} Hz ({error}): write .wav") from None
    return file.getvalue()
