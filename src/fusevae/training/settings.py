"""Training: every setting of the loop, with the defaults that need no tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

from fusevae.core.description import Described
from fusevae.core.durations import seconds_of
from fusevae.core.errors import InputError

MOST_EPOCHS = 1e9


class Training(Described):
    """How a model is trained.

    Args:
        epochs: passes over the training data; the last, incomplete batch of each is left out (it is reshuffled every
            epoch).
        batch_size: examples of one update over all processes and accumulated parts.
        learning_rate: of AdamW, after the warm-up.
        final_learning_rate: what the cosine ends at, as a part of ``learning_rate``; 1 keeps it constant.
        warmup: part of the training over which the learning rate rises from 0.
        weight_decay: AdamW's, of the weights of layers; biases, scales and pseudo-inputs are left.
        betas: AdamW's.
        accumulate: parts that a batch is split into where it doesn't fit in memory at once.
        clip: a gradient is scaled down to this many times the running mean of its norm; 0 switches it off. Relative,
            because nats summed over pixels or tokens give norms of any size.
        skip: an update whose gradient norm is more than this many times the running mean, or not finite, is left out;
            0 leaves only the non-finite ones out.
        average: decay of the exponential average of the weights that is used for evaluation; 0 switches it off.
        precision: ``"bfloat16"`` runs the nets under autocast; likelihoods are summed in float32 all the same.
        budget: time for everything, in seconds or as ``"90s"``, ``"20m"``, ``"1h30m"``. Some steps are timed before the
            training begins, and ``epochs`` and ``validate_every`` become what fits, so that all schedules come to their
            end in time; where the machine gets slower on the way, the training ends with the time. None for no limit.
        planned: whether ``epochs`` and ``validate_every`` are those of the budget's plan already.
        beside: seconds of the budget that are for what is before and after the training; found by the plan.
        patience: stop after so many validations without a better one, and keep the best; None trains to the end.
        validate_every: steps between validations; by default 20 over the training.
        validated: held-out examples of a validation, evenly over all; None for all. Found by a budget's plan where all
            would take too much of the time.
        log_every: steps between records of ``metrics.jsonl``, and between looks at skipped updates.
        checkpoint_every: steps between checkpoints.
        mend: act on what is found: a latent that has collapsed has its cost taken away for a while, too large a step is
            taken back and made smaller, a training without headway begins anew with a smaller step, a critic that has
            won rests, codes that die again and again are left, and of the states at validations the best is kept (of a
            model that is trained by its own bound). Each action is an event of the records.
        unlabelled: part of the labels replaced by "unknown" in training, so that one model samples with and without.
        labelled: least part of a batch whose labels are known, where they are unknown in part: such examples are then
            drawn more often than others. 0 draws all alike.
        encoder_steps: updates of the posterior alone before each of the whole model, over the first ``encoder_part`` of
            the training: against a latent that collapses (He et al. 2019), beside a beta that rises, since a decoder
            that makes nothing of the latent yet gives the posterior nothing to learn. 0 for none.
        encoder_part: a part of the training.
        frozen: parts of the model that stay as they are, by name (``decoder``, ``latents.posterior.net`` ...): those
            that came with weights of their own, say.
        parallel: under ``torchrun``, ``"ddp"`` replicates the model, ``"fsdp"`` shards it (FSDP2, where players that
            move at once have a forward each).
    """

    def __init__(
        self,
        epochs: float = 20,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        final_learning_rate: float = 0.01,
        warmup: float = 0.02,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        accumulate: int = 1,
        clip: float = 4.0,
        skip: float = 20.0,
        average: float = 0.999,
        precision: Literal["float32", "bfloat16"] = "float32",
        budget: str | float | None = None,
        planned: bool = False,
        beside: float = 0.0,
        patience: int | None = None,
        validate_every: int | None = None,
        validated: int | None = None,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        mend: bool = True,
        unlabelled: float = 0.1,
        labelled: float = 0.0,
        encoder_steps: int = 0,
        encoder_part: float = 0.3,
        frozen: tuple[str, ...] = (),
        parallel: Literal["ddp", "fsdp"] = "ddp",
    ) -> None:
        positive = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "accumulate": accumulate,
        }
        positive |= {"log_every": log_every, "checkpoint_every": checkpoint_every}
        for name, value in positive.items():
            if not (isinstance(value, Real) and 0 < value < math.inf):
                raise InputError(f"{name} is {value!r}, expected more than 0 and finite")
        parts = {
            "average": average,
            "warmup": warmup,
            "unlabelled": unlabelled,
            "labelled": labelled,
            "encoder_part": encoder_part,
        }
        for name, value in parts.items():
            if not (isinstance(value, Real) and 0 <= value < 1):
                raise InputError(f"{name} is {value!r}, expected a part from 0 to below 1")
        limits = {"weight_decay": weight_decay, "clip": clip, "skip": skip, "final_learning_rate": final_learning_rate}
        limits["beside"] = beside
        for name, value in limits.items():
            if not 0 <= value < math.inf:
                raise InputError(f"{name} is {value}, expected a finite number, 0 or more")
        if not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"betas is {betas}, expected two parts from 0 to below 1")
        if epochs > MOST_EPOCHS or accumulate > batch_size:
            raise InputError(
                f"epochs is {epochs:g} and accumulate {accumulate}, expected at most {MOST_EPOCHS:g} and the batch_size"
            )
        for name, steps in (("patience", patience), ("validate_every", validate_every), ("validated", validated)):
            if steps is not None and steps < 1:
                raise InputError(f"{name} is {steps}, expected at least 1, or nothing")
        if budget is not None:
            seconds_of(budget)  # refuses what is none
        if encoder_steps < 0:
            raise InputError(f"encoder_steps is {encoder_steps}, expected at least 0: 10, say")
        self.budget, self.planned, self.beside = budget, planned, beside
        self.epochs, self.batch_size, self.accumulate = epochs, batch_size, accumulate
        self.learning_rate, self.final_learning_rate, self.warmup = learning_rate, final_learning_rate, warmup
        self.weight_decay, self.betas = weight_decay, betas
        self.clip, self.skip, self.average, self.precision = clip, skip, average, precision
        self.patience, self.validate_every, self.validated = patience, validate_every, validated
        self.log_every, self.checkpoint_every = log_every, checkpoint_every
        self.mend, self.unlabelled, self.labelled, self.parallel = mend, unlabelled, labelled, parallel
        self.encoder_steps, self.encoder_part, self.frozen = encoder_steps, encoder_part, tuple(frozen)

    @property
    def seconds(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else seconds_of(self.budget)

    @property
    def limit(self) -> float:
        """Seconds after which the training is to stop, wherever its schedules are."""
        return math.inf if self.seconds is None else max(0.0, self.seconds - self.beside)

    def ended(self, values: Mapping[str, Any]) -> bool:
        """Whether the time or the patience is at its end, by the values of a training's state."""
        return bool(values.get("late") or (self.patience and values["stale"] >= self.patience))

    def rate(self, progress: float) -> float:
        """The learning rate at ``progress`` in [0, 1]: a linear warm-up, then a cosine (Loshchilov & Hutter 2017).

        Example:
            >>> round(Training(learning_rate=1.0, warmup=0.0, final_learning_rate=0.0).rate(0.5), 3)
            0.5
        """
        if progress < self.warmup:
            return self.learning_rate * max(progress, 1e-3 * self.warmup) / self.warmup
        done = (progress - self.warmup) / (1 - self.warmup)
        cosine = (1 + math.cos(math.pi * min(1.0, done))) / 2
        return self.learning_rate * (self.final_learning_rate + (1 - self.final_learning_rate) * cosine)
