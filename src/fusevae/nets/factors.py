"""Factor analysis: what few rows can tell of many columns for sure."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusevae.core.covariance import shrunk
from fusevae.core.description import Described

ROUNDS = 100  # of the fit, at most
LEAST = 1e-4  # part of a column's variance that is its own


class Factors(Described, nn.Module):
    r""":math:`x = \mu + W z + \epsilon,\ z \sim \mathcal N(0, 1),\ \epsilon \sim \mathcal N(0, \operatorname{diag}
    \psi)` over columns ``(n, dims)``, of greatest likelihood for their covariance, drawn to independence by as much as
    the number of rows asks for (:func:`shrunk`). The factors are turned so that :math:`W^\top \psi^{-1} W` is diagonal,
    and so is the posterior's covariance. Until :meth:`fit`, nothing depends on anything.

    Args:
        dims: columns.
        latent: factors.

    Example:
        >>> factors, z = Factors(3, 1), torch.randn(2000, 1)
        >>> factors.fit(torch.cat([z, -z, 2 * z], 1) + 0.1 * torch.randn(2000, 3))
        >>> factors.loadings.abs().round(decimals=1).flatten()
        tensor([1., 1., 2.])
    """

    center: Tensor
    loadings: Tensor
    variance: Tensor

    def __init__(self, dims: int, latent: int) -> None:
        super().__init__()
        self.dims, self.latent, self.fitted = dims, latent, False
        self.register_buffer("center", torch.zeros(dims))
        self.register_buffer("loadings", torch.zeros(dims, latent))
        self.register_buffer("variance", torch.ones(dims))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """By turns the leading factors given the columns' own variances, and these given the factors."""
        x = x.double()
        center, scale = x.mean(0), x.std(0, correction=0)
        varies = scale > 1e-6
        scale = torch.where(varies, scale, 1.0)
        covariance, k = shrunk((x - center) / scale), min(self.latent, self.dims - 1)
        own, total = 1 / torch.linalg.inv(covariance).diagonal(), covariance.diagonal()
        for _ in range(ROUNDS):
            root = own.sqrt()
            values, vectors = torch.linalg.eigh(covariance / root[:, None] / root)
            loadings = root[:, None] * vectors[:, self.dims - k :] * (values[self.dims - k :] - 1).clamp(min=0).sqrt()
            before, own = own, (total - loadings.square().sum(1)).clamp(min=LEAST)
            if (own - before).abs().max() < 1e-3 * own.min():
                break
        self.center.copy_(center)
        self.loadings[:, :k] = (scale[:, None] * loadings.flip(1)).to(self.loadings)
        self.variance.copy_(torch.where(varies, scale.square() * own, LEAST))
        self.fitted = True

    def infer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``(*batch, latent)`` and root ``(*batch, latent, latent)``, lower triangular, of the covariance of z
        given what is there of x (NaN where it isn't); where all is, that is diagonal, and the logarithms of its
        diagonal are given, ``(*batch, latent)``."""
        over, there = self.loadings / self.variance[:, None], ~x.isnan()
        z = torch.where(there, x - self.center, 0.0) @ over
        if bool(there.all()):
            precision = 1 + (self.loadings * over).sum(0)
            return z / precision, (-0.5 * precision.log()).expand_as(z)
        each = (self.loadings[:, :, None] * over[:, None, :]).flatten(1)  # (dims, latent * latent)
        one = torch.eye(self.latent, device=x.device)
        within = (there.to(z) @ each).unflatten(-1, (self.latent, -1)) + one
        turned = torch.linalg.cholesky(within.flip(-2, -1)).flip(-2, -1).mT  # within = turned.mT @ turned
        root = torch.linalg.solve_triangular(turned, one, upper=False)
        return (root @ (root.mT @ z[..., None]))[..., 0], root

    def expect(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of x given z, ``(*batch, dims)``."""
        mean = self.center + z @ self.loadings.T
        return mean, (0.5 * self.variance.log()).expand_as(mean)

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self.fitted = True
