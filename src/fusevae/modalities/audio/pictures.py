"""Sound for the eye and the ear: spectrograms in seconds and kHz, and players."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fusevae.core.frames import extent
from fusevae.data.sheet import Picture
from fusevae.modalities.audio.writing import wav
from fusevae.nets.spectral import stft

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 48  # clips of a sheet, at most
PLAYED = 24  # of a page
SPAN = 70.0  # dB from the loudest to black
SECONDS = 0.032  # of a window


class Sounds(Picture):
    """Spectrograms, and in a page a player for each clip.

    Args:
        image: of Pillow.
        clips: a word for each clip, and its WAV.
    """

    def __init__(self, image: Image, clips: Sequence[tuple[str, bytes]]) -> None:
        super().__init__(image)
        self.clips = list(clips)

    def html(self, alt: str = "") -> str:
        players = "".join(
            f'<figure style="display:inline-block;margin:.3rem"><figcaption>{escape(word)}</figcaption>'
            f'<audio controls preload="none" src="data:audio/wav;base64,{base64.b64encode(file).decode()}"></audio>'
            "</figure>"
            for word, file in self.clips
        )
        return f"{super().html(alt)}<div>{players}</div>"


def decibels(x: Tensor, rate: int) -> np.ndarray:
    """The spectrogram of a clip ``(samples,)`` in dB below a sine at full scale, ``(bins, frames)``."""
    window = 2 ** max(3, round(math.log2(SECONDS * rate)))
    magnitude = stft(x, window, max(1, window // 8)).abs() * (4 / window)
    return (20 * magnitude.clamp(min=1e-6).log10()).numpy()


def sheet(rows: Sequence[tuple[str, Tensor]], rate: int) -> Sounds:
    """Rows of clips ``(n, samples)``, each with a word for it; one row without a word fills a grid. All share the axes
    of time and frequency, and the colours: black is 70 dB below the loudest."""
    from matplotlib.figure import Figure

    room = max(1, SHOWN // len(rows))
    shown = [(word, x[:room].cpu().float()) for word, x in rows]
    columns = max(len(x) for _, x in shown)
    if len(shown) == 1:
        columns = max(1, math.ceil(math.sqrt(columns)))
    cells = [
        [(word if not i else "", x[i : i + columns]) for i in range(0, max(1, len(x)), columns)] for word, x in shown
    ]
    lines = [line for part in cells for line in part]
    seconds = max([0.05, *(float(extent(x[:, None, :]).max()) / rate for _, x in lines if len(x))])
    spectra = [[decibels(clip[: max(1, int(extent(clip[None])))], rate) for clip in x] for _, x in lines]
    loudest = max((float(s.max()) for line in spectra for s in line), default=0.0)
    figure = Figure(figsize=(1.0 + 1.5 * columns, 0.6 + 1.2 * len(lines)), layout="constrained")
    axes = figure.subplots(len(lines), columns, sharex=True, sharey=True, squeeze=False)
    for (word, _), line, row in zip(lines, spectra, axes, strict=True):
        for panel in row[len(line) :]:
            panel.set_axis_off()
        for spectrum, panel in zip(line, row, strict=False):
            bins, frames = spectrum.shape
            hop = 2 * (bins - 1) // 8 or 1
            panel.imshow(
                spectrum,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=loudest - SPAN,
                vmax=loudest,
                extent=(0, frames * hop / rate, 0, rate / 2000),
            )
            panel.set_facecolor("black")
        row[0].set_ylabel(f"{word}\nkHz" if word else "kHz")
    axes[0, 0].set_xlim(0, seconds)
    for panel in axes[-1]:
        panel.set_xlabel("s")
    heard = [(f"{word or 'clip'} {i + 1}", x[i]) for word, x in shown for i in range(len(x))]
    step = max(1, math.ceil(len(heard) / PLAYED))
    return Sounds(Picture.of(figure).image, [(word, wav(clip, rate)) for word, clip in heard[::step]])
