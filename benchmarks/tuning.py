"""Is a recipe better for ``fusevae tune`` than its defaults are, trained for the same time in all?

``python benchmarks/tuning.py [TOTAL] [SEED] [SET ...]``: on a table, digits and captions (or those named; others are
as they were measured before for the same TOTAL and SEED). One arm trains a recipe's defaults with ``train --budget
TOTAL`` (3m); the other has as much for ``tune --total`` as that took in all, reading, timing and report included. Time
is that of the processor, so that what else the machine does counts for neither. What both leave is compared on at most
1,000 held-out examples (of captions 500), as a pair. ``--smoke`` does it on digits in seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from answer import data_of
from common import before, children, program, report, runs, size, start, write

from fusevae.evaluation.compare import compare
from fusevae.training.run import Run

RECIPES = {"table": "table-vae", "digits": "logistic-vae", "captions": "text-vae", "smiles": "molecules-vae"}
SETS = ("table", "digits", "captions")
K, HELD, FEWER = 10, 1000, {"captions": 500}


def trained(*command: str) -> tuple[dict[str, Any], float]:
    """What a command prints as JSON, by the processor's time, and the seconds of it that it takes in all."""
    before = children()
    done = subprocess.run([sys.executable, *program(core=True), *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}, children() - before


def measured(name: str, total: str, seed: int, folder: Path, scratch: Path) -> dict[str, Any]:
    """The two arms of a set, and how far apart they are."""
    recipe, data = RECIPES[name], data_of(name, scratch)
    given = [] if data is None else ["--data", data]
    tuned, plain, took = folder / "tuned", folder / "defaults", folder / "seconds"
    if not took.exists():
        more = ["--output", str(plain), "--seed", str(seed), "--importance-samples", "1"]
        write(took, str(trained("train", recipe, *given, "--budget", total, *more)[1]))
    whole = float(took.read_text())
    more = ["--total", f"{whole:.0f}s", "--output", str(tuned), "--seed", str(seed), "--json"]
    found, spent = trained("tune", recipe, *given, *more)
    opened = {"tuned": Run.open(tuned / "best"), "defaults": Run.open(plain)}
    held = opened["tuned"].held[0].spread(size(FEWER.get(name, HELD), 50))
    (d,) = compare({n: run.artifact for n, run in opened.items()}, held, size(K, 2), seed=seed).differences
    return {
        "recipe": recipe,
        "kept": found["kept"],
        "settings": found["settings"],
        "epochs": found["epochs"],
        "trials": found["trials"],
        "pruned": found["pruned"],
        "gain": d.value,
        "interval": d.interval,
        "whole": {"tuned": spent, "defaults": whole},
        "seconds": {n: run.seconds for n, run in opened.items()},
        "steps": {n: run.steps for n, run in opened.items()},
        "held": len(held),
    }


def main(total: str = "3m", seed: str = "0", *sets: str) -> None:
    total = size(total, "6s")
    earlier = before("tuning")
    figures = earlier["sets"] if (earlier.get("total"), earlier.get("seed")) == (total, seed) else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in size(sets or SETS, ("digits",)):
            folder = runs(f"tuning/{name}-{total}-{seed}")
            folder.mkdir(parents=True, exist_ok=True)
            figures[name] = measured(name, total, int(seed), folder, Path(scratch))
            write(folder / "found.json", json.dumps(figures[name]))
            print(name, json.dumps(figures[name], indent=2), file=sys.stderr, flush=True)
    protocol = (
        f"tune, given as long as train --budget {total} takes in all; the processor's time; log p(x), k = {K}, as pairs"
    )
    report("tuning", {"total": total, "seed": seed, "sets": figures}, protocol, int(seed))


if __name__ == "__main__":
    start(main)
