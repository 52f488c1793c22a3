"""``fusevae fit-prior``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

import yaml

from fusevae.cli import load
from fusevae.core.description import describe
from fusevae.training import outcome
from fusevae.training.prior import USUAL, fit_prior, latents_of
from fusevae.training.train import fresh


def fit(options: Namespace) -> int:
    """Write a copy of a run whose prior is fitted to the latents of its training data."""
    folder = fresh(options.output)
    run = load.opened(options)
    parent = run.artifact
    latents_of(parent.distribution)
    data, name = run.training(options.data, options.conditions)
    print(f"fitting a prior ({options.kind}) to the latents of {len(data):,} examples: {name}", file=sys.stderr)
    training = USUAL.replaced(epochs=options.epochs) if options.epochs else USUAL
    artifact = fit_prior(
        parent, data, options.kind, None, options.components, training, options.seed, options.device, quiet=options.json
    )
    about = {"seed": str(options.seed), "parent": str(options.run), "prior": options.kind}
    if run.source is not None:
        about["source"] = yaml.safe_dump(describe(run.source))
    artifact.save(folder, about)
    outcome.draw_samples(artifact, data, folder)
    facts = {"output": str(folder), "parent": str(options.run), "prior": options.kind, "n": len(data), "data": name}
    print(json.dumps(facts) if options.json else f"model   {folder / 'model.safetensors'}")
    return 0
