"""Distributions of the columns of a table, of data and of samples."""

from __future__ import annotations

from collections.abc import Sequence
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
        apart = torch.linspace(-wide, wide, max(1, len(a))).double()[torch.arange(len(a)) * 7919 % max(1, len(a))]
        axis.plot((a + apart).numpy(), (b + apart.flip(0)).numpy(), ".", color=BLUE, ms=3, alpha=0.5)
        axis.set_title(columns[i].name, fontsize=9)
        axis.set_xlabel("data", fontsize=8)
        axis.set_ylabel("reconstruction", fontsize=8)
    return figure
