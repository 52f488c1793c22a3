"""Which generative model for these data? Recipes are trained for the same time, or the better ones for longer within a
time for everything; then all are compared."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusevae.core.description import Trust, describe
from fusevae.core.durations import clock as in_words
from fusevae.core.durations import seconds_of
from fusevae.core.errors import InputError, TrainingError
from fusevae.core.files import write_text
from fusevae.core.processes import world
from fusevae.core.typed import Count
from fusevae.data.examples import data_fingerprint
from fusevae.data.modality import modality_of
from fusevae.evaluation.samples import Kind
from fusevae.recipes import rounds
from fusevae.recipes.candidates import evaluation_cost, fitting, named, read_by, recommended, say
from fusevae.recipes.default import source_of
from fusevae.recipes.kept import Clock, known
from fusevae.recipes.trainings import KEPT, Work
from fusevae.training.compare import Compared, compared, judge_or_why
from fusevae.training.folder import REPORT
from fusevae.training.lock import locked
from fusevae.training.outcome import to_json
from fusevae.training.prepare import pick_device
from fusevae.training.recipes import reads
from fusevae.training.run import JUDGED, Run

SHARE = 0.4  # of a time for everything, about what the longest training gets
TIMING = "5 steps, then 10 to 50 timed ones say how many fit; neither they nor the evaluation count"


@dataclass
class Bench:
    """What came out of a bench.

    Attributes:
        folder: of the runs, ``comparison.html`` and ``comparison.json``.
        runs: those that were trained, by the names of their recipes.
        refused: why others were not, a line each.
        compared: all of them side by side; None where the bench was stopped before.
    """

    folder: Path
    runs: dict[str, Run] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    compared: Compared | None = None

    @property
    def finished(self) -> bool:
        """Whether it came to its end; the same call goes on with one that didn't."""
        return self.compared is not None


def bench(
    recipes: Sequence[str] = (),
    data: str | None = None,
    budget: str | float | None = None,
    output: str | Path = "runs/bench",
    conditions: str | list[str] | None = None,
    samples: int = JUDGED,
    importance_samples: Count = 100,
    kind: Kind = "auto",
    extractor: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str | None = None,
    skip_damaged: bool = False,
    trust: Trust = (),
    quiet: bool = False,
    command: str | None = None,
    total: str | float | None = None,
    reading: Sequence[str] = (),
) -> Bench:
    """Train what is not yet trained, compare all, and write ``comparison.html`` and ``comparison.json``.

    The same call goes on with a bench that was stopped.

    Args:
        recipes: their names, or YAML configurations; by default what the modality has for such data and time.
        data: their path; scikit-learn's digits by default.
        budget: time of each training, in seconds or as ``"90s"``, ``"20m"``, ``"1h30m"``; ten minutes where no
            ``total`` is given.
        output: a new folder, or that of the same bench.
        conditions: columns beside the data, as of :class:`fusevae.Source`.
        samples: of each model that are held against as many real examples; 0 for none. Fewer where ``total`` is short.
        importance_samples: k of the bounds; fewer where ``total`` is short.
        kind: of samples, see :func:`fusevae.sample`.
        extractor: a file that the user names, for features or as a judge.
        seed: of everything.
        device: as for :func:`fusevae.fit`.
        precision: of the nets.
        skip_damaged: leave out examples that can't be read.
        trust: as for :func:`fusevae.build`.
        quiet: show no progress.
        command: that makes the bench, for its pages.
        total: time of everything, evaluation included, in place of ``budget``: a round for all, then the better half is
            trained on, until it is spent.
        reading: how the data are read, as ``--set`` has it: ``"data.column=review"``.

    Raises :class:`InputError` before any work where something doesn't fit, :class:`TrainingError` where no training
    came to its end.
    """
    if world()[1] > 1:
        raise InputError("bench trains in one process: start it without torchrun")
    if budget is not None and total is not None:
        raise InputError(f"budget={budget!r} and total={total!r} were given: expected one, leave out the other")
    started = time.monotonic()
    whole = None if total is None else seconds_of(total)
    seconds = seconds_of("10m" if budget is None else budget)
    place, makers, folder = pick_device(device), named(recipes), Path(output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give another --output, a folder")
    said = {"path": data, "conditions": conditions, "skip_damaged": skip_damaged}
    source = source_of(said | read_by(makers), reading)
    splits = source.read()
    if not makers:
        makers = recommended(splits, seconds if whole is None else SHARE * whole)
        if how := reads(next(iter(makers.values())).what):
            source = source_of(said | how, reading)
            splits = source.read()
    asked: dict[str, Any] = {"budget": seconds} if whole is None else {"total": whole}
    asked |= {"seed": seed, "precision": precision, "device": place.type}
    asked |= {"data": describe(source), "fingerprint": data_fingerprint(splits.train)}
    kept = known(folder, KEPT, "bench", asked) or {"asked": asked, "plans": {}, "done": {}}
    held, part = splits.held
    most = min(samples, max(100, len(held)))  # as many as real examples
    try_out = functools.partial(evaluation_cost, held=held, k=importance_samples, samples=most)
    going = "plan" in kept  # what a trial would say has been planned with
    nodes, refused, trials = fitting(makers, source, splits, seed, precision, device, trust, None if going else try_out)
    if not nodes:
        raise InputError(f"no recipe fits the data: {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
    work = Work(folder, splits, nodes, refused, kept, device, trust, quiet, command)
    judge, why = None, ""
    if samples and extractor:  # that the file can't be read is said before hours of training
        judge, why = judge_or_why(lambda: work.judge(samples, extractor))
    clock = Clock(folder, started)
    if not going:
        first = modality_of(splits.spec).reference_seconds(splits, extractor, device) if samples else 0.0
        if whole is None:
            left = [name for name in nodes if not (folder / name / REPORT).is_file()]
            say(foreseen(len(left), seconds, first, sum(c.likelihood + c.samples for c in trials.values())), quiet)
        else:
            share = rounds.planned if recipes else functools.partial(rounds.affordable, spent=clock.seconds)
            kept["plan"] = share(trials, whole, judge=first, samples=most, k=importance_samples, examples=len(held))
    if whole is not None:
        for name in list(nodes)[kept["plan"]["sizes"][0] :]:
            del nodes[name]
            refused[name] = f"there is too little time for it: name it, or give more than --total {in_words(whole)}"
        say("\n".join(rounds.said(list(nodes), kept["plan"], whole, clock.seconds)), quiet)
        samples = kept["plan"]["evaluation"]["samples"] if samples else 0
    with locked(folder), clock:
        known(folder, KEPT, "bench", asked)  # nobody has begun in it meanwhile
        if whole is None:
            ended = all(work.one(name, seconds) for name in nodes)
        else:
            ended = rounds.rounds(
                list(nodes), kept, whole, work.trained, functools.partial(work.best, samples), work.save, work.settled,
                lambda: clock.seconds, quiet,
            )  # fmt: skip
        if not ended:
            return Bench(folder, work.runs, refused)
        work.open()
        if whole is not None:
            there = judge is not None or "best" in kept["rounds"][0]  # what judges has been trained
            over = whole - clock.seconds - rounds.OVERHEAD - (0.0 if there else kept["plan"]["judge_seconds"])
            effort = rounds.lessened(kept["plan"], over)
            samples, importance_samples = min(samples, effort.samples), effort.importance_samples
            held = held.spread(effort.examples)
        if not work.runs:
            raise TrainingError(f"no training came to its end: {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
        if samples and judge is None and not why:
            judge, why = judge_or_why(lambda: work.judge(samples, extractor))
        runs = {str(run.path): Run.open(run.path, device, trust, precision=precision) for run in work.runs.values()}
        say(f"comparing {len(runs)} model{'s' * (len(runs) != 1)} on {len(held):,} examples: {part}", quiet)
        found = compared(runs, held, f"{part} of {splits.source}", judge, importance_samples, kind, seed, why)
        work.told(found)
        write_text(folder / "comparison.json", to_json(found.comparison) + "\n")
        about = {"timing": TIMING} if whole is None else {"shared out": work.shares(clock.seconds)}
        found.page(folder / "comparison.html", about | ({"command": command} if command else {}))
        return Bench(folder, work.runs, refused, found)


def foreseen(trainings: int, budget: float, judge: float, evaluation: float) -> str:
    """What a bench will take, in a line."""
    parts = {f"{trainings} training{'s' * (trainings != 1)} of {in_words(budget)}": trainings * budget}
    parts |= {"the classifier that judges samples, about": judge} if judge else {}
    parts |= {"evaluation, about": evaluation}
    words = ", ".join(f"{name} {in_words(value)}" if name.endswith("about") else name for name, value in parts.items())
    return f"plan: {words}; about {in_words(sum(parts.values()))} in all, pictures and the timing of steps beside it"
