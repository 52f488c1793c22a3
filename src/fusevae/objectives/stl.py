"""The ELBO without the score of the posterior in its gradient ("sticking the landing")."""

from __future__ import annotations

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.objective import Objective, with_score


class STL(Objective):
    r""":math:`\log p(x|z) + \log p(z) - \log q(z|x)` on one sample, in nats; the gradient of log q reaches its
    parameters only through z. What is left out has expectation zero, and without it the gradient vanishes where q is
    the true posterior (Roeder et al. 2017).

    Example:
        >>> STL().is_bound(0.0)
        True
    """

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        if len(trace.terms) > 1:
            raise InputError(f"STL is for one level of latents, this model has {len(trace.terms)}: take ELBO or IWAE")
        return with_score(trace.held_log_weight, trace)

    def is_bound(self, progress: float) -> bool:
        return True
