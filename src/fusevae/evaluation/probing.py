"""Property prediction from the latent: how much of a property a line through latent space tells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError


@dataclass(frozen=True)
class Probe:
    """A linear predictor of a number from a latent, with its errors on held-out rows.

    Attributes:
        weight: ``(d,)``, in the property's unit.
        bias: a number.
        r2: part of the variance of held-out rows that it explains.
        mae: mean absolute error on these, in the property's unit.
        fitted: rows that it was fitted to.
        held_out: rows that its errors are of.
    """

    weight: Tensor
    bias: float
    r2: float
    mae: float
    fitted: int
    held_out: int

    def predict(self, z: Tensor) -> Tensor:
        """The property at latents ``(n, d)``, ``(n,)`` float64."""
        return z.double() @ self.weight + self.bias


def fit_property(z: Tensor, y: Tensor, ridge: float = 1.0, held_out: float = 0.2, seed: int = 0) -> Probe:
    r"""Ridge regression (Hoerl & Kennard 1970) of a property on latents, in closed form:

    .. math:: w = (Z^\top Z + \lambda I)^{-1} Z^\top y

    with the columns of Z and y standardised by the rows that are fitted.

    Args:
        z: latents ``(n, d)``.
        y: the property ``(n,)``; rows where it is not finite are left out.
        ridge: the penalty :math:`\lambda`.
        held_out: part of the rows, drawn by ``seed``, that R^2 and MAE are of.
        seed: of the draw.

    Example:
        >>> z = torch.randn(200, 3)
        >>> probe = fit_property(z, 2 * z[:, 0] + 1)
        >>> round(probe.r2, 2), probe.weight.round().int().tolist()
        (1.0, [2, 0, 0])
    """
    if z.dim() != 2 or y.shape != z.shape[:1]:
        raise InputError(f"latents of shape {tuple(z.shape)} and a property of {tuple(y.shape)}: expected (n, d), (n,)")
    if not 0 < held_out < 1 or ridge < 0:
        raise InputError(f"held_out={held_out}, ridge={ridge}: expected a part between 0 and 1, and 0 or more")
    known = y.isfinite()
    z, y = z[known].double(), y[known].double()
    n = round(held_out * len(y))
    if n < 2 or len(y) - n < 2:
        raise InputError(f"{len(y)} rows with a property were given: expected at least ten, to fit and to judge")
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(noise.key(seed, "probe")))
    test, train = order[:n], order[n:]
    centre, scale = z[train].mean(0), z[train].std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)
    middle, unit = y[train].mean(), y[train].std(correction=0)
    unit = torch.where(unit > 0, unit, 1.0)
    x = (z[train] - centre) / scale
    gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype)
    # pseudo-inverse: without a penalty, columns that are constant leave the matrix singular
    weight = torch.linalg.pinv(gram, hermitian=True) @ (x.T @ ((y[train] - middle) / unit)) * unit / scale
    bias = middle - centre @ weight
    error = y[test] - z[test] @ weight - bias
    spread = (y[test] - y[test].mean()).square().sum()
    r2 = 1 - (error.square().sum() / spread).item() if spread > 0 else float("nan")
    return Probe(weight, bias.item(), r2, error.abs().mean().item(), len(train), n)
