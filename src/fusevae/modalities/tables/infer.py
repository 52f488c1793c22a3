"""From the parts of a table as they were read to its columns, and to codes in the place of words."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch

from fusevae.core.errors import InputError
from fusevae.data.delimited import nameless
from fusevae.data.examples import kind_of
from fusevae.data.parts import Options, Part
from fusevae.modalities.tables import kinds, suspicions
from fusevae.modalities.tables.column import CLASSES, FIXED, WHOLE, Column
from fusevae.modalities.tables.schema import TableSchema

FAR = 10.0  # times the width of a column in training, beyond which a value is said

logger = logging.getLogger("fusevae")


def inferred(parts: Sequence[Part], options: Options) -> TableSchema:
    """The columns of a table, each of the kind that is said or inferred; classes are those of any part."""
    first, said = parts[0], dict(options.kinds)
    shape, dtype = kind_of(first.x)
    names, dtypes = first.columns or nameless(shape[0]), first.dtypes or [dtype] * shape[0]
    if first.columns is None or not isinstance(first.x, torch.Tensor):
        return TableSchema([Column(*pair) for pair in zip(names, dtypes, strict=True)], options.constraints)
    columns = []
    for i, name in enumerate(names):
        if name in said:
            kinds.check_said(name, said[name])
        if name in first.levels:
            levels = sorted({word for part in parts for word in part.levels.get(name, ())})
            known = int((~first.x[:, i].isnan()).sum())
            order = first.orders.get(name)
            columns.append(kinds.words_column(name, dtypes[i], levels, known, said.get(name), order))
            if name not in said:
                suspicions.say_levels(name, levels, columns[-1])
        else:
            x = np.concatenate([part.x[:, i].numpy() for part in parts])
            columns.append(kinds.numbers_column(name, dtypes[i], x, said.get(name)))
    if all(column.kind in FIXED and column.name in first.levels for column in columns):
        one = " (is it one column? expected commas, semicolons, tabs or | between cells)" if len(names) == 1 else ""
        raise InputError(
            f"{', '.join(names[:5])}: the same words in each row, or others in each: there is nothing to learn{one}"
        )
    return TableSchema([*columns], options.constraints)


def code(part: Part, schema: TableSchema, what: str) -> None:
    """Put the codes of a schema in the place of the places of words; what it has no code for is missing, and said."""
    for i, column in enumerate(schema.columns):
        name = column.name if part.columns is None or column.name in part.columns else part.columns[i]
        levels = part.levels.pop(name, None)
        if levels is None and column.classes is not None:  # two numbers
            numbers = part.x[:, i].contiguous()
            known = numbers[~numbers.isnan()].unique()
            levels = [*map(repr, known.tolist())]
            part.x[:, i] = torch.where(numbers.isnan(), numbers, torch.searchsorted(known, numbers))
        if levels is None:
            continue
        places = part.x[:, i]
        there = ~places.isnan()
        if column.kind == "identifier" and column.dtype == "str":
            part.own[name] = [levels[int(v)] if ok else "" for v, ok in zip(places.tolist(), there, strict=True)]
            part.ids = part.ids or part.own[name]
        codes = torch.from_numpy(np.append(column.codes(levels), np.nan))
        places = torch.where(there, places, len(levels)).long()
        part.x[:, i] = codes[places]
        lost = there & part.x[:, i].isnan()
        if bool(lost.any()):
            words = [levels[j] for j in places[lost].unique().tolist()]
            shown = ", ".join(map(repr, words[:5])) + (", ..." if len(words) > 5 else "")
            kind = "classes" if column.kind in (*CLASSES, "constant") else "values"
            form = f" (its dates are of the form {column.form})" if column.kind == "date" else ""
            logger.warning(
                "column %s of the %s holds %s %s that the model does not know%s, in %d of %d rows: taken for missing",
                *(column.name, what, kind, shown, form, int(lost.sum()), len(part.x)),
            )


def check_known(part: Part, schema: TableSchema, what: str, gaps: bool) -> None:
    """Refuse numbers that columns of a model can't have; say of those that it hardly knows, and of empty rows."""
    for column, x in zip(schema.columns, part.x.numpy().T, strict=True):
        name, low, high = column.name, column.low, column.high
        if column.worded or column.kind in (None, "identifier") or low is None or high is None:
            continue
        there = np.where(np.isnan(x), low, x)
        if column.kind in (*WHOLE, "binary") and len(rows := np.flatnonzero(there != np.round(there))):
            raise InputError(
                f"column {name} of the {what} holds {there[rows[0]]:g}, the first in row {rows[0]} (counted from 0), "
                "and the model was trained on whole numbers there: round them, or give the column that it was"
            )
        far = FAR * (high - low) * (column.kind not in ("binary", "constant"))
        wrong = (there < low - far) | (there > high + far)
        if wrong.any():
            does = {"binary": "taken for missing", "constant": "not looked at"}.get(
                column.kind, "is it in another unit?"
            )
            logger.warning(
                "column %s of the %s holds %s in %d of %d rows, and %s in training: %s",
                *(name, what, f"{there[wrong][0]:.6g}", wrong.sum(), len(x), f"{low:.6g} to {high:.6g}", does),
            )
            if column.kind == "binary":
                x[wrong] = np.nan
    learned = [column.kind not in FIXED for column in schema.columns]
    if not gaps and (empty := int(part.x[:, learned].isnan().all(1).sum())):
        logger.warning("%d of %d rows of the %s hold no value that the model knows", empty, len(part.x), what)
