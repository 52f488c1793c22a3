"""A training that takes a given time: its steps are timed first, so that its schedules come to their end."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.durations import clock
from fusevae.core.errors import InputError
from fusevae.core.processes import mean_over_processes, world
from fusevae.data.examples import Examples
from fusevae.data.splits import Splits
from fusevae.training import diagnosis, moments
from fusevae.training.experiment import Experiment
from fusevae.training.loop import Loop
from fusevae.training.prepare import Ready, pick_device, ready
from fusevae.training.progress import Progress

USED = 0.95  # of the time: the rest is for checkpoints, and for steps that take longer than those that were timed
WARM, FEWEST, MOST = 5, 10, 50  # steps that say how large batches can be, and timed ones
TIMED, TRIED = 0.02, 0.1  # of the time: what the timed steps may take; after which fewer of them have to do
VALIDATIONS, VALIDATING = 20, 0.1  # what a training has by default, and the part of the time that they may take
FEWEST_LOOKS, SEEN = 5, 500  # validations that a training has, of fewer examples where these are dear; so many at least
KEPT, SOON, LATEST = 0.1, 2.0, 30.0  # of the time, between two checkpoints, and its seconds at least and at most
GLANCED, LOOKED_AT = 20, 500  # held-out examples by which a validation is timed; at most, where that is soon done
GLANCE = 0.1  # seconds that the first may take for it
LEAST = 0.25  # of the time, what a training has however long all else takes
AFTER, DRAWN = 0.15, 2.5  # of the time, what a report after the training is given at most; seconds of its pictures
AGAIN = 3  # times a validation that its figures take of as many examples
UPDATES, SMALLEST = 1000, 16  # steps below which batches are made smaller, and examples that they keep


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
        beside: seconds of the time that are for what is before and after the training.
        over: seconds by which these are too many for a training within the time.
        validated: examples of a validation, None for all.
    """

    steps: int
    epochs: float
    validate_every: int | None
    step_seconds: float
    validation_seconds: float
    timed: int
    batch_size: int | None = None
    checkpoint_every: int | None = None
    beside: float = 0.0
    over: float = 0.0
    validated: int | None = None

    def settings(self) -> dict[str, Any]:
        """The settings of the training that it changes."""
        found = {"epochs": self.epochs, "validate_every": self.validate_every, "batch_size": self.batch_size}
        found |= {"checkpoint_every": self.checkpoint_every, "beside": self.beside, "validated": self.validated}
        return {name: value for name, value in found.items() if value is not None}

    def __str__(self) -> str:
        smaller = f", in batches of {self.batch_size} so that they are more" if self.batch_size else ""
        over = (
            f"; all else takes so long that it will be {clock(self.over)} more than was asked for" if self.over else ""
        )
        return f"{self.steps:,} steps of {1000 * self.step_seconds:.3g} ms{smaller}{over}"

    def json(self) -> dict[str, Any]:
        return asdict(self)


def begun(
    experiment: Experiment,
    data: Splits,
    device: str = "auto",
    folder: str | Path | None = None,
    progress: Progress | None = None,
    since: float | None = None,
    report: bool = False,
) -> tuple[Experiment, Loop, Plan | None]:
    """The loop of an experiment, ready to run; where its ``training.budget`` has not been planned yet, with the plan
    among the settings of the experiment that is returned, and that plan. What is planned once stays: the same settings
    give the same steps on any machine, which may be too slow for them. Model and data are prepared once: what is timed
    is a copy.

    Args:
        since: when the time began, by :func:`time.monotonic`; now by default.
        report: whether one is written after the training.
    """
    since, progress = time.monotonic() if since is None else since, progress or Progress(quiet=True)
    views, objective, training, seed = experiment.views, experiment.objective, experiment.training, experiment.seed
    made, found = ready(experiment.model, data, views, objective, training, seed, folder, progress), None
    if (seconds := training.seconds) is not None and not training.planned:
        found = plan(experiment, data, seconds, device, made, since, report)
        training = training.replaced(**found.settings(), planned=True)
        experiment, progress.until = experiment.replaced(training=training), since + seconds
    return experiment, made.loop(data, training, seed, device, folder, progress), found


def plan(
    experiment: Experiment,
    data: Splits,
    seconds: float,
    device: str = "auto",
    made: Ready | None = None,
    since: float | None = None,
    report: bool = False,
) -> Plan:
    """Time 10 to 50 steps of an experiment after 5 others, and say how many steps fit into ``seconds``.

    The timed steps pass through all of the training's schedules, so that what happens in a part of it only (updates of
    the encoder alone, say) counts by its part. They are no part of the training.

    Where fewer than 1,000 would fit, batches are smaller, down to 16 examples, until these do: a net of which a step is
    dear learns more from many noisy steps than from few (``conv-vae`` on 2,000 colour pictures of 24 pixels, 40 s of
    one core: -6451 nats after 299 steps of 16, -7043 after 79 steps of 64).

    Args:
        experiment: what is trained; its model is changed by it where nothing was ``made``.
        data: that it is trained on.
        seconds: the time for the training; where it is said since when, for everything.
        device: as for :func:`fusevae.fit`.
        made: of the experiment, a copy of which is timed.
        since: when the time began, by :func:`time.monotonic`: what has passed (reading, preparing, timing) is gone,
            though a part of the time is the training's in any case.
        report: whether a part is to be left for a report, too.

    Raises :class:`InputError` where the model doesn't fit the data, or not one step fits into the time.
    """
    made = made or alone(experiment, data)
    usual = min(experiment.training.batch_size, len(data.train))
    size, rough = fewer(experiment, data, device, seconds, made)
    count = min(MOST, max(FEWEST, int(TIMED * seconds / rough)))
    if size < usual:
        experiment = experiment.replaced(training=experiment.training.replaced(batch_size=size))
    step, validation, per_epoch = timed(experiment, data, device, count, made, most=TRIED * seconds)
    beside, held, seen = 0.0, len(data.validation), None
    if since is not None:
        beside = agreed(time.monotonic() - since, pick_device(device))
    if report:
        after = DRAWN + AGAIN * validation * len(data.held[0]) / max(1, held)
        beside += min(after, AFTER * seconds)
    every, validations = experiment.training.validate_every, VALIDATIONS
    share = VALIDATING * max(LEAST * seconds, seconds - beside) / (FEWEST_LOOKS * max(1e-9, validation))
    if every is None and share < 1 and held > SEEN:
        seen = max(SEEN, int(share * held))
        validation *= seen / held
    beside += validation  # the last: a training that is late has it, too
    if latents := moments.followed(experiment.model, experiment.objective, experiment.training):
        beside += moments.seconds(latents, len(data.train), experiment.training.replaced(budget=seconds))
    over = max(0.0, beside - (1 - LEAST) * seconds)
    left = USED * (seconds - beside + over)
    if every is not None:
        steps = int(left / (step + validation / every))
    else:
        if validation * validations > VALIDATING * left:
            validations = max(1, int(VALIDATING * left / validation))
        steps = int((left - validations * validation) / step)  # one of the start
    if steps < 1:
        raise InputError(
            f"a step takes {step:.3g} s, a validation {validation:.3g} s, and all else {beside:.3g} s: give more time "
            f"than {max(seconds, beside + (2 * validation + step) / USED):.0f} s"
        )
    less = None if every is not None or validations == VALIDATIONS else -(-steps // validations)
    often = max(1, round(min(LATEST, max(SOON, KEPT * seconds)) / step))
    sooner = often if often < experiment.training.checkpoint_every else None
    smaller = size if size < usual else None
    return Plan(steps, steps / per_epoch, less, step, validation, count, smaller, sooner, beside - over, over, seen)


def alone(experiment: Experiment, data: Splits) -> Ready:
    """An experiment's game for the timing of its steps, begun from a few examples."""
    views, objective, training, seed = experiment.views, experiment.objective, experiment.training, experiment.seed
    return ready(experiment.model, data, views, objective, training, seed, None, Stopwatch())


def fewer(
    experiment: Experiment, data: Splits, device: str, seconds: float, made: Ready | None = None
) -> tuple[int, float]:
    """Examples of a batch, the recipe's own or fewer, down to 16, so that enough steps fit into the time; and about the
    seconds of a step. They are tried from the fewest on, so that no dear step is tried that won't be taken."""
    made, training = made or alone(experiment, data), experiment.training
    sizes = [min(training.batch_size, len(data.train))]
    while sizes[0] >= 2 * SMALLEST * training.accumulate:
        sizes.insert(0, sizes[0] // 2)
    found, best = sizes[0], 0.0
    for size in sizes:
        one = experiment.replaced(training=training.replaced(batch_size=size))
        step = timed(one, data, device, WARM, made, looks=False, most=TRIED * seconds)[0]
        enough = USED * seconds / step >= UPDATES
        if enough or not best:
            found, best = size, step
        if not enough:
            break
    return found, best


def timed(
    experiment: Experiment,
    data: Splits,
    device: str,
    steps: int,
    made: Ready | None = None,
    looks: bool = True,
    most: float = math.inf,
) -> tuple[float, float, int]:
    """Seconds of a step, seconds of a validation, and the steps of an epoch; from so many steps after a first one, and
    a look at some held-out examples (none, 0 s, where no ``looks`` are asked for). A validation is of all of them, and
    has a diagnosis of a block beside it, which is as long however many there are.

    Args:
        made: of the experiment, which stays as it is; otherwise the experiment's model is changed.
        most: seconds after which fewer steps have to do, one at least.
    """
    made = alone(experiment, data) if made is None else copy.deepcopy(made)
    watch, held = Stopwatch(steps, most if world()[1] == 1 else math.inf), data.validation  # processes end together
    size = min(experiment.training.batch_size, len(data.train))
    quick = {"epochs": (steps + 2) / max(1, len(data.train) // size), "patience": None, "budget": None}
    never = dict.fromkeys(("validate_every", "checkpoint_every", "log_every"), 10**9)
    settings = experiment.training.replaced(**quick, **never)
    few = replace(data, validation=held.subset(torch.arange(0)))  # a look at the start is no part of a step
    loop = made.loop(few, settings, experiment.seed, device, None, watch)
    watch.enough = loop.stop
    loop.run()
    if not watch.done:
        raise KeyboardInterrupt
    steps = min(steps, len(watch.times) - 1)
    step, look = max(1e-6, (watch.times[steps] - watch.times[0]) / steps), 0.0
    if looks:
        for n in (GLANCED, LOOKED_AT):
            loop.validation = held.spread(n) if held.lengths is None else held.subset(middling(held.lengths, n))
            started = time.perf_counter()
            look = agreed(looked(loop, held), loop.device)
            if agreed(time.perf_counter() - started, loop.device) > GLANCE:
                break
    return agreed(step, loop.device), look, loop.per_epoch


def agreed(seconds: float, device: torch.device) -> float:
    """The mean over all processes, which have one plan."""
    return mean_over_processes(torch.tensor([seconds], dtype=torch.float64).to(device)).item()


def looked(loop: Loop, held: Examples) -> float:
    """Seconds of a validation of held-out examples, and of a diagnosis of some, by the few that a loop has of them."""
    game, few, started = loop.average.ready(), len(loop.validation), time.perf_counter()
    judged = [name for name, player in loop.game.players.items() if player.judged]
    with torch.no_grad(), noise.preserved(loop.device):
        if few and judged:
            diagnosis.held_out(loop, game, judged)
        took = (time.perf_counter() - started) * len(held) / max(1, few)
        started = time.perf_counter()
        diagnosis.diagnose(loop, game, 1.0)
    return took + (time.perf_counter() - started) * len(diagnosis.rows_of(held)) / max(1, few)


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
    """Shows nothing, notes when each step was done, and says when there were enough after the first."""

    trial = True

    def __init__(self, steps: int = 0, most: float = math.inf) -> None:
        super().__init__(quiet=True)
        self.steps, self.most, self.times = steps, most, list[float]()
        self.enough: Callable[[], None] = lambda: None

    def advance(self, step: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the host runs ahead of the device
        self.times.append(time.perf_counter())
        if self.done:
            self.enough()

    @property
    def done(self) -> bool:
        """Whether there were enough steps, or some that took long."""
        n = len(self.times)
        return n > self.steps or (n > 1 and self.times[-1] - self.times[0] > self.most)

    def say(self, message: str) -> None:
        """Nothing: a few steps say little of the training to come."""
