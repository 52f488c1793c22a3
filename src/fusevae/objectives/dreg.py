"""The importance-weighted bound with doubly reparameterised gradients (DReG)."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.trace import Trace
from fusevae.objectives.iwae import IWAE
from fusevae.objectives.objective import log_mean_exp, one_level_with_path, scale_gradient, with_gradient_of


class DReG(IWAE):
    r"""The bound of :class:`IWAE`; the gradient of the posterior's parameters is
    :math:`\sum_i \tilde w_i^2\, \partial_z \log w_i\, \partial_\phi z_i`, unbiased, with a signal that doesn't fade
    as k grows (Tucker et al. 2019).

    For one level of latents with a reparameterised posterior: in a hierarchy q of a lower level depends on the latent
    above, and the identity behind it holds for all levels together only (Bauer & Mnih 2021).

    Example:
        >>> DReG(samples=5).is_bound(0.0)
        True
    """

    def __init__(self, samples: int = 5) -> None:
        super().__init__(samples)

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        term = one_level_with_path(trace, self)
        log_weight = trace.held_log_weight
        with torch.no_grad():
            value, weight = log_mean_exp(log_weight, 0), torch.softmax(log_weight, 0)
        scale_gradient(term.z, weight)
        return with_gradient_of(value, (weight * log_weight).sum(0))
