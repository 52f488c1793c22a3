"""The distance between aggregate posterior and prior as a penalty (MMD): InfoVAE and Wasserstein autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.beta import Beta, beta_at
from fusevae.objectives.objective import Objective, with_score

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class MMD(Objective):
    r""":math:`E_q[\log p(x|z)] - \beta\, \mathrm{KL}(q(z|x) \| p(z)) - \lambda\, \mathrm{MMD}^2(q(z), p(z))`.

    With ``beta=0`` a Wasserstein autoencoder (Tolstikhin et al. 2018), otherwise an InfoVAE (Zhao et al. 2019). The
    squared maximum mean discrepancy between the batch's latents and as many of the prior is estimated without bias,
    with inverse multiquadratic kernels of several widths.

    Args:
        weight: lambda: a number, or :class:`Linear` to let the latent come alive before it is led to the prior.
        beta: weight of the KL.

    Example:
        >>> MMD(beta=1.0).is_bound(0.0)
        False
    """

    batch_level = True
    beta: float

    def __init__(self, weight: float | Beta = 1000.0, beta: float = 0.0) -> None:
        if beta < 0 or (not isinstance(weight, Beta) and weight < 0):
            raise InputError(f"weight is {weight} and beta {beta}, expected at least 0: 1000 and 0, say")
        self.weight, self.beta = weight, beta

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        value = trace.reconstruction - self.beta * trace.kl if self.beta else trace.reconstruction
        weight = beta_at(self.weight, progress)
        for term in trace.terms:
            if term.levels:
                raise InputError("MMD compares latents that are numbers, these are codes: take ELBO()")
            drawn = noise.sample_to(term.p, trace.reconstruction.shape)
            dims = trace.reconstruction.dim()
            value = value - weight * squared_mmd(term.z.flatten(dims), drawn.flatten(dims))
        return with_score(value, trace)

    def is_bound(self, progress: float) -> bool:
        return False


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    r"""An unbiased estimate of the squared maximum mean discrepancy of two samples ``(n, d)``, summed over the kernels
    :math:`k(x, y) = C / (C + |x - y|^2)` with C = 2 d s for several scales s (Gretton et al. 2012)."""
    n = len(x)
    if n < 2:
        raise InputError(f"MMD compares samples of a batch and got {n}: take a batch_size of at least 2")
    apart = ~torch.eye(n, dtype=torch.bool, device=x.device)
    total = x.new_zeros(())
    for scale in SCALES:
        c = 2 * x.shape[1] * scale

        def kernel(a: Tensor, b: Tensor, c: float = c) -> Tensor:
            return c / (c + (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(-1))

        same = (kernel(x, x) + kernel(y, y)).where(apart, 0.0).sum() / (n * (n - 1))
        total = total + same - 2 * kernel(x, y).mean()
    return total
