"""``fusevae optimize``: molecules with more of a property, like those given."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy as np

from fusevae.cli import load
from fusevae.cli.train import table
from fusevae.cli.write import Output
from fusevae.core.errors import InputError
from fusevae.evaluation.search import Found
from fusevae.modalities.molecules.chemistry import parse
from fusevae.modalities.molecules.search import check_molecules, optimise_molecules
from fusevae.recipes.default import source_of
from fusevae.training.outcome import to_json


def optimize(options: Namespace) -> int:
    """Walk the latent space from each start, and write the best found for each."""
    output = Output(options.output)
    output.check_table()
    run = load.opened(options)
    artifact = run.artifact
    check_molecules(artifact)
    starts = molecules(options.data, load.about_data(options))
    print(f"{len(starts):,} molecules, {options.evaluations} evaluations each", file=sys.stderr)
    settings = {"property": options.property, "similarity": options.similarity, "evaluations": options.evaluations}
    with run.computing():
        found = optimise_molecules(artifact, starts, **settings, minimize=options.minimize, seed=options.seed)
    output.columns(columns(found))
    facts = summary(found)
    if options.json:
        names = {"output": str(output.path), "data": options.data, "minimize": options.minimize, "seed": options.seed}
        print(to_json(settings | names | facts))
        return 0
    change = "lowered" if options.minimize else "raised"
    table(
        [
            ("molecules", f"{facts['n']:,}, {facts['invalid']:,} of them can't be parsed and were left as they are"),
            (f"{options.property} {change}", f"by {abs(facts['change']):.4f} on average, failures counted as 0"),
            ("successes", f"{facts['successes']:,} within a Tanimoto similarity of {options.similarity:g}"),
            ("written to", str(output.path)),
        ]
    )
    return 0


def columns(found: Sequence[Found]) -> dict[str, np.ndarray]:
    """A row for each start: the start and its value, the best found and its value, how similar, how many evaluated."""
    text, number = np.str_, np.float64
    none = math.nan
    return {
        "start": np.array([f.start for f in found], dtype=text),
        "start_value": np.array([none if f.start_score is None else f.start_score for f in found], dtype=number),
        "best": np.array([f.best for f in found], dtype=text),
        "value": np.array([none if f.score is None else f.score for f in found], dtype=number),
        "similarity": np.array([f.similarity for f in found], dtype=number),
        "evaluations": np.array([f.evaluations for f in found], dtype=np.int64),
    }


def summary(found: Sequence[Found]) -> dict[str, float]:
    """How many starts there were, could not be parsed, and were bettered; and by how much on average."""
    valid = [f for f in found if f.start_score is not None]
    return {
        "n": len(found),
        "invalid": len(found) - len(valid),
        "successes": sum(f.success for f in found),
        "change": sum(f.gain for f in valid) / len(valid) if valid else 0.0,
    }


def molecules(path: str, reading: Sequence[str] = ()) -> list[str]:
    """The SMILES of a file of text, some of which are molecules."""
    source = source_of({"path": path, "modality": "molecules"}, reading)
    parts = source.parts(None, source.options)[1]
    found = list(parts.get("test", parts["train"]).x)
    if not any(parse(each) for each in found):
        raise InputError(f"{path} holds no molecules, its first string is {found[0][:40]!r}: give SMILES")
    return found
