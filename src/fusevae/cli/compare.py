"""``fusevae compare``: one table and one page of several models, whatever their families."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace

from fusevae.cli import load
from fusevae.cli.train import table
from fusevae.evaluation.comparison import Comparison
from fusevae.training.compare import check_page, compare_runs
from fusevae.training.outcome import to_json


def compare(options: Namespace) -> int:
    """Print one table of several models, and write the page."""
    if options.output:
        check_page(options.output)
    runs = [load.opened(options, path) for path in options.runs]
    if options.samples and all(run.source is None for run in runs):
        print("no figures about samples: none of these names its training data", file=sys.stderr)
    k, kind = options.importance_samples, options.kind
    asked = (options.data, options.conditions, options.samples, k, kind, options.extractor, options.seed)
    found = compare_runs(runs, *asked, quiet=options.json)
    if options.output:
        page = found.page(options.output, {"command": shlex.join(["fusevae", *options.argv])})
        print(f"page    {page}", file=sys.stderr)
    show(found.comparison, options.json)
    return 0


def show(found: Comparison, as_json: bool) -> None:
    """Print a comparison."""
    if as_json:
        print(to_json(found))
        return
    for line in found.answer_lines():
        print(line)
    for name, line in found.warnings().items():
        print(f"warning: {name}: {line}")
    print(f"\n{found}")
    for title, said in (
        ("Differences in log p(x), example by example", found.difference_lines()),
        ("Not in the table", list(found.notes().items())),
    ):
        if said:
            print(f"\n{title}")
            table(said)
