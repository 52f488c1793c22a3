"""Which generative model for these data? Each recipe is trained for the same time, then all are compared."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusevae.core.artifact import Artifact
from fusevae.core.description import Trust, describe
from fusevae.core.durations import clock, seconds_of
from fusevae.core.errors import InputError, SlotError, TrainingError
from fusevae.core.files import write_text
from fusevae.core.levels import Level
from fusevae.core.processes import world
from fusevae.data.examples import Examples, data_fingerprint
from fusevae.data.modality import modality_of
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.evaluation.comparison import TrainingCost
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.likelihood import log_likelihood
from fusevae.evaluation.samples import Kind, sample
from fusevae.recipes.compose import is_file, settled
from fusevae.recipes.find import find, reads
from fusevae.training import configuration
from fusevae.training.budget import Plan, plan
from fusevae.training.compare import Compared, compared, judge_or_why
from fusevae.training.configuration import Node, one_line
from fusevae.training.fit import pick_device, prepare
from fusevae.training.folder import CONFIG, REPORT
from fusevae.training.lock import LOCK, locked
from fusevae.training.notices import ASIDE
from fusevae.training.outcome import to_json
from fusevae.training.prepare import artifact_of
from fusevae.training.run import JUDGED, Run
from fusevae.training.train import resume, train

KEPT = "bench.json"  # what was asked for, and the plan of each training
FEW = 20  # examples and samples by which the time of an evaluation is foreseen
OWN = 1  # importance samples of a run's own report: the comparison weights more
TIMING = "5 steps, then 10 to 50 timed ones say how many fit; neither they nor the evaluation count"
#: what a recipe says of data that it is not for, in whatever words
UNFIT = (InputError, TrainingError, RuntimeError, ValueError, TypeError, IndexError)


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
    recipes: Sequence[str],
    data: str | None = None,
    budget: str | float = "10m",
    output: str | Path = "runs/bench",
    conditions: str | list[str] | None = None,
    samples: int = JUDGED,
    importance_samples: int = 100,
    kind: Kind = "auto",
    extractor: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str | None = None,
    skip_damaged: bool = False,
    trust: Trust = (),
    quiet: bool = False,
    command: str | None = None,
) -> Bench:
    """Train what is not yet trained, compare all, and write ``comparison.html`` and ``comparison.json``.

    The same call goes on with a bench that was stopped.

    Args:
        recipes: their names, or YAML configurations.
        data: their path; scikit-learn's digits by default.
        budget: time of each training, in seconds or as ``"90s"``, ``"20m"``, ``"1h30m"``.
        output: a new folder, or that of the same bench.
        conditions: columns beside the data, as of :class:`fusevae.Source`.
        samples: of each model that are held against as many real examples; 0 for none.
        importance_samples: k of the bounds.
        kind: of samples, see :func:`fusevae.sample`.
        extractor: a file that the user names, for features or as a judge.
        seed: of everything.
        device: as for :func:`fusevae.fit`.
        precision: of the nets.
        skip_damaged: leave out examples that can't be read.
        trust: as for :func:`fusevae.build`.
        quiet: show no progress.
        command: that makes the bench, for its pages.

    Raises :class:`InputError` before any work where something doesn't fit, :class:`TrainingError` where no training
    came to its end.
    """
    if world()[1] > 1:
        raise InputError("bench trains in one process: start it without torchrun")
    seconds = seconds_of(budget)
    place, makers, folder = pick_device(device), named(recipes), Path(output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give another --output, a folder")
    source = Source(data, **{"conditions": conditions, "skip_damaged": skip_damaged} | read_by(makers))
    splits = source.read()
    asked = {"budget": seconds, "seed": seed, "precision": precision, "device": place.type}
    asked |= {"data": describe(source), "fingerprint": data_fingerprint(splits.train)}
    kept = known(folder, asked)
    try_out = functools.partial(evaluation_seconds, held=splits.held[0], k=importance_samples, samples=samples)
    nodes, refused, trials = fitting(makers, source, splits, seed, precision, device, trust, try_out)
    if not nodes:
        raise InputError(f"no recipe fits the data: {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
    if not quiet:
        left = [name for name in nodes if not (folder / name / REPORT).is_file()]
        first = modality_of(splits.spec).reference_seconds(splits, extractor, device) if samples else 0.0
        _say(foreseen(len(left), seconds, first, sum(trials.values())))
    judge, why = None, ""
    if samples and extractor:  # that the file can't be read is said before hours of training
        judge, why = judge_or_why(lambda: _judge(splits, samples, extractor, device, quiet))
    found = Bench(folder, {}, refused)
    with locked(folder):
        kept = known(folder, asked)  # nobody has begun in it meanwhile
        for name, node in nodes.items():
            try:
                run = one(folder, name, node, splits, kept, device, trust, quiet, command)
            except UNFIT as error:
                refused[name] = one_line(error)
                _say(f"{name}: {refused[name]}")
                continue
            if not run.finished:
                return found
            found.runs[name] = run
        if not found.runs:
            raise TrainingError(f"no training came to its end: {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
        if samples and judge is None and not why:
            judge, why = judge_or_why(lambda: _judge(splits, samples, None, device, quiet))
        runs = {str(run.path): Run.open(run.path, device, trust, precision=precision) for run in found.runs.values()}
        held, part = splits.held
        _say(f"comparing {len(runs)} models on {len(held):,} examples: {part}", quiet)
        found.compared = compared(runs, held, f"{part} of {splits.source}", judge, importance_samples, kind, seed, why)
        told(found.compared, nodes, kept, refused)
        write_text(folder / "comparison.json", to_json(found.compared.comparison) + "\n")
        about = {"timing": TIMING} | ({"command": command} if command else {})
        found.compared.page(folder / "comparison.html", about)
        return found


def named(recipes: Sequence[str]) -> dict[str, str]:
    """Recipes and configurations by the names of their runs; each is known, or :class:`InputError`."""
    found: dict[str, str] = {}
    for each in recipes:
        configuration.read(each) if is_file(each) else find(each)
        name = Path(each).stem if is_file(each) else each.replace(":", ".")
        if name in found:
            raise InputError(f"{name} was given twice: give each recipe once")
        found[name] = each
    return found


def read_by(makers: dict[str, str]) -> dict[str, Any]:
    """How all the recipes want their data read, or :class:`InputError` where they don't agree."""
    found: dict[str, Any] = {}
    whose: dict[str, str] = {}
    for name, what in makers.items():
        for key, value in ({} if is_file(what) else reads(what)).items():
            if found.setdefault(key, value) != value:
                raise InputError(
                    f"{whose[key]} reads its data with {key}={found[key]}, {name} with {key}={value}: give "
                    "recipes that read them alike"
                )
            whose.setdefault(key, name)
    return found


def known(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What a folder holds of this bench, or a fresh record; :class:`InputError` where it holds something else."""
    path = folder / KEPT
    if path.is_file():
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{path} can't be read: give another --output") from None
        for key, value in asked.items():
            if kept["asked"].get(key) != value:
                raise InputError(
                    f"{folder} holds a bench with another {key} ({kept['asked'].get(key)}, now {value}): give the same "
                    "to go on with it, or another --output"
                )
        return kept
    if folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
        raise InputError(f"the folder {folder} is not empty and holds no bench: give another --output")
    return {"asked": asked, "plans": {}, "done": {}}


def fitting(
    makers: dict[str, str],
    source: Source,
    splits: Splits,
    seed: int,
    precision: str | None,
    device: str,
    trust: Trust,
    try_out: Callable[[Artifact], float],
) -> tuple[dict[str, Node], dict[str, str], dict[str, float]]:
    """The configurations that fit the data, by name; why others don't, each a line; what a trial of each says."""
    nodes, refused, trials = {}, {}, {}
    for name, what in makers.items():
        try:
            node = configuration.read(what) if is_file(what) else describe(find(what)(splits.spec))
            node = settled(node | {"data": describe(source)}, seed, precision)
            made = configuration.experiment(node, trust)
            loop = prepare(made.model, splits, made.views, made.objective, made.training, made.seed, device)
            trials[name] = try_out(artifact_of(loop.game))
            nodes[name] = node
        except UNFIT as error:
            refused[name] = one_line(error)
            _say(f"{name} is left out: {refused[name]}")
    return nodes, refused, trials


def evaluation_seconds(artifact: Artifact, held: Examples, k: int, samples: int) -> float:
    """About how long a model's evaluation takes: that of a few examples and samples, times how many there are."""
    few, seconds = held.spread(FEW), 0.0
    for n in (1, FEW):  # whatever is done once is done by the first
        started = time.perf_counter()
        if artifact.distribution.level >= Level.BOUND:
            log_likelihood(artifact, few.spread(n), importance_samples=k)
        judged = time.perf_counter()
        if samples:
            with suppress(SlotError):  # an autoencoder before its prior is fitted
                sample(artifact, n)
        seconds = (judged - started) * len(held) / len(few) + (time.perf_counter() - judged) * samples / FEW
    return seconds


def foreseen(trainings: int, budget: float, judge: float, evaluation: float) -> str:
    """What a bench will take, in a line."""
    parts = {f"{trainings} training{'s' * (trainings != 1)} of {clock(budget)}": trainings * budget}
    parts |= {"the classifier that judges samples, about": judge} if judge else {}
    parts |= {"evaluation, about": evaluation}
    words = ", ".join(f"{name} {clock(value)}" if name.endswith("about") else name for name, value in parts.items())
    return f"plan: {words}; about {clock(sum(parts.values()))} in all, pictures and the timing of steps beside it"


def one(
    folder: Path,
    name: str,
    node: Node,
    splits: Splits,
    kept: dict[str, Any],
    device: str,
    trust: Trust,
    quiet: bool,
    command: str | None,
) -> Run:
    """Train a recipe, or go on with it, and note how far it has come."""
    place, seconds = folder / name, kept["asked"]["budget"]
    if (place / REPORT).is_file():
        run = Run.open(place, device, trust)
    elif (place / CONFIG).is_file():
        _say(f"{name}: going on", quiet)
        run = resume(place, device, trust, OWN, quiet=quiet)
    else:
        if name not in kept["plans"]:
            _say(f"{name}: timing its steps", quiet)
            made = plan(lambda: configuration.experiment(node, trust), splits, seconds, device)
            kept["plans"][name] = made.json()
            _write(folder, kept)
        chosen = Plan(**kept["plans"][name])
        node["training"] = {"class": "Training", **(node.get("training") or {}), **chosen.settings()}
        node["training"] |= {"budget": seconds, "planned": True}
        _say(f"{name}: {chosen}", quiet)
        settings: dict[str, Any] = {"device": device, "trust": trust, "quiet": quiet, "command": command}
        run = train(node, place, splits, importance_samples=OWN, **settings)
    kept["done"][name] = {"steps": run.steps, "seconds": run.seconds}
    _write(folder, kept)
    return run


def told(found: Compared, nodes: dict[str, Node], kept: dict[str, Any], refused: dict[str, str]) -> None:
    """Add to a comparison what was planned and what became of it."""
    for path, model in found.comparison.models.items():
        name = Path(path).name
        planned, cost = kept["plans"][name], model.training or TrainingCost()
        model.training, steps = replace(cost, plan=planned), cost.steps or 0
        if steps < planned["steps"]:
            patient = (nodes[name].get("training") or {}).get("patience") is None
            spent = (cost.seconds or 0.0) >= kept["asked"]["budget"]
            why = "out of time" if patient or spent else "no better validation for its patience"
            model.notes.append(f"stopped at step {steps:,} of {planned['steps']:,}: {why}")
    found.comparison.budget, found.comparison.refused = kept["asked"]["budget"], refused


def _judge(splits: Splits, samples: int, extractor: str | None, device: str, quiet: bool) -> Judge:
    kind = modality_of(splits.spec)
    return kind.reference(splits.held[0], splits, samples, extractor, str(pick_device(device)), quiet)


def _write(folder: Path, kept: dict[str, Any]) -> None:
    write_text(folder / KEPT, json.dumps(kept, indent=2) + "\n")


def _say(text: str, quiet: bool = False) -> None:
    if not quiet:
        print(text, file=ASIDE)
