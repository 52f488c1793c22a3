"""``fusevae compare``: one table and one page of several models, whatever their families."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fusevae.cli import load
from fusevae.cli.train import table
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.data.modality import Judge
from fusevae.evaluation import comparison_page
from fusevae.evaluation.blocks import check_examples
from fusevae.evaluation.comparison import comparison, difference_lines, rows, short_names
from fusevae.evaluation.features import about as features_about
from fusevae.evaluation.features import fingerprint
from fusevae.evaluation.quality import Reference
from fusevae.training.fit import pick_device
from fusevae.training.outcome import environment, to_json
from fusevae.training.run import Run


def compare(options: Namespace) -> int:
    """Print one table of several models, and write the page."""
    if len(set(options.runs)) < max(2, len(options.runs)):
        raise InputError(f"{' '.join(options.runs)} was given to compare: give at least two runs, each once")
    if options.output:
        check_page(options.output)
    runs = {path: load.opened(options, path) for path in options.runs}
    artifacts = {path: run.artifact for path, run in runs.items()}
    data, name = load.examples(options, next(iter(runs.values())))  # the data are those of the first
    for artifact in artifacts.values():
        check_examples(artifact, data)
    named = next((run for run in runs.values() if run.source is not None), None)  # a file alone names no data
    reference = None
    if options.samples and named is None:
        print("no figures about samples: none of these names its training data", file=sys.stderr)
    elif options.samples and named is not None:
        reference = named.judge(options.samples, options.extractor, data, options.json)
    print(f"comparing {len(artifacts)} models on {len(data):,} examples: {name}", file=sys.stderr)
    found = judged(options, artifacts, data, reference)
    found["data"] = name
    if options.output:
        write_page(options, found, artifacts, data, reference)
    show(options, found)
    return 0


def check_page(path: str) -> None:
    """Refuse a place that can't hold a page, before any work."""
    if Path(path).suffix.lower() not in (".html", ".htm") or Path(path).expanduser().is_dir():
        raise InputError(f"--output is {path!r}: expected a .html file")


def judged(
    options: Namespace, artifacts: dict[str, Artifact], data: Examples, reference: Judge | None
) -> dict[str, Any]:
    """The comparison of runs by their folders, their training times among the figures."""
    with load.precision(options):
        k = options.importance_samples
        found = comparison(artifacts, data, reference, None, k, options.kind, options.seed)
    for run, model in found["models"].items():
        model["training"] = Run.open(run, trust=options.trust).state
    return found


def write_page(
    options: Namespace,
    found: dict[str, Any],
    artifacts: dict[str, Artifact],
    data: Examples,
    reference: Judge | None,
    about: dict[str, Any] | None = None,
) -> None:
    """Write the page of a comparison to ``--output``."""
    families = ", ".join(dict.fromkeys(m["family"] for m in found["models"].values()))
    facts = {
        "data": found["data"],
        "seed": options.seed,
        **(about or {}),
        **environment(pick_device(options.device)),
        "command": shlex.join(["fusevae", *options.argv]),
    }
    if isinstance(reference, Reference):
        facts["features"] = f"{features_about(reference.extractor)} ({fingerprint(reference.extractor)})"
    path = Path(options.output).expanduser()
    with load.precision(options):
        comparison_page.write(path, found, artifacts, data, reference, f"Comparison: {families}", facts, options.seed)
    print(f"page    {path}", file=sys.stderr)


def show(options: Namespace, found: dict[str, Any]) -> None:
    """Print a comparison."""
    if options.json:
        print(to_json(found))
        return
    names = short_names(found["models"])
    sections = rows(found)
    first = max(len(row.name) for each in sections.values() for row in each)
    width = [max(12, len(name)) for name in names.values()]
    for row in (r for each in sections.values() for r in each):
        width = [max(w, len(c)) for w, c in zip(width, row.cells, strict=True)]

    def line(name: str, cells: Iterable[str]) -> str:
        return f"{name:{first}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(cells, width, strict=True))

    print(line("", names.values()))
    for title, each in sections.items():
        print(f"\n{title}")
        for row in each:
            print(line(row.name, row.cells))
    notes = {names[run]: "; ".join(m["notes"]) for run, m in found["models"].items() if m["notes"]}
    for title, said in (
        ("Differences in log p(x), example by example", difference_lines(found, names)),
        ("Not in the table", list((notes | found.get("refused", {})).items())),
    ):
        if said:
            print(f"\n{title}")
            table(said)
