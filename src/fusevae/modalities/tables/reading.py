"""Tables of numbers: .csv, .tsv, parquet and DataFrames, columns by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data import delimited, parquet
from fusevae.data.arrays import finite_tensor
from fusevae.data.conditions import parsed
from fusevae.data.delimited import nameless
from fusevae.data.parts import Options, Part, need_memory, pick


def table_part(path: Path, options: Options) -> Part:
    """Rows of numbers of a text table; a first row that isn't numbers names the columns."""
    names, body, line = delimited.read_table(path, options.header)
    beside = options.conditions.among(names, f"{path}, {'with' if line == 2 else 'without'} a header row,")
    wanted = chosen(names, beside, options, str(path))
    cells = {name: [row[names.index(name)] for row in body] for name in [*wanted, *beside]}
    x = np.stack([_numbers(cells[name], name, path, line, options) for name in wanted], 1)
    part = _part(x, wanted, str(path), ["int64" if _whole(cells[name]) else "float64" for name in wanted])
    part.beside({name: parsed(cells[name]) for name in beside}, str(path))
    return part


def parquet_part(paths: list[Path], options: Options) -> Part:
    """The columns of numbers of the parquet files of a split."""
    files = parquet.Files(paths)
    kinds = parquet.column_kinds(paths[0])
    beside = options.conditions.among(files.names, files.where)
    wanted = chosen(files.names, beside, options, files.where, kinds)
    need_memory(files.total * len(wanted) * 4, options, files.where)
    for name in wanted:
        if files.gaps(name):
            raise InputError(f"{files.where}: column {name} has missing values: fill them in, or drop the column")
    columns = [files.column(name) for name in wanted]
    x = np.stack([column.astype(np.float64) for column in columns], 1)
    part = _part(x, wanted, files.where, [str(column.dtype) for column in columns])
    files.conditions(part, options.conditions)
    return part


def frame_part(frame: Any, options: Options, where: str) -> Part:
    """The columns of numbers of a DataFrame."""
    names = [str(name) for name in frame.columns]
    values = {str(name): np.asarray(frame[name]) for name in frame.columns}
    beside = options.conditions.among(names, where)
    kinds = {name: "number" if value.dtype.kind in "biuf" else "words" for name, value in values.items()}
    wanted = chosen(names, beside, options, where, kinds)
    x = np.stack([values[name].astype(np.float64) for name in wanted], 1)
    part = _part(x, wanted, where, [str(values[name].dtype) for name in wanted])
    part.beside({name: values[name] for name in beside}, where)
    return part


def chosen(
    names: Sequence[str], beside: Sequence[str], options: Options, where: str, kinds: Mapping[str, str] | None = None
) -> list[str]:
    """The columns that are data: those of a model that they are read for, in its order; those that were asked for; or
    all but the conditions, which must be numbers."""
    known = options.known.schema if isinstance(options.known, DataSpec) else None
    wanted: Sequence[str] | None = getattr(known, "columns", None) or options.columns
    rest = [name for name in names if name not in beside]
    by_place = (
        known is not None
        and wanted is not None
        and len(rest) == len(wanted)
        and nameless(len(wanted)) in (wanted, rest)
    )
    if wanted is not None and not by_place:
        found = [pick(name, names, where, "the model" if known is not None else "the data") for name in wanted]
        if known is not None and options.columns is None and (foreign := [name for name in rest if name not in wanted]):
            raise InputError(
                f"{where} has a column {foreign[0]!r} that the model was not trained on: drop it, or name the columns to "
                f"read (--set data.columns, conditions)"
            )
        return found
    other = [name for name in rest if (kinds or {}).get(name, "number") != "number"]
    if other or not rest:
        numeric = [name for name in rest if name not in other]
        raise InputError(
            f"{where}: columns {', '.join(other) or 'none'} hold no numbers: drop them, name those that are numbers "
            f"(data.columns=[{','.join(numeric)}]), or name conditions (data.conditions=[...])"
        )
    return rest


def _part(x: np.ndarray, names: list[str], where: str, dtypes: list[str]) -> Part:
    found = finite_tensor(x, where)
    return Part(found, columns=list(names), dtypes=dtypes, total=len(found))


def _whole(cells: list[str]) -> bool:
    return parsed(cells).dtype.kind == "i"


def _numbers(cells: list[str], name: str, path: Path, line: int, options: Options) -> np.ndarray:
    if all(delimited.is_number(cell) for cell in cells):
        return np.array(cells, dtype=np.float64)
    i = next(i for i, cell in enumerate(cells) if not delimited.is_number(cell))
    given = f"{cells[i].strip()[:40]!r}, no number" if cells[i].strip() else "empty"
    raise InputError(
        f"{path}: row {i + line}, column {name} is {given}: expected numbers everywhere but in the conditions "
        "(data.conditions=[...]); fill it in, name the columns to read (data.columns=[...]), or encode text as numbers"
    )
