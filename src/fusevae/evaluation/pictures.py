"""Curves of a training, and what every picture by matplotlib has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fusevae.data.sheet import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#888888"


def curves(records: Sequence[dict[str, Any]]) -> Picture:
    """What ``metrics.jsonl`` holds: the bound and its parts in nats, KL by dimension, gradients, learning rate."""
    train = [(r["step"], r["train"]) for r in records if "train" in r]
    held = [(r["step"], r["validation"]) for r in records if "validation" in r]
    looked = [r for r in records if "learning_rate" in r]
    names = {"elbo": "ELBO", "log_bound": "log-likelihood or its bound", "reconstruction": "reconstruction", "kl": "KL"}
    shown = [key for key in names if any(key in metrics for _, metrics in train + held)]
    last = next((m["kl_per_dimension"] for _, m in reversed(held + train[-1:]) if "kl_per_dimension" in m), None)
    figure, axes = axes_of(len(shown) + (last is not None) + 2, width=4.4, height=2.7, across=2)
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
    return Picture.of(figure)


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


def axes_of(n: int, width: float, height: float, across: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure of ``n`` small plots, of so many inches each."""
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
