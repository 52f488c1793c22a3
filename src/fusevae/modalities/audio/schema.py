"""What is known of sound: its rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.core.errors import InputError
from fusevae.core.frames import extent
from fusevae.core.spec import DataSpec, Measure, Schema
from fusevae.nets.sequence_encoder import shares
from fusevae.nets.spectral import stft

WINDOW = 0.032  # seconds
BANDS, PARTS, FAINT = 20, 6, 1e-3  # that clips are told apart by, and what is added to a magnitude


class SoundSchema(Schema):
    """Sound of one channel, in clips of any length. A batch of clips is ``(n, samples)``, in units of full scale; zeros
    follow the last sample of one that is shorter.

    Args:
        rate: samples a second, in Hz.
    """

    modality = "audio"

    def __init__(self, rate: int) -> None:
        if rate < 1:
            raise InputError(f"rate={rate} was given: expected Hz, such as 16000")
        self.rate = rate

    def check(self, ours: DataSpec, theirs: DataSpec, what: str) -> None:
        if not isinstance(theirs.schema, SoundSchema):
            raise InputError(
                f"{what} was made for sound, these are arrays: give files of sound, or data.modality=audio"
            )
        if theirs.schema.rate != self.rate:
            raise InputError(
                f"{what} was made for sound at {self.rate:,} Hz, these clips have {theirs.schema.rate:,}: resample them"
            )

    def seen(self, x: Tensor) -> Any:
        """The energies of broad bands in each of several equal parts of a clip, as logarithms, and that of its length:
        as many for a clip of any length."""
        window = max(16, 2 ** round(math.log2(WINDOW * self.rate)))
        n = extent(x[:, None])
        spectrum = stft(x, window, window // 4).abs()
        bands = (F.adaptive_avg_pool1d(spectrum.transpose(1, 2), BANDS) + FAINT).log()
        there = torch.arange(bands.shape[1]) <= n[:, None] // (window // 4)
        return torch.cat([(shares(there, PARTS) @ bands).flatten(1), n[:, None].float().log1p()], 1).numpy()

    def support(self, spec: DataSpec, measure: Measure) -> str:
        return f"density on samples at {self.rate} Hz, of any number"

    def about(self, spec: DataSpec) -> str:
        return f"clips of up to {spec.shape[0] / self.rate:.2f} s at {self.rate:,} Hz, one channel"


def rate_of(data: DataSpec) -> int:
    """The rate of some data in Hz, or :class:`InputError` where they are no sound."""
    if not isinstance(data.schema, SoundSchema):
        raise InputError(f"this recipe is for sound, the data have shape {data.shape}: give --data a folder of .wav")
    return data.schema.rate
