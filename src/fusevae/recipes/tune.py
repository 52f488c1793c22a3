"""Better settings for a recipe: optuna over its ranges, then the best beside the defaults, as a pair."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fusevae.core.artifact import Artifact
from fusevae.core.description import Trust
from fusevae.core.durations import clock, seconds_of
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples, data_fingerprint
from fusevae.data.modality import modality_of
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.evaluation.likelihood import log_likelihood
from fusevae.evaluation.results import SAMPLES
from fusevae.recipes.candidates import Candidate, configured, say
from fusevae.recipes.default import as_settings, source_of
from fusevae.recipes.find import find, reads
from fusevae.recipes.kept import Clock, keep, known
from fusevae.recipes.ranges import Range, defaults, ranges_of
from fusevae.recipes.rounds import OVERHEAD
from fusevae.recipes.trials import STEPS, TRIALS, Fallen, Trials, study_of
from fusevae.recipes.tuned import UNSEARCHED, Tuned, better, chosen
from fusevae.training import configuration
from fusevae.training.budget import VALIDATING, fewer, timed
from fusevae.training.callbacks import Callback
from fusevae.training.configuration import Node
from fusevae.training.fit import pick_device
from fusevae.training.folder import CONFIG, REPORT
from fusevae.training.lock import locked
from fusevae.training.run import Run
from fusevae.training.train import resume, train

KEPT, FIRST = "tune.json", "first"
SEARCH, EACH, LONGER = 0.2, 0.025, 2.5  # of the time: for trials, for one; how much longer a training of the pair is
LAST = 0.6  # of the time, about: for the last training
USED = 0.92  # of the time: the rest is for the last report, which may take less
PLANNED = 0.95  # of the last training's time, since steps may take longer than those before
LOOKING, MOST_LOOKS = 0.05, 20  # of it, that looks at held-out examples may take; how many there are at most
FEWEST = 4  # trials: where there is no time for so many, none is begun
UPDATES, TRIED, LEAST = 40, 3, 2.0  # of a trial, at least: updates, looks at held-out examples; seconds
LOOKS = 5  # at held-out examples, of a training of the pair
FEW, APART = 300, 500  # validation examples that trials are judged by, and others that the pair is compared on
PARTED = 40  # validation examples, of which fewer serve for both
K, SAMPLED = 5, 500  # importance samples of these examples; samples where there is no bound


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

    The first trial has the recipe's defaults; each other is one step in one setting from the best so far. A trial is a
    short training whose schedules come to their end in its time, judged by its best bound of some validation examples
    (by what decides about samples, where there is none); those that are behind the median of the others half on the
    way are given up. Where the first one gained more than a tenth of all that it gained in its second half, more time
    is worth more than other settings: there is no search, and the defaults go on from there for all the time. Else the
    best settings and the defaults are each trained for longer, and compared example by example on validation data that
    no trial was judged by (of samples' figures: on the same ones): where the best is not better beyond chance, the
    defaults are kept. The test part is not looked at before the last report. What is kept is trained anew for all the
    time that is left. Where that is no better on validation examples than the shorter training was (it learns by
    heart), the time goes to further trials, and the best shorter training is the run.

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
    kept = {"speeds": {}, "steps": {}, "pair": {}} | (known(folder, KEPT, "tuning", asked, TRIALS) or {"asked": asked})
    configure = functools.partial(_configure, recipe, source, splits, seed, precision)
    validation, apart = parted(splits.validation)
    few = replace(splits, validation=validation)
    with locked(folder), Clock(folder, started) as spent:
        node = configure({})
        if "batch" not in kept:  # of the last training, which is planned for the time: trials are to be like it
            experiment = configuration.experiment(node, trust)
            size, more = min(experiment.training.batch_size, len(splits.train)), experiment.training.accumulate
            kept["batch"] = fewer(size, timed(experiment, few, device, STEPS)[0], LAST * seconds, more)[0]
        node = configure({"training.batch_size": kept["batch"]})
        search = ranges_of(make, node)
        trials = Trials(
            study_of(folder), search, defaults(make, node, search),
            lambda params: configuration.experiment(configure(params), trust),
            few, device, seed, _judge(node, splits, device, trust), quiet, kept["speeds"],
            kept["steps"], folder / FIRST,
        )  # fmt: skip
        work = Work(folder, kept, trials, configure, splits, apart, seconds, spent, seed, device, trust, quiet, command)
        if not work.all():
            return Tuning(folder)
        return Tuning(folder, Tuned.from_dict(kept["tuned"]), Run.open(folder / "best", device, trust))


@dataclass
class Work:
    """A tuning that goes on where it was stopped: ``kept`` says what is done. Each part returns whether it came to its
    end; a user may stop it."""

    folder: Path
    kept: dict[str, Any]
    trials: Trials
    configure: Callable[[Mapping[str, Any]], Node]
    splits: Splits
    apart: Examples
    seconds: float
    spent: Clock
    seed: int
    device: str
    trust: Trust
    quiet: bool
    command: str | None

    def save(self) -> None:
        keep(self.folder, KEPT, self.kept)

    def all(self) -> bool:
        """Everything."""
        if (self.folder / "best" / REPORT).is_file() and "tuned" in self.kept:
            return True
        if "each" not in self.kept:
            step, look, _ = self.trials.speed(self.trials.own)
            self.kept["each"] = max(LEAST, EACH * self.seconds, UPDATES * step + TRIED * look)
            self.kept["from"] = self.spent.seconds  # the data have been read
        each, searched = self.kept["each"], SEARCH * self.seconds
        searched = searched if searched >= FEWEST * each else 0.0
        self.save()
        say(_plan(self.seconds, each, searched, self.trials.search), self.quiet)
        if not self._search(self.kept.get("from", 0.0) + searched if searched else 0.0):
            return False
        if self.trials.young:
            say(f"after {clock(each)} the defaults are far from their end: they have all the time", self.quiet)
            searched = 0.0
        if searched and not self.trials.done:
            raise InputError(f"no trial came to its end in {clock(each)}: give more time than {clock(self.seconds)}")
        if searched and not self._pair():
            return False
        if "short" not in self.kept and not self._last():
            return False
        if not self.kept.get("short"):
            return True
        return self._search(USED * self.seconds - (2 * LONGER + 0.5) * each) and self._pair() and self._shorter()

    def _search(self, until: float) -> bool:
        while self.spent.seconds < until and not self.trials.young:
            if not self.trials.one(self.kept["each"]):
                return False
            self.save()
        return True

    @property
    def best(self) -> Mapping[str, Any]:
        """The settings of the best trial."""
        found: Mapping[str, Any] = self.trials.study.best_trial.params if self.trials.done else self.trials.own
        return found

    def _pair(self) -> bool:
        """Train the best settings and the defaults for longer, unless that is done, and choose one."""
        own, best = self.trials.own, self.best
        for params in [own] if best == own else [own, best]:
            key, measured = _key(params), "value" if self.trials.judge is not None else "apart"
            if measured in self.kept["pair"].get(key, {}):
                continue
            say(f"{'defaults' if params == own else 'best'}: {clock(LONGER * self.kept['each'])}", self.quiet)
            artifact, lengths = self.trials.trained(params, LONGER * self.kept["each"], LOOKS)
            if artifact.history is not None and artifact.history.why == "interrupted":
                return False
            found = self.figures(artifact)
            if self.trials.judge is None:
                found["apart"] = log_likelihood(artifact, self.apart, None, K, self.seed).tolist()
            self.kept["pair"][key] = found | {"lengths": lengths}
            self.save()
        self.kept["tuned"] = self._chosen(best).to_dict()
        self.kept["settings"] = dict(best if self.kept["tuned"]["kept"] == "tuned" else own)
        self.save()
        return True

    def figures(self, artifact: Artifact) -> dict[str, Any]:
        """By what a training of some settings is held against another length of it."""
        if self.trials.judge is not None:
            return {"value": self.trials.judge(artifact)}
        found = log_likelihood(artifact, self.trials.splits.validation, None, K, self.seed)
        return {"value": found.mean().item()}

    def _chosen(self, best: Mapping[str, Any]) -> Tuned:
        ours, theirs = (self.kept["pair"].get(_key(params)) for params in (best, self.trials.own))
        settings = [] if best == self.trials.own else as_settings(best)
        return chosen(settings, ours, theirs, len(self.trials.done), self.trials.pruned)

    def _last(self) -> bool:
        """Train what was chosen for the time that is left, and say whether a shorter training was better."""
        if "tuned" not in self.kept:
            self.kept["tuned"] = self._chosen(self.trials.own).to_dict()
            self.kept["tuned"] |= {"says": UNSEARCHED} if self.trials.young else {}
            self.kept["settings"] = {}
        params, place, first = self.kept["settings"], self.folder / "last", self.folder / FIRST
        left = max(LEAST, self.seconds - self._report(params) - self.spent.seconds)
        if not (place / CONFIG).is_file():
            say(f"{self.kept['tuned']['kept']}: a training of {clock(left)}", self.quiet)
        fallen, weights = Fallen(), first if self.trials.young and first.is_dir() else None
        run = self._whole(place, self.configure(params), self._length(params, left), fallen, weights=weights)
        shutil.rmtree(first, ignore_errors=True)
        if not run.finished and not fallen.seen:
            return False
        before = self.kept["pair"].get(_key(params))
        short = before is not None and (fallen.seen or not better(self.figures(run.artifact), before))
        self.kept["short"] = short
        if not short:
            place.rename(self.folder / "best")
        self.save()
        return True

    def _length(self, params: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The settings of the last training, which takes so long: as trials have shown, it isn't timed anew."""
        params = {"training.batch_size": self.kept["batch"], **(params or self.trials.own)}
        most = seconds / max(1e-6, self._look(params))
        looks = min(MOST_LOOKS, max(1, int(LOOKING * most), min(LOOKS, int(VALIDATING * most))))
        some = PLANNED * seconds - (looks + 1) * (self._look(params) - self.trials.speed(params)[1])
        found = self.trials.lengths(params, some, looks, seen=True)
        planned = {"batch_size": params["training.batch_size"], "budget": seconds, "planned": True}
        return {name: found[name] for name in ("epochs", "validate_every")} | planned

    def _look(self, params: Mapping[str, Any]) -> float:
        """Seconds of a look at all validation examples, of which trials see some."""
        few, every = len(self.trials.splits.validation), len(self.splits.validation)
        return self.trials.speed(params or self.trials.own)[1] * every / few

    def _report(self, params: Mapping[str, Any]) -> float:
        """Seconds that are kept for the report of the last training."""
        part = len(self.splits.held[0]) / len(self.splits.validation)
        return min((1 - USED) * self.seconds, OVERHEAD + part * self._look(params))

    def _shorter(self) -> bool:
        """The chosen settings at the length of the pair, as a run."""
        lengths = self.kept["pair"][_key(self.kept["settings"])]["lengths"]
        self.kept["tuned"]["epochs"] = lengths["epochs"]
        self.save()
        say(f"{self.kept['tuned']['kept']}: {lengths['epochs']:.3g} epochs, more are no better", self.quiet)
        return self._whole(self.folder / "best", self.configure(self.kept["settings"]), lengths).finished

    def _whole(
        self, place: Path, node: Node, training: dict[str, Any], *callbacks: Callback, weights: Path | None = None
    ) -> Run:
        """Train a configuration into a folder, or go on with it."""
        if (place / REPORT).is_file():
            return Run.open(place, self.device, self.trust)
        if (place / CONFIG).is_file():
            return resume(place, self.device, self.trust, 1, self.quiet, splits=self.splits)
        node["training"] = {"class": "Training", **(node.get("training") or {}), **training}
        return train(
            node, place, self.splits, weights, device=self.device, trust=self.trust, importance_samples=1,
            quiet=self.quiet, command=self.command, callbacks=callbacks,
        )  # fmt: skip


def parted(validation: Examples) -> tuple[Examples, Examples]:
    """The validation examples that trials are judged by, evenly over all, and others, which tell whether the best trial
    is better beyond chance; all for both, where they are few."""
    if len(validation) < PARTED:
        return validation, validation
    rows = validation.evenly(min(FEW, len(validation) // 2))
    others = torch.ones(len(validation), dtype=torch.bool)
    others[rows] = False
    return validation.subset(rows), validation.subset(others.nonzero()[:, 0]).spread(APART)


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _plan(seconds: float, each: float, searched: float, search: Mapping[str, Range]) -> str:
    """What a tuning will do, in a line."""
    if not searched:
        return f"plan for {clock(seconds)}: too little for {FEWEST} trials of {clock(each)}: the defaults are trained"
    trials = f"about {searched / each:.0f} trials of {clock(each)} over {', '.join(search)}"
    pair = f"then the best and the defaults for {clock(LONGER * each)} each"
    return f"plan for {clock(seconds)}: {trials}, {pair}; what is kept of the two is trained anew for the rest"


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
