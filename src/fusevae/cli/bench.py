"""``fusevae bench``: several recipes on the same data for the same time, or within one for everything."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace

from fusevae.cli.compare import show
from fusevae.cli.load import about_data, trusted
from fusevae.cli.train import INTERRUPTED
from fusevae.core.errors import InputError
from fusevae.recipes.bench import bench as trained


def bench(options: Namespace) -> int:
    """Train what is not yet trained, compare all, and print the table."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("bench trains in one process: start it without torchrun")
    if (options.budget is None) == (options.total is None):
        raise InputError("bench needs --budget, for each training, or --total, for everything: give one of them")
    recipes = [each.strip() for each in options.what.split(",")] if options.what else []
    trust, command = trusted(options.trust, recipes), shlex.join(["fusevae", *options.argv])
    found = trained(
        recipes,
        options.data,
        options.budget,
        options.output,
        options.conditions,
        options.samples,
        options.importance_samples,
        options.kind,
        options.extractor,
        options.seed,
        options.device,
        options.precision,
        options.skip_damaged,
        trust,
        command=command,
        total=options.total,
        reading=about_data(options),
    )
    if found.compared is None:
        print(f"stopped and saved; go on with: {command}", file=sys.stderr)
        return INTERRUPTED
    print(f"page    {found.folder / 'comparison.html'}", file=sys.stderr)
    show(found.compared.comparison, options.json)
    return 0
