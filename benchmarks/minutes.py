"""What does each image recipe draw after a few minutes? Samples after one and five minutes (and thirty, where asked) of
two cores, on a colour set and a grey one, in one picture.

``python benchmarks/minutes.py [--minutes 1,5] [--sets shapes,mnist] [--recipes NAME,...] [--jobs N]`` goes from cell to
cell, each a training of its own in a process of its own, and leaves ``benchmarks/results/minutes/SET/RECIPE-MINUTES``
``.json`` and ``.png``; the same call goes on where one was stopped. A minute of two cores is two minutes of processor
time of one, so that ``--jobs`` may be as many as there are cores. ``--list`` names the cells, ``--again`` measures all.
``python benchmarks/minutes.py table`` makes ``docs/minutes.md`` and ``docs/images/minutes.png`` of what there is.
``--smoke`` does it all in seconds, with two recipes and 40 examples, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT
from zoo import in_a_process, names
from zoo_sets import BY_NAME

from fusevae.training.recipes import kinds

FOLDER = ROOT / "benchmarks" / "results" / "minutes"
CELL = ROOT / "benchmarks" / "minutes_cell.py"
CORES, SETS, MINUTES = 2, ("shapes", "mnist"), (1.0, 5.0)
EDGE, WORDS, TITLE = 8, 120, 28  # pixels: between cells, for the names of recipes, for those of columns
PAPER, INK = (255, 255, 255), (0, 0, 0)
NEAR, HALF = 0.25, 0.7  # of the way from real examples to draws from a constant model, in feature distance


@dataclass(frozen=True)
class Cell:
    """One recipe on one set for some minutes, and where what came out lies."""

    set: str
    recipe: str
    minutes: float

    def record(self, results: Path) -> Path:
        return results / self.set / f"{self.recipe}-{self.minutes:g}.json"

    def found(self, results: Path) -> dict[str, Any] | None:
        """The record of a cell that was measured whole."""
        path = self.record(results)
        found = json.loads(path.read_text()) if path.is_file() else {}
        return found if found.get("whole") else None

    def arguments(self, results: Path, most: int | None) -> list[str]:
        seconds = 60 * CORES * self.minutes
        return [self.set, self.recipe, str(seconds), str(self.record(results)), str(most or "")]


def cells(sets: list[str], recipes: list[str], minutes: list[float]) -> list[Cell]:
    """All of them, the short ones first."""
    known = [name for name, modalities in kinds().items() if "images" in modalities and name in (recipes or kinds())]
    return [Cell(name, recipe, m) for m in sorted(minutes) for recipe in known for name in sets]


def run(todo: list[Cell], results: Path, jobs: int, most: int | None = None) -> None:
    """Measure cells, ``jobs`` at a time; Ctrl-C ends after those in work."""

    def measure(cell: Cell) -> str:
        about = {"set": cell.set, "recipe": cell.recipe}
        return in_a_process(CELL, cell.arguments(results, most), cell.record(results), about)

    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(measure, cell) for cell in todo]
        try:
            for i, one in enumerate(waiting):
                print(f"{i + 1}/{len(todo)} {one.result()}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


# ---------------------------------------------------------------- the page


def part_of_the_way(record: dict[str, Any]) -> float | None:
    """Where samples stand between real examples (0) and draws from a constant model (1), by the Fréchet distance of
    features; None where there are no samples to judge."""
    made = record.get("quality") or {}
    fid, real, constant = made.get("fid"), (made.get("real") or {}).get("fid"), (made.get("constant") or {}).get("fid")
    if fid is None or real is None or constant is None or constant <= real:
        return None
    return max(0.0, (fid - real) / (constant - real))


def words(record: dict[str, Any]) -> str:
    """What became of a cell, in words that say no more than the figures."""
    if "crash" in record or "refused" in record:
        return "does not take the set" if "refused" in record else "**crashed**"
    if "none" in (record.get("quality") or {}):
        return "draws nothing before a prior is fitted"
    at = part_of_the_way(record)
    if at is None:
        return "no figure"
    said = "near the data" if at <= NEAR else "on the way" if at <= HALF else "little to look at" if at < 1 else "noise"
    lacks = ", and said so at its start" if any(" needs some " in line for line in record.get("said", ())) else ""
    late = "" if record.get("finished") else ", cut off by the time"
    return f"{said} ({at:.2f}; {record['steps']:,} steps){lacks}{late}"


def page(results: Path, chosen: list[Cell]) -> str:
    """The page, of the cells that are measured."""
    columns = list(dict.fromkeys((cell.set, cell.minutes) for cell in chosen))
    recipes = list(dict.fromkeys(cell.recipe for cell in chosen))
    kept = {(c.set, c.recipe, c.minutes): found for c in chosen if (found := c.found(results)) is not None}
    where = sorted(
        {f"{r['hardware']['cpu']}, torch {r['hardware']['torch']}" for r in kept.values() if "hardware" in r}
    )
    commits = sorted({r["commit"] for r in kept.values() if "commit" in r})
    lines = [
        "# After a few minutes",
        "",
        "What each image recipe draws after some minutes of two cores, with its settings as they stand and the "
        "schedules planned for the time: `fusevae train RECIPE --data DATA --budget TIME`. A minute of two cores is "
        "two minutes of processor time here, with one thread. On a GPU, or overnight, the order is another: a recipe "
        "that draws noise after five minutes may be the best after ten hours.",
        "",
        "```",
        "python benchmarks/minutes.py          # measures what is not measured yet",
        "python benchmarks/minutes.py table    # makes this page and its picture",
        "```",
        "",
        f"{len(kept)} of {len(chosen)} cells are measured. Seed 0; {'; '.join(where) or 'no hardware yet'}; commit "
        f"{', '.join(commits) or 'none'}.",
        "",
    ]
    if kept:
        lines += ["![samples of each recipe, a row each](images/minutes.png)", ""]
    lines += [
        "The number says where the samples stand between real examples (0) and draws from a constant model, in which "
        "each pixel comes from another example (1), by the Fréchet distance of a classifier's features; "
        f"up to {NEAR:g} is near the data, up to {HALF:g} on the way, from 1 on noise. It is of at most 300 samples: "
        "differences under a tenth say nothing.",
        "",
        f"| | {' | '.join(f'{name}, {minutes:g} min' for name, minutes in columns)} |",
        f"| --- |{' --- |' * len(columns)}",
    ]
    for recipe in recipes:
        records = [kept.get((name, recipe, minutes)) for name, minutes in columns]
        lines.append(f"| `{recipe}` | {' | '.join(words(r) if r else '·' for r in records)} |")
    sets = "; ".join(f"{name}: {BY_NAME[name].what}" for name in dict.fromkeys(name for name, _ in columns))
    return "\n".join([*lines, "", f"`·` is not measured. {sets}.", ""])


def drawn(results: Path, chosen: list[Cell]) -> Any:
    """The picture: a row for each recipe, a column for each set and time; None where nothing is measured."""
    from PIL import Image, ImageDraw

    columns = list(dict.fromkeys((cell.set, cell.minutes) for cell in chosen))
    strips: dict[tuple[str, tuple[str, float]], Any] = {}
    for cell in chosen:
        if cell.found(results) and (path := cell.record(results).with_suffix(".png")).is_file():
            strips[cell.recipe, (cell.set, cell.minutes)] = Image.open(path).convert("RGB")
    if not strips:
        return None
    recipes = [name for name in dict.fromkeys(cell.recipe for cell in chosen) if any(name == r for r, _ in strips)]
    widths = {c: max((s.width for (_, at), s in strips.items() if at == c), default=WORDS) for c in columns}
    height = max(strip.height for strip in strips.values())
    size = (WORDS + sum(widths.values()) + EDGE * len(columns), TITLE + (height + EDGE) * len(recipes))
    whole = Image.new("RGB", size, PAPER)
    draw, x = ImageDraw.Draw(whole), WORDS
    for column in columns:
        draw.text((x, EDGE), f"{column[0]}, {column[1]:g} min", fill=INK)
        for i, recipe in enumerate(recipes):
            if (strip := strips.get((recipe, column))) is not None:
                whole.paste(strip, (x, TITLE + i * (height + EDGE)))
        x += widths[column] + EDGE
    for i, recipe in enumerate(recipes):
        draw.text((EDGE, TITLE + i * (height + EDGE) + height // 2 - 6), recipe, fill=INK)
    return whole


def table(results: Path, chosen: list[Cell], docs: Path) -> str:
    """Write the page and its picture into a folder; returns the page."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    found = page(results, chosen)
    (docs / "minutes.md").write_text(found, encoding="utf-8")
    if (picture := drawn(results, chosen)) is not None:
        picture.save(docs / "images" / "minutes.png", optimize=True)
    return found


def smoke(jobs: int) -> str:
    """Two cells of a second each, the page and the picture of them."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = [Cell("shapes", "sigma-vae", 1 / 60 / CORES), Cell("digits", "binary-vae", 1 / 60 / CORES)]
        run(chosen, Path(folder), jobs, most=40)
        found = table(Path(folder), chosen, Path(folder) / "docs")
        drew = (Path(folder) / "docs" / "images" / "minutes.png").is_file()
    if "2 of 2 cells are measured" not in found or "crashed" in found or not drew:
        raise SystemExit(f"a cell was not measured:\n{found}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--recipes", default="")
    parser.add_argument("--minutes", default=",".join(f"{m:g}" for m in MINUTES))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=FOLDER)
    for flag in ("list", "again", "smoke"):
        parser.add_argument(f"--{flag}", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        print(smoke(given.jobs))
        return
    pictures = [name for name, one in BY_NAME.items() if one.modality == "images"]
    known = [name for name, modalities in kinds().items() if "images" in modalities]
    try:
        minutes = [float(m) for m in given.minutes.split(",")]
    except ValueError:
        sys.exit(f"--minutes {given.minutes}: expected numbers with commas between, 1,5,30 say")
    chosen = cells(names(given.sets, pictures, "set"), names(given.recipes, known, "recipe"), minutes)
    if given.what == "table":
        table(given.results, chosen, ROOT / "docs")
        return
    for name in dict.fromkeys(cell.set for cell in chosen):
        if why := BY_NAME[name].absent:
            print(f"{name} is left out: {why}", flush=True)
    todo = [c for c in chosen if not BY_NAME[c.set].absent and (given.again or c.found(given.results) is None)]
    print(f"{len(chosen)} cells, {len(todo)} of them to measure", flush=True)
    if given.list:
        print("\n".join(f"{c.set} {c.recipe} {c.minutes:g} min" for c in todo))
        return
    run(todo, given.results, given.jobs)


if __name__ == "__main__":
    main()
