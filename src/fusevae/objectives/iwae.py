"""The importance-weighted bound (IWAE)."""

from __future__ import annotations

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.objective import Objective, log_mean_exp, with_score


class IWAE(Objective):
    r""":math:`\log \frac1k \sum_{i=1}^k \frac{p(x|z_i) p(z_i)}{q(z_i|x)}` in nats, a bound on log p(x) that tightens
    with k (Burda et al. 2016).

    It trains the generative model well; the signal that reaches q fades as k grows, which :class:`DReG` and
    :class:`PIWAE` mend.

    Args:
        samples: k.

    Example:
        >>> IWAE(samples=5).is_bound(0.0)
        True
    """

    def __init__(self, samples: int = 5) -> None:
        if samples < 1:
            raise InputError(f"samples is {samples}, expected at least 1: 5, say")
        self.samples = samples

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        return with_score(log_mean_exp(trace.log_weight, 0), trace)

    def is_bound(self, progress: float) -> bool:
        return True
