"""``fusevae tune``: better settings for a recipe, and the best as a run."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace

from fusevae.cli.load import about_data, trusted
from fusevae.cli.train import INTERRUPTED, table
from fusevae.recipes.tune import tune as search
from fusevae.training.outcome import to_json


def tune(options: Namespace) -> int:
    """Search the settings of a recipe and print what came of it."""
    command = shlex.join(["fusevae", *options.argv])
    found = search(
        options.what,
        options.data,
        options.total,
        options.output,
        options.conditions,
        options.seed,
        options.device,
        options.precision,
        options.skip_damaged,
        trusted(options.trust, [options.what]),
        command=command,
        reading=about_data(options),
    )
    if found.tuned is None or found.run is None:
        print(f"stopped and saved; go on with: {command}", file=sys.stderr)
        return INTERRUPTED
    if options.json:
        print(to_json(found.tuned.to_dict() | {"run": str(found.run.path)}))
        return 0
    table(found.tuned.lines())
    for setting in found.tuned.settings:
        print(f"--set {shlex.quote(setting)}")
    print(f"\nrun  {found.run.path}")
    return 0
