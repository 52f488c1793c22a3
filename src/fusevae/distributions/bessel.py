r"""The mean of exp(kappa w) for a coordinate w of a uniform point on the sphere, by modified Bessel functions.

With order :math:`\nu = d/2 - 1`, everything about a von Mises-Fisher distribution in d dimensions follows from

.. math:: L(\kappa) = \log E[e^{\kappa w}] = \log \frac{\Gamma(\nu + 1)\, I_\nu(\kappa)}{(\kappa / 2)^\nu},
          \quad L' = A = \frac{I_{\nu+1}(\kappa)}{I_\nu(\kappa)}

which, unlike :math:`I_\nu` itself, neither over- nor underflows at any dimension.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LEAST_ORDER = 20  # the uniform expansion is taken at this order or above: its terms then fall below 1e-15
TERMS = 18


def log_mean_exp_coordinate(kappa: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    r""":math:`L(\kappa)` and :math:`A(\kappa) = L'(\kappa)`, the mean of w under the density that is proportional to
    :math:`e^{\kappa w}`, for ``kappa`` at least 0 of any shape.

    Both have gradients (once). In float64, to about 13 digits at every dimension from 2 to 512 (and beyond) and every
    kappa from 0 to 1e8 (``tests/test_hypersphere.py``).

    Example:
        >>> import torch
        >>> kappa = torch.tensor(2.0, dtype=torch.float64)
        >>> log_mean, mean = log_mean_exp_coordinate(kappa, dims=3)  # sinh(2) / 2, and coth(2) - 1 / 2
        >>> round(log_mean.exp().item(), 6), round(mean.item(), 6)
        (1.81343, 0.537315)
    """
    log_mean, mean = _LogMeanExp.apply(kappa, dims)
    return log_mean, mean


class _LogMeanExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa: Tensor, dims: int) -> tuple[Tensor, Tensor]:
        log_mean, mean, slope = bessel(kappa.double(), dims)
        ctx.save_for_backward(mean, slope)
        return log_mean.to(kappa.dtype), mean.to(kappa.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_log_mean: Tensor, of_mean: Tensor) -> tuple[Tensor, None]:
        mean, slope = ctx.saved_tensors
        return (of_log_mean * mean + of_mean * slope).to(of_log_mean.dtype), None


def bessel(kappa: Tensor, dims: int) -> tuple[Tensor, Tensor, Tensor]:
    r""":math:`L`, :math:`A = L'` and :math:`A'`, in float64.

    Debye's uniform expansion (NIST DLMF 10.41) in :math:`s = \sqrt{\nu^2 + \kappa^2}` holds for every kappa where the
    order is large. From there the recurrence :math:`A_m = 1 / (2 (m + 1) / \kappa + A_{m+1})`, whose errors shrink on
    the way down, leads to the order wanted (Amos 1974). All is in :math:`R = A / \kappa`, which is finite at 0.
    """
    order = dims / 2 - 1
    steps = max(0, math.ceil(LEAST_ORDER - order))
    top, square = order + steps, kappa**2
    s = (top**2 + square).sqrt()
    q = top**2 / s**2
    value, ratio, weighted = (
        ((q.unsqueeze(-1) ** torch.arange(TERMS, device=q.device)) @ table * s.unsqueeze(-1) ** -powers).sum(-1)
        for table, powers in _tables(kappa.device)
    )
    log_bessel = s - top * (top + s).log() - 0.5 * (2 * math.pi * s).log() + value  # log(I / kappa^order)
    ratio = 1 / (s + top) + ratio
    slope = ratio - square / s * ((s + top) ** -2 + weighted / s)
    ratios = []
    for m in range(steps - 1, -1, -1):
        twice = 2 * (order + m + 1)
        ratio = 1 / (twice + square * ratio)
        slope = ratio**2 * (twice - square * slope)
        ratios.append(ratio)
    if ratios:
        log_bessel = log_bessel - torch.stack(ratios).log().sum(0)
    log_mean = log_bessel + math.lgamma(order + 1) + order * math.log(2)
    return torch.where(square < 0.1 * dims, _series(square / 4, order), log_mean), kappa * ratio, slope


def _series(x: Tensor, order: float) -> Tensor:
    """L by its power series, which keeps its relative precision where the rest of the sum cancels."""
    term = total = x / (order + 1)
    for j in range(2, 10):
        term = term * x / (j * (order + j))
        total = total + term
    return torch.log1p(total)


@functools.cache
def _tables(device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Coefficients of powers of :math:`q = (\\nu / s)^2` (rows) and 1 / s (columns) in log I, in R and in the
    derivative of R, each with the powers of 1 / s.

    With :math:`Y = \\kappa I' / I` and the derivation :math:`D = \\kappa\\, d / d\\kappa`, Bessel's equation is
    :math:`D Y + Y^2 = s^2`, and :math:`D s^{-n} = -n (1 - q) s^{-n}`. So :math:`Y = s + \\sum_j Y_j(q) s^{-j}` with
    :math:`Y_0 = -(1 - q) / 2`, and each next polynomial follows from those before it.
    """
    polynomials = [[-0.5, 0.5]]
    for j in range(TERMS - 1):
        following = [0.0] * (j + 3)
        for i, c in enumerate(polynomials[j]):
            following[i] += 0.5 * (j + 2 * i) * c
            following[i + 1] -= 0.5 * (j + 2 * i) * c
        for a in range(j + 1):
            for i, c in enumerate(polynomials[a]):
                for k, e in enumerate(polynomials[j - a]):
                    following[i + k] -= 0.5 * c * e
        polynomials.append(following)
    # every Y_j has the factor 1 - q = (kappa / s)^2: divided by it, the sum is finite relative to kappa^2
    z = torch.zeros(TERMS, TERMS, dtype=torch.float64)
    for j, polynomial in enumerate(polynomials):
        z[: j + 1, j] = torch.tensor(polynomial[:-1], dtype=torch.float64).cumsum(0)
    powers = torch.arange(TERMS)
    n = powers + 2 * powers[:, None]
    in_log = (-z / n.clamp(min=1)).where(powers > 0, 0.0)
    tables = ((in_log, powers), (z, powers + 2), (z * (n + 2), powers + 2))
    return [(table.to(device), powers.to(device)) for table, powers in tables]
