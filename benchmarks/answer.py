"""Does ``fusevae bench --total`` keep its time, and name the model that another judge finds best?

``python benchmarks/answer.py [TOTAL] [SET ...]``: on digits, 2,000 colour pictures, captions, a table and SMILES (or
those named; others are as they were measured before for the same TOTAL). Each bench is a process of its own, of which
the whole time is taken. Its verdict is then held against a judge of another seed, of the same runs: of pictures a
classifier trained anew with its usual training, of others all held-out examples and other samples. ``--smoke`` does it
on digits for some seconds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import before, children, options, program, report, runs, size, start
from inputs import FOLDER

from fusevae import read_data
from fusevae.core.durations import seconds_of
from fusevae.data.modality import modality_of
from fusevae.evaluation.answer import Advice
from fusevae.evaluation.comparison import comparison
from fusevae.modalities.images.extractor import train_extractor
from fusevae.modalities.images.quality import PictureReference
from fusevae.training.run import Run

FILES = {
    "captions": "text/captions_train.txt",
    "table": "tables/adult_train.csv",
    "smiles": "molecules/guacamol_valid.smi",
}
SETS = ("digits", "colour", "captions", "table", "smiles")
COLOURED, ROWS, SEED, JUDGED = 2000, 10_000, 1, 1000


def data_of(name: str, folder: Path) -> str | None:
    """The path of a set, small enough for minutes; None is scikit-learn's digits."""
    if name == "digits":
        return None
    if name == "colour":
        x = read_data(str(FOLDER / "cifar10" / "train.parquet")).train
        return str(_saved(folder / "colour.npz", x.batch(torch.arange(COLOURED))))
    if name == "table":  # of its numbers alone, which several recipes take
        import pandas as pd

        rows = pd.read_csv(FOLDER / FILES[name]).select_dtypes("number")
        rows.head(ROWS).to_csv(folder / "table.csv", index=False)
        return str(folder / "table.csv")
    return str(FOLDER / FILES[name])


def _saved(path: Path, batch: Any) -> Path:
    import numpy as np

    np.savez(path, x_train=batch[0].numpy(), y_train=batch[1].numpy())
    return path


def bench(data: str | None, total: str, output: Path) -> tuple[dict[str, Any], float]:
    """What a bench says, and the seconds of its process: those of the clock, or with ``--core`` of a core."""
    command = [sys.executable, *program(), "bench", "--total", total, "--output", str(output), "--json"]
    command += [] if data is None else ["--data", data]
    command += size([], ["logistic-vae,sigma-vae", "--samples", "60"])
    clock = children if options().core else time.perf_counter
    started = clock()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = clock() - started
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1]), seconds


def second_opinion(folders: list[Path]) -> list[Advice]:
    """What another judge, of another seed and other samples, says of the same runs."""
    opened = {path.name: Run.open(path) for path in folders}
    first = next(iter(opened.values()))
    held, _ = first.held
    kind, n = modality_of(held.spec), min(JUDGED, len(held) // 2)
    if kind.name == "images":
        net, _ = train_extractor(first.data, seed=SEED, quiet=True)
        judge: Any = PictureReference(net, held, first.data.train, n)
    else:
        judge = kind.reference(held, first.data, n, None, "cpu", True)
    return comparison(
        {name: run.artifact for name, run in opened.items()}, held, judge, importance_samples=20, seed=SEED
    ).answer


def agree(ours: list[dict[str, Any]], theirs: list[Advice]) -> dict[str, bool]:
    """For each purpose but speed, whether what was named first is among those that are the other judge's best."""
    found = {}
    for one in ours:
        other = next((a for a in theirs if (a.purpose, a.over) == (one["purpose"], one["over"])), None)
        if other is not None and one["purpose"] != "speed":
            found[" ".join(filter(None, (one["purpose"], one["over"])))] = one["take"][0] in other.take
    return found


def main(total: str = "5m", *sets: str) -> None:
    total = size(total, "4s")
    earlier = before("answer")
    figures = earlier["sets"] if earlier.get("total") == total else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in size(sets or SETS, ("digits",)):
            output = runs(f"answer/{name}-{total}")
            shutil.rmtree(output, ignore_errors=True)  # the time is of a whole one
            found, seconds = bench(data_of(name, Path(scratch)), total, output)
            theirs = second_opinion([output / Path(path).name for path in found["models"]])
            figures[name] = {
                "seconds": round(seconds, 1),
                "within": seconds <= 1.1 * seconds_of(total) + size(0, 120),
                "verdict": found["verdict"],
                "agrees": agree(found["answer"], theirs),
                "other judge": [str(each) for each in theirs],
            }
            print(name, json.dumps(figures[name], indent=2), flush=True)
    of = ", time of one core" if options().core else ""
    protocol = f"fusevae bench --total {total}{of}, process and all; the same runs judged again with seed {SEED}"
    report("answer", {"total": total, "sets": figures}, protocol, SEED)


if __name__ == "__main__":
    start(main)
