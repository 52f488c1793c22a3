"""The trials of a tuning: short trainings, each one step from the best settings so far, kept in a file so that none is
lost."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.description import Trust
from fusevae.core.errors import InputError
from fusevae.data.splits import Splits
from fusevae.evaluation.likelihood import log_likelihood
from fusevae.recipes.candidates import UNFIT, say
from fusevae.recipes.curves import bound
from fusevae.recipes.default import as_settings
from fusevae.recipes.ranges import Range, moves, plain
from fusevae.training.budget import timed
from fusevae.training.callbacks import Callback, Moment
from fusevae.training.configuration import one_line
from fusevae.training.experiment import Experiment
from fusevae.training.fit import fit
from fusevae.training.train import take_weights

TRIALS = "trials.log"
AGAIN, MOVED = "again", "moved"  # said of a trial that was stopped, and of one step
LOOKS = 2  # at held-out examples in a trial: one on the way, where it is given up if it is behind, and one at its end
K, MOST, QUICKLY = 5, 50, 0.1  # importance samples, from and to; of a trial, that log p(x) with so many may take
NOTED = 3  # of the best trials
STEPS, ENOUGH = 5, 20  # that are timed; of a trial, from which on it says what a step takes
#: settings by which a step is neither longer nor shorter
FREE = ("training.learning_rate", "training.weight_decay", "recipe.dropout")


def study_of(folder: Path, name: str = "tune") -> Any:
    """The trials of a name that a folder has, with what was stopped to be tried again."""
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
        study_name=name,
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
        trust: as for :func:`fusevae.build`.
        noted: called with each trial of the recipe's own settings and each that is among the best so far: its settings
            and its artifact.
        looks: at held-out examples in a trial.
        at: part of a trial after which it may be given up.
        patience: looks without a better one that end a trial; None for none.
        smaller: whether smaller choices are tried before larger ones.
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
    trust: Trust = ()
    noted: Callable[[Mapping[str, Any], Artifact], None] = lambda params, artifact: None
    looks: int = LOOKS
    at: float = 0.5
    patience: int | None = None
    smaller: bool = False

    @property
    def done(self) -> list[Any]:
        """Trials that came to their end."""
        return [t for t in self.study.trials if t.state.name == "COMPLETE"]

    @property
    def pruned(self) -> int:
        """Trials that were given up on the way."""
        return sum(t.state.name == "PRUNED" for t in self.study.trials)

    @property
    def best(self) -> Mapping[str, Any]:
        """The settings of the best trial."""
        found: Mapping[str, Any] = self.study.best_trial.params if self.done else self.own
        return found

    @property
    def found(self) -> dict[str, float]:
        """What trials were judged to be, by their settings."""
        return {json.dumps(t.params, sort_keys=True): t.value for t in self.done}

    def better(self, by: float) -> list[Mapping[str, Any]]:
        """The settings of trials that are better than that of the recipe's own by more than so much, the best first."""
        own = max((t.value for t in self.done if t.params == self.own), default=-math.inf)
        found = sorted((t for t in self.done if t.value > own + by), key=lambda t: -t.value)
        return [t.params for t in found if t.params != self.own]

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
        return {"epochs": steps / per_epoch, "validate_every": -(-steps // looks), "patience": self.patience}

    def trained(
        self,
        params: Mapping[str, Any],
        seconds: float,
        looks: int,
        callbacks: tuple[Callback, ...] = (),
        weights: Path | None = None,
        most: float = math.inf,
    ) -> tuple[Artifact, dict[str, Any]]:
        """A training of some settings for a time, from ``weights`` on, and its length as settings. Where steps get
        slower it may take twice as long, or ``most``."""
        lengths = self.lengths(params, seconds, looks)
        experiment = self.configure(params)
        if weights is not None:
            take_weights(experiment.model, weights, self.trust)
        training = experiment.training.replaced(**lengths, budget=min(2 * seconds, most), planned=True)
        experiment = experiment.replaced(training=training)
        with warnings.catch_warnings():  # of so short a training they say little
            warnings.simplefilter("ignore")
            artifact = fit(experiment, self.splits, device=self.device, callbacks=callbacks, quiet=True)
        if artifact.history is not None and artifact.history.finished and artifact.history.steps >= ENOUGH:
            spent = artifact.history.seconds - (looks + 1) * self.speed(params)[1]
            self.steps[self._key(params)] = max(1e-6, spent / artifact.history.steps)
        return artifact, lengths

    def one(self, seconds: float, most: float = math.inf) -> bool:
        """Train one for so long, and ``most`` at the most; returns whether it was not stopped by the user."""
        import optuna

        self._propose()
        trial = self.study.ask()
        params = {name: _suggested(trial, name, values) for name, values in self.search.items()}
        pruned = seen = False
        values: list[float] = []

        def look(record: dict[str, Any], moment: Moment) -> bool:
            nonlocal pruned, seen
            if (value := bound(record)) is not None:
                values.append(value)
                if not seen and moment.step >= self.at * moment.total:
                    seen = True
                    trial.report(max(values), 1)
                    pruned = moment.step < moment.total and trial.should_prune()
            return not pruned

        failed = optuna.trial.TrialState.FAIL
        try:
            artifact, _ = self.trained(params, seconds, self.looks, (look,), most=most)
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
        cut = not history.finished and most < math.inf  # it can't be had again in the time
        value = None if pruned or cut else self.value(artifact, seconds)
        known = value is not None and math.isfinite(value)
        if known and (params == self.own or sum(t.value >= value for t in self.done) < NOTED):
            self.noted(params, artifact)
        if pruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif not known:
            self.study.tell(trial, state=failed)
        else:
            self.study.tell(trial, value)
        word = "given up" if pruned else "no figure" if value is None else f"{value:.4g}"
        say(f"trial {trial.number}: {word}, {' '.join(as_settings(plain(params)))}", self.quiet)
        return True

    def value(self, artifact: Artifact, seconds: float) -> float | None:
        """What a trial is judged by, higher for better: log p(x) of validation examples where that is quickly known,
        else its best bound of them."""
        if self.judge is not None:
            return self.judge(artifact)
        assert artifact.history is not None
        records = artifact.history.rest.records if artifact.history.rest is not None else []
        found = max((value for record in records if (value := bound(record)) is not None), default=None)
        k = self.samples(seconds)
        if found is None or k < K:
            return found
        return log_likelihood(artifact, self.splits.validation, None, k, self.seed).mean().item()

    def samples(self, seconds: float) -> int:
        """Importance samples of as many examples as a look sees, in a part of so many seconds."""
        return min(MOST, int(QUICKLY * seconds / max(1e-6, self.speed(self.own)[1])))

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
            best, tried = self.study.best_trial, [t.params for t in trials if t.params]
            all_ = moves(self.search, best.params, best.user_attrs.get(MOVED, ""), self.smaller)
            near = sorted(all_, key=lambda one: any(t[one[0]] == one[1][one[0]] for t in tried))  # new values first
            new = ((n, p) for n, p in near if p not in tried and not self._been(n, best.params, p[n], tried))
            if (found := next(new, None)) is not None:
                self.study.enqueue_trial(found[1], user_attrs={MOVED: found[0]})

    def _been(self, name: str, best: Mapping[str, Any], value: Any, tried: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a trial has gone the same way from the best settings, further or less far."""
        if isinstance(self.search[name], list):
            return False
        others = [t[name] for t in tried if {**t, name: 0} == {**best, name: 0}]
        return any((other > best[name]) == (value > best[name]) for other in others if other != best[name])


def _suggested(trial: Any, name: str, values: Range) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    low, high = values
    return trial.suggest_float(name, low, high, log=low > 0)
