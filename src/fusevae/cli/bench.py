"""``fusevae bench``: which generative model for these data? Each recipe is trained for the same time, then compared."""

from __future__ import annotations

import json
import os
import shlex
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusevae.cli import load
from fusevae.cli.compare import judged, show, write_page
from fusevae.cli.train import INTERRUPTED, is_file
from fusevae.core.artifact import Artifact
from fusevae.core.description import describe
from fusevae.core.errors import InputError, TrainingError
from fusevae.core.files import write_text
from fusevae.data.examples import data_fingerprint
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.evaluation.comparison import TrainingCost
from fusevae.recipes.find import find, reads
from fusevae.training import configuration
from fusevae.training.budget import Plan, duration, plan
from fusevae.training.configuration import Node, one_line
from fusevae.training.fit import pick_device, prepare
from fusevae.training.outcome import to_json
from fusevae.training.recipes import trusted
from fusevae.training.run import CONFIG, Run
from fusevae.training.train import resume
from fusevae.training.train import train as run

KEPT = "bench.json"  # what was asked for, and the plan of each training
#: what a recipe says of data that it is not for, in whatever words
UNFIT = (InputError, TrainingError, RuntimeError, ValueError, TypeError, IndexError)


def bench(options: Namespace) -> int:
    """Train what is not yet trained, compare all, and write ``comparison.html`` and ``comparison.json``."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("bench trains in one process: start it without torchrun")
    seconds = duration(options.budget)
    place = pick_device(options.device)
    options.trust = [*options.trust, *(own for each in options.what.split(",") for own in trusted(each.strip()))]
    if options.trust:
        sys.path.insert(0, os.getcwd())
    makers = recipes(options.what)
    folder = Path(options.output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give another --output, a folder")
    asked_of_data = {"conditions": options.conditions, "skip_damaged": options.skip_damaged} | read_by(makers)
    source = Source(options.data, **asked_of_data)
    splits = source.read()
    asked = {"budget": seconds, "seed": options.seed, "precision": options.precision, "device": place.type}
    asked |= {"data": describe(source), "fingerprint": data_fingerprint(splits.train)}
    kept = known(folder, asked)
    nodes, refused = fitting(options, makers, source, splits)
    if not nodes:
        raise InputError(f"no recipe fits the data: {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
    runs = {}
    for name, node in nodes.items():
        try:
            if not one(options, folder, name, node, splits, kept, seconds):
                print(f"stopped and saved; go on with: {_again(options)}", file=sys.stderr)
                return INTERRUPTED
            runs[str(folder / name)] = node
        except UNFIT as error:
            refused[name] = one_line(error)
            print(f"{name}: {refused[name]}", file=sys.stderr)
    if not runs:
        raise TrainingError(f"no training came to its end: {'; '.join(f'{k}: {v}' for k, v in refused.items())}")
    return compared(options, folder, runs, splits, kept, refused)


def recipes(what: str) -> dict[str, str]:
    """Recipes and configurations by the names of their runs; each is known, or :class:`InputError`."""
    found: dict[str, str] = {}
    for each in what.split(","):
        each = each.strip()
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
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"the folder {folder} is not empty and holds no bench: give another --output")
    return {"asked": asked, "plans": {}, "done": {}}


def fitting(
    options: Namespace, makers: dict[str, str], source: Source, splits: Splits
) -> tuple[dict[str, Node], dict[str, str]]:
    """The configurations that fit the data, by name; and why others don't, each a line."""
    nodes, refused = {}, {}
    for name, what in makers.items():
        try:
            node = configuration.read(what) if is_file(what) else describe(find(what)(splits.spec))
            node |= {"data": describe(source), "seed": options.seed}
            if options.precision is not None:
                node["training"] = {"class": "Training", **(node.get("training") or {}), "precision": options.precision}
            made = configuration.experiment(node, options.trust)
            prepare(made.model, splits, made.views, made.objective, made.training, made.seed, options.device)
            nodes[name] = node
        except UNFIT as error:
            refused[name] = one_line(error)
            print(f"{name} is left out: {refused[name]}", file=sys.stderr)
    return nodes, refused


def one(
    options: Namespace, folder: Path, name: str, node: Node, splits: Splits, kept: dict[str, Any], seconds: float
) -> bool:
    """Train a recipe, or go on with it; whether it came to its end."""
    place = folder / name
    if (place / "report.html").is_file():
        return True
    k = 1  # of the run's own report: the comparison weights more
    if (place / CONFIG).is_file():
        print(f"{name}: going on", file=sys.stderr)
        return _kept(folder, name, kept, resume(place, options.device, options.trust, k, limit=seconds))
    if name not in kept["plans"]:
        print(f"{name}: timing its steps", file=sys.stderr)
        made = plan(lambda: configuration.experiment(node, options.trust), splits, seconds, options.device)
        kept["plans"][name] = made.json()
        _write(folder, kept)
    chosen = Plan(**kept["plans"][name])
    node["training"] = {"class": "Training", **(node.get("training") or {}), **chosen.settings()}
    print(f"{name}: {chosen.steps:,} steps of {1000 * chosen.step_seconds:.3g} ms", file=sys.stderr)
    settings = {"device": options.device, "trust": options.trust, "command": _again(options), "limit": seconds}
    return _kept(folder, name, kept, run(node, place, splits, importance_samples=k, **settings))


def _kept(folder: Path, name: str, kept: dict[str, Any], result: Run) -> bool:
    """Note how far a training has come; whether it is at its end."""
    kept["done"][name] = {"steps": result.steps, "seconds": result.seconds}
    _write(folder, kept)
    return result.finished


def _write(folder: Path, kept: dict[str, Any]) -> None:
    write_text(folder / KEPT, json.dumps(kept, indent=2) + "\n")


def compared(
    options: Namespace,
    folder: Path,
    runs: dict[str, Node],
    splits: Splits,
    kept: dict[str, Any],
    refused: dict[str, str],
) -> int:
    """Compare the runs and write what came out."""
    artifacts: dict[str, Artifact] = {run_: load.opened(options, run_).artifact for run_ in runs}
    data, name = splits.held
    first = Run(next(iter(runs)), data=splits, device=options.device, trust=options.trust)
    reference = first.judge(options.samples, options.extractor, data, options.json) if options.samples else None
    print(f"comparing {len(artifacts)} models on {len(data):,} examples: {name}", file=sys.stderr)
    found = judged(options, artifacts, data, reference)
    for run_, model in found.models.items():
        planned, done = kept["plans"][Path(run_).name], kept["done"].get(Path(run_).name, {})
        model.training = replace(model.training or TrainingCost(), plan=planned, **done)
        steps = done.get("steps", planned["steps"])
        if steps < planned["steps"]:
            patient = (runs[run_].get("training") or {}).get("patience") is None
            spent = done["seconds"] >= kept["asked"]["budget"]
            why = "out of time" if patient or spent else "no better validation for its patience"
            model.notes.append(f"stopped at step {steps:,} of {planned['steps']:,}: {why}")
    found.data, found.budget, found.refused = f"{name} of {splits.source}", kept["asked"]["budget"], refused
    write_text(folder / "comparison.json", to_json(found) + "\n")
    options.output = str(folder / "comparison.html")
    how = "5 steps, then 10 to 50 timed ones say how many fit; neither they nor the evaluation count"
    about = {"timing": how}
    write_page(options, found, artifacts, data, reference, about)
    show(options, found)
    return 0


def _again(options: Namespace) -> str:
    return shlex.join(["fusevae", *options.argv])
