"""Sound for the eye and the ear: spectrograms in seconds and kHz, and players."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fusevae.core.frames import extent
from fusevae.data.sheet import Picture
from fusevae.modalities.audio.writing import wav
from fusevae.nets.spectral import stft

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

SHOWN = 48  # clips of a sheet, at most
PLAYED = 24  # of a page
SPAN = 70.0  # dB from the loudest to black
SECONDS = 0.032  # of a window
WIDTH, HEIGHT, GAP = 130, 100, 16  # of a panel in points of the picture


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

    def parts(self) -> list[dict[str, Any]]:
        heard = [{"wav": base64.b64encode(file).decode(), "name": word} for word, file in self.clips]
        return [*super().parts(), *heard]


def decibels(x: Tensor, rate: int) -> np.ndarray:
    """The spectrogram of a clip ``(samples,)`` in dB below a sine at full scale, ``(bins, frames)``."""
    window = 2 ** max(3, round(math.log2(SECONDS * rate)))
    magnitude = stft(x, window, max(1, window // 8)).abs() * (4 / window)
    return (20 * magnitude.clamp(min=1e-6).log10()).numpy()


def sheet(rows: Sequence[tuple[str, Tensor]], rate: int) -> Sounds:
    """Rows of clips ``(n, samples)``, each with a word for it; one row without a word fills a grid. All share the axes
    of time and frequency, and the colours: black is 70 dB below the loudest."""
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
    heard = [(f"{word or 'clip'} {i + 1}", x[i]) for word, x in shown for i in range(len(x))]
    step = max(1, math.ceil(len(heard) / PLAYED))
    players = [(word, wav(clip, rate)) for word, clip in heard[::step]]
    return Sounds(Picture.of(_figure(lines, columns, seconds, rate)).image, players)


def _figure(lines: Sequence[tuple[str, Tensor]], columns: int, seconds: float, rate: int) -> Figure:
    """One pair of axes with all panels on it, which takes a tenth of the time of axes for each."""
    from matplotlib.figure import Figure

    wide, high = WIDTH + GAP, HEIGHT + GAP
    canvas = np.full((high * len(lines), wide * columns), np.nan, np.float32)
    for row, (_, x) in enumerate(lines):
        for column, clip in enumerate(x):
            samples = max(1, int(extent(clip[None])))
            panel = decibels(clip[:samples], rate)
            width = max(1, round(WIDTH * samples / rate / seconds))
            times, pitches = (np.arange(n) * m // n for n, m in zip((width, HEIGHT), panel.shape[::-1], strict=True))
            top = high * (len(lines) - 1 - row)
            canvas[top : top + HEIGHT, wide * column : wide * column + width] = panel[pitches][:, times]
    loudest = float(np.nanmax(canvas))
    figure = Figure(figsize=(1.0 + canvas.shape[1] / 100, 0.7 + canvas.shape[0] / 100))
    size = np.array([figure.get_figwidth(), figure.get_figheight()])
    axes = figure.add_axes((*(np.array([0.8, 0.5]) / size), *(np.array(canvas.shape[::-1]) / 100 / size)))
    axes.imshow(canvas, origin="lower", aspect="auto", cmap="magma", vmin=loudest - SPAN, vmax=loudest)
    axes.spines[:].set_visible(False)
    ends = [(0, "0"), *((wide * i + WIDTH, f"{seconds:.2g}") for i in range(columns))]
    axes.set_xticks([at for at, _ in ends], [word for _, word in ends], fontsize=7)
    starts = [high * (len(lines) - 1 - i) for i in range(len(lines))]
    axes.set_yticks(
        [at for start in starts for at in (start, start + HEIGHT / 2, start + HEIGHT)],
        [w for word, _ in lines for w in ("0", f"{word}  " if word else "", f"{rate / 2000:g}")],
        fontsize=7,
    )
    axes.set_xlabel("s", fontsize=8)
    axes.set_ylabel("kHz", fontsize=8)
    return figure
