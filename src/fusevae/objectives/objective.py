"""Objective: a function of the trace of one inference; it never reaches into a model's nets."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from fusevae.core.description import Described
from fusevae.core.trace import Trace


class Objective(Described):
    """What is maximised, in nats per example.

    Attributes:
        samples: latents drawn for each example; 0 for one without a sample dimension.
    """

    samples: int = 0

    @abstractmethod
    def __call__(self, trace: Trace, progress: float) -> Tensor:
        """The value to maximise, ``(*batch,)``; its gradient trains every part of the model.

        ``progress`` is the part of the training that is done, from 0 to 1, for schedules.
        """

    @abstractmethod
    def is_bound(self, progress: float) -> bool:
        """Whether the value's expectation is at most log p(x)."""


def with_score(value: Tensor, trace: Trace) -> Tensor:
    r"""``value`` with the gradient that reaches a posterior without a path:
    :math:`\nabla E_q[f] = E_q[\nabla f + f \nabla \log q]` (Williams 1992). The value is unchanged."""
    if (score := trace.score) is None:
        return value
    return value + value.detach() * (score - score.detach())
