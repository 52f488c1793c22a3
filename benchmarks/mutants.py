"""Mutation test of the seams: each fault of ``mutants.yaml`` is applied to a copy of the repository, and a test must
fail: one of the files that are named with it, or else any of the suite. What was found is kept, mutant by mutant.

``python benchmarks/mutants.py [--only NAME ...] [--named] [--anew] [--smoke]``
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import yaml
from common import ROOT, report, results

LIST = Path(__file__).with_name("mutants.yaml")
SMOKE = "noise-without-its-step"
FAILED = re.compile(r"^(?:FAILED|ERROR) (?:tests/)?(.+?)(?: - .*)?$", re.MULTILINE)
SLOW = (
    "torch.distributed.tensor", "torchvision", "sklearn.mixture", "sklearn.cluster", "sklearn.datasets", "pandas",
    "scipy.stats", "matplotlib.pyplot", "pydantic", "zuko", "safetensors.torch", "hypothesis", "rdkit.Chem",
    "transformers.models.gpt2.modeling_gpt2", "transformers.models.bert.modeling_bert", "tokenizers", "selfies",
    "pyarrow.parquet",
)  # fmt: skip
PATIENCE = 1800  # seconds; a mutant that hangs is killed by that


def mutants() -> dict[str, dict[str, Any]]:
    """By name; ends with a line for one whose old text isn't found exactly once."""
    found = {m["name"]: m for m in yaml.safe_load(LIST.read_text(encoding="utf-8"))}
    for name, m in found.items():
        path = ROOT / "src" / "fusevae" / m["file"]
        times = path.read_text(encoding="utf-8").count(m["old"]) if path.is_file() else 0
        if times != 1:
            raise SystemExit(
                f"{name}: {m['old']!r} stands {times} times in {m['file']}, expected once: mend {LIST.name}"
            )
    return found


def killer(root: Path, tests: list[str]) -> str | None:
    """The first test that fails, None where all pass. Run in a fork of this process, which has imported what takes
    long: a mutant takes seconds."""
    log = root.parent / "log.txt"
    process = multiprocessing.get_context("fork").Process(target=run, args=(root, tests, log))
    process.start()
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
        return f"{' '.join(tests)} (after {PATIENCE} s)"
    if process.exitcode == 0:
        return None
    said = log.read_text(encoding="utf-8", errors="replace")
    if (found := FAILED.search(said)) is None:
        raise SystemExit(f"pytest ended with {process.exitcode}:\n{said[-3000:]}")
    return found[1]


def run(root: Path, tests: list[str], log: Path) -> None:
    """In a fork: the tests of a copy of the repository, until one fails."""
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root / "src")
    sys.path[:] = [str(root / "src"), *(p for p in sys.path if p and Path(p) not in (ROOT, ROOT / "src", LIST.parent))]
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os._exit(int(pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests])))


def prepare() -> None:
    """Import what the library stands on; not the library, of which each copy has its own."""
    for name in SLOW:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "fusevae" in sys.modules:
        raise SystemExit("the library was imported before its copies: start this by itself")


def copied(folder: str) -> Path:
    """A copy of the repository, with the data beside it."""
    root = Path(folder) / "repository"
    root.mkdir()
    for name in ("src", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns(".venv*"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, root)
    if (shared := ROOT.parent / "shared").exists():
        (Path(folder) / "shared").symlink_to(shared)
    return root


def tried(mutant: dict[str, Any], suite: bool = True) -> dict[str, Any]:
    """Which test kills a mutant, and what it took."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = copied(folder)
        path = root / "src" / "fusevae" / mutant["file"]
        path.write_text(path.read_text(encoding="utf-8").replace(mutant["old"], mutant["new"]), encoding="utf-8")
        found = killer(root, [f"tests/{name}" for name in mutant["tests"]])
        if found is None and suite:
            found = killer(root, ["tests", "src"])
    seconds = round(time.perf_counter() - started, 1)
    return {"killed_by": found, "why": mutant["why"], "change": change(mutant), "seconds": seconds}


def control(killers: set[str]) -> str | None:
    """Of the tests that killed, one that fails without any mutant, too; there should be none."""
    with tempfile.TemporaryDirectory() as folder:
        root = copied(folder)
        named = {test if test.startswith("src/") else f"tests/{test}" for test in killers}
        return killer(root, sorted(test for test in named if not test.endswith(" s)")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these mutants, again")
    parser.add_argument("--smoke", action="store_true", help="one mutant and one test, seconds; nothing is kept")
    parser.add_argument("--named", action="store_true", help="the named tests alone, not the suite after them")
    parser.add_argument("--anew", action="store_true", help="all of them, whatever is kept")
    options = parser.parse_args()
    known = mutants()
    prepare()
    if unknown := set(options.only) - set(known):
        raise SystemExit(f"no mutant is called {', '.join(unknown)}: {LIST.name} has {', '.join(known)}")
    if options.smoke:
        found = tried(known[SMOKE], suite=False)
        print(f"{SMOKE}: {found['killed_by']}")
        raise SystemExit(not found["killed_by"])
    kept = {} if options.anew else {n: one for n, one in earlier(known).items() if n not in options.only}
    for name in options.only or known:
        if name not in kept:
            kept[name] = tried(known[name], suite=not options.named)
            print(f"{name}: {kept[name]['killed_by'] or 'SURVIVED'} ({kept[name]['seconds']} s)", file=sys.stderr)
            write(known, kept)
    if alive := [name for name, one in kept.items() if not one["killed_by"]]:
        raise SystemExit(f"{len(alive)} of {len(kept)} survived: {', '.join(alive)}")
    if wrong := control({one["killed_by"] for one in kept.values()}):
        raise SystemExit(f"{wrong} fails without any mutant: it kills none")
    write(known, kept, "all of these tests pass")


def earlier(known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was found before of mutants that are still the same and were killed."""
    place = results() / "mutants.json"
    kept = json.loads(place.read_text())["figures"]["mutants"] if place.exists() else {}
    return {n: one for n, one in kept.items() if n in known and one["killed_by"] and one["change"] == change(known[n])}


def change(mutant: dict[str, Any]) -> list[str]:
    """What a mutant is."""
    return [mutant["file"], mutant["old"], mutant["new"]]


def write(known: dict[str, dict[str, Any]], kept: dict[str, Any], without: str = "not tried yet") -> None:
    """Keep what was found."""
    order = {name: kept[name] for name in known if name in kept}
    alive = [name for name, one in order.items() if not one["killed_by"]]
    found = {"n": len(order), "killed": len(order) - len(alive), "alive": alive}
    with contextlib.redirect_stdout(None):  # a line each is enough
        report("mutants", found | {"without_a_mutant": without, "mutants": order}, __doc__ or "")


if __name__ == "__main__":
    main()
