"""Covariance of few examples."""

from __future__ import annotations

import torch
from torch import Tensor


def shrunk(x: Tensor) -> Tensor:
    """The covariance of centred examples ``(n, d)``, drawn to the identity by as much as their number asks for (Ledoit
    & Wolf 2004); a feature that doesn't vary has 1."""
    n, d = x.shape
    covariance = x.T @ x / n
    covariance.diagonal().masked_fill_(covariance.diagonal() == 0, 1.0)
    target = torch.eye(d, dtype=x.dtype, device=x.device)
    away = (covariance - target).square().sum()
    noise = (x.square().sum(1).square().mean() - (x.T @ x / n).square().sum()) / n  # of S, the sum over its entries
    share = (noise / away).clamp(0, 1).item() if away > 0 else 1.0
    share = max(share, 1e-4)  # no direction is without any variance
    return (1 - share) * covariance + share * target
