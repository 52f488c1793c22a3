"""Where do the recipes hold? Every recipe that fits is trained on every set of the zoo for the same time of one core.

``python benchmarks/zoo.py [--sets NAME,...] [--recipes NAME,...] [--seconds 180] [--jobs 2] [--results FOLDER]`` goes
from cell to cell, each in a process of its own, and leaves ``benchmarks/results/zoo/SET/RECIPE.json``; the same call
goes on where one was stopped. Recipes that are held against each other have five minutes (in proportion to
``--seconds``). ``--list`` names the cells, ``--keep`` leaves the runs in ``runs/zoo``, ``--again`` measures anew what
was measured. ``python benchmarks/zoo.py table`` makes ``docs/holds.md`` of what there is. ``--smoke`` does it all in
seconds, with two sets of 40 examples, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT
from zoo_cell import SEED, STOPPED, arms, written
from zoo_sets import BY_NAME, SETS
from zoo_table import PAIRS, page

FOLDER = ROOT / "benchmarks" / "results" / "zoo"
LONGER = 300 / 180  # what those of a pair have
#: the cells that say most come first: the fusions and parents on pictures, then other kinds of data, then all else
FIRST = {"binary-vae", "flow-vae", "vamp-vae", "hvae-vamp", "ladder-vae", "conv-vae", "vq-vae", "vae-gan"}
SMOKE = [("digits", "binary-vae"), ("iris", "table-vae")]


@dataclass(frozen=True)
class Cell:
    """One recipe on one set, and where its record lies."""

    set: str
    recipe: str
    seconds: float

    def record(self, results: Path) -> Path:
        return results / self.set / f"{self.recipe}.json"

    def done(self, results: Path) -> bool:
        path = self.record(results)
        return path.is_file() and bool(json.loads(path.read_text()).get("whole"))


def cells(sets: list[str], recipes: list[str], seconds: float) -> list[Cell]:
    """All of them, those that say most first."""
    paired = {name for child, (parent, _) in PAIRS.items() for name in (child, parent)}
    found = []
    for name in sets:
        for recipe in arms(BY_NAME[name]):
            if not recipes or recipe in recipes:
                found.append(Cell(name, recipe, seconds * (LONGER if recipe in paired else 1)))

    def turn(cell: Cell) -> tuple[int, int]:
        if cell.recipe in FIRST:
            return 0, 0
        return (2 if BY_NAME[cell.set].modality == "images" else 1), cell.recipe not in paired

    return sorted(found, key=turn)


def measure(cell: Cell, results: Path, keep: bool = False, most: int | None = None) -> str:
    """Measure a cell in a process of its own; what came out, in a line."""
    path = cell.record(results)
    kept = str(ROOT / "runs" / "zoo" / cell.set / cell.recipe) if keep else ""
    arguments = [cell.set, cell.recipe, str(cell.seconds), str(path), str(most or ""), kept]
    about = {"set": cell.set, "recipe": cell.recipe}
    return in_a_process(ROOT / "benchmarks" / "zoo_cell.py", arguments, path, about)


def in_a_process(script: Path, arguments: list[str], path: Path, about: dict[str, Any]) -> str:
    """Run a script that leaves the record of a cell, on one core; what came out, in a line. One that ends without a
    whole record leaves why."""
    name = f"{about['set']} {about['recipe']}"
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]  # the library that is beside
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    path.unlink(missing_ok=True)  # of a cell that is measured again, or was not whole
    started = time.perf_counter()
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(path.read_text()) if path.is_file() else about
    if done.returncode in (STOPPED, -signal.SIGTERM, -signal.SIGINT):
        return f"{name}: stopped, to be measured again"
    if not found.get("whole"):
        said = done.stderr.strip().splitlines()[-1:] or ["without a word"]
        found |= {"crash": f"the process ended with {done.returncode}: {said[0]}"[:400], "seed": SEED, "whole": True}
        written(path, found)
    what = found.get("crash") or found.get("refused") or f"{found['steps']:,} steps"
    return f"{name}: {what} ({time.perf_counter() - started:.0f} s)"


def run(todo: list[Cell], results: Path, jobs: int, keep: bool = False, most: int | None = None) -> None:
    """Measure cells, ``jobs`` at a time; Ctrl-C ends after those in work."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(measure, cell, results, keep, most) for cell in todo]
        try:
            for i, one in enumerate(waiting):
                print(f"{i + 1}/{len(todo)} {one.result()}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def smoke(jobs: int) -> str:
    """Two cells of a second each, and the page of them."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = [Cell(*pair, 1.0) for pair in SMOKE]
        run(chosen, Path(folder), jobs, most=40)
        found = page(Path(folder), chosen)
    if "2 of 2 cells are measured" not in found or "**X** crash | 0 |" not in found:
        raise SystemExit(f"a cell was not measured:\n{found}")
    return found


def names(given: str, known: list[str], what: str) -> list[str]:
    """A list of names, each known."""
    found = [name for name in given.split(",") if name]
    for name in found:
        if name not in known:
            raise SystemExit(f"no {what} {name!r}: expected some of {', '.join(known)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument("--sets", default="")
    parser.add_argument("--recipes", default="")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=FOLDER)
    for flag in ("list", "keep", "again", "smoke"):
        parser.add_argument(f"--{flag}", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        print(smoke(given.jobs))
        return
    everything = cells([one.name for one in SETS], [], given.seconds)
    if given.what == "table":
        (ROOT / "docs" / "holds.md").write_text(page(given.results, everything), encoding="utf-8")
        return
    sets = names(given.sets, list(BY_NAME), "set") or list(BY_NAME)
    recipes = names(given.recipes, sorted({cell.recipe for cell in everything}), "recipe")
    chosen = cells(sets, recipes, given.seconds)
    for name in sets:
        if why := BY_NAME[name].absent:
            print(f"{name} is left out: {why}", flush=True)
    todo = [cell for cell in chosen if not BY_NAME[cell.set].absent and (given.again or not cell.done(given.results))]
    print(f"{len(chosen)} cells, {len(todo)} of them to measure", flush=True)
    if given.list:
        print("\n".join(f"{cell.set} {cell.recipe} {cell.seconds:.0f} s" for cell in todo))
        return
    run(todo, given.results, given.jobs, given.keep)


if __name__ == "__main__":
    main()
