"""Two importance-weighted bounds at once: one for the generative model, one for the posterior (PIWAE)."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.trace import Trace
from fusevae.objectives.miwae import MIWAE
from fusevae.objectives.objective import log_mean_exp, one_level_with_path, scale_gradient, with_gradient_of

SMALLEST = 1e-25  # of a sample's weight: a ratio of weights must not overflow float32


class PIWAE(MIWAE):
    """The value and the gradient of prior and decoder are those of :class:`IWAE` with ``groups * each`` samples; the
    posterior gets the gradient of :class:`MIWAE` on the same samples (Rainforth et al. 2018).

    For one level of latents with a reparameterised posterior.

    Example:
        >>> PIWAE(groups=8, each=8).is_bound(0.0)
        True
    """

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        term = one_level_with_path(trace, self)
        log_weight = trace.held_log_weight
        with torch.no_grad():
            value = log_mean_exp(log_weight, 0)
            model = torch.softmax(log_weight, 0).clamp(min=SMALLEST)
            posterior = torch.softmax(log_weight.unflatten(0, (self.groups, self.each)), 1).flatten(0, 1) / self.groups
        scale_gradient(term.z, posterior / model)  # what passes through z trains the posterior alone
        assert term.q is not None
        score = term.q.log_prob(term.z.detach())
        return with_gradient_of(value, (model * log_weight).sum(0) - (posterior * score).sum(0))
