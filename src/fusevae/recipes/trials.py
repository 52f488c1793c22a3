"""The trials of a tuning: short trainings, each one step from the best settings so far, kept in a file so that none is
lost."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.splits import Splits
from fusevae.recipes.candidates import UNFIT, say
from fusevae.recipes.default import as_settings
from fusevae.recipes.ranges import Range, moves
from fusevae.training.budget import timed
from fusevae.training.callbacks import Callback, Moment
from fusevae.training.configuration import one_line
from fusevae.training.experiment import Experiment
from fusevae.training.fit import fit

TRIALS = "trials.log"
AGAIN, MOVED, YOUNG = "again", "moved", "young"  # said of a trial that was stopped, of one step, far from its end
LOOKS = 2  # at held-out examples in a trial: one on the way, after which it may be given up, and one at its end
STEPS, ENOUGH = 5, 20  # that are timed; of a trial, from which on it says what a step takes
#: of what the first trial has gained on validation examples: where its second half brought more, it is young. Low, for
#: one that is young by mistake goes without a search (400 rows, 0.19 after 2 s, though near their end), and one that is
#: old by mistake ends worse than its defaults: captions, with 0.25, were 2.8 nats behind
FAR = 0.1
FALLEN = 0.1  # of what a training has gained on validation examples: once it has lost so much, more time won't help
#: settings by which a step is neither longer nor shorter
FREE = ("training.learning_rate", "training.weight_decay", "recipe.dropout")


def study_of(folder: Path) -> Any:
    """The trials that a folder has, with what was stopped to be tried again."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError("tune needs optuna: pip install 'fusevae[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (folder / f"{TRIALS}.lock").unlink(missing_ok=True)  # of one that was killed: the folder's own lock is held
    storage = JournalStorage(JournalFileBackend(str(folder / TRIALS)))
    found = optuna.create_study(
        storage=storage,
        study_name="tune",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
    )
    for trial in found.trials:
        if trial.state.name == "RUNNING":  # it was stopped in it
            params = trial.params or trial.system_attrs.get("fixed_params", {})
            found.enqueue_trial(params, user_attrs=trial.user_attrs | ({AGAIN: True} if trial.params else {}))
            found.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return found


@dataclass
class Trials:
    """What is needed to train some settings for a short time.

    Attributes:
        study: what is known of all trials.
        search: the ranges.
        own: the recipe's settings, the first trial.
        configure: makes the experiment of some settings.
        splits: the data, with the examples that a trial is judged by.
        device: where it is trained.
        seed: of what is proposed.
        judge: of an artifact that has no bound.
        quiet: show no progress.
        speeds: seconds of a step and of a look, and the steps of an epoch, by the settings that they depend on.
        steps: seconds that a step took in the last training of such settings.
        first: where the first trial is kept, if it is young.
    """

    study: Any
    search: Mapping[str, Range]
    own: Mapping[str, Any]
    configure: Callable[[Mapping[str, Any]], Experiment]
    splits: Splits
    device: str
    seed: int
    judge: Callable[[Artifact], float | None] | None
    quiet: bool
    speeds: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    first: Path | None = None

    @property
    def done(self) -> list[Any]:
        """Trials that came to their end."""
        return [t for t in self.study.trials if t.state.name == "COMPLETE"]

    @property
    def pruned(self) -> int:
        """Trials that were given up on the way."""
        return sum(t.state.name == "PRUNED" for t in self.study.trials)

    @property
    def young(self) -> bool:
        """Whether the defaults were far from their end after the time of a trial: more time is worth more to them than
        what trials as short could find."""
        return any(t.user_attrs.get(YOUNG) for t in self.study.trials)

    def speed(self, params: Mapping[str, Any]) -> list[float]:
        """Seconds of a step and of a look, and the steps of an epoch, of some settings."""
        key = self._key(params)
        if key not in self.speeds:
            self.speeds[key] = list(timed(self.configure(params), self.splits, self.device, STEPS))
        found: list[float] = self.speeds[key]
        return found

    def _key(self, params: Mapping[str, Any]) -> str:
        return json.dumps({name: value for name, value in params.items() if name not in FREE}, sort_keys=True)

    def lengths(self, params: Mapping[str, Any], seconds: float, looks: int, seen: bool = False) -> dict[str, Any]:
        """The settings of a training that takes so long, by the steps that were timed, or by what they took in the
        last training where it was ``seen``: trials are of one length, whatever is timed beside them."""
        step, look, per_epoch = self.speed(params)
        step = self.steps.get(self._key(params), step) if seen else step
        steps = max(looks, int((seconds - (looks + 1) * look) / step))
        return {"epochs": steps / per_epoch, "validate_every": -(-steps // looks), "patience": None}

    def trained(
        self, params: Mapping[str, Any], seconds: float, looks: int, callbacks: tuple[Callback, ...] = ()
    ) -> tuple[Artifact, dict[str, Any]]:
        """A training of some settings for a time, and its length as settings."""
        lengths = self.lengths(params, seconds, looks)
        experiment = self.configure(params)
        training = experiment.training.replaced(**lengths, budget=2 * seconds, planned=True)  # where steps get slower
        experiment = experiment.replaced(training=training)
        with warnings.catch_warnings():  # of so short a training they say little
            warnings.simplefilter("ignore")
            artifact = fit(experiment, self.splits, device=self.device, callbacks=callbacks, quiet=True)
        if artifact.history is not None and artifact.history.finished and artifact.history.steps >= ENOUGH:
            spent = artifact.history.seconds - (looks + 1) * self.speed(params)[1]
            self.steps[self._key(params)] = max(1e-6, spent / artifact.history.steps)
        return artifact, lengths

    def one(self, seconds: float) -> bool:
        """Train one; returns whether it was not stopped by the user."""
        import optuna

        self._propose()
        trial = self.study.ask()
        params = {name: _suggested(trial, name, values) for name, values in self.search.items()}
        pruned, seen = False, set()
        values: list[tuple[int, float]] = []

        def look(record: dict[str, Any], moment: Moment) -> bool:
            nonlocal pruned
            value, part = bound(record), LOOKS * moment.step // moment.total
            if value is not None:
                values.append((part, value))
            if value is not None and part not in seen and part:
                seen.add(part)
                trial.report(value, part)  # a part of the training: batches differ
                pruned = moment.step < moment.total and trial.should_prune()
            return not pruned

        failed = optuna.trial.TrialState.FAIL
        try:
            artifact, _ = self.trained(params, seconds, LOOKS, (look,))
        except UNFIT as error:
            self.study.tell(trial, state=failed)
            say(f"trial {trial.number}: {one_line(error)}", self.quiet)
            return True
        history = artifact.history
        assert history is not None
        if not history.finished and not pruned and history.why == "interrupted":
            self.study.enqueue_trial(params, user_attrs=trial.user_attrs | {AGAIN: True})
            self.study.tell(trial, state=failed)
            return False
        value = None if pruned else self.value(artifact)
        if not self.done and values:
            first, last = values[0][1], values[-1][1]
            half = max((value for part, value in values if part < LOOKS), default=first)
            trial.set_user_attr(YOUNG, last - half > FAR * (last - first) > 0)
            if self.young and self.first is not None:
                artifact.save(self.first)
        if pruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif value is None or not math.isfinite(value):
            self.study.tell(trial, state=failed)
        else:
            self.study.tell(trial, value)
        word = "given up" if pruned else "no figure" if value is None else f"{value:.4g}"
        say(f"trial {trial.number}: {word}, {' '.join(as_settings(params))}", self.quiet)
        return True

    def value(self, artifact: Artifact) -> float | None:
        """What a trial is judged by, higher for better: its best bound of held-out examples."""
        if self.judge is not None:
            return self.judge(artifact)
        assert artifact.history is not None
        records = artifact.history.rest.records if artifact.history.rest is not None else []
        return max((value for record in records if (value := bound(record)) is not None), default=None)

    def _propose(self) -> None:
        """Say what is tried next: the recipe's own settings, then each that is one step from the best so far, first of
        the setting by which this became the best; once all have been tried, what optuna proposes."""
        import optuna

        trials = self.study.trials
        proposed = sum(bool(t.params) and AGAIN not in t.user_attrs for t in trials)
        self.study.sampler = optuna.samplers.TPESampler(
            seed=noise.key(self.seed, "trial", proposed) % 2**32, n_startup_trials=5
        )  # the same wherever the tuning was killed
        if any(t.state.name == "WAITING" for t in trials):
            return
        if not trials:
            self.study.enqueue_trial(dict(self.own))
        elif self.done:
            best, tried = self.study.best_trial, [t.params for t in trials]
            near = moves(self.search, best.params, best.user_attrs.get(MOVED, ""))
            name, params = next(((n, p) for n, p in near if p not in tried), ("", None))
            if params is not None:
                self.study.enqueue_trial(params, user_attrs={MOVED: name})


class Fallen:
    """A callback that ends a training which learns by heart: one that has lost a part of what it had gained on
    validation examples.

    Example:
        >>> fallen = Fallen()
        >>> [fallen({"validation": {"elbo": value}}) for value in (-100.0, -50.0, -54.0, -56.0)]
        [True, True, True, False]
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.most, self.seen = -math.inf, False

    def __call__(self, record: dict[str, Any]) -> bool:
        value = bound(record)
        if value is not None:
            self.first = value if self.first is None else self.first
            self.most = max(self.most, value)
            self.seen = self.most - value > FALLEN * (self.most - self.first) > 0
        return not self.seen


def _suggested(trial: Any, name: str, values: Range) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    low, high = values
    return trial.suggest_float(name, low, high, log=low > 0)


def bound(record: Mapping[str, Any]) -> float | None:
    """The bound of validation examples in a record, if there is one."""
    seen = record.get("validation", {})
    return next((seen[key] for key in ("elbo", "log_bound") if seen.get(key) is not None), None)
