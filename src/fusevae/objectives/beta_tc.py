"""The KL in three parts, with a weight on the total correlation (beta-TC)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Independent

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.beta import Beta, beta_at
from fusevae.objectives.objective import Objective


class BetaTC(Objective):
    r"""The ELBO with its KL split into mutual information, total correlation and a KL of each dimension (Chen et al.
    2018):

    .. math:: E_q[\log p(x|z)] - \alpha I(x; z) - \beta\, \mathrm{KL}(q(z) \| \textstyle\prod_d q(z_d))
              - \gamma \sum_d \mathrm{KL}(q(z_d) \| p(z_d))

    The aggregate posterior q(z) is estimated from the batch. With all weights 1 it is the ELBO of one sample, else no
    bound is claimed. For factorised posteriors and priors.

    Args:
        beta: weight of the total correlation: a number, :class:`Linear` or :class:`Cyclical`.
        alpha: weight of the mutual information.
        gamma: weight of the dimensions' KL.

    Example:
        >>> BetaTC(beta=6.0).is_bound(0.0)
        False
    """

    batch_level = True

    def __init__(self, beta: float | Beta = 6.0, alpha: float = 1.0, gamma: float = 1.0) -> None:
        if min(alpha, gamma) < 0 or (not isinstance(beta, Beta) and beta < 0):
            raise InputError(f"beta is {beta}, alpha {alpha} and gamma {gamma}, expected at least 0: 6, 1 and 1, say")
        self.beta, self.alpha, self.gamma = beta, alpha, gamma

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        value = trace.reconstruction
        for term in trace.terms:
            q, p, z = term.q, term.p, term.z
            if not (isinstance(q, Independent) and isinstance(p, Independent) and term.has_path):
                raise InputError(
                    "BetaTC needs a factorised posterior and prior (Gaussian and Normal): take ELBO(beta=...)"
                )
            dims = q.reinterpreted_batch_ndims
            # log q(z_i | x_j) by dimension: (i, j, dims)
            each = q.base_dist.log_prob(z.unsqueeze(1)).flatten(-dims)
            own = q.base_dist.log_prob(z).flatten(-dims)
            prior = p.base_dist.log_prob(z).flatten(-dims)
            n = math.log(len(z))
            together = torch.logsumexp(each.sum(-1), 1) - n
            apart = torch.logsumexp(each, 1) - n
            information = own.sum(-1) - together
            correlation = together - apart.sum(-1)
            single = (apart - prior).sum(-1)
            beta = beta_at(self.beta, progress)
            value = value - self.alpha * information - beta * correlation - self.gamma * single
        return value

    def is_bound(self, progress: float) -> bool:
        return self.alpha == beta_at(self.beta, progress) == self.gamma == 1

    def cost(self, progress: float) -> float:
        return min(self.alpha, beta_at(self.beta, progress), self.gamma)
