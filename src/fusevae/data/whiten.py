"""Whitening by a covariance that few examples can tell."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusevae.core.covariance import shrunk
from fusevae.core.steps import Step


class Whiten(Step):
    r"""Standardised features to uncorrelated ones of deviation 1, :math:`y = \Sigma^{-1/2} (x - \mu)`.

    :math:`\Sigma = (1 - s)\, S + s I` is the covariance S of the training data drawn to the identity by as much as
    their number asks for (Ledoit & Wolf 2004): a standard normal of y is a Gaussian whose correlations are as strong as
    the examples can tell, and of very few the one of independent features. The log-determinant is
    :math:`-\tfrac12 \log \det \Sigma`. Until :meth:`fit`, the identity.

    Args:
        shape: of one example.

    Example:
        >>> step, x = Whiten((2,)), torch.randn(5000, 1) + 0.1 * torch.randn(5000, 2)
        >>> step.fit(x)
        >>> torch.cov(step(x)[0].T).round(decimals=1).abs()
        tensor([[1., 0.],
                [0., 1.]])
    """

    mean: Tensor
    into: Tensor
    back: Tensor
    log_det: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, dims = tuple(shape), math.prod(shape)
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("into", torch.eye(dims))
        self.register_buffer("back", torch.eye(dims))
        self.register_buffer("log_det", torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        y = (x.flatten(-len(self.shape)) - self.mean) @ self.into
        return y.view(x.shape), self.log_det.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return (y.flatten(-len(self.shape)) @ self.back + self.mean).view(y.shape)

    def fit(self, x: Tensor) -> None:
        flat = x.flatten(1).double()
        mean = flat.mean(0)
        values, vectors = torch.linalg.eigh(shrunk(flat - mean))
        self.mean.copy_(mean)
        self.into.copy_(vectors * values.rsqrt() @ vectors.T)
        self.back.copy_(vectors * values.sqrt() @ vectors.T)
        self.log_det.copy_(-0.5 * values.log().sum())
        self.fitted = True
