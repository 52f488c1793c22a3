"""Several results as one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from fusevae.evaluation.results import NONE, REAL, Better, Figure, Result, place

FIRST = 10  # figures that a page shows before it is asked for all
#: figures that are among these whatever decides
KEYS = ("log_likelihood.value", "latents.information", "quality.seconds_per_sample", "training.seconds", "parameters")
NEAR = 0.25  # of a figure's distance from that of real examples: what another seed of a model may change it by
LEGEND = (
    "In brackets: where a figure is with 95 % confidence; after ± its standard error. In bold the best, where that is "
    "no chance."
)

#: of a figure, by its key and what it is over, the name of the best model; an empty one where it can't be told
Decided = Mapping[tuple[str, str], str]
NOTHING: Decided = {}


@dataclass
class Row:
    """One figure of all models: a cell for each, and the figures by which the best is found, in words that of real
    examples; which are the best, where that has been decided otherwise."""

    name: str
    cells: list[str]
    figures: list[Figure | None]
    better: Better = None
    real: str = ""
    decided: set[int] | None = None

    @property
    def values(self) -> list[Any]:
        """What each is, None where it isn't known."""
        return [None if f is None else f.value for f in self.figures]

    @property
    def intervals(self) -> list[Any]:
        """Where each is with 95 % confidence."""
        return [None if f is None else interval(f) for f in self.figures]

    @property
    def best(self) -> set[int]:
        """The number of the best cell, where the figure has a direction and an interval, and none is as good but for
        chance: of a figure that has no interval, nobody knows what is chance."""
        known = {i: f for i, f in enumerate(self.figures) if f is not None}
        if self.better is None or len(known) < 2 or not any(self.intervals):
            return set()
        if self.decided is not None:
            return self.decided
        sign = 1 if self.better == "high" else -1
        best = max(known, key=lambda i: sign * known[i].value)
        return {best} if all(surely(known[best], f) for i, f in known.items() if i != best) else set()


def rows(
    results: Mapping[str, Result], only: Collection[str] | None = None, decided: Decided = NOTHING
) -> dict[str, list[Row]]:
    """The table of several results, section by section, in order of declaration; of all figures, or of some by key.
    Of those that have been ``decided`` otherwise, pairs of examples say, the best is known, or that there is none.

    Figures over different supports are never in one row, and rows that no result has are left out.

    Example:
        >>> from fusevae.evaluation.results import LIKELIHOOD, figure
        >>> class Fit(Result):
        ...     value: float = figure("log p(x)", "nats", "high", of=LIKELIHOOD, form=".1f", error="stderr")
        ...     stderr: float = 0.1
        >>> (row,) = rows({"a": Fit(value=-2.0), "b": Fit(value=-1.0)})[LIKELIHOOD]
        >>> row.name, row.cells, row.best
        ('log p(x) in nats', ['-2.0 ± 0.1', '-1.0 ± 0.1'], {1})
    """
    each = [{(f.of, f.order, f.key, f.over): f for f in r.figures() if f.value is not None} for r in results.values()]
    found: dict[str, list[Row]] = {}
    keys = dict.fromkeys(key for figures in each for key in figures if only is None or key[2] in only)
    for key in sorted(keys, key=lambda key: (place(key[0]), key[1])):
        first, *_ = here = [figures[key] for figures in each if key in figures]
        name = first.name + (f" in {first.unit}" if first.unit else "") + (f", {first.over}" if first.over else "")
        cells = [figures[key].cell if key in figures else NONE for figures in each]
        real = next((f.words(f.real) for f in here if f.real is not None), "")
        told = [figures.get(key) for figures in each]
        best = decided.get((first.key, first.over or ""))
        known = None if best is None else {i for i, model in enumerate(results) if model == best}
        found.setdefault(first.of, []).append(Row(name, cells, told, first.better, real, known))
    return found


def interval(figure: Figure) -> Any:
    """Where a figure is with 95 % confidence, where that or its error is known."""
    if figure.interval is not None or not isinstance(figure.error, float):
        return figure.interval
    return [figure.value - 1.96 * figure.error, figure.value + 1.96 * figure.error]


def surely(best: Figure, other: Figure) -> bool:
    """Whether one is better than another beyond chance, and by more than what another seed changes."""
    ours, theirs = (sorted(interval(each) or [each.value, each.value]) for each in (best, other))
    if theirs[0] <= ours[1] and ours[0] <= theirs[1]:
        return False
    if not isinstance(real := best.real, int | float):
        return True
    return abs(other.value - best.value) > NEAR * max(abs(other.value - real), abs(best.value - real))


def first(results: Mapping[str, Result], decided: Decided = NOTHING) -> str:
    """The figures that are looked at first as a table for a page: likelihoods, what decides about samples and
    reconstructions, latents and cost, ``FIRST`` at most."""
    each = [f for r in results.values() for f in r.figures() if f.value is not None]
    keys = sorted({(place(f.of), f.order, f.key) for f in each if (f.decides and not f.aside) or f.key in KEYS})
    chosen = {key for _, _, key in sorted(keys, key=lambda key: (key[2] not in KEYS, key))[:FIRST]}
    return html(results, chosen, decided)


def text(results: Mapping[str, Result]) -> str:
    """The table for a terminal."""
    lines = _lines(results)
    first = max(len(name) for name, cells, _ in lines if cells)
    width = [max(12, *map(len, column)) for column in zip(*(cells for _, cells, _ in lines if cells), strict=True)]
    table = "\n".join(
        (f"{name:{first}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(cells, width, strict=True))).rstrip()
        if cells
        else f"\n{name}"
        for name, cells, _ in lines
    )
    return "\n\n".join([table, *_legend(results)])


def html(results: Mapping[str, Result], keys: Collection[str] | None = None, decided: Decided = NOTHING) -> str:
    """The table for a page, the best cells in bold; of some ``keys``, or of all figures."""
    (_, head, _), *lines = _lines(results, keys, decided)
    body = [f"<tr><th></th>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>"]
    for name, cells, best in lines:
        if not cells:
            body.append(f'<tr><th class="part" colspan="{len(head) + 1}">{escape(name)}</th></tr>')
            continue
        bold = (f"<b>{escape(cell)}</b>" if i in best else escape(cell) for i, cell in enumerate(cells))
        body.append(f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in bold)}</tr>")
    return f"<table>{''.join(body)}</table>{''.join(f'<p>{line}</p>' for line in _legend(results))}"


def _legend(results: Mapping[str, Result]) -> list[str]:
    """How to read the cells, where there are intervals in any."""
    return [LEGEND] if any(f.interval is not None for r in results.values() for f in r.figures()) else []


def _lines(
    results: Mapping[str, Result], keys: Collection[str] | None = None, decided: Decided = NOTHING
) -> list[tuple[str, list[str], set[int]]]:
    """Line by line a name, its cells and the numbers of the best; the title of a section has no cells."""
    sections = rows(results, keys, decided)
    real = [REAL] if any(row.real for each in sections.values() for row in each) else []
    lines = [("", [*results, *real], set[int]())]
    for title, each in sections.items():
        lines += [(title, [], set()), *((r.name, [*r.cells, *(r.real for _ in real)], r.best) for r in each)]
    return lines
