"""``fusevae train`` and ``fusevae demo``."""

from __future__ import annotations

import json
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from fusevae.core.description import build, describe, fit_type
from fusevae.core.errors import InputError
from fusevae.core.processes import world
from fusevae.data.modality import modality_of
from fusevae.data.source import Source, Splits
from fusevae.recipes.find import find, reads
from fusevae.training import configuration
from fusevae.training.configuration import Node
from fusevae.training.experiment import Experiment
from fusevae.training.fit import pick_device
from fusevae.training.outcome import to_json
from fusevae.training.recipes import trusted
from fusevae.training.run import Run
from fusevae.training.run import trusted as import_trusted
from fusevae.training.train import fresh, resume
from fusevae.training.train import train as run

INTERRUPTED = 130


def train(options: Namespace) -> int:
    """Train a recipe or a configuration, or go on with a run."""
    options.trust = [*options.trust, *trusted(options.what)]
    import_trusted(options.trust)
    with processes(options.device):
        if options.resume:
            result = _resume(options)
        else:
            if not (options.what or options.data) or not options.output:
                raise InputError(
                    "train needs a recipe, YAML or --data, and --output (train --data photos/ --output a); or --resume"
                )
            if options.only and not options.weights:
                raise InputError(f"--only {options.only[0]} chooses what --from takes over: add --from RUN")
            fresh(options.output)  # before the data are read, which may take long
            node, splits = compose(options)
            result = run(
                node,
                options.output,
                splits,
                options.weights,
                options.only,
                options.device,
                options.trust,
                options.importance_samples,
                command=shlex.join(["fusevae", *options.argv]),
            )
        return tell(result, options.json)


def demo(options: Namespace) -> int:
    """Train the digits recipe into a folder of its own."""
    output = Path(options.output or "runs/demo")
    if not options.output:
        taken = output
        for i in range(2, 10_000):
            if not (output.exists() and any(output.iterdir())):
                break
            output = taken.with_name(f"{taken.name}-{i}")
    fresh(output)
    command = f"fusevae train logistic-vae --seed {options.seed} --output {shlex.quote(str(output))}"
    empty = Namespace(what="logistic-vae", data=None, skip_damaged=False, settings=[], trust=[])
    node, splits = compose(Namespace(**{**vars(options), **vars(empty)}))
    return tell(run(node, output, splits, device=options.device, command=command), options.json)


def compose(options: Namespace) -> tuple[Node, Splits | None]:
    """The configuration that the arguments ask for; and the data, where a recipe had to see them."""
    what, settings, trust = options.what, list(options.settings), options.trust
    ours: list[tuple[str, Any]] = []
    if options.data is not None:
        ours.append(("path", options.data))
    if options.skip_damaged:
        ours.append(("skip_damaged", True))
    splits = None
    if what is not None and is_file(what):
        node = configuration.read(what)
        for setting in settings:
            if setting.startswith("recipe."):
                raise InputError(f"{setting!r} is an option of a recipe, {what} is none: set the part itself")
        node["data"] = {"class": "Source", **node.get("data", {})} | dict(ours)
    else:
        about_data, settings = parted(settings, "data")
        if what is None:
            splits = source_of(dict(ours), about_data).read()
            what, chosen = default(splits)
            more, chosen = parted(chosen, "data")
            about_data, settings = [*more, *about_data], [*chosen, *settings]
        recipe, how = find(what), reads(what)
        source = source_of(how | dict(ours), about_data)
        if splits is None or how:
            splits = source.read()
        chosen, settings = parted(settings, "recipe")
        given = dict(configuration.parse(s.removeprefix("recipe.")) for s in chosen)
        made = recipe(splits.spec, **configuration.recipe_options(recipe, what, given))
        for line in changes(made, splits):
            tell_aside(f"{what}: {line}")
        node = describe(made) | {"data": describe(source)}
    node = configuration.override(node, settings, trust)
    if options.seed is not None:
        node["seed"] = options.seed
    if options.precision is not None:
        node["training"] = {"class": "Training", **(node.get("training") or {}), "precision": options.precision}
    return node, splits


def default(splits: Splits) -> tuple[str, list[str]]:
    """The recipe that suits data for which none was named, and its settings; says which and why."""
    found = modality_of(splits.spec).recommend(splits.spec, len(splits.train))
    if not found:
        raise InputError(f"{splits.source} has no default: name a recipe (fusevae recipes lists them)")
    first, settings = found[0], as_settings(found[0].options)
    said = "".join(f" --set {shlex.quote(setting)}" for setting in settings)
    tell_aside(f"no recipe was named, so it is {first.recipe}{said}: {first.why}")
    return first.recipe, settings


def as_settings(options: Mapping[str, Any]) -> list[str]:
    """Options as ``--set`` takes them.

    Example:
        >>> as_settings({"recipe.channels": (32, 64), "training.patience": 6})
        ['recipe.channels=[32,64]', 'training.patience=6']
    """
    return [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in options.items()]


def parted(settings: list[str], of: str) -> tuple[list[str], list[str]]:
    """The settings of a section, and the others.

    Example:
        >>> parted(["data.size=[8,8]", "training.epochs=3"], "data")
        (['data.size=[8,8]'], ['training.epochs=3'])
    """
    ours = [setting for setting in settings if setting.split("=")[0].split(".")[0].strip() == of]
    return ours, [setting for setting in settings if setting not in ours]


def source_of(known: Mapping[str, Any], about_data: Sequence[str]) -> Source:
    """Where data come from: what is known, then what the settings of ``data`` say."""
    node = {"data": describe(Source()) | dict(known)}
    return fit_type(build(configuration.override(node, about_data)["data"], where="data"), Source, "data")


def changes(made: Experiment, splits: Splits) -> list[str]:
    """What the views of a recipe make less of these data: a line each."""
    found, seen = [], splits.spec
    for view in made.views:
        before, seen = seen, view.spec(seen)
        if view.changes_support and seen.is_discrete:
            x = splits.train.batch(torch.arange(min(100, len(splits.train))))[0]
            kept, values = round(seen.high - seen.low) + 1, len(x.unique())
            if kept < values:
                found.append(
                    f"the data are {view.label}, {kept} values in place of {values} in [{before.low:g}, "
                    f"{before.high:g}]: its likelihood is of these"
                )
    return found


def tell_aside(line: str) -> None:
    """A line on stderr, of the first process."""
    if not int(os.environ.get("RANK", "0")):
        print(line, file=sys.stderr, flush=True)


def is_file(what: str) -> bool:
    """Whether ``what`` means a YAML file rather than a recipe."""
    return what.endswith((".yaml", ".yml")) or os.sep in what or Path(what).is_file()


@contextmanager
def processes(device: str) -> Iterator[None]:
    """Join the other processes under torchrun, and leave them."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if pick_device(device).type == "cuda" else "gloo")
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def tell(result: Run, as_json: bool) -> int:
    """Print what became of a run, in the first process."""
    if int(os.environ.get("RANK", "0")) or world()[0]:
        return 0 if result.finished else INTERRUPTED
    if as_json:
        print(to_json({"run": str(result.folder), "finished": result.finished, "evaluation": result.evaluation}))
    if not result.finished:
        go_on = f"fusevae train --resume {shlex.quote(str(result.folder))}"
        print(f"stopped and saved; go on with: {go_on}", file=sys.stderr)
        return INTERRUPTED
    if not as_json:
        table(result.evaluation.lines() if result.evaluation else [])
        print(f"\nreport  {result.folder / 'report.html'}")
    return 0


def table(rows: list[tuple[str, str]]) -> None:
    """Words and values on stdout, in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:{width}}  {value}")


def _resume(options: Namespace) -> Run:
    given = {
        "a recipe or YAML": options.what,
        "--data": options.data,
        "--output": options.output,
        "--set": options.settings,
        "--from": options.weights,
        "--only": options.only,
        "--seed": options.seed is not None,
        "--precision": options.precision,
        "--skip-damaged": options.skip_damaged,
    }
    if wrong := [name for name, value in given.items() if value]:
        raise InputError(
            f"--resume goes on with {options.resume} as it was begun, {wrong[0]} can't be given: leave it out, or "
            f"start anew with --from {options.resume} and another --output"
        )
    return resume(options.resume, options.device, options.trust, options.importance_samples)
