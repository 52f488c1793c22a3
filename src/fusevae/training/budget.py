"""A training that takes a given time: its steps are timed first, so that its schedules come to their end."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.durations import duration
from fusevae.core.errors import InputError
from fusevae.core.processes import mean_over_processes
from fusevae.data.splits import Splits
from fusevae.training import diagnosis
from fusevae.training.experiment import Experiment
from fusevae.training.loop import Loop
from fusevae.training.prepare import prepare
from fusevae.training.progress import Progress

__all__ = ["Plan", "duration", "plan", "planned", "timed"]

USED = 0.95  # of the time: the rest is for checkpoints, and for steps that take longer than those that were timed
GLANCE, WARM, FEWEST, MOST = 3, 5, 10, 50  # steps of the smallest batches, of usual ones, and timed ones
TIMED = 0.02  # of the time: what the timed steps may take
VALIDATIONS, VALIDATING = 20, 0.1  # what a training has by default, and the part of the time that they may take
KEPT, SOON, LATEST = 0.1, 2.0, 30.0  # of the time, between two checkpoints, and its seconds at least and at most
LOOKED_AT = 500  # held-out examples at most, by which a validation is timed
UPDATES, SMALLEST = 1000, 16  # steps below which batches are made smaller, and examples that they keep
DEAR = 0.5  # of these steps, below which the smallest batches are taken without a look at larger ones


@dataclass
class Plan:
    """How long a training is to be, and why.

    Attributes:
        steps: that fit in the time.
        epochs: the same, as the setting ``training.epochs``.
        validate_every: steps between validations, None for the recipe's own.
        step_seconds: of one step, the mean of the timed ones.
        validation_seconds: of one look at the validation data.
        timed: how many steps were timed.
        batch_size: smaller than the recipe's where too few steps would fit, None for the recipe's own.
        checkpoint_every: steps between checkpoints, None for the recipe's own.
    """

    steps: int
    epochs: float
    validate_every: int | None
    step_seconds: float
    validation_seconds: float
    timed: int
    batch_size: int | None = None
    checkpoint_every: int | None = None

    def settings(self) -> dict[str, Any]:
        """The settings of the training that it changes."""
        found = {"epochs": self.epochs, "validate_every": self.validate_every, "batch_size": self.batch_size}
        found["checkpoint_every"] = self.checkpoint_every
        return {name: value for name, value in found.items() if value is not None}

    def __str__(self) -> str:
        smaller = f", in batches of {self.batch_size} so that they are more" if self.batch_size else ""
        return f"{self.steps:,} steps of {1000 * self.step_seconds:.3g} ms{smaller}"

    def json(self) -> dict[str, Any]:
        return asdict(self)


def planned(experiment: Experiment, data: Splits, device: str = "auto") -> tuple[Experiment, Plan | None]:
    """The same experiment with the plan of its ``training.budget`` among its settings, and that plan; as it is, and
    None, where it has no budget or has been planned. What is planned once stays: the same settings give the same steps
    on any machine, which may be too slow for them."""
    training = experiment.training
    if training.seconds is None or training.planned:
        return experiment, None
    found = plan(lambda: copy.deepcopy(experiment), data, training.seconds, device)
    return experiment.replaced(training=training.replaced(**found.settings(), planned=True)), found


def plan(make: Callable[[], Experiment], data: Splits, seconds: float, device: str = "auto") -> Plan:
    """Time 10 to 50 steps of an experiment after 5 others, and say how many steps fit into ``seconds``.

    The timed steps pass through all of the training's schedules, so that what happens in a part of it only (updates of
    the encoder alone, say) counts by its part. They are no part of the training, nor of its time.

    Where fewer than 1,000 would fit, batches are halved, down to 16 examples, until these do: a net of which a step is
    dear learns more from many noisy steps than from few (``conv-vae`` on 2,000 colour pictures of 24 pixels, 40 s of
    one core: -6451 nats after 299 steps of 16, -7043 after 79 steps of 64). Where not half of them fit in the smallest,
    no larger ones are tried: looking at 64 pictures of 96 pixels took longer than their training of 40 s was to take.

    Args:
        make: gives the experiment anew, since timing changes its weights.
        data: that it is trained on.
        seconds: the time for the training.
        device: as for :func:`fusevae.fit`.

    Raises :class:`InputError` where the model doesn't fit the data, or not one step fits into the time.
    """
    experiment = make()
    usual, accumulate = min(experiment.training.batch_size, len(data.train)), experiment.training.accumulate
    size, _ = fewer(usual, math.inf, seconds, accumulate)
    rough = timed(of_size(experiment, size), data, device, GLANCE)[0] if size < usual else 0.0
    if size == usual or USED * seconds / rough >= DEAR * UPDATES:
        size, rough = fewer(usual, timed(make(), data, device, WARM)[0], seconds, accumulate)
    count = min(MOST, max(FEWEST, int(TIMED * seconds / rough)))
    experiment = of_size(make(), size) if size < usual else make()
    step, validation, per_epoch = timed(experiment, data, device, count)
    every = experiment.training.validate_every
    validations = VALIDATIONS
    if every is not None:
        step_and_looks = step + validation / every
        steps = int((USED * seconds - validation) / step_and_looks)  # one of the start
    else:
        if validation * validations > VALIDATING * seconds:
            validations = max(1, int(VALIDATING * seconds / validation))
        steps = int((USED * seconds - (1 + validations) * validation) / step)
    if steps < 1:
        raise InputError(
            f"a step takes {step:.3g} s and a validation {validation:.3g} s: give more time than {seconds:g} s"
        )
    less = None if every is not None or validations == VALIDATIONS else -(-steps // validations)
    often = max(1, round(min(LATEST, max(SOON, KEPT * seconds)) / step))
    sooner = often if often < experiment.training.checkpoint_every else None
    smaller = size if size < usual else None
    return Plan(steps, steps / per_epoch, less, step, validation, count, smaller, sooner)


def of_size(experiment: Experiment, size: int) -> Experiment:
    """The same with batches of ``size``."""
    return experiment.replaced(training=experiment.training.replaced(batch_size=size))


def fewer(size: int, step: float, seconds: float, accumulate: int = 1) -> tuple[int, float]:
    """Examples of a batch, halved until enough steps fit into the time, and the seconds that one takes at best.

    Example:
        >>> fewer(64, 0.4, 200.0), fewer(64, 0.01, 200.0)
        ((16, 0.1), (64, 0.01))
    """
    while USED * seconds / step < UPDATES and size >= 2 * SMALLEST * accumulate:
        size, step = size // 2, step / 2
    return size, step


def timed(experiment: Experiment, data: Splits, device: str, steps: int) -> tuple[float, float, int]:
    """Seconds of a step, seconds of a validation, and the steps of an epoch; from a training of so many steps, and a
    look at some held-out examples. A validation is of all of them, and has a diagnosis of a block beside it, which is
    as long however many there are."""
    watch, held = Stopwatch(), data.validation
    some = held.spread(LOOKED_AT) if held.lengths is None else held.subset(middling(held.lengths, LOOKED_AT))
    data = replace(data, validation=some)
    size = min(experiment.training.batch_size, len(data.train))
    quick = {"epochs": steps / max(1, len(data.train) // size), "log_every": steps, "patience": None, "budget": None}
    never = {"validate_every": 10**9, "checkpoint_every": 10**9}
    settings = experiment.training.replaced(**quick, **never)
    loop: Loop = prepare(
        experiment.model, data, experiment.views, experiment.objective, settings, experiment.seed, device, None, watch
    )
    if not loop.run():  # its last step ends with a record, a validation and a diagnosis
        raise KeyboardInterrupt
    step = (watch.times[-2] - watch.times[0]) / max(1, len(watch.times) - 2)
    beside, look = watch.times[-1] - watch.times[-2] - step, 0.0
    judged = [name for name, player in loop.game.players.items() if player.judged]
    if len(some) and judged:
        started = time.perf_counter()
        with torch.no_grad(), noise.preserved(loop.device):
            diagnosis.held_out(loop, loop.average.ready(), judged)
        took = time.perf_counter() - started
        beside, look = beside - took, took * len(held) / len(some)
    look += max(0.0, beside)
    both = torch.tensor([max(step, 1e-6), look], dtype=torch.float64)
    step, validation = mean_over_processes(both.to(loop.device)).tolist()  # all of them have one plan
    return step, validation, loop.per_epoch


def middling(lengths: Tensor, n: int) -> Tensor:
    """The indices of at most ``n`` examples of about the mean length, as long as which blocks of like length are on
    average.

    Example:
        >>> middling(torch.tensor([9, 1, 4, 3, 1]), 2).tolist()
        [3, 2]
    """
    order = lengths.argsort(stable=True)
    at = int(torch.searchsorted(lengths[order].double(), lengths.double().mean()))
    first = max(0, min(at - n // 2, len(order) - n))
    return order[first : first + n]


class Stopwatch(Progress):
    """Shows nothing and notes when each step was done."""

    trial = True

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.times: list[float] = []

    def advance(self, step: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the host runs ahead of the device
        self.times.append(time.perf_counter())

    def say(self, message: str) -> None:
        """Nothing: a few steps say little of the training to come."""
