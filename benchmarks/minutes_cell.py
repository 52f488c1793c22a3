"""One cell of ``minutes.py``: an image recipe trained on a set for a time, and a strip of its samples.

``python benchmarks/minutes_cell.py SET RECIPE SECONDS RECORD [MOST]`` writes one JSON file and, beside it, a PNG.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from zoo_cell import SEED, STOPPED, clock, in_a_cell, quality
from zoo_sets import BY_NAME

SHOWN = 8  # samples of a strip


def measure(name: str, recipe: str, seconds: float, most: int | None, record: Path, note: Any) -> None:
    """Train, draw, judge; each finding goes to ``note`` as soon as it is there."""
    from fusevae import SlotError, Source, fit, sample
    from fusevae.modalities.images.pictures import grid
    from fusevae.training.recipes import reads

    with tempfile.TemporaryDirectory() as folder:
        path = BY_NAME[name].write(Path(folder) / name, most)
        splits = Source(str(path), **reads(recipe)).read()
    started = clock()
    artifact = fit(recipe, splits, seed=SEED, quiet=True, budget=seconds)
    history = artifact.history
    if history.why == "interrupted":
        sys.exit(STOPPED)
    note(phase="train", seconds=clock() - started, steps=history.steps, planned=history.total)
    note(finished=history.finished, parameters=artifact.n_parameters)
    started = clock()
    try:
        grid(sample(artifact, SHOWN, seed=SEED), artifact.data, SHOWN).save(record.with_suffix(".png"), optimize=True)
    except SlotError:  # an autoencoder before its prior is fitted
        record.with_suffix(".png").unlink(missing_ok=True)
    note(phase="samples", seconds=clock() - started)
    if most is None:  # of a smoke the judge's classifier would take longest
        started = clock()
        note(quality=quality(artifact, splits))
        note(phase="quality", seconds=clock() - started)


def main(name: str, recipe: str, seconds: str, record: str, most: str = "") -> None:
    about = {"set": name, "recipe": recipe, "budget": float(seconds)}
    path = Path(record)
    in_a_cell(about, path, lambda note: measure(name, recipe, float(seconds), int(most or 0) or None, path, note))


if __name__ == "__main__":
    main(*sys.argv[1:])
