"""Runs side by side: one table and one page of several models, whatever their families."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.data.examples import Examples
from fusevae.evaluation import comparison_page
from fusevae.evaluation.blocks import check_examples
from fusevae.evaluation.comparison import Comparison, comparison
from fusevae.evaluation.judge import Judge, TooFew
from fusevae.evaluation.likelihood import MOST, PATIENT, affordable, fewer
from fusevae.evaluation.samples import Kind
from fusevae.training.outcome import environment
from fusevae.training.prepare import pick_device
from fusevae.training.run import JUDGED, Run


@dataclass
class Compared:
    """A comparison of runs, and what its page is made from.

    Attributes:
        comparison: the table, as of :func:`fusevae.comparison`, with how long each was trained.
        runs: by their paths.
        data: the examples that all were judged on.
        reference: what samples were held against, None where they were not.
        seed: of samples and views.
    """

    comparison: Comparison
    runs: dict[str, Run]
    data: Examples
    reference: Judge | None
    seed: int = 0

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The models by the paths of their runs."""
        return {path: run.artifact for path, run in self.runs.items()}

    def page(self, path: str | Path, about: Mapping[str, Any] | None = None) -> Path:
        """Write the table, with pictures of each model, as one HTML file; ``about`` are facts to tell beside them."""
        first = next(iter(self.runs.values()))
        facts = {"seed": self.seed, **environment(pick_device(first.device)), **(about or {})}
        place, title = check_page(path), f"Comparison: {', '.join(self.comparison.named())}"
        with first.computing():
            comparison_page.write(
                place, self.comparison, self.artifacts, self.data, self.reference, title, facts, self.seed
            )
        return place


def compare_runs(
    runs: Sequence[Run | str | Path],
    data: Any = None,
    conditions: str | list[str] | None = None,
    samples: int = JUDGED,
    importance_samples: Count | None = None,
    kind: Kind = "auto",
    extractor: str | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Compared:
    """Judge several runs on the same data: likelihood where there is one, samples, reconstructions, latents, cost.

    Args:
        runs: at least two, open or as paths, each once.
        data: what all are judged on, as for :meth:`Run.examples`; the held-out examples of the first by default.
        conditions: columns beside the data.
        samples: of each model that are held against as many real examples; 0 for none, and none where fewer than 50 of
            these are there and more were asked for.
        importance_samples: k of the bounds, the same for all; by default 1,000, or as many as take about a minute a
            model, which is said.
        kind: of samples, see :func:`fusevae.sample`.
        extractor: a file that the user names, for features or as a judge.
        seed: of samples and views; the same for all.
        quiet: show no progress.

    Raises :class:`InputError` before any work where a run doesn't fit the data.

    Example:
        >>> import tempfile, torch, fusevae
        >>> spec = fusevae.DataSpec((2,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, scale in (("a", 0.0), ("b", 1.0)):
        ...         net = fusevae.Constant(4)
        ...         _ = torch.nn.init.constant_(net.value, scale)
        ...         _ = fusevae.Artifact(fusevae.Gaussian(net), spec).save(f"{folder}/{name}")
        ...     found = compare_runs([f"{folder}/a", f"{folder}/b"], torch.zeros(5, 2), samples=0)
        >>> len(found.comparison.models), found.comparison.differences[0].value > 0
        (2, True)
    """
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    found = {str(run.path): run for run in opened}
    if len(found) < max(2, len(opened)):
        raise InputError(
            f"{' '.join(str(run.path) for run in opened)} was given to compare: give at least two runs, each once"
        )
    examples, name = opened[0].examples(data, conditions)
    for run in opened:
        check_examples(run.artifact, examples)
    named = next((run for run in opened if run.source is not None), None)  # a file alone names no data
    reference, why = None, ""
    if samples and named is not None:
        reference, why = judge_or_why(
            lambda: named.judge(samples, extractor, None if data is None else examples, quiet)
        )
    if not quiet:
        count = f"{len(found)} model{'s' * (len(found) != 1)}"
        print(f"comparing {count} on {len(examples):,} examples: {name}", file=sys.stderr)
    k = importance_samples or MOST
    if importance_samples is None:
        with opened[0].computing():
            k = affordable([run.artifact for run in opened], examples, MOST, PATIENT * len(opened))[1]
        if k < MOST and not quiet:
            print(fewer(k), file=sys.stderr)
    return compared(found, examples, name, reference, k, kind, seed, why)


def judge_or_why(make: Callable[[], Judge]) -> tuple[Judge | None, str]:
    """What samples are held against; or that there is too little of it, which is said."""
    try:
        return make(), ""
    except TooFew as error:
        print(f"no figures about samples: {error}", file=sys.stderr)
        return None, str(error)


def compared(
    runs: dict[str, Run],
    data: Examples,
    name: str,
    reference: Judge | None,
    importance_samples: int,
    kind: Kind,
    seed: int,
    why: str = "",
) -> Compared:
    """The comparison of runs, their training times among the figures; ``why`` there is no reference."""
    with next(iter(runs.values())).computing():
        artifacts = {path: run.artifact for path, run in runs.items()}
        found = comparison(artifacts, data, reference, None, importance_samples, kind, seed)
    found.data, found.judge, found.unjudged = name, found.judge or why or None, why or None
    for path, model in found.models.items():
        model.training = runs[path].state
    return Compared(found, runs, data, reference, seed)


def check_page(path: str | Path) -> Path:
    """A place for a page, or :class:`InputError` where it can't be one."""
    place = Path(path).expanduser()
    if place.suffix.lower() not in (".html", ".htm") or place.is_dir():
        raise InputError(f"--output is {str(path)!r}: expected a .html file")
    return place
