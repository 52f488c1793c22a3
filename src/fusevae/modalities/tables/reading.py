"""Tables of numbers: .csv, .tsv, parquet and DataFrames, columns by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data import delimited, parquet
from fusevae.data.conditions import parsed
from fusevae.data.delimited import GAPS, check_names, is_flag, is_number, nameless
from fusevae.data.parts import Options, Part, need_memory, pick
from fusevae.modalities.tables.schema import single

WHOLE = 2.0**53  # whole numbers beyond it are not told apart as floats
DIGITS = 17  # characters of a number, beyond which float64 may not hold it
INDEX = ("", "Unnamed: 0")  # names of a first column that has none
CODE = re.compile(r"[+-]?0\d+")  # a number written as a code
FAR = 1e6  # times as far from the median as half of the values are: a cell that is said
MENDS = "fill it in, leave the column out (data.columns=[...]), or such rows (data.skip_damaged=true)"

Numbers = tuple[np.ndarray, str]  # float64 with NaN where there is no number, and the dtype as it came

logger = logging.getLogger("fusevae")


def table_part(path: Path, options: Options) -> Part:
    """Rows of numbers of a text table; a first row that isn't numbers names the columns."""
    names, body, line = delimited.read_table(path, options.header)
    beside = options.conditions.among(names, f"{path}, {'with' if line == 2 else 'without'} a header row,")
    cells = dict(zip(names, ([cell.strip() for cell in column] for column in zip(*body, strict=True)), strict=True))
    kinds = {name: _kind(column) for name, column in cells.items()}
    names = without_index(names, options, str(path), lambda name: _numbers(cells[name], name))
    wanted = chosen(names, beside, options, str(path), kinds, lambda name: _first_word(cells[name]))
    columns = {name: _numbers(cells[name], f"{path}: column {name}") for name in wanted}
    if codes := [name for name in wanted if any(CODE.fullmatch(cell) for cell in cells[name])]:
        text = "%s: column %s is written with leading zeros and read as numbers; a code is a condition, or left out"
        logger.warning(text, path, codes[0])
    given = {name: parsed(cells[name]) for name in beside}
    return _part(columns, given, options, str(path), line, lambda i, name: cells[name][i])


def parquet_part(paths: list[Path], options: Options) -> Part:
    """The columns of numbers of the parquet files of a split."""
    files = parquet.Files(paths)
    check_names(files.names, files.where)
    beside = options.conditions.among(files.names, files.where)
    names = without_index(files.names, options, files.where, lambda name: _array(files.column(name), name))
    wanted = chosen(names, beside, options, files.where, parquet.column_kinds(paths[0]))
    need_memory(files.total * len(wanted) * 8, options, files.where)
    columns = {name: _array(files.column(name), f"{files.where}: column {name}") for name in wanted}
    part = _part(columns, {}, options, files.where)
    files.conditions(part, options.conditions)
    return part


def frame_part(frame: Any, options: Options, where: str) -> Part:
    """The columns of numbers of a DataFrame."""
    names = [str(name) for name in frame.columns]
    check_names(names, where)
    values = {str(name): frame[name] for name in frame.columns}
    beside = options.conditions.among(names, where)
    arrays = {name: _array(values[name], f"{where}: column {name}") for name in names if name not in beside}
    kinds = {name: "words" if found is None else "number" for name, found in arrays.items()}
    names = without_index(names, options, where, lambda name: arrays.get(name))
    wanted = chosen(names, beside, options, where, kinds)
    given = {name: np.asarray(values[name]) for name in beside}
    return _part({name: arrays[name] for name in wanted}, given, options, where)


def without_index(
    names: Sequence[str], options: Options, where: str, values: Callable[[str], Numbers | None]
) -> list[str]:
    """The names without that of a first column which only counts or names the rows, as pandas and R write them: it has
    no name, and whole numbers that are all different."""
    first = names[0] if names else None
    known = getattr(options.known.schema, "names", ()) if isinstance(options.known, DataSpec) else ()
    if first in INDEX and first not in (*known, *(options.columns or ()), *options.conditions.names):
        found = values(first)
        if found is not None and "int" in found[1] and len(np.unique(found[0])) == len(found[0]):
            logger.warning(
                "%s: the first column, %r, numbers the rows and is left out; name it if it is data", where, first
            )
            return list(names[1:])
    return list(names)


def chosen(
    names: Sequence[str],
    beside: Sequence[str],
    options: Options,
    where: str,
    kinds: Mapping[str, str],
    shown: Callable[[str], str] = lambda name: "",
) -> list[str]:
    """The columns that are data: those of a model that they are read for, in its order; those that were asked for; or
    all but the conditions, which must be numbers. ``shown`` says what a column of words holds."""
    if options.columns and (twice := [c for c in options.columns if options.columns.count(c) > 1 or c in beside]):
        raise InputError(f"column {twice[0]!r} is named twice, among data.columns or as a condition too: name it once")
    known = options.known.schema if isinstance(options.known, DataSpec) else None
    ours: Sequence[str] | None = getattr(known, "names", None)
    rest = [name for name in names if name not in beside]
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
    words = [name for name in found if kinds.get(name, "number") not in ("number", "gaps")]
    if words or not found:
        numbers = [name for name in rest if kinds.get(name, "number") == "number"]
        raise InputError(
            f"{where}: columns {', '.join(words) or 'none'} hold no numbers: name the "
            f"columns that are numbers (data.columns=[{','.join(numbers)}]), and conditions among the others "
            f"(data.conditions=[...]){shown(words[0]) if words else ''}"
        )
    return found


def _part(
    columns: Mapping[str, Numbers | None],
    beside: Mapping[str, Any],
    options: Options,
    where: str,
    start: int = 0,
    cell: Any = None,
) -> Part:
    """The rows of columns, and what stands beside them; those that hold something else than a number are refused, or
    left out and counted. ``start`` is the number of the first row, and ``cell`` gives what is written somewhere."""
    known = {name: found for name, found in columns.items() if found is not None}  # all: none of words is chosen
    x = np.stack([values for values, _ in known.values()], 1)
    if not len(x):
        raise InputError(f"{where} has no rows: expected at least one")
    names, dtypes = list(known), [dtype for _, dtype in known.values()]
    bad = ~np.isfinite(single(x))
    if options.gaps:
        bad &= ~np.isnan(x) if cell is None else _no_gaps(bad, names, cell)
    for name, values, dtype in zip(names, x.T, dtypes, strict=True):
        if "int" in dtype and bool((np.abs(values) >= WHOLE).any()):
            i = int((np.abs(values) >= WHOLE).argmax())
            raise InputError(
                f"{where}: row {i + start}, column {name} is beyond 2^53, where floats do not tell whole numbers "
                "apart: take something off the column, or leave it out (data.columns=[...])"
            )
    kept = None
    if bad.any():
        rows = np.flatnonzero(bad.any(1))
        i, j = int(rows[0]), int(bad[rows[0]].argmax())
        word = cell(i, names[j]) if cell is not None else "" if np.isnan(x[i, j]) else str(x[i, j])
        wrong = "NaN, infinite or too large for float32" if is_number(word) else "no number"
        what = f"{word[:40]!r}, {wrong}" if word else "empty"
        what += hint(word)
        if not options.skip_damaged or len(rows) == len(x):
            raise InputError(
                f"{where}: row {i + start}, column {names[j]} is {what}: expected numbers everywhere but in the "
                f"conditions (data.conditions=[...]); {MENDS}"
            )
        text = "%s: %d of %d rows were left out, the first row %d, whose column %s is %s"
        logger.warning(text, where, len(rows), len(x), i + start, names[j], what)
        kept = np.flatnonzero(~bad.any(1)).tolist()
    if options.known is None:
        _say_far(x, names, where, start)
    found = torch.from_numpy(x if kept is None else x[kept])
    part = Part(found, columns=names, dtypes=dtypes, total=len(x), kept=kept)
    part.beside(beside, where, kept)
    return part


def hint(word: str) -> str:
    """What may be wrong with a word that is nearly a number."""
    if re.fullmatch(r"[+-]?[\d.]*,[\d,]+", word):
        return " (is it a decimal comma, or one between thousands?)"
    several = len(word.split()) > 1 and all(map(is_number, word.split()))
    return " (are these several numbers? put commas between them)" if several else ""


def _first_word(cells: Sequence[str]) -> str:
    word = next((cell for cell in cells if cell.lower() not in GAPS and not is_number(cell)), "")
    return f"; the first holds {word[:40]!r}{hint(word)}" if hint(word) else ""


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


def _kind(cells: Sequence[str]) -> str:
    """Whether a column holds numbers, some of which may be missing or wrong, or something else."""
    known = [cell for cell in cells if cell.lower() not in GAPS]
    right = max(sum(map(is_number, known)), sum(map(is_flag, known)))
    if 2 * right < len(known) or not known:
        return "words"
    return "number" if right == len(cells) else "gaps"


def _numbers(cells: Sequence[str], what: str) -> Numbers:
    if any(map(is_flag, cells)) and not any(map(is_number, cells)):
        flags = {"true": 1.0, "false": 0.0}
        return np.array([flags.get(cell.lower(), np.nan) for cell in cells]), "bool"
    known = [is_number(cell) for cell in cells]
    values = np.array([cell if ok else "nan" for cell, ok in zip(cells, known, strict=True)], dtype=np.float64)
    words = [cell for cell, ok in zip(cells, known, strict=True) if ok]
    whole = all(re.fullmatch(r"[+-]?\d+", cell) for cell in words)
    if not whole and any(len(cell) > DIGITS for cell in words):
        _tell_apart([Decimal(cell) for cell in words], values, what)
    return values, "int64" if whole and words else "float64"


def _tell_apart(exact: Sequence[Decimal], values: np.ndarray, what: str) -> None:
    """Refuse numbers of so many digits that float64 makes the half of them alike; whole ones are refused by
    :data:`WHOLE`."""
    different = len(set(exact))
    if 2 * len(np.unique(values[np.isfinite(values)])) < different:
        raise InputError(
            f"{what} holds {different:,} different numbers, such as {exact[0]}, of more digits than float64 tells "
            "apart: take something off the column, or leave it out (data.columns=[...])"
        )


def _array(column: Any, what: str) -> Numbers | None:
    """A column of a frame or of a file as numbers; None where it holds something else."""
    array = np.asarray(column)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64), str(array.dtype)
    if array.dtype.kind != "O":
        return None
    values: list[float] = []
    exact: list[Decimal] = []
    kinds: set[type] = set()
    for value in array.tolist():
        missing = value is None or type(value).__name__ in ("NAType", "NaTType")
        if not missing and not isinstance(value, bool | int | float | Decimal):
            return None
        values.append(np.nan if missing else float(value))
        if not missing and value == value:
            kinds.add(type(value))
            if isinstance(value, Decimal):
                exact.append(value)
    if not kinds:
        return None
    if exact:
        _tell_apart(exact, np.array(values), what)
    return np.array(values), {frozenset({bool}): "bool", frozenset({int}): "int64"}.get(frozenset(kinds), "float64")
