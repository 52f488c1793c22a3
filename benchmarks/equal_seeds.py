"""Are two equal models of other seeds said to be equal? A recipe is trained twenty times, each with a seed of its own;
each two of them are compared as ``fusevae compare`` does, and the verdict is read.

``python benchmarks/equal_seeds.py [SET ...]``: `logistic-vae` on digits and `table-vae` on the numbers of 10,000 rows
of Adult, for likelihood and for samples. ``--smoke`` has two trainings of a moment on digits.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from answer import ROWS, data_of
from common import report, size, start

from fusevae import Source, fit
from fusevae.data.modality import modality_of
from fusevae.evaluation.comparison import comparison

RECIPES = {"digits": ("logistic-vae", 12.0), "table": ("table-vae", 6.0)}  # and the epochs of a training
PAIRS, K, MOST = 10, 20, 500


def measured(name: str, scratch: Path) -> dict[str, Any]:
    """How many pairs of a recipe are told apart, for each purpose."""
    recipe, epochs = RECIPES[name]
    splits = Source(data_of(name, scratch), validation=0.1, test=0.4).read()
    held, _ = splits.held
    judge = modality_of(splits.spec).reference(held, splits, min(MOST, len(held) // 2), None, "cpu", True)
    equal: dict[str, int] = {}
    for pair in range(size(PAIRS, 1)):
        training = {"epochs": size(epochs, 0.2)}
        models = {
            word: fit(recipe, splits, training=training, seed=2 * pair + i, quiet=True)
            for i, word in enumerate(("one", "other"))
        }
        answer = comparison(models, held, judge, importance_samples=size(K, 2)).answer
        for advice in answer:
            if advice.purpose in ("likelihood", "samples"):
                equal[advice.purpose] = equal.get(advice.purpose, 0) + (len(advice.take) == 2)
        print(name, pair, *map(str, answer), sep="\n  ", file=sys.stderr, flush=True)
    found = {"recipe": recipe, "epochs": epochs, "pairs": size(PAIRS, 1), "equal": equal, "held": len(held)}
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def main(*sets: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        figures = {name: measured(name, Path(scratch)) for name in size(sets or RECIPES, ("digits",))}
    protocol = f"{PAIRS} pairs of trainings with other seeds, their verdict; of Adult {ROWS:,} rows, numbers alone"
    report("equal_seeds", figures, protocol, 0)


if __name__ == "__main__":
    start(main)
