"""``fusevae fit-prior``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from fusevae.cli import load
from fusevae.training.folder import fresh_folder
from fusevae.training.prior import usual


def fit(options: Namespace) -> int:
    """Write a copy of a run whose prior is fitted to the latents of its training data."""
    fresh_folder(options.output)
    run = load.opened(options)
    training = usual(run.artifact)
    data, name = run.training(options.data, options.conditions)
    print(f"fitting a prior ({options.kind}) to the latents of {len(data):,} examples: {name}", file=sys.stderr)
    training = training.replaced(epochs=options.epochs) if options.epochs else training
    settings = (options.components, training, options.seed, options.json)
    found = run.with_prior(options.kind, options.output, data, None, *settings)
    facts = {"output": str(found.folder), "parent": str(options.run), "prior": options.kind, "n": len(data)}
    print(json.dumps(facts | {"data": name}) if options.json else f"model   {found.weights}")
    return 0
