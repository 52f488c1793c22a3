"""Pictures of a run: grids of images, histograms of tables, curves of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.files import written_whole
from fusevae.core.spec import DataSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

TILE = 48  # pixels that an image of a grid has at least, so that tiny ones can be seen
GAP = 2
PAPER = (228, 228, 228)
BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#888888"


def pixels(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Images ``(n, channels, h, w)`` in the data's units as uint8 ``(n, h, w, 3)``; two channels show the first."""
    scaled = (x.float() - spec.low) / ((spec.high - spec.low) or 1.0)
    bytes_ = (scaled.clamp(0, 1) * 255).round().to(torch.uint8)
    three = bytes_[:, :3] if bytes_.shape[1] >= 3 else bytes_[:, :1].expand(-1, 3, -1, -1)
    return three.permute(0, 2, 3, 1).contiguous().numpy()


def picture(x: Tensor, spec: DataSpec) -> Image:
    """One image ``(channels, h, w)`` in its own size; grey where it has one channel."""
    from PIL import Image

    image = Image.fromarray(pixels(x[None], spec)[0])
    return image.convert("L") if x.shape[0] < 3 else image


def grid(x: Tensor, spec: DataSpec, columns: int | None = None, labels: Sequence[str] = ()) -> Image:
    """Images ``(n, channels, h, w)`` row by row, enlarged without smoothing where they are tiny.

    Args:
        x: in the data's units.
        spec: of the data.
        columns: images in a row; by default about as many as rows.
        labels: a word for each row, at its left.
    """
    from PIL import Image, ImageDraw, ImageFont

    n, _, height, width = x.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = max(1, math.ceil(TILE / max(height, width)))
    height, width = height * scale + GAP, width * scale + GAP
    font = ImageFont.load_default(size=13)
    margin = max((math.ceil(font.getlength(label)) + 8 for label in labels), default=0)
    sheet = Image.new("RGB", (margin + columns * width + GAP, rows * height + GAP), PAPER)
    for i, image in enumerate(pixels(x, spec)):
        tile = Image.fromarray(image.repeat(scale, 0).repeat(scale, 1))
        sheet.paste(tile, (margin + i % columns * width + GAP, i // columns * height + GAP))
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(labels):
        draw.text((4, row * height + height // 2), label, fill=(40, 40, 40), font=font, anchor="lm")
    return sheet


def pairs(x: Tensor, again: Tensor, spec: DataSpec, columns: int = 12) -> Image:
    """Originals, and below each row of them what the model makes of them."""
    columns = min(columns, len(x))
    n = len(x) // columns * columns
    rows = [part for a, b in zip(x[:n].split(columns), again[:n].split(columns), strict=True) for part in (a, b)]
    return grid(torch.cat(rows), spec, columns, labels=["data", "model"] * (len(rows) // 2))


def save_image(image: Image, path: Path) -> None:
    """Write a picture as PNG, whole."""
    with written_whole(path) as beside:
        image.save(beside, format="PNG")


def histograms(real: Tensor, sampled: Tensor, path: Path) -> None:
    """Each feature's values in the data and in samples; the first twelve features of a table."""
    real, sampled = real.float().flatten(1), sampled.float().flatten(1)
    figure, axes = _sheet(min(12, real.shape[1]), width=2.6, height=2.0)
    for i, axis in enumerate(axes):
        low, high = torch.cat([real[:, i], sampled[:, i]]).quantile(torch.tensor([0.005, 0.995])).tolist()
        if high <= low:
            low, high = low - 0.5, high + 0.5
        bins = np.linspace(low, high, 31).tolist()
        axis.hist(real[:, i].numpy(), bins, density=True, color=GREY, alpha=0.6, label="data")
        axis.hist(sampled[:, i].numpy(), bins, density=True, histtype="step", color=BLUE, lw=1.5, label="samples")
        axis.set_title(f"feature {i}", fontsize=9)
        axis.set_yticks([])
    axes[0].legend(fontsize=8, frameon=False)
    _save(figure, path)


def scatter(x: Tensor, again: Tensor, path: Path) -> None:
    """Each feature after encoding and decoding against what it was."""
    x, again = x.float().flatten(1), again.float().flatten(1)
    figure, axes = _sheet(min(12, x.shape[1]), width=2.6, height=2.4)
    for i, axis in enumerate(axes):
        axis.axline((float(x[:, i].mean()),) * 2, slope=1, color=GREY, lw=1)
        axis.plot(x[:, i].numpy(), again[:, i].numpy(), ".", color=BLUE, ms=3, alpha=0.5)
        axis.set_title(f"feature {i}", fontsize=9)
        axis.set_xlabel("data", fontsize=8)
        axis.set_ylabel("reconstruction", fontsize=8)
    _save(figure, path)


def curves(records: Sequence[dict[str, Any]], path: Path) -> None:
    """What ``metrics.jsonl`` holds: the bound and its parts in nats, KL by dimension, gradients, learning rate."""
    train = [(r["step"], r["train"]) for r in records if "train" in r]
    held = [(r["step"], r["validation"]) for r in records if "validation" in r]
    looked = [r for r in records if "learning_rate" in r]
    names = {"elbo": "ELBO", "log_bound": "log-likelihood or its bound", "reconstruction": "reconstruction", "kl": "KL"}
    shown = [key for key in names if any(key in metrics for _, metrics in train + held)]
    last = next((m["kl_per_dimension"] for _, m in reversed(held + train[-1:]) if "kl_per_dimension" in m), None)
    figure, axes = _sheet(len(shown) + (last is not None) + 2, width=4.4, height=2.7, across=2)
    todo = iter(axes)
    for key in shown:
        axis = next(todo)
        for points, color, label in ((train, BLUE, "training"), (held, ORANGE, "validation, averaged weights")):
            at = [(step, metrics[key]) for step, metrics in points if key in metrics]
            if at:
                axis.plot(*zip(*at, strict=True), color=color, lw=1.2, label=label)
                _leave_out_start(axis, [v for _, v in at])
        axis.set_title(f"{names[key]} (nats per example)", fontsize=9)
        axis.legend(fontsize=7, frameon=False)
    if last is not None:
        axis = next(todo)
        start = 0
        for name, values in last.items():
            axis.bar(range(start, start + len(values)), sorted(values, reverse=True), label=name, width=1.0)
            start += len(values)
        axis.set_title("KL per dimension, largest first (nats)", fontsize=9)
        if len(last) > 1:
            axis.legend(fontsize=7, frameon=False)
    axis = next(todo)
    steps = [r["step"] for r in looked]
    for suffix, color in (("gradient_norm", BLUE), ("skipped", ORANGE)):
        for key in [k for k in (looked[0] if looked else {}) if k.endswith(suffix)]:
            side = axis if suffix == "gradient_norm" else axis.twinx()
            side.plot(steps, [r.get(key, math.nan) for r in looked], color=color, lw=1.2)
            name = "updates left out" if suffix == "skipped" else key.replace("_", " ")
            side.set_ylabel(name, fontsize=8, color=color)
            side.tick_params(labelsize=7)
            if suffix == "skipped":
                side.set_ylim(0, max(1, *(r.get(key, 0) for r in looked)) * 1.1)
    axis.set_title("gradient norm and updates left out", fontsize=9)
    axis = next(todo)
    axis.plot(steps, [r["learning_rate"] for r in looked], color=BLUE, lw=1.2)
    axis.set_title("learning rate", fontsize=9)
    _save(figure, path)


def _leave_out_start(axis: Axes, values: list[float]) -> None:
    """Choose the range by what comes after the first tenth, or the start would flatten all that follows."""
    later = [v for v in values[len(values) // 10 :] if math.isfinite(v)]
    if len(later) < 2:
        return
    low, high = min(later), max(later)
    room = 0.05 * (high - low) or 1.0
    if axis.get_autoscaley_on():
        axis.set_ylim(low - room, high + room)
    else:
        before = axis.get_ylim()
        axis.set_ylim(min(low - room, before[0]), max(high + room, before[1]))


def _sheet(n: int, width: float, height: float, across: int = 4) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(across, n)
    rows = math.ceil(n / columns)
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(n)]
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as beside:
        figure.savefig(beside, format="png", dpi=110)
