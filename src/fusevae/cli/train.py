"""``fusevae train`` and ``fusevae demo``."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import distributed as dist

from fusevae.core.description import describe
from fusevae.core.errors import InputError
from fusevae.core.processes import world
from fusevae.data.splits import Splits
from fusevae.recipes.default import default, parted, source_of
from fusevae.recipes.find import find, reads
from fusevae.training import configuration
from fusevae.training.configuration import Node
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
        source = source_of(dict(ours), about_data)
        if what is None:
            splits = source.read()
            what, chosen = default(splits)
            settings = [*chosen, *settings]
        recipe = find(what)
        if splits is None or reads(what):
            source = source_of(reads(what) | dict(ours), about_data)
            splits = source.read()
        chosen, settings = parted(settings, "recipe")
        given = dict(configuration.parse(s.removeprefix("recipe.")) for s in chosen)
        given = configuration.recipe_options(recipe, what, given)
        node = describe(recipe(splits.spec, **given)) | {"data": describe(source)}
    node = configuration.override(node, settings, trust)
    if options.seed is not None:
        node["seed"] = options.seed
    if options.precision is not None:
        node["training"] = {"class": "Training", **(node.get("training") or {}), "precision": options.precision}
    return node, splits


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
