"""The angle of a von Mises-Fisher sample to its mean direction, by the inverse of its distribution function."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from fusevae.distributions.bessel import bessel

REACH = 13.0  # standard deviations of the angle to either side of its mode
CELLS = 30  # of the table
NODES = 6  # of Gauss's quadrature in each
STEPS = 6  # Newton's, within a cell
BLOCK = 1 << 14  # distributions tabulated at once


def angle(u: Tensor, kappa: Tensor, dims: int) -> Tensor:
    r"""The angle :math:`\theta = F^{-1}(u; \kappa)` of which the density is proportional to
    :math:`g(\theta) = \sin^{d-2}\theta\, e^{\kappa \cos\theta}` on :math:`[0, \pi]`.

    Args:
        u: uniform numbers ``(*sample, *batch)`` in [0, 1), float64.
        kappa: ``(*batch,)``, float64, at least 0.
        dims: d, at least 2.

    Returns ``(*sample, *batch)``. One number gives one angle, whatever the others are, and the gradient is that of the
    implicit function, :math:`d\theta / d\kappa = -\partial_\kappa F / g` (Figurnov et al. 2018), with
    :math:`\partial_\kappa F = \int_0^\theta (\cos t - E[\cos t])\, g(t)\, dt` (g of mass 1) summed numerically.

    Example:
        >>> import torch
        >>> half = angle(torch.tensor([0.5]).double(), torch.tensor(0.0).double(), dims=3)  # the equator
        >>> round(half.item() / math.pi, 6)
        0.5
    """
    return _Angle.apply(u, kappa, dims)


class _Angle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, kappa: Tensor, dims: int) -> Tensor:
        batch = kappa.shape
        rows = u.reshape(-1, max(1, kappa.numel())).T.split(BLOCK)
        found = [_solve(r, k, dims) for r, k in zip(rows, kappa.reshape(-1).split(BLOCK), strict=True)]
        theta, slope = (torch.cat(parts).T.reshape(u.shape) for parts in zip(*found, strict=True))
        ctx.save_for_backward(slope)
        ctx.batch = batch
        return theta

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        (slope,) = ctx.saved_tensors
        return None, (gradient * slope).sum_to_size(ctx.batch), None


def _solve(u: Tensor, kappa: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Angles ``(n, samples)`` for ``u`` of that shape and ``kappa`` ``(n,)``, and their derivatives by kappa."""
    kappa = kappa[:, None]
    _, mean, _ = bessel(kappa, dims)
    # the mode of g, where (d - 2) cos = kappa sin^2, and the curvature of log g there
    both = (dims - 2 + ((dims - 2) ** 2 + 4 * kappa**2).sqrt()).clamp(min=1e-300)
    cosine, sine = 2 * kappa / both, (2 * (dims - 2) / both).sqrt()
    mode = torch.atan2(sine, cosine) if dims > 2 else torch.zeros_like(kappa)
    reach = REACH * (kappa * cosine + (both / 2 if dims > 2 else 0.0)).rsqrt()
    low, high = (mode - reach).clamp(min=0), (mode + reach).clamp(max=math.pi)
    step = (high - low) / CELLS
    top = (mode / 2).sin() ** 2
    nodes, weights = _gauss(u.device)

    def integrals(start: Tensor, width: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of g and of (cos - mean) g over ``width`` (n, m) from ``start``, and g at the end; g is 1 at the mode."""
        x = ((start.unsqueeze(-1) + width.unsqueeze(-1) * nodes) / 2).sin() ** 2  # cos = 1 - 2 x, precise where it is 1
        log_g = -2 * kappa.unsqueeze(-1) * (x - top.unsqueeze(-1))
        if dims > 2:
            log_g = log_g + (dims / 2 - 1) * (x * (1 - x) / (top * (1 - top)).unsqueeze(-1)).clamp(min=1e-300).log()
        g = log_g.exp()
        part = g * weights * width.unsqueeze(-1)
        return part.sum(-1), (part * (1 - mean.unsqueeze(-1) - 2 * x)).sum(-1), g[..., -1]

    starts = low + step * torch.arange(CELLS, device=u.device)
    mass, excess, _ = integrals(starts, step.expand_as(starts))
    before, excess_before = (F.pad(t.cumsum(-1), (1, 0)) for t in (mass, excess))
    want = u * before[:, -1:]
    cell = torch.searchsorted(before[:, 1:].contiguous(), want.contiguous(), right=True).clamp(max=CELLS - 1)
    start, want = starts.gather(-1, cell), want - before.gather(-1, cell)
    part = (want / mass.gather(-1, cell)).clamp(0, 1)
    power = 1 / (dims - 1)  # at the ends of [0, pi] the integral of g is about a power
    part = part.where(start > 0, part**power)
    part = part.where((cell < CELLS - 1) | (high < math.pi), 1 - (1 - part) ** power)
    width = part * step
    for _ in range(STEPS):
        found, _, g = integrals(start, width)
        width = torch.minimum((width - (found - want) / g.clamp(min=1e-300)).clamp(min=0), step)
    _, further, g = integrals(start, width)
    return start + width, -(excess_before.gather(-1, cell) + further) / g.clamp(min=1e-300)


@functools.cache
def _gauss(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss's quadrature over [0, 1], and the end of it with weight 0."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return torch.tensor([*(nodes + 1) / 2, 1.0], device=device), torch.tensor([*weights / 2, 0.0], device=device)
