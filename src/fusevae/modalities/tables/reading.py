"""Tables: text tables, objects of JSON, .xlsx, parquet and DataFrames, columns by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data import delimited, parquet
from fusevae.data.conditions import parsed
from fusevae.data.delimited import GAPS, check_names, is_number, nameless
from fusevae.data.objects import Objects
from fusevae.data.parts import Options, Part, need_memory, pick
from fusevae.modalities.tables import dates, suspicions
from fusevae.modalities.tables.column import Column
from fusevae.modalities.tables.digits import single
from fusevae.modalities.tables.kinds import as_words
from fusevae.modalities.tables.raw import WHOLE, Raw, hint, of_array, of_ordered, of_text, say_zone, with_points

INDEX = re.compile(r"(Unnamed: \d+(\.\d+)*)?")  # names of a first column that has none
FAR = 1e6  # times as far from the median as half of the values are: a cell that is said
MENDS = (
    "mend it, empty it if it is not known, leave such rows out (data.skip_damaged=true), or take the column for words "
    "(data.columns.{}=categorical)"
)

logger = logging.getLogger("fusevae")


def table_part(path: Path, options: Options) -> Part:
    """Rows of a text table; a first row that isn't numbers names the columns."""
    every, body, line, delimiter = delimited.read_table(path, options.header)
    beside = options.conditions.among(
        every, f"{path}, {'without' if every == nameless(len(every)) else 'with'} a header row,"
    )
    places = {name: i for i, name in enumerate(every)}

    def cells(name: str) -> list[str]:
        return list(map(itemgetter(places[name]), body))

    commas = delimiter == ";" and [name for name in every if with_points(cells(name))]  # one column decides for all

    def column(name: str) -> list[str]:
        return (commas and with_points(cells(name), sure=True)) or cells(name)

    if commas and options.known is None:
        logger.warning("%s: commas in column %s are read as decimal points", path, ", ".join(commas))
    names = without_index(every, options, str(path), lambda name: of_text(column(name), name, str(path), None))
    wanted = chosen(names, beside, options, str(path))
    columns = {name: of_text(column(name), name, str(path), said_words(name, options)) for name in wanted}
    if options.known is None and body:
        suspicions.say_last(body[-1], every, columns, str(path))
        if delimiter == ";":
            suspicions.say_thousands({name: column(name) for name in columns}, str(path))
    given = {name: parsed(column(name)) for name in beside}
    return _part(columns, given, options, str(path), line, lambda i, name: body[i][places[name]].strip())


def parquet_part(paths: list[Path], options: Options) -> Part:
    """The columns of the parquet files of a split."""
    files = parquet.Files(paths)
    check_names(files.names, files.where)
    beside = options.conditions.among(files.names, files.where)
    names = without_index(files.names, options, files.where, lambda name: of_array(files.column(name), name))
    wanted = chosen(names, beside, options, files.where)
    need_memory(files.total * len(wanted) * 8, options, files.where)
    for name in wanted if options.known is None else ():
        say_zone(getattr(files.schema.field(name).type, "tz", None), f"{files.where}: column {name}")

    def column(name: str) -> Raw | None:
        what, order = f"{files.where}: column {name}", files.order(name)
        if order is not None and _unsaid(name, options):
            return of_ordered(files.column(name).tolist(), order, what)
        return of_array(files.column(name), what, said_words(name, options))

    part = _part({name: column(name) for name in wanted}, {}, options, files.where)
    files.conditions(part, options.conditions)
    return part


def objects_part(path: Path, options: Options) -> Part:
    """The columns of JSON objects."""
    return frame_part(Objects(path), options, str(path), 1)


def frame_part(frame: Any, options: Options, where: str, start: int = 0) -> Part:
    """The columns of a DataFrame, whose first row has a number."""
    names = [str(name) for name in frame.columns]
    check_names(names, where)
    values = {str(name): frame[name] for name in frame.columns}
    beside = options.conditions.among(names, where)
    names = without_index(names, options, where, lambda name: of_array(values[name], name))
    wanted = chosen(names, beside, options, where)
    columns = {name: _of_frame(values[name], f"{where}: column {name}", name, options) for name in wanted}
    if options.known is None and (index := [n for n in getattr(getattr(frame, "index", None), "names", ()) if n]):
        logger.warning("%s: its index, %s, is left out: reset_index() makes a column of it", where, index[0])
    return _part(columns, {name: np.asarray(values[name]) for name in beside}, options, where, start)


def _of_frame(column: Any, what: str, name: str, options: Options) -> Raw | None:
    """A column of a frame; numbers that pandas has as categories are classes, and categories may have an order."""
    kind, worded = getattr(column, "dtype", None), said_words(name, options)
    categories = getattr(kind, "categories", None)
    numbers = getattr(categories, "dtype", None)
    are_numbers = getattr(numbers, "kind", "O") in "iuf"
    ordered = getattr(kind, "ordered", False) or type(kind).__name__ == "Enum"  # of pandas, of polars
    if categories is not None and ordered and getattr(numbers, "kind", "O") != "M" and _unsaid(name, options):
        raw = of_ordered(column.to_list(), list(categories), what)
    elif worded is not None or not are_numbers:
        return of_array(column, what, worded, options.known is None)
    else:
        raw = of_array(column, what, True)
    return raw and (raw._replace(dtype=str(numbers).lower()) if are_numbers else raw)


def _unsaid(name: str, options: Options) -> bool:
    """Whether the order of a column may be the data's own: no kind is said, and a model that knows it takes words."""
    known = known_column(name, options)
    return name not in dict(options.kinds) and (known is None or known.classes is not None)


def known_column(name: str, options: Options) -> Column | None:
    """What a model that the data are read for knows of a column."""
    known = options.known.schema if isinstance(options.known, DataSpec) else None
    return next((column for column in getattr(known, "columns", ()) if column.name == name), None)


def takes_gaps(options: Options) -> bool:
    """Whether cells may be missing: in data of one's own, of a model that knows such, and where they are filled in."""
    return options.gaps or options.known is None or getattr(options.known.schema, "mixed", False)


def said_words(name: str, options: Options) -> bool | None:
    """Whether a column is to be read as words, where a model or a setting says so."""
    if (column := known_column(name, options)) is not None:
        return None if "datetime" in column.dtype else column.worded  # in a file they are words
    said = dict(options.kinds).get(name)
    return None if said in (None, "constant", "identifier") else as_words(said)


def without_index(names: Sequence[str], options: Options, where: str, values: Callable[[str], Raw | None]) -> list[str]:
    """The names without that of a first column which only counts or names the rows, as pandas and R write them: it has
    no name, and whole numbers or words that are all different."""
    first = names[0] if names else "x"
    known = getattr(options.known.schema, "names", ()) if isinstance(options.known, DataSpec) else ()
    if INDEX.fullmatch(first) and first not in (*known, *(options.columns or ()), *options.conditions.names):
        found = values(first)
        counts = found is not None and ("int" in found.dtype or found.levels is not None)
        if counts and found is not None and len(np.unique(found.values)) == len(found.values):
            does = "numbers" if found.levels is None else "names"
            logger.warning(
                "%s: the first column, %r, %s the rows and is left out; name it if it is data", where, first, does
            )
            return without_index(names[1:], options, where, values)
    return list(names)


def chosen(names: Sequence[str], beside: Sequence[str], options: Options, where: str) -> list[str]:
    """The columns that are data: those of a model that they are read for, in its order; those that were asked for; or
    all but the conditions."""
    if options.columns and (twice := [c for c in options.columns if options.columns.count(c) > 1 or c in beside]):
        raise InputError(f"column {twice[0]!r} is named twice, among data.columns or as a condition too: name it once")
    known = options.known.schema if isinstance(options.known, DataSpec) else None
    ours: Sequence[str] | None = getattr(known, "names", None)
    rest = [name for name in names if name not in beside]
    for name, _ in options.kinds if ours is None else ():
        pick(name, names, where, "data.columns")
    wanted = ours or options.columns
    by_place = ours is not None and len(rest) == len(ours) and nameless(len(ours)) in (ours, rest)
    if wanted is not None and not by_place:  # else one of the two has no names
        found = [pick(name, names, where, "the data" if ours is None else "the model") for name in wanted]
        if ours is not None and options.columns is None and (foreign := [name for name in rest if name not in wanted]):
            raise InputError(
                f"{where} has a column {foreign[0]!r} that the model was not trained on: leave it out of the data"
            )
    else:
        found = rest
    if not found:
        raise InputError(f"{where} has no column but the conditions: expected at least one")
    return found


def _part(
    columns: Mapping[str, Raw | None],
    beside: Mapping[str, Any],
    options: Options,
    where: str,
    start: int = 0,
    cell: Any = None,
) -> Part:
    """The rows of columns, and what stands beside them; those that hold something else than a number are refused, or
    left out and counted. ``start`` is the number of the first row, and ``cell`` gives what is written somewhere."""
    known = {name: found for name, found in columns.items() if found is not None}
    if neither := [name for name in columns if name not in known]:
        raise InputError(
            f"{where}: columns {', '.join(neither)} hold neither numbers nor words nor dates (lists, durations or "
            f"intervals, say): convert them, or leave them out (data.columns=[{','.join(known) or '...'}])"
        )
    x = np.stack([column.values for column in known.values()], 1)
    if not len(x):
        raise InputError(f"{where} has no rows: expected at least one")
    names, dtypes = list(known), [column.dtype for column in known.values()]
    worded = np.array([column.levels is not None for column in known.values()])
    bad = ~np.isfinite(single(x)) & ~worded
    forms: dict[str, str] = {}
    if takes_gaps(options):
        bad &= ~np.isnan(x) if cell is None else _no_gaps(bad, names, cell)
    for j, (name, column) in enumerate(known.items()):
        if column.levels is not None and options.known is None and name not in dict(options.kinds):
            form, others = dates.strangers(column.levels)
            if others:
                forms[name] = form
                bad[:, j] = np.isin(x[:, j], others)
    for name, values, dtype in zip(names, x.T, dtypes, strict=True):
        if "int" in dtype and bool((np.abs(values) >= WHOLE).any()):
            i = int((np.abs(values) >= WHOLE).argmax())
            raise InputError(
                f"{where}: row {i + start}, column {name} is beyond 2^53, where floats do not tell whole numbers "
                f"apart: take something off the column, take it for words (data.columns.{name}=categorical), or leave "
                "it out (data.columns=[...])"
            )
    kept = None
    if bad.any():
        rows = np.flatnonzero(bad.any(1))
        i, j = int(rows[0]), int(bad[rows[0]].argmax())
        wanted, words = forms.get(names[j]), known[names[j]].levels
        word = "" if np.isnan(x[i, j]) else words[int(x[i, j])] if words else str(x[i, j])
        word = word if cell is None else cell(i, names[j])
        wrong = "NaN, infinite or too large for float32" if is_number(word) else "no number"
        wrong = wrong if wanted is None else f"no date of the form {wanted}, as others are"
        what = f"{word[:40]!r}, {wrong}" if word else "empty"
        what += hint(word) or _around(bad, i)
        if not options.skip_damaged or len(rows) == len(x):
            raise InputError(
                f"{where}: row {i + start}, column {names[j]} is {what}: expected "
                f"{'numbers' if wanted is None else 'dates'} in the column; {MENDS.format(names[j])}"
            )
        text = "%s: %d of %d rows were left out, the first row %d, whose column %s is %s"
        logger.warning(text, where, len(rows), len(x), i + start, names[j], what)
        kept = np.flatnonzero(~bad.any(1)).tolist()
    if options.known is None:
        numbers = [name for name, is_worded in zip(names, worded, strict=True) if not is_worded]
        _say_far(x[:, ~worded], numbers, where, start)
    total, x = len(x), x if kept is None else x[kept]
    levels = {name: column.levels for name, column in known.items() if column.levels is not None}
    orders = {name: column.order for name, column in known.items() if column.order is not None}
    for name in forms if kept is not None else ():  # dates are left
        values = x[:, names.index(name)]
        there = ~np.isnan(values)
        used, values[there] = np.unique(values[there], return_inverse=True)
        levels[name] = [levels[name][int(i)] for i in used]
    found = torch.from_numpy(x)
    part = Part(found, columns=names, dtypes=dtypes, total=total, kept=kept, levels=levels, orders=orders)
    part.beside(beside, where, kept)
    return part


def _around(bad: np.ndarray, i: int) -> str:
    """What a row that holds no number may be, by its place."""
    if i == 0 and not bad[1:].any() and bad[0].sum() > bad.shape[1] // 2:
        return " (is it a row of units, or a second header?)"
    return " (is the last row a note, or a sum?)" if i == len(bad) - 1 else ""


def _no_gaps(bad: np.ndarray, names: Sequence[str], cell: Any) -> np.ndarray:
    """Which of the cells that hold no number hold something else."""
    found = np.zeros_like(bad)
    for i, j in zip(*bad.nonzero(), strict=True):
        found[i, j] = cell(i, names[j]).lower() not in GAPS
    return found


def _say_far(x: np.ndarray, names: Sequence[str], where: str, start: int) -> None:
    """Say of each column with a value absurdly far from the others where it is."""
    for name, values in zip(names, x.T, strict=True):
        seen = values[np.isfinite(values)]
        away = np.abs(values - np.median(seen)) if len(seen) else values
        usual = float(np.median(away[np.isfinite(away)])) if len(seen) else 0.0
        far = (away > FAR * usual) & np.isfinite(away)
        if usual > 0 and bool(far.any()):
            i = int(np.where(far, away, 0).argmax())
            more = f" ({far.sum()} such rows)" if far.sum() > 1 else ""
            times = away[i] / usual
            logger.warning(
                "%s: row %d, column %s is %.4g, %.0e times as far from the median as half of the values are%s: mend it "
                "if it is an error",
                *(where, i + start, name, values[i], times, more),
            )
