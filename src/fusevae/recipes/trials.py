"""The trials of a tuning: short trainings with proposed settings, kept in a file so that none is lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusevae.core import noise
from fusevae.core.description import Trust
from fusevae.core.errors import InputError
from fusevae.data.splits import Splits
from fusevae.recipes.candidates import UNFIT, say
from fusevae.recipes.default import as_settings
from fusevae.recipes.ranges import Range
from fusevae.training import configuration
from fusevae.training.callbacks import Moment
from fusevae.training.configuration import one_line
from fusevae.training.fit import fit

TRIALS, AGAIN = "trials.log", "again"  # the file; what is said of a trial that was stopped before


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
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    for trial in found.trials:
        if trial.state.name == "RUNNING":  # it was stopped in it
            params = trial.params or trial.system_attrs.get("fixed_params", {})
            found.enqueue_trial(params, user_attrs={AGAIN: True} if trial.params else None)
            found.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return found


def sampler(study: Any, seed: int) -> Any:
    """What proposes the next trial; the same wherever the tuning was killed."""
    import optuna

    proposed = sum(bool(trial.params) and AGAIN not in trial.user_attrs for trial in study.trials)
    return optuna.samplers.TPESampler(seed=noise.key(seed, "trial", proposed) % 2**32, n_startup_trials=5)


def trial(
    study: Any,
    search: Mapping[str, Range],
    configure: Any,
    splits: Splits,
    seconds: float,
    device: str,
    trust: Trust,
    judge: Any,
    quiet: bool,
) -> bool:
    """Train one; returns whether it was not stopped by the user."""
    import optuna

    one = study.ask()
    params = {name: _suggested(one, name, values) for name, values in search.items()}
    pruned = False

    def look(record: dict[str, Any], moment: Moment) -> bool:
        nonlocal pruned
        value = bound(record)
        if value is not None:
            one.report(value, round(100 * moment.step / moment.total))  # part of the training: batches differ
            pruned = moment.step < moment.total and one.should_prune()
        return not pruned

    try:
        experiment = configuration.experiment(configure(params), trust)
        artifact = fit(experiment, splits, budget=seconds, device=device, callbacks=[look], quiet=True)
    except UNFIT as error:
        study.tell(one, state=optuna.trial.TrialState.FAIL)
        say(f"trial {one.number}: {one_line(error)}", quiet)
        return True
    history = artifact.history
    assert history is not None
    if not history.finished and not pruned and history.why == "interrupted":
        study.enqueue_trial(params, user_attrs={AGAIN: True})
        study.tell(one, state=optuna.trial.TrialState.FAIL)
        return False
    bounds = [value for record in history.rest.records if (value := bound(record)) is not None]
    value = max(bounds) if judge is None else judge(artifact)
    if pruned:
        study.tell(one, state=optuna.trial.TrialState.PRUNED)
    elif value is None or not math.isfinite(value):
        study.tell(one, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(one, value)
    word = "given up" if pruned else f"{value:.4g}"
    say(f"trial {one.number}: {word}, {' '.join(as_settings(params))}", quiet)
    return True


def _suggested(trial: Any, name: str, values: Range) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    low, high = values
    return trial.suggest_float(name, low, high, log=low > 0)


def bound(record: Mapping[str, Any]) -> float | None:
    """The bound of validation examples in a record, if there is one."""
    seen = record.get("validation", {})
    return next((seen[key] for key in ("elbo", "log_bound") if seen.get(key) is not None), None)
