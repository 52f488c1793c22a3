"""What the validation curves of short trainings tell of longer ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fusevae.training.callbacks import Moment

FALLEN = 0.1  # of what a training has gained on validation examples: once it has lost so much, more time won't help
PEAKED = 0.02  # of it: a short training that has lost so much has had its best state


def bound(record: Mapping[str, Any], of: str = "validation") -> float | None:
    """The bound of validation examples in a record, or of those of training, if there is one."""
    seen = record.get(of, {})
    return next((seen[key] for key in ("elbo", "log_bound") if seen.get(key) is not None), None)


def looks_of(records: Sequence[Mapping[str, Any]], total: int) -> list[tuple[float, float]]:
    """The looks at validation examples that found a bound: the part of the training, and what it was."""
    return [(r["step"] / total, value) for r in records if (value := bound(r)) is not None and math.isfinite(value)]


def per_doubling(short: float, longer: float, times: float) -> float:
    """Nats that a doubling of the time brings, of a training and one that is so many times as long: what a training
    gains falls with the logarithm of its length.

    Example:
        >>> per_doubling(-100.0, -96.0, 4.0)
        2.0
    """
    return (longer - short) / math.log2(times)


def lasting(short: float, longer: float, times: float, left: float) -> float:
    """How much better some settings than others will be after ``left`` times as long a training, by how much they were
    after a short one and after one ``times`` as long, on a line over the logarithm of the time; no more than they are.
    A fast learner's lead goes: a table with four times the learning rate had 0.12 nats after 4 s, 0.04 after 16 s and
    lost 0.02 after 40 s.

    Example:
        >>> lasting(4.0, 3.0, 4.0, 16.0), lasting(4.0, 2.0, 2.0, 16.0)
        (1.0, -6.0)
    """
    return min(longer, longer + per_doubling(short, longer, times) * math.log2(left))


def peak(looks: Sequence[tuple[float, float]], first: float) -> float | None:
    """The part of a training at which it was best on validation examples, where it has lost a part of what it had
    gained since ``first`` by its end; None where it may not have had its best state.

    Example:
        >>> peak([(0.5, -80.0), (1.0, -84.0)], -110.0), peak([(0.5, -84.0), (1.0, -80.0)], -110.0)
        (0.5, None)
    """
    part, best = max(looks, key=lambda look: look[1])
    return part if best - looks[-1][1] > PEAKED * (best - first) > 0 else None


class Fallen:
    """A callback that ends a training which learns by heart: one that has lost a part of what had been gained on
    validation examples, while it gained on those of training (what is lost where beta begins at 0 again comes back).

    Args:
        room: whether there is a use for the time, by the seconds at which the training was best.
        first: what it was at the start, of a training that goes on from another; by default what is seen first.

    Example:
        >>> fallen, now = Fallen(), Moment(1, 9, 2.0, dict, print)
        >>> [fallen({"validation": {"elbo": value}}, now) for value in (-100.0, -50.0, -54.0, -56.0)]
        [True, True, True, False]
    """

    def __init__(self, room: Callable[[float], bool] = lambda seconds: True, first: float | None = None) -> None:
        self.room, self.first = room, first
        self.most, self.at, self.seen = -math.inf, 0.0, False
        self.train = self.then = -math.inf  # the bound of training, now and at the best state

    def __call__(self, record: dict[str, Any], moment: Moment) -> bool:
        self.train = found if (found := bound(record, "train")) is not None else self.train
        if (value := bound(record)) is not None:
            self.first = value if self.first is None else self.first
            if value > self.most:
                self.most, self.at, self.then = value, moment.seconds, self.train
            lost = self.most - value > FALLEN * (self.most - self.first) > 0
            self.seen = lost and self.train >= self.then and self.room(self.at)
        return not self.seen
