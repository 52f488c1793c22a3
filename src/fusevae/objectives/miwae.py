"""The mean of several importance-weighted bounds (MIWAE)."""

from __future__ import annotations

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.objective import Objective, log_mean_exp, with_score


class MIWAE(Objective):
    r""":math:`\frac1M \sum_{m=1}^M \log \frac1K \sum_{k=1}^K w_{mk}` in nats: the mean of M importance-weighted
    bounds of K samples each, looser than one of M K samples but with a clearer signal to q (Rainforth et al. 2018).

    Args:
        groups: M.
        each: K.

    Example:
        >>> MIWAE(groups=8, each=8).samples
        64
    """

    def __init__(self, groups: int = 8, each: int = 8) -> None:
        if min(groups, each) < 1:
            raise InputError(f"groups is {groups} and each {each}, expected at least 1: 8 and 8, say")
        self.groups, self.each = groups, each

    @property
    def samples(self) -> int:  # type: ignore[override]
        return self.groups * self.each

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        grouped = trace.log_weight.unflatten(0, (self.groups, self.each))
        return with_score(log_mean_exp(grouped, 1).mean(0), trace)

    def is_bound(self, progress: float) -> bool:
        return True
