"""``fusevae compare``: one table and one page of several models, whatever their families."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from fusevae.cli import load
from fusevae.cli.train import table
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.evaluation import comparison_page
from fusevae.evaluation.blocks import check_examples
from fusevae.evaluation.comparison import Comparison, comparison
from fusevae.evaluation.judge import Judge
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
    found.data = name
    if options.output:
        write_page(options, found, artifacts, data, reference)
    show(options, found)
    return 0


def check_page(path: str) -> None:
    """Refuse a place that can't hold a page, before any work."""
    if Path(path).suffix.lower() not in (".html", ".htm") or Path(path).expanduser().is_dir():
        raise InputError(f"--output is {path!r}: expected a .html file")


def judged(options: Namespace, artifacts: dict[str, Artifact], data: Examples, reference: Judge | None) -> Comparison:
    """The comparison of runs by their folders, their training times among the figures."""
    with load.precision(options):
        k = options.importance_samples
        found = comparison(artifacts, data, reference, None, k, options.kind, options.seed)
    for run, model in found.models.items():
        model.training = Run.open(run, trust=options.trust).state
    return found


def write_page(
    options: Namespace,
    found: Comparison,
    artifacts: dict[str, Artifact],
    data: Examples,
    reference: Judge | None,
    about: dict[str, Any] | None = None,
) -> None:
    """Write the page of a comparison to ``--output``."""
    families = ", ".join(dict.fromkeys(m.family for m in found.models.values()))
    facts = {
        "seed": options.seed,
        **(about or {}),
        **environment(pick_device(options.device)),
        "command": shlex.join(["fusevae", *options.argv]),
    }
    path = Path(options.output).expanduser()
    with load.precision(options):
        comparison_page.write(path, found, artifacts, data, reference, f"Comparison: {families}", facts, options.seed)
    print(f"page    {path}", file=sys.stderr)


def show(options: Namespace, found: Comparison) -> None:
    """Print a comparison."""
    if options.json:
        print(to_json(found))
        return
    print(found)
    for title, said in (
        ("Differences in log p(x), example by example", found.difference_lines()),
        ("Not in the table", list(found.notes().items())),
    ):
        if said:
            print(f"\n{title}")
            table(said)
