"""Covariance of few examples."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 20  # of expectation and maximisation, at most
MOST = 1000  # examples that are looked at, where more than so many differ in what is missing
AT_ONCE = 500


def gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(d,)`` and covariance of examples ``(n, d)`` of which some values are missing (NaN), drawn to the identity
    as by :func:`shrunk`: by turns what is missing given what is there, and the covariance of both (Dempster et al.
    1977). Where cells are missing by chance, or by what is there, that is no less sure to tend to the truth than
    without gaps; means in their places would take from every covariance.

    Example:
        >>> a, gone = torch.randn(4000, 1), torch.rand(4000, 2) < 0.3
        >>> x = torch.cat([a, a + torch.randn(4000, 1)], 1).masked_fill(gone, torch.nan)
        >>> gaussian(x)[1].round(decimals=0)
        tensor([[1., 1.],
                [1., 2.]])
    """
    if len((~x.isnan()).unique(dim=0)) > MOST:
        x = x[:MOST]
    mean, there = x.nanmean(0).nan_to_num(0.0), ~x.isnan()
    covariance = shrunk((x - mean).nan_to_num(0.0))
    if bool(there.all()):
        return mean, covariance
    patterns, which, counts = there.unique(dim=0, return_inverse=True, return_counts=True)
    seen, parts = patterns.to(x), counts.to(x)[:, None, None] / len(x)
    for _ in range(ROUNDS):
        own = covariance * seen[:, :, None] * seen[:, None, :] + torch.diag_embed(1 - seen)
        told = torch.linalg.solve(own, seen[:, :, None] * covariance)  # what each value that is there tells of all
        apart = torch.where(there, x - mean, 0.0)
        some = zip(apart.split(AT_ONCE), which.split(AT_ONCE), strict=True)
        filled = torch.cat([(rows[:, None] @ told[w])[:, 0] for rows, w in some])
        unsure = (parts * (covariance - covariance @ (seen[:, :, None] * told))).sum(0)
        before, mean = covariance, mean + filled.mean(0)
        covariance = shrunk(filled - filled.mean(0), unsure)
        if (covariance - before).abs().max() < 0.01:
            break
    return mean, covariance


def shrunk(x: Tensor, unsure: Tensor | None = None) -> Tensor:
    """The covariance of centred examples ``(n, d)``, drawn to the identity by as much as their number asks for (Ledoit
    & Wolf 2004); a feature that doesn't vary has 1. ``unsure`` is what their own covariance adds, where they are but
    expected."""
    n, d = x.shape
    covariance = x.T @ x / n if unsure is None else x.T @ x / n + unsure
    covariance.diagonal().masked_fill_(covariance.diagonal() == 0, 1.0)
    target = torch.eye(d, dtype=x.dtype, device=x.device)
    away = (covariance - target).square().sum()
    noise = (x.square().sum(1).square().mean() - (x.T @ x / n).square().sum()) / n  # of S, the sum over its entries
    share = (noise / away).clamp(0, 1).item() if away > 0 else 1.0
    share = max(share, 1e-4)  # no direction is without any variance
    return (1 - share) * covariance + share * target
