"""Distributions of the columns of a table, of data and of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fusevae.evaluation.pictures import BLUE, GREY, axes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def histograms(real: Tensor, sampled: Tensor, names: Sequence[str]) -> Figure:
    """Each feature's values in the data and in samples; the first twelve features of a table."""
    real, sampled = real.double().flatten(1), sampled.double().flatten(1)
    figure, axes = axes_of(min(12, real.shape[1]), width=2.6, height=2.0)
    for i, axis in enumerate(axes):
        low, high = torch.cat([real[:, i], sampled[:, i]]).quantile(torch.tensor([0.005, 0.995]).double()).tolist()
        if high <= low:
            low, high = low - 0.5, high + 0.5
        bins = np.linspace(low, high, 31).tolist()
        axis.hist(real[:, i].numpy(), bins, density=True, color=GREY, alpha=0.6, label="data")
        axis.hist(sampled[:, i].numpy(), bins, density=True, histtype="step", color=BLUE, lw=1.5, label="samples")
        axis.set_title(names[i], fontsize=9)
        axis.set_yticks([])
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def scatter(x: Tensor, again: Tensor, names: Sequence[str]) -> Figure:
    """Each feature after encoding and decoding against what it was."""
    x, again = x.double().flatten(1), again.double().flatten(1)
    figure, axes = axes_of(min(12, x.shape[1]), width=2.6, height=2.4)
    for i, axis in enumerate(axes):
        axis.axline((float(x[:, i].mean()),) * 2, slope=1, color=GREY, lw=1)
        axis.plot(x[:, i].numpy(), again[:, i].numpy(), ".", color=BLUE, ms=3, alpha=0.5)
        axis.set_title(names[i], fontsize=9)
        axis.set_xlabel("data", fontsize=8)
        axis.set_ylabel("reconstruction", fontsize=8)
    return figure
