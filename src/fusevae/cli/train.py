"""``fusevae train`` and ``fusevae demo``."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import distributed as dist

from fusevae.cli.load import trusted
from fusevae.core.errors import InputError
from fusevae.core.processes import world
from fusevae.recipes.compose import compose
from fusevae.training.folder import fresh_folder
from fusevae.training.notices import ASIDE
from fusevae.training.outcome import to_json
from fusevae.training.prepare import pick_device
from fusevae.training.run import Run
from fusevae.training.train import resume
from fusevae.training.train import train as run

INTERRUPTED = 130


def train(options: Namespace) -> int:
    """Train a recipe or a configuration, or go on with a run."""
    trust = trusted(options.trust, [options.what or ""])
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
            fresh_folder(options.output)  # before the data are read, which may take long
            settings = (options.settings, options.seed, options.precision, options.skip_damaged, trust)
            node, splits = compose(options.what, options.data, *settings, options.budget)
            result = run(
                node,
                options.output,
                splits,
                options.weights,
                options.only,
                options.device,
                trust,
                options.importance_samples,
                command=shlex.join(["fusevae", *options.argv]),
                since=options.since,
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
    fresh_folder(output)
    command = f"fusevae train logistic-vae --seed {options.seed} --output {shlex.quote(str(output))}"
    node, splits = compose("logistic-vae", seed=options.seed, precision=options.precision)
    return tell(run(node, output, splits, device=options.device, command=command), options.json)


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
        print(f"stopped and saved; go on with: {go_on}", file=ASIDE)
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
        "--from": options.weights,
        "--only": options.only,
        "--budget": options.budget,
        "--seed": options.seed is not None,
        "--skip-damaged": options.skip_damaged,
    }
    if wrong := [name for name, value in given.items() if value]:
        raise InputError(
            f"--resume goes on with {options.resume} as it was begun, {wrong[0]} can't be given: leave it out, or "
            f"start anew with --from {options.resume} and another --output"
        )
    settings = options.settings + ([f"training.precision={options.precision}"] if options.precision else [])
    return resume(options.resume, options.device, options.trust, options.importance_samples, settings=settings)
