"""Distributions of the columns of a table, of data and of samples."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fusevae.evaluation.pictures import BLUE, GREY, axes_of
from fusevae.modalities.tables.column import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = 8  # classes of a column that are drawn, the most frequent ones


def histograms(real: Tensor, sampled: Tensor, columns: Sequence[Column]) -> Figure:
    """Each feature's values in the data and in samples; the first twelve features of a table."""
    real, sampled = real.double().flatten(1), sampled.double().flatten(1)
    figure, axes = axes_of(min(12, real.shape[1]), width=2.6, height=2.0)
    for i, axis in enumerate(axes):
        axis.set_title(columns[i].name, fontsize=9)
        axis.set_yticks([])
        if columns[i].classes is not None:
            _bars(axis, real[:, i], sampled[:, i], columns[i].classes or [])
            continue
        a, b = (x[~x[:, i].isnan(), i] for x in (real, sampled))
        both = torch.cat([a, b])
        if not len(both):
            continue
        low, high = both.quantile(torch.tensor([0.005, 0.995]).double()).tolist()
        if high <= low:
            low, high = low - 0.5, high + 0.5
        bins = np.linspace(low, high, 31).tolist()
        a, b = (x[(x >= low) & (x <= high)] for x in (a, b))
        weights = [np.full(len(x), 1 / max(1, len(x))) for x in (a, b)]
        axis.hist(a.numpy(), bins, weights=weights[0], color=GREY, alpha=0.6, label="data")
        axis.hist(b.numpy(), bins, weights=weights[1], histtype="step", color=BLUE, lw=1.5, label="samples")
        _in_words(axis.xaxis, columns[i])
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def _bars(axis: Any, real: Tensor, sampled: Tensor, classes: Sequence[str]) -> None:
    """The shares of the most frequent classes, and of missing cells where there are any."""
    n = len(classes)
    shares = [torch.bincount(x.nan_to_num(n).long(), minlength=n + 1).double() / len(x) for x in (real, sampled)]
    shown = shares[0].argsort(descending=True, stable=True)[:BARS].tolist()
    shown = [k for k in shown if shares[0][k] or shares[1][k]]
    places = np.arange(len(shown))
    axis.bar(places, shares[0][shown].numpy(), color=GREY, alpha=0.6, label="data")
    axis.bar(places, shares[1][shown].numpy(), fill=False, edgecolor=BLUE, lw=1.5, label="samples")
    axis.set_xticks(places, [(classes[k] if k < n else "missing")[:10] for k in shown], fontsize=6, rotation=45)


def _in_words(axis: Any, column: Column) -> None:
    """Let the ticks of an axis say classes and dates as the data have them."""
    if column.classes is not None and len(column.classes) <= BARS:
        axis.set_ticks(range(len(column.classes)), [name[:10] for name in column.classes], fontsize=6)
        return
    from matplotlib.ticker import MaxNLocator

    worded = column.kind == "date" or column.classes is not None
    axis.set_major_locator(MaxNLocator(2 if worded else 4, integer=worded))
    if worded:
        axis.set_major_formatter(lambda value, _: _word(column, value))


def _word(column: Column, value: float) -> str:
    """A value as the data have it; nothing where they can't."""
    with suppress(IndexError, ValueError, OverflowError):
        (word,) = column.words(column.typed(np.array([value])))
        return word[:16].removesuffix(" 00:00")
    return ""


def scatter(x: Tensor, again: Tensor, columns: Sequence[Column]) -> Figure:
    """Each feature after encoding and decoding against what it was."""
    x, again = x.double().flatten(1), again.double().flatten(1)
    figure, axes = axes_of(min(12, x.shape[1]), width=2.6, height=2.4)
    for i, axis in enumerate(axes):
        there = ~(x[:, i].isnan() | again[:, i].isnan())
        a, b = x[there, i], again[there, i]
        if len(a):
            axis.axline((float(a.mean()),) * 2, slope=1, color=GREY, lw=1)
        wide = 0.0 if columns[i].classes is None else 0.3  # dots of one class lie on each other
        aside, above = ((torch.arange(len(a)).double() * by % 1 * 2 - 1) * wide for by in (0.7549, 0.5698))
        axis.plot((a + aside).numpy(), (b + above).numpy(), ".", color=BLUE, ms=3, alpha=0.5)
        for each in (axis.xaxis, axis.yaxis):
            _in_words(each, columns[i])
        axis.set_title(columns[i].name, fontsize=9)
        axis.set_xlabel("data", fontsize=8)
        axis.set_ylabel("reconstruction", fontsize=8)
    return figure
