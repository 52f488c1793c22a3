"""Better settings for a recipe: optuna over its ranges, then the best beside the defaults, as a pair."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fusevae.core.description import Trust
from fusevae.core.durations import clock, seconds_of
from fusevae.core.errors import InputError
from fusevae.data.examples import data_fingerprint
from fusevae.data.modality import modality_of
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.evaluation.compare import compare
from fusevae.evaluation.results import SAMPLES, Result, figure
from fusevae.recipes.candidates import Candidate, configured, say
from fusevae.recipes.default import as_settings, source_of
from fusevae.recipes.find import find, reads
from fusevae.recipes.kept import Clock, keep, known
from fusevae.recipes.ranges import Range, defaults, ranges_of
from fusevae.recipes.trials import TRIALS, sampler, study_of, trial
from fusevae.training import configuration
from fusevae.training.budget import timed
from fusevae.training.configuration import Node
from fusevae.training.fit import pick_device
from fusevae.training.folder import CONFIG, REPORT
from fusevae.training.lock import locked
from fusevae.training.run import Run
from fusevae.training.train import resume, train

KEPT = "tune.json"
SEARCH, PAIR, USED = 0.4, 0.12, 0.92  # of the time: for trials, each training of the pair, and all but the last report
MANY, FEWEST = 16, 4  # trials, about; fewer are not begun
UPDATES, STEPS = 300, 10  # of a trial, at least; that are timed
LEAST = 2.0  # seconds of one
PATIENT = 0.9  # of its time, before which a training that came to its end had no better validation for its patience
K, SAMPLED = 20, 500  # importance samples of the comparison; samples where there is no bound


class Tuned(Result):
    """What came of a tuning.

    Attributes:
        settings: the best ones, as ``--set`` takes them; none where the defaults are kept.
        trials: how many were trained to their end, and how many were given up on the way.
        pruned: those.
        gain: nats by which the best is better than the defaults on held-out examples, each trained for the same time.
        interval: where that is with 95 % confidence.
        kept: ``tuned`` or ``defaults``: what ``best`` is.
        says: why, in words.
    """

    section = "Tuning"
    trials: int = figure("trials", form=",")
    pruned: int = figure("given up on the way", form=",")
    settings: list[str]
    gain: float | None = figure("better than the defaults", "nats per example", form="+.3f", interval="interval")
    interval: list[float] | None = None
    kept: str = figure("kept")
    says: str = figure("since")


@dataclass
class Tuning:
    """The folder, what came of it, and the best run; both None where it was stopped before."""

    folder: Path
    tuned: Tuned | None = None
    run: Run | None = None


def tune(
    recipe: str,
    data: str | None = None,
    total: str | float = "1h",
    output: str | Path = "runs/tune",
    conditions: str | list[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str | None = None,
    skip_damaged: bool = False,
    trust: Trust = (),
    quiet: bool = False,
    command: str | None = None,
    reading: Sequence[str] = (),
) -> Tuning:
    """Search the settings of a recipe, and leave the best as a run in ``output/best``. The same call goes on with one
    that was stopped.

    The first trial has the recipe's defaults. A trial is a short training whose schedules come to their end in its
    time, judged by its best bound of validation examples (by what decides about samples, where there is none); those
    that are behind the median of the others on the way are given up. The best settings and the defaults are then each
    trained for longer, and compared example by example on held-out data: where the best is not better beyond chance,
    the defaults are kept. What is kept is trained on for the time that is left.

    Args:
        recipe: its name.
        data: their path; scikit-learn's digits by default.
        total: time of everything, in seconds or as ``"90s"``, ``"20m"``, ``"1h30m"``.
        output: a new folder, or that of the same tuning.

    Other arguments as of :func:`fusevae.recipes.bench.bench`.
    """
    started, seconds, folder = time.monotonic(), seconds_of(total), Path(output).expanduser()
    make = find(recipe)
    said = {"path": data, "conditions": conditions, "skip_damaged": skip_damaged}
    source = source_of(said | reads(recipe), reading)
    splits = source.read()
    if not len(splits.validation):
        raise InputError(f"{splits.source} has no validation examples, by which settings are chosen: give some")
    asked = {"recipe": recipe, "total": seconds, "seed": seed, "precision": precision}
    asked |= {"device": pick_device(device).type, "fingerprint": data_fingerprint(splits.train)}
    kept = known(folder, KEPT, "tuning", asked, TRIALS) or {"asked": asked}
    configure = functools.partial(_configure, recipe, source, splits, seed, precision)
    node = configure({})
    search = ranges_of(make, node)
    with locked(folder), Clock(folder, started) as spent:

        def ended() -> Tuning:
            left = USED * seconds - spent.seconds
            if not _longer(folder, kept, left, splits, device, trust, quiet):
                return Tuning(folder)
            return Tuning(folder, Tuned.from_dict(kept["tuned"]), Run.open(folder / "best", device, trust))

        if "tuned" in kept:
            return ended()
        if "each" not in kept:
            step = timed(configuration.experiment(node, trust), splits, device, STEPS)[0]
            kept["each"] = max(LEAST, SEARCH * seconds / MANY, UPDATES * step)
            keep(folder, KEPT, kept)
        each = kept["each"]
        searched = SEARCH * seconds if SEARCH * seconds >= FEWEST * each else 0.0
        say(_plan(seconds, each, searched, search), quiet)
        own, study = defaults(make, node, search), study_of(folder)
        if not study.trials:
            study.enqueue_trial(own)
        judge = _judge(node, splits, device, trust)
        while spent.seconds < searched:
            study.sampler = sampler(study, seed)
            if not trial(study, search, configure, splits, each, device, trust, judge, quiet):
                return Tuning(folder)
        done = [t for t in study.trials if t.state.name == "COMPLETE"]
        if searched and not done:
            raise InputError(f"no trial of {recipe} came to its end in {clock(each)}: give more time than {total}")
        best = study.best_trial.params if done else own
        same = best == own
        for name, params in {"defaults": {}, **({} if same else {"tuned": best})}.items():
            whole = max(LEAST, USED * seconds - spent.seconds if same else PAIR * seconds)
            if not _whole(folder / name, configure(params), splits, whole, device, trust, quiet, command):
                return Tuning(folder)
        pruned = sum(t.state.name == "PRUNED" for t in study.trials)
        found = _paired(folder, {} if same else best, len(done), pruned, splits, judge, seed, device, trust)
        kept["tuned"] = found.to_dict()
        keep(folder, KEPT, kept)
        return ended()


def _plan(seconds: float, each: float, searched: float, search: Mapping[str, Range]) -> str:
    """What a tuning will do, in a line."""
    if not searched:
        return f"plan for {clock(seconds)}: too little for {FEWEST} trials of {clock(each)}: the defaults are trained"
    trials = f"about {searched / each:.0f} trials of {clock(each)} over {', '.join(search)}"
    pair = f"then the best and the defaults for {clock(PAIR * seconds)} each"
    return f"plan for {clock(seconds)}: {trials}, {pair}; what is kept of the two is trained on for the rest"


def _longer(
    folder: Path, kept: dict[str, Any], seconds: float, splits: Splits, device: str, trust: Trust, quiet: bool
) -> bool:
    """Train on what is kept, unless its patience has stopped it, and name it ``best``; returns whether it was not
    stopped by the user."""
    if (folder / "best").exists():
        return True
    place = folder / kept["tuned"]["kept"]
    run = Run.open(place, device, trust)
    training = (run.configuration or {}).get("training") or {}
    settled = training.get("patience") is not None and run.finished and run.seconds < PATIENT * training["budget"]
    if "longer" not in kept and not settled and seconds > LEAST:
        epochs = max((r["epoch"] for r in run.metrics if "epoch" in r), default=0.0)
        kept["longer"] = {"epochs": epochs * (1 + USED * seconds / run.seconds), "budget": run.seconds + seconds}
        keep(folder, KEPT, kept)
    more = kept.get("longer")
    if more is not None and not (run.finished and training.get("epochs") == more["epochs"]):
        until = min(more["budget"], run.seconds + max(LEAST, seconds))  # less where calls were killed
        asked = [f"training.epochs={more['epochs']!r}", f"training.budget={until!r}"]
        say(f"{place.name}: trained on for {clock(max(LEAST, seconds))}", quiet)
        if not resume(place, device, trust, 1, quiet, asked, splits).finished:
            return False
    place.rename(folder / "best")
    return True


def _configure(
    recipe: str, source: Source, splits: Splits, seed: int, precision: str | None, params: Mapping[str, Any]
) -> Node:
    return configured(Candidate(recipe, as_settings(params)), source, splits, seed, precision)


def _judge(node: Node, splits: Splits, device: str, trust: Trust) -> Any:
    """What a trial without a bound is judged by: the first figure that decides about samples, higher for better."""
    from fusevae.core.levels import Level

    if configuration.experiment(node, trust).model.level >= Level.BOUND:
        return None
    n = min(SAMPLED, len(splits.validation) // 2)
    reference = modality_of(splits.spec).reference(splits.validation, splits, n, None, str(pick_device(device)), True)

    def value(artifact: Any) -> float | None:
        try:
            figures = reference.judge(artifact, "auto", 0).figures()
        except InputError:
            return None
        known = sorted((f for f in figures if f.of == SAMPLES and f.decides), key=lambda f: f.decides)
        return (known[0].value if known[0].better == "high" else -known[0].value) if known else None

    return value


def _whole(
    place: Path, node: Node, splits: Splits, seconds: float, device: str, trust: Trust, quiet: bool, command: str | None
) -> bool:
    """Train a configuration into a folder, or go on with it; returns whether it was not stopped."""
    if (place / REPORT).is_file():
        return True
    if (place / CONFIG).is_file():
        return resume(place, device, trust, 1, quiet, splits=splits).finished
    node["training"] = {"class": "Training", **(node.get("training") or {}), "budget": seconds, "planned": False}
    say(f"{place.name}: a training of {clock(seconds)}", quiet)
    settings: dict[str, Any] = {"device": device, "trust": trust, "quiet": quiet, "command": command}
    return train(node, place, splits, importance_samples=1, **settings).finished


def _paired(
    folder: Path,
    best: Mapping[str, Any],
    trials: int,
    pruned: int,
    splits: Splits,
    judge: Any,
    seed: int,
    device: str,
    trust: Trust,
) -> Tuned:
    """The best settings beside the defaults."""
    settings, held = as_settings(best), splits.held[0]

    def found(kept: str, says: str, gain: float | None = None, interval: list[float] | None = None) -> Tuned:
        ours = settings if kept == "tuned" else []
        return Tuned(
            trials=trials, pruned=pruned, settings=ours, gain=gain, interval=interval, kept=kept, says=says
        )  # fmt: skip

    if not best:
        why = "no trial was better than that of the defaults" if trials else "there was too little time for trials"
        return found("defaults", why)
    runs = {name: Run.open(folder / name, device, trust).artifact for name in ("tuned", "defaults")}
    if judge is not None:
        values = {name: judge(artifact) for name, artifact in runs.items()}
        better = values["tuned"] is not None and (values["defaults"] is None or values["tuned"] > values["defaults"])
        return found("tuned" if better else "defaults", "the figure of samples is better; it has no pair, no interval")
    with torch.no_grad():
        (d,) = compare(runs, held, importance_samples=K, seed=seed).differences
    if d.interval[0] > 0:
        return found("tuned", "it is better beyond chance", d.value, d.interval)
    return found("defaults", f"{' '.join(settings)} is not better beyond chance", d.value, d.interval)
