"""The weight of the KL over a training: constant (a plain number), linear or cyclical."""

from __future__ import annotations

from abc import abstractmethod

from fusevae.core.description import Described
from fusevae.core.errors import InputError


class Beta(Described):
    """A weight as a function of the part of the training that is done."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The weight at ``progress`` in [0, 1]."""


class Linear(Beta):
    """From ``start`` to ``end`` over the first ``part`` of the training, then constant (Bowman et al. 2016).

    Example:
        >>> [Linear(part=0.5)(p) for p in (0.0, 0.25, 1.0)]
        [0.0, 0.5, 1.0]
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, part: float = 0.3) -> None:
        if not 0 < part <= 1:
            raise InputError(f"part is {part}, expected a part of the training above 0 and at most 1: 0.3, say")
        self.start, self.end, self.part = start, end, part

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * min(1.0, progress / self.part)


class Cyclical(Beta):
    """``cycles`` times a linear ramp from ``start`` to ``end`` over the first ``ramp`` of the cycle, then constant to
    its end
    (Fu et al. 2019).

    Example:
        >>> [Cyclical(cycles=4)(p) for p in (0.0, 0.0625, 0.2, 0.25, 1.0)]
        [0.0, 0.5, 1.0, 0.0, 1.0]
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, cycles: int = 4, ramp: float = 0.5) -> None:
        if cycles < 1 or not 0 < ramp <= 1:
            raise InputError(
                f"cycles is {cycles} and ramp {ramp}, expected at least 1 and a part in (0, 1]: 4 and 0.5, say"
            )
        self.start, self.end, self.cycles, self.ramp = start, end, cycles, ramp

    def __call__(self, progress: float) -> float:
        place = 1.0 if progress >= 1 else (progress * self.cycles) % 1
        return self.start + (self.end - self.start) * min(1.0, place / self.ramp)


def beta_at(beta: float | Beta, progress: float) -> float:
    """The weight that a number or a schedule gives at ``progress``."""
    return beta(progress) if isinstance(beta, Beta) else beta
