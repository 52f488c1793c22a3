"""The importance-weighted bound (IWAE)."""

from __future__ import annotations

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.beta import Beta, beta_at
from fusevae.objectives.objective import Objective, log_mean_exp, with_score


class IWAE(Objective):
    r""":math:`\log \frac1k \sum_{i=1}^k \frac{p(x|z_i) p(z_i)}{q(z_i|x)}` in nats, a bound on log p(x) that tightens
    with k (Burda et al. 2016).

    It trains the generative model well; the signal that reaches q fades as k grows, which :class:`DReG` and
    :class:`PIWAE` mend.

    Args:
        samples: k.
        beta: weight of :math:`\log p(z_i) - \log q(z_i|x)` within: a number, :class:`Linear` or :class:`Cyclical`. A
            rise to 1 over the first part of a training keeps latents alive (Sønderby et al. 2016); below and above 1
            the value is no bound.

    Example:
        >>> IWAE(samples=5).is_bound(0.0)
        True
    """

    def __init__(self, samples: int = 5, beta: float | Beta = 1.0) -> None:
        if samples < 1:
            raise InputError(f"samples is {samples}, expected at least 1: 5, say")
        if not isinstance(beta, Beta) and beta < 0:
            raise InputError(f"beta is {beta}, expected at least 0: 1 is the bound")
        self.samples, self.beta = samples, beta

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        beta, log_weight = beta_at(self.beta, progress), trace.log_weight
        if beta != 1:
            log_weight = trace.reconstruction + beta * (log_weight - trace.reconstruction)
        return with_score(log_mean_exp(log_weight, 0), trace)

    def is_bound(self, progress: float) -> bool:
        return beta_at(self.beta, progress) == 1
