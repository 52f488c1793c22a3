"""Frames of standard normal numbers, as many as a learned mass over their number says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.conditional import Conditional, parameters
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.distributions.frames import NARROW, log_count, whole
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.mlp import Constant, Told


class NormalFrames(Conditional):
    r""":math:`p(z, n \mid c) = P(n \mid c) \prod_{t \le n} \mathcal N(z_t; 0, I)` over sequences ``(width, n)``: the
    plainest prior of sequences, and what other ones start from. Only the number of frames is learned, a logistic
    variable in its logarithm as of :class:`Frames`, given what is known of the whole. What follows the end is 0, and
    changes nothing.

    Args:
        width: numbers of a frame.
        longest: frames, at most.
        classes: number of labels, or :class:`Conditions`, if it is given one.

    Example:
        >>> p = NormalFrames(3, 8)()
        >>> z = p.sample((4,))
        >>> z.shape[:2], p.log_prob(z).shape
        (torch.Size([4, 3]), torch.Size([4]))
    """

    space = "frames"
    has_mean = False

    def __init__(self, width: int, longest: int, classes: int | Conditions = 0) -> None:
        if min(width, longest) < 1:
            raise InputError(f"width={width} and longest={longest} were given: expected at least 1 of each")
        super().__init__()
        self.width, self.longest, self.classes = width, longest, classes
        self.count = Told(classes, 2) if classes else Constant(2)

    def forward(self, *given: Tensor | None) -> NumberedNormal:
        place, raw = parameters(self.count, given).unbind(-1)
        # at the start half of the longest is usual
        return NumberedNormal(self, place + math.log(self.longest / 2), smooth_bound(raw, NARROW, 3.0).exp())

    def __call__(self, *given: Tensor | None) -> NumberedNormal:
        return cast(NumberedNormal, super().__call__(*given))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(1, 2), ()), (cls(1, 2, classes=2), (torch.tensor([0, 1, 1]),))]


class NumberedNormal(Distribution):
    """What :class:`NormalFrames` is given its conditions."""

    arg_constraints = {}
    draws_keyed = True

    def __init__(self, owner: NormalFrames, place: Tensor, spread: Tensor) -> None:
        self.owner, self.place, self.spread = owner, place, spread
        super().__init__(place.shape, torch.Size((owner.width, owner.longest)), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        n = extent(value)
        each = -0.5 * value.square() - 0.5 * math.log(2 * math.pi)
        return (each * within(n, value.shape[-1])).sum((-1, -2)) + self.log_count(n)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        lead = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            n = self.counts(lead)
            shape = (*lead, self.owner.width, self.owner.longest)  # whatever the longest here is
            drawn = noise.normal(shape, self.place.device, len(lead) - 1)[..., : longest_of(n)]
            return drawn * within(n, drawn.shape[-1])

    def log_count(self, n: Tensor) -> Tensor:
        """Nats of numbers of frames."""
        return log_count(n, self.place, self.spread, self.owner.longest)

    def counts(self, lead: Sequence[int]) -> Tensor:
        """Numbers of frames drawn, ``lead``."""
        u = noise.uniform(lead, self.place.device, len(lead) - 1).clamp_(1e-6, 1 - 1e-6)
        return whole(self.place + self.spread * u.logit(), self.owner.longest)


def longest_of(n: Tensor) -> int:
    """The largest of some numbers of frames; 1 where there is none."""
    return max(1, int(n.max())) if n.numel() else 1
