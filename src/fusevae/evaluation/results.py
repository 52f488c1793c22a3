"""Results: dataclasses whose figures are each declared once, for the terminal, tables, pages and JSON.

A new figure is a new field of a result::

    class MyQuality(Quality):
        sharpness: float = figure("sharpness", better="high", form=".2f")
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from html import escape
from typing import Any, ClassVar, Literal, Self, dataclass_transform, get_args, get_origin, get_type_hints

Better = Literal["high", "low", None]
Form = str | Callable[[Any], str]

MODEL, LIKELIHOOD, SAMPLES = "Model", "Likelihood of held-out data", "Samples"
RECONSTRUCTIONS, LATENTS, COST = "Reconstruction of held-out data", "Latents", "Cost"
SECTIONS = (MODEL, LIKELIHOOD, SAMPLES, RECONSTRUCTIONS, LATENTS, COST)  # any other comes after these
NONE = "–"  # in the place of a figure that a family doesn't have
LARGE = 1e12  # from here on powers of ten are shown
FIXED, DIGITS = re.compile(r"([+,]*)\.(\d+)([f%])"), 6  # after the point, at most
REAL = "real examples"  # the column of what a perfect model would have


@dataclass(frozen=True)
class Figure:
    """One figure of a result, with all that there is to say of it.

    Attributes:
        key: where it is in the result, from field to field.
        name: in words.
        value: the figure; None where there is none.
        error: its standard error.
        interval: where it is with 95 % confidence, its two ends.
        unit: of all of them.
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
        decides: its place among those by which models are told apart, the first 1; 0 where it doesn't.
    """

    key: str
    name: str
    value: Any
    error: Any = None
    interval: Any = None
    unit: Any = ""
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
    decides: int = 0

    def words(self, value: Any) -> str:
        """A value in the form of this figure."""
        if value is None:
            return NONE
        if callable(self.form):
            return self.form(value)
        return ("no", "yes")[value] if isinstance(value, bool) else with_digits(value, self.form)

    @property
    def ends(self) -> list[str]:
        """The ends of its interval in words, if it has one."""
        return [self.words(end) for end in self.interval or ()]

    @property
    def number(self) -> str:
        """The value with its error, without the unit."""
        error = self.error if self.interval is None else None  # it says more
        return self.words(self.value) + (f" ± {self.words(error)}" if error is not None else "")

    @property
    def cell(self) -> str:
        """The same with interval and note, for a table whose row names the unit."""
        where = f" [{' to '.join(self.ends)}]" if self.ends else ""
        return self.number + where + (f" ({self.note})" if self.note and self.value is not None else "")

    @property
    def text(self) -> str:
        """All of it in words, for a line of its own."""
        beside = (("reconstructions", self.floor), (REAL, self.real))
        said = [f"{name} {self.words(value)}" for name, value in beside if value is not None]
        where = f"95 % between {' and '.join(self.ends)}" if self.ends else ""
        more = "; ".join(filter(None, (where, self.note, self.hint)))
        return ", ".join([f"{self.number} {self.unit}".rstrip(), *said]) + (f" ({more})" if more else "")


@dataclass(frozen=True)
class _Part:
    """What a field says of the results in it."""

    name: str
    of: str
    over: str
    floor: bool
    real: bool


def figure(
    name: str,
    unit: str | Mapping[str, str] = "",
    better: Better = None,
    *,
    of: str = "",
    form: Form = "",
    error: str = "",
    interval: str = "",
    real: str = "",
    over: str = "",
    note: str = "",
    hint: str = "",
    decides: int = 0,
    default: Any = MISSING,
) -> Any:
    """A field of a :class:`Result` that is a figure, or a mapping of names to figures.

    Args:
        name: in words.
        unit: of the value; of a mapping, by name.
        better: the direction that is better; only such figures are ranked.
        of: the section; by default the ``section`` of the class.
        form: a format (``".3f"``: digits that count are shown all the same) or a function from a value to
            words.
        error: the field with the standard error.
        interval: the field with the two ends of its interval, or with those of several figures by their fields; a
            figure is no best one where its interval meets another's.
        real: the field with the same figure of real examples.
        over: the field that says what the figure is comparable within.
        note: a template over the fields that stands beside the value everywhere: ``"{kind}"``.
        hint: the same, only where there is room for it.
        decides: 1 where models are told apart by it first (it has an interval then), 2 by it next ...
        default: of the field; None for what not every model has.

    Example:
        >>> class Speed(Result):
        ...     seconds: float = figure("time of a step", "ms", "low", of=COST, form=lambda s: f"{1000 * s:.3g}")
        >>> Speed(seconds=0.0123).lines()
        [('time of a step', '12.3 ms')]
    """
    said = Figure("", name, None, error, interval, unit, better, of, over, note, hint, real, form=form, decides=decides)
    return field(default=default, metadata={"figure": said})


def part(
    name: str = "", *, of: str = "", over: str = "", floor: bool = False, real: bool = False, default: Any = MISSING
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
    return field(default=default, metadata={"part": _Part(name, of, over, floor, real)})


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
        return sorted(self._figures(), key=lambda f: place(f.of))

    def lines(self) -> list[tuple[str, str]]:
        """The figures in words: a name, and its value with unit, error and what it is to be held against."""
        return [(f.name, f.text) for f in self.figures() if f.value is not None and not f.aside]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, under the names of the fields."""
        return {each.name: _plain(getattr(self, each.name)) for each in _fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` gave, as it came back from JSON."""
        hints, known = get_type_hints(cls), {each.name for each in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: _back(value, hints[name]) for name, value in data.items() if name in known})

    def __repr__(self) -> str:
        lines = self.lines()
        width = max((len(name) for name, _ in lines), default=0)
        return "\n".join([type(self).__name__, *(f"{name:{width}}  {text}" for name, text in lines)])

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self.lines())
        return f"<table>{''.join(rows)}</table>"

    def _figures(self) -> Iterator[Figure]:
        for i, each in enumerate(_fields(self)):
            value, said = getattr(self, each.name), each.metadata.get("part")
            if "figure" in each.metadata:
                yield from self._declared(each.metadata["figure"], each.name, value, i)
            elif said is not None and value is not None and not said.real:
                several = value.items() if isinstance(value, Mapping) else [("", value)]
                for name, result in several:
                    of = f"{name}, {said.name}: ".replace(", :", ":") if name else ""
                    for f in result._figures():
                        yield replace(
                            f,
                            key=".".join(filter(None, (each.name, name, f.key))),
                            name=of + f.name,
                            of=said.of or f.of,
                            over=self._get(said.over) or f.over,
                            order=(i, *f.order),
                            aside=f.aside or (said.floor and _declares(self, f.key)),
                        )

    def _declared(self, said: Figure, key: str, value: Any, order: int) -> Iterator[Figure]:
        beside = {"real": self._get(said.real), "floor": None}
        for each in _fields(self):
            other, inside = each.metadata.get("part"), getattr(self, each.name)
            if other is not None and (other.real or other.floor) and _declares(inside, key):
                beside["real" if other.real else "floor"] = getattr(inside, key)
        known = {} if value is None else vars(self)
        where = self._get(said.interval)
        whole = replace(
            said,
            key=key,
            value=value,
            error=self._get(said.error),
            interval=where.get(key) if isinstance(where, Mapping) else where,
            of=said.of or self.section,
            over=self._get(said.over) or "",
            note=said.note.format(**known) if known else "",
            hint=said.hint.format(**known) if known else "",
            order=(order,),
            **beside,
        )
        if not isinstance(value, Mapping) or callable(said.form):
            yield whole
            return
        for name, one in value.items():
            unit = said.unit if isinstance(said.unit, str) else said.unit.get(name, "")
            real = (whole.real or {}).get(name)
            yield replace(whole, key=f"{key}.{name}", name=f"{said.name}, {name}", value=one, unit=unit, real=real)

    def _get(self, name: str) -> Any:
        return getattr(self, name) if name else None


def with_digits(value: Any, form: str) -> str:
    """A number in a form, but with two digits that count where it would have none, and no row of digits that don't.

    Example:
        >>> [with_digits(value, ".3f") for value in (12.3456, 0.0, 0.0004, 1e-9, 1e30)], with_digits(0.00012, ".1%")
        (['12.346', '0.000', '0.00040', '1e-09', '1e+30'], '0.012%')
    """
    fixed = FIXED.fullmatch(form)
    if fixed is None or not value or not math.isfinite(value):
        return format(value, form)
    if abs(value) >= LARGE:
        return format(value, f"{fixed[1]}.4g")
    percent = 100 if fixed[3] == "%" else 1
    digits = 1 - math.floor(math.log10(abs(value) * percent))
    if digits <= int(fixed[2]) + 1:
        return format(value, form)
    plain = f"{fixed[1]}.{digits}f" if digits <= DIGITS else f"{fixed[1]}.2g"
    return format(value * percent, plain) + "%" * (percent > 1)


def place(section: str) -> int:
    """The number of a section among all."""
    return SECTIONS.index(section) if section in SECTIONS else len(SECTIONS)


def _fields(result: Result) -> tuple[Field[Any], ...]:
    return fields(result)  # type: ignore[arg-type]  # its subclasses are dataclasses


def _declares(result: Result | None, key: str) -> bool:
    return result is not None and any(f.name == key and "figure" in f.metadata for f in _fields(result))


def _back(value: Any, hint: Any) -> Any:
    """A plain value as a field's hint wants it."""
    for kind in get_args(hint) or (hint,):
        if isinstance(kind, type) and issubclass(kind, Result) and isinstance(value, Mapping):
            return kind.from_dict(value)
        if get_origin(kind) is dict and get_args(kind)[0] is int and isinstance(value, Mapping):
            return {int(k): v for k, v in value.items()}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
