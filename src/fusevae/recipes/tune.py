"""Better settings for a recipe: optuna over its ranges, then the best beside the defaults, as a pair."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fusevae.core.description import Trust
from fusevae.core.durations import seconds_of
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples, data_fingerprint
from fusevae.data.modality import modality_of
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.evaluation.results import SAMPLES
from fusevae.recipes.candidates import Candidate, configured
from fusevae.recipes.default import as_settings, source_of
from fusevae.recipes.kept import Clock, known
from fusevae.recipes.ranges import defaults, plain, ranges_of
from fusevae.recipes.stages import KEPT, LAST, Work
from fusevae.recipes.trials import TRIALS, Trials, study_of
from fusevae.recipes.tuned import Tuned
from fusevae.training import configuration
from fusevae.training.budget import fewer
from fusevae.training.configuration import Node
from fusevae.training.lock import locked
from fusevae.training.prepare import pick_device
from fusevae.training.recipes import find, reads
from fusevae.training.run import Run

FEW, APART = 300, 500  # validation examples that trials are judged by, and others that the pair is compared on
PARTED = 40  # validation examples, of which fewer serve for both
SAMPLED = 500  # samples, where there is no bound


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

    A trial is a short training whose schedules come to their end in its time, judged by its best bound of some
    validation examples (by what decides about samples, where there is none), and given up half on the way where it is
    behind others. The first has the recipe's defaults, which then go on for longer: what that brought says what time is
    worth to them. Each other trial is one step in one setting from the best so far. The best settings go on as long as
    the defaults did, and the two are compared example by example on validation data that no trial was judged by (of
    samples' figures: on the same ones): where the best is not better beyond chance, the defaults are kept. What is kept
    goes on for all the time that is left, so that nothing of it is lost.

    - Where a doubling of the time brings the defaults much, trials are few, smaller nets come first, and the best of
      them is kept where it will still be the better one at the end, on a line over the logarithm of the time.
    - Where they learn by heart (they were best on validation examples on the way), the time is of no use to them: all
      that is left goes to trials as long as they need, the best of which, held against the defaults' best state in the
      same way, is the run.

    The test part is not looked at before the last report.

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
            kept["batch"] = fewer(configuration.experiment(node, trust), few, device, LAST * seconds)[0]
        node = configure({"training.batch_size": kept["batch"]})
        search = ranges_of(make, node)
        make_of = lambda params: configuration.experiment(configure(params), trust)  # noqa: E731
        trials = Trials(
            study_of(folder), search, defaults(make, node, search), make_of, few, device, seed,
            _judge(node, splits, device, trust), quiet, kept["speeds"], kept["steps"], trust,
        )  # fmt: skip
        work = Work(folder, kept, trials, configure, splits, apart, seconds, spent, seed, device, trust, quiet, command)
        if not work.all():
            return Tuning(folder)
        return Tuning(folder, Tuned.from_dict(kept["tuned"]), Run.open(folder / "best", device, trust))


def parted(validation: Examples) -> tuple[Examples, Examples]:
    """The validation examples that trials are judged by, evenly over all, and others, which tell whether the best trial
    is better beyond chance; all for both, where they are few."""
    if len(validation) < PARTED:
        return validation, validation
    rows = validation.evenly(min(FEW, len(validation) // 2))
    others = torch.ones(len(validation), dtype=torch.bool)
    others[rows] = False
    return validation.subset(rows), validation.subset(others.nonzero()[:, 0]).spread(APART)


def _configure(
    recipe: str, source: Source, splits: Splits, seed: int, precision: str | None, params: Mapping[str, Any]
) -> Node:
    return configured(Candidate(recipe, as_settings(plain(params))), source, splits, seed, precision)


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
