"""Results: dataclasses whose figures are each declared once, for the terminal, tables, pages and JSON.

A new figure is a new field of a result::

    class MyQuality(Quality):
        sharpness: float = figure("sharpness", better="high", form=".2f")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from html import escape
from typing import Any, ClassVar, Literal, dataclass_transform

Better = Literal["high", "low", None]
Form = str | Callable[[Any], str]

MODEL, LIKELIHOOD, SAMPLES = "Model", "Likelihood of held-out data", "Samples"
RECONSTRUCTIONS, LATENTS, COST = "Reconstruction of held-out data", "Latents", "Cost"
SECTIONS = (MODEL, LIKELIHOOD, SAMPLES, RECONSTRUCTIONS, LATENTS, COST)  # any other comes after these
NONE = "–"  # in the place of a figure that a family doesn't have
REAL = "real examples"  # the column of what a perfect model would have


@dataclass(frozen=True)
class Figure:
    """One figure of a result, with all that there is to say of it.

    Attributes:
        key: where it is in the result, from field to field.
        name: in words.
        value: the figure; None where there is none.
        error: its standard error.
        unit: of both.
        better: which direction is better, if either is.
        of: the section that it belongs to: what it is of.
        over: figures over different things (supports) are never in one row.
        note: what qualifies the value wherever it stands ("bound").
        hint: how to read it.
        real: the same figure of real examples: what a perfect model would have.
        floor: the same of reconstructions: what no prior over the same decoder does better than.
        form: a format, or a function of a value.
        order: its place among the fields.
        aside: it is said beside another figure, as its floor, and has a line of its own only in tables.
    """

    key: str
    name: str
    value: Any
    error: float | None = None
    unit: str = ""
    better: Better = None
    of: str = ""
    over: str = ""
    note: str = ""
    hint: str = ""
    real: Any = None
    floor: Any = None
    form: Form = ""
    order: tuple[int, ...] = ()
    aside: bool = False

    def words(self, value: Any) -> str:
        """A value in the form of this figure."""
        if value is None:
            return NONE
        if callable(self.form):
            return self.form(value)
        return ("no", "yes")[value] if isinstance(value, bool) else format(value, self.form)

    @property
    def number(self) -> str:
        """The value with its error, without the unit."""
        return self.words(self.value) + (f" ± {self.words(self.error)}" if self.error is not None else "")

    @property
    def cell(self) -> str:
        """The same with its note, for a table whose row names the unit."""
        return self.number + (f" ({self.note})" if self.note and self.value is not None else "")

    @property
    def text(self) -> str:
        """All of it in words, for a line of its own."""
        beside = (("reconstructions", self.floor), (REAL, self.real))
        said = [f"{name} {self.words(value)}" for name, value in beside if value is not None]
        more = "; ".join(filter(None, (self.note, self.hint)))
        return ", ".join([f"{self.number} {self.unit}".rstrip(), *said]) + (f" ({more})" if more else "")


@dataclass(frozen=True)
class _Declared:
    """What a field says of its figure."""

    name: str
    unit: str | Mapping[str, str]
    better: Better
    of: str | None
    form: Form
    error: str | None
    real: str | None
    over: str | None
    note: str
    hint: str


@dataclass(frozen=True)
class _Part:
    """What a field says of the results in it."""

    name: str
    of: str | None
    over: str | None
    floor: bool
    real: bool


def figure(
    name: str,
    unit: str | Mapping[str, str] = "",
    better: Better = None,
    *,
    of: str | None = None,
    form: Form = "",
    error: str | None = None,
    real: str | None = None,
    over: str | None = None,
    note: str = "",
    hint: str = "",
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field of a :class:`Result` that is a figure, or a mapping of names to figures.

    Args:
        name: in words.
        unit: of the value; of a mapping, by name.
        better: the direction that is better; only such figures are ranked.
        of: the section; by default the ``section`` of the class.
        form: a format (``".3f"``) or a function from a value to words.
        error: the field with the standard error.
        real: the field with the same figure of real examples.
        over: the field that says what the figure is comparable within.
        note: a template over the fields that stands beside the value everywhere: ``"{kind}"``.
        hint: the same, only where there is room for it.
        default: of the field; None for what not every model has.

    Example:
        >>> class Speed(Result):
        ...     seconds: float = figure("time of a step", "ms", "low", of=COST, form=lambda s: f"{1000 * s:.3g}")
        >>> Speed(seconds=0.0123).lines()
        [('time of a step', '12.3 ms')]
    """
    said = _Declared(name, unit, better, of, form, error, real, over, note, hint)
    return field(default=default, metadata={"says": said})


def part(
    name: str = "",
    *,
    of: str | None = None,
    over: str | None = None,
    floor: bool = False,
    real: bool = False,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field of a :class:`Result` that holds another one, or several by name: its figures are figures of the whole.

    Args:
        name: what several are, before the names of their figures.
        of: the section of all its figures, in place of their own.
        over: as for :func:`figure`, of all of them.
        floor: it is of reconstructions, and a floor of the figures of the same names.
        real: it is of real examples; its figures only stand beside those of the same names.
        default: of the field.
    """
    return field(default=default, metadata={"says": _Part(name, of, over, floor, real)})


@dataclass_transform(kw_only_default=True, field_specifiers=(figure, part, field))
class Result:
    """Base of results. A subclass is a dataclass of keywords, without a decorator; :func:`figure` declares its figures,
    :func:`part` the results inside it, and its other fields only stand in JSON.

    Example:
        >>> class Fit(Result):
        ...     section = LIKELIHOOD
        ...     value: float = figure("log p(x)", "nats", "high", form=".2f", error="stderr", note="{kind}")
        ...     stderr: float | None = None
        ...     kind: str = "exact"
        >>> found = Fit(value=-88.1234, stderr=0.25)
        >>> found
        Fit
        log p(x)  -88.12 ± 0.25 nats (exact)
        >>> found.to_dict()
        {'value': -88.1234, 'stderr': 0.25, 'kind': 'exact'}
    """

    section: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True, repr=False)(cls)

    def figures(self) -> list[Figure]:
        """All figures with those of the parts, section by section, in order of declaration; some have no value."""
        return sorted(self._figures(), key=lambda f: _place(f.of))

    def lines(self) -> list[tuple[str, str]]:
        """The figures in words: a name, and its value with unit, error and what it is to be held against."""
        return [(f.name, f.text) for f in self.figures() if f.value is not None and not f.aside]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, under the names of the fields."""
        return {each.name: _plain(getattr(self, each.name)) for each in _fields(self)}

    def __repr__(self) -> str:
        lines = self.lines()
        width = max((len(name) for name, _ in lines), default=0)
        return "\n".join([type(self).__name__, *(f"{name:{width}}  {text}" for name, text in lines)])

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self.lines())
        return f"<table>{''.join(rows)}</table>"

    def _figures(self) -> Iterator[Figure]:
        for i, each in enumerate(_fields(self)):
            said, value = each.metadata.get("says"), getattr(self, each.name)
            if isinstance(said, _Declared):
                yield from self._declared(said, each.name, value, i)
            elif isinstance(said, _Part) and not said.real:
                inside = {each.name: ("", value)}
                if isinstance(value, Mapping):
                    of = f", {said.name}: " if said.name else ": "
                    inside = {f"{each.name}.{k}": (f"{k}{of}", v) for k, v in value.items()}
                for key, (name, result) in inside.items():
                    for f in result._figures() if result is not None else ():
                        yield replace(
                            f,
                            key=f"{key}.{f.key}",
                            name=name + f.name,
                            of=said.of or f.of,
                            over=getattr(self, said.over) if said.over else f.over,
                            order=(i, *f.order),
                            aside=f.aside or (said.floor and _has(self, f.key)),
                        )

    def _declared(self, said: _Declared, key: str, value: Any, order: int) -> Iterator[Figure]:
        beside: dict[bool, Any] = {True: getattr(self, said.real) if said.real else None, False: None}
        for each in _fields(self):
            other, inside = each.metadata.get("says"), getattr(self, each.name)
            if isinstance(other, _Part) and (other.real or other.floor) and _has(inside, key):
                beside[other.real] = getattr(inside, key)
        each_by_name = isinstance(value, Mapping) and not callable(said.form)
        for name in value if each_by_name else ("",):
            at = (lambda v, name=name: None if v is None else v.get(name)) if each_by_name else (lambda v: v)
            known = at(value) is not None
            yield Figure(
                key=f"{key}.{name}" if name else key,
                name=f"{said.name}, {name}" if name else said.name,
                value=at(value),
                error=getattr(self, said.error) if said.error else None,
                unit=said.unit if isinstance(said.unit, str) else said.unit.get(name, ""),
                better=said.better,
                of=self.section if said.of is None else said.of,
                over=getattr(self, said.over) if said.over else "",
                note=said.note.format(**vars(self)) if known else "",
                hint=said.hint.format(**vars(self)) if known else "",
                real=at(beside[True]),
                floor=at(beside[False]),
                form=said.form,
                order=(order,),
            )


@dataclass
class Row:
    """One figure of all models: a cell for each, the value by which the best is found, and that of real examples."""

    name: str
    cells: list[str]
    values: list[Any]
    better: Better = None
    real: str = ""

    @property
    def best(self) -> set[int]:
        """The numbers of the best cells, where the figure has a direction."""
        known = [v for v in self.values if v is not None]
        if self.better is None or len(known) < 2:
            return set()
        best = max(known) if self.better == "high" else min(known)
        return {i for i, v in enumerate(self.values) if v == best}


def rows(results: Mapping[str, Result]) -> dict[str, list[Row]]:
    """The table of several results, section by section, in order of declaration.

    Figures over different supports are never in one row, and rows that no result has are left out.

    Example:
        >>> class Fit(Result):
        ...     value: float = figure("log p(x)", "nats", "high", of=LIKELIHOOD, form=".1f")
        >>> (row,) = rows({"a": Fit(value=-2.0), "b": Fit(value=-1.0)})[LIKELIHOOD]
        >>> row.name, row.cells, row.best
        ('log p(x) in nats', ['-2.0', '-1.0'], {1})
    """
    each = [{(f.of, f.order, f.key, f.over): f for f in r.figures() if f.value is not None} for r in results.values()]
    found: dict[str, list[Row]] = {}
    keys = dict.fromkeys(key for figures in each for key in figures)
    for key in sorted(keys, key=lambda key: (_place(key[0]), key[1])):
        first, *_ = here = [figures[key] for figures in each if key in figures]
        name = first.name + (f" in {first.unit}" if first.unit else "") + (f", {first.over}" if first.over else "")
        cells = [figures[key].cell if key in figures else NONE for figures in each]
        values = [figures[key].value if key in figures else None for figures in each]
        real = next((f.words(f.real) for f in here if f.real is not None), "")
        found.setdefault(first.of, []).append(Row(name, cells, values, first.better, real))
    return found


def _place(section: str) -> int:
    return SECTIONS.index(section) if section in SECTIONS else len(SECTIONS)


def _fields(result: Result) -> tuple[dataclasses.Field[Any], ...]:
    return fields(result)  # type: ignore[arg-type]  # its subclasses are dataclasses


def _has(result: Result | None, key: str) -> bool:
    """Whether a result declares a figure of this name."""
    return result is not None and any(
        f.name == key and isinstance(f.metadata.get("says"), _Declared) for f in _fields(result)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
