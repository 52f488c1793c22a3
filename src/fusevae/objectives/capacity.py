"""A target for the KL that grows over the training (capacity)."""

from __future__ import annotations

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.beta import Linear
from fusevae.objectives.objective import Objective, with_score


class Capacity(Objective):
    r""":math:`E_q[\log p(x|z)] - \gamma\, |\mathrm{KL}(q(z|x) \| p(z)) - C|` in nats; C grows linearly, so
    that the latents take up one factor after another (Burgess et al. 2018).

    Args:
        capacity: C in nats at the end.
        gamma: weight of the distance.
        part: of the training over which C grows from 0.

    Example:
        >>> Capacity(capacity=20.0).is_bound(1.0)
        False
    """

    def __init__(self, capacity: float = 25.0, gamma: float = 10.0, part: float = 0.5) -> None:
        if capacity < 0 or gamma < 0:
            raise InputError(f"capacity is {capacity} and gamma {gamma}, expected at least 0: 25 and 10, say")
        self.capacity, self.gamma, self.part = capacity, gamma, part
        self._schedule = Linear(0.0, capacity, part)

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        distance = (trace.kl - self._schedule(progress)).abs()
        return with_score(trace.reconstruction - self.gamma * distance, trace)

    def is_bound(self, progress: float) -> bool:
        return False
