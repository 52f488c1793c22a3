"""What is known of a table: its columns, each with the form that its values have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError, near
from fusevae.core.spec import DataSpec, Measure, Schema
from fusevae.data.delimited import nameless
from fusevae.modalities.tables.column import FIXED, Column
from fusevae.modalities.tables.constraints import Constraint

TOLD = 40  # columns of which a line each is said


class TableSchema(Schema):
    """The columns of a table, in the order in which a model is given them.

    Args:
        columns: of the table, or their names.
        constraints: what holds between them in every row (:class:`Constraint`).
        seen: of each constraint the combinations that it allows, where it does.
    """

    modality = "tables"

    def __init__(self, columns: list[Column | str], constraints: Sequence[str] = (), seen: Sequence[Any] = ()) -> None:
        self.columns = [Column(c) if isinstance(c, str) else c for c in columns]
        fixed = [*seen, *[()] * (len(constraints) - len(seen))]
        self.constraints = [Constraint(t, self.columns, s) for t, s in zip(constraints, fixed, strict=True)]
        self.constrained = bool(self.constraints)
        self.offset = torch.tensor([c.offset for c in self.columns], dtype=torch.float64)
        limits = torch.tensor([c.limits for c in self.columns], dtype=torch.float64)
        self.low, self.high = limits.unbind(1)
        self.unit = torch.tensor([10.0 ** (c.decimals or 0) for c in self.columns], dtype=torch.float64)
        self.rounded = torch.tensor([c.decimals is not None for c in self.columns])
        self.spacing = torch.tensor([c.spacing for c in self.columns], dtype=torch.float64)
        self.start = torch.tensor([c.low or 0.0 for c in self.columns], dtype=torch.float64)
        self.anew = [i for i, c in enumerate(self.columns) if c.kind == "identifier"]
        # values that come again and again, which float32 may not keep to their last digit
        self.spiked = [i for i, c in enumerate(self.columns) if c.spikes and c.decimals is None]
        some = (self.offset != 0, self.rounded, limits.isfinite())
        self.simple = not (self.spiked or any(bool(one.any()) for one in some))

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def named(self) -> bool:
        """Whether the columns came with names."""
        return self.names != nameless(len(self.columns))

    @property
    def mixed(self) -> bool:
        """Whether there is more than reals without gaps, or one of these is skewed."""
        return not all(column.plain for column in self.columns)

    @property
    def quantities(self) -> bool:
        return not any(column.worded for column in self.columns)

    def fitted(self, x: np.ndarray, named: bool) -> TableSchema:
        """The same columns as the training rows ``(n, columns)`` have them."""
        columns: list[Any] = [column.fitted(v, named) for column, v in zip(self.columns, x.T, strict=True)]
        fixed = [one.fitted(torch.from_numpy(x)) for one in self.constraints]
        return TableSchema(columns, [one.text for one in fixed], [one.seen for one in fixed])

    def into(self, x: Tensor) -> Tensor:
        return (x.double() - self.offset.to(x.device)).float() if bool(self.offset.any()) else x

    def back(self, x: Tensor) -> Tensor:
        if self.simple and not self.anew:
            return x
        parts = (self.offset, self.unit, self.rounded, self.low, self.high, self.spacing, self.start)
        offset, unit, rounded, low, high, spacing, start = (t.to(x.device) for t in parts)
        y = x.double() + offset
        y = torch.where(spacing > 0, start + ((y - start) / spacing).round() * spacing, y)
        y = torch.where(rounded, (y * unit).round() / unit, y).clamp(low, high) + 0.0  # -0 is 0
        if self.anew:
            y[..., self.anew] = torch.nan
        for i in self.spiked:
            exact = torch.tensor(self.columns[i].spikes, dtype=torch.float64, device=x.device)
            same = x[..., i, None].float() == (exact - offset[i]).float()
            y[..., i] = torch.where(same.any(-1), exact[same.int().argmax(-1)], y[..., i])
        return y

    def row(self, values: Mapping[str, Any]) -> Tensor:
        found = torch.full((len(self.columns),), torch.nan, dtype=torch.float64)
        for name, value in values.items():
            if name not in self.names:
                raise InputError(f"{name!r} is no column of the table{near(name, self.names)}")
            i = self.names.index(name)
            found[i] = self.columns[i].cell(value)
        return found

    def held(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        for one in self.constraints:
            x = one.settled(x, given)
        return x, torch.stack([one.holds(x) for one in self.constraints]).all(0) if self.constraints else torch.ones(
            len(x)
        ).bool()

    def check(self, ours: DataSpec, theirs: DataSpec, what: str) -> None:
        other = theirs.schema
        if isinstance(other, TableSchema) and self.named and other.named and other.names != self.names:
            for one in [name for name in self.names if name not in other.names]:
                raise InputError(f"{what} was made for a column {one!r}, these have none{near(one, other.names)}")
            for one in [name for name in other.names if name not in self.names]:
                raise InputError(f"{what} was not made for a column {one!r}: drop it{near(one, self.names)}")
            raise InputError(f"{what} was made for columns {', '.join(self.names)}: give these, in this order")
        super().check(ours, theirs, what)

    def check_model(self, spec: DataSpec, mixed: bool) -> None:
        if all(column.kind in FIXED for column in self.columns):
            raise InputError(
                f"each column ({_few(self.names)}) is constant or an identifier: there is nothing to learn"
            )
        if mixed:
            return
        kinds = {
            "words or dates": [c.name for c in self.columns if c.worded and c.dtype[0] != "f"],
            "two numbers alone": [c.name for c in self.columns if c.worded and c.dtype[0] == "f"],
            "missing cells": [c.name for c in self.columns if c.missing],
        }
        if what := [f"{kind} ({_few(names)})" for kind, names in kinds.items() if names]:
            raise InputError(
                f"the table has {' and '.join(what)}, of which this model has no likelihood: take table-vae "
                "or table-transformer, or name the columns of numbers alone (data.columns=[...])"
            )

    def remarks(self, spec: DataSpec) -> list[str]:
        if not self.named:
            return []
        width = max(len(c.name) for c in self.columns[:TOLD])
        lines = [f"  {c.name:{width}}  {c.about}" for c in self.columns[:TOLD]]
        more = len(self.columns) - TOLD
        first = f"{len(self.columns)} columns, as inferred (--set data.columns.NAME=KIND says another kind):"
        return [first, *lines, *([f"  and {more} more"] if more > 0 else [])]

    def support(self, spec: DataSpec, measure: Measure) -> str:
        if measure != "mixed":
            return super().support(spec, measure)
        learned = [c for c in self.columns if c.kind not in FIXED]
        reals = sum(c.kind in (None, "continuous", "skewed") for c in learned)
        if not reals:
            return f"mass over {len(learned)} columns"
        return f"mixed: density x mass over {reals} + {len(learned) - reals} columns"

    def about(self, spec: DataSpec) -> str:
        return f"{spec.dims} columns ({', '.join(self.names[:8])}{' ...' if len(self.names) > 8 else ''}), {spec.dtype}"

    def averaged(self, mean: Tensor, draws: Tensor) -> Tensor:
        classes = [i for i, c in enumerate(self.columns) if c.classes is not None or c.kind == "binary"]
        if classes:
            mean = mean.clone()
            mean[:, classes] = draws[..., classes].to(mean).mode(0).values
        return mean


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def table_columns(x: Tensor, spec: DataSpec) -> dict[str, np.ndarray]:
    """Rows ``(n, columns)`` of a table as columns ``(n,)`` by name, each in its own dtype: integers are integers,
    flags are booleans, categories and dates are words, money has the decimals that it came with, what is missing is
    None (NaN among reals). Values that don't have that form (a mean of integers) stay what they are.

    Args:
        x: rows in the table's units: what :func:`fusevae.sample` gives, say.
        spec: of the data, ``artifact.data``.

    Example:
        >>> import pandas
        >>> from fusevae import read_data
        >>> data = read_data(pandas.DataFrame({"age": [18, 44, 31], "paid": [0.5, 12.25, 3.0]}), test=0)
        >>> table_columns(torch.tensor([[20.0, 1.1]]), data.spec)
        {'age': array([20]), 'paid': array([1.1])}
    """
    rows = x.flatten(1).cpu().numpy()
    return {c.name: c.typed(values) for c, values in zip(columns_of(spec), rows.T, strict=True)}


def columns_of(spec: DataSpec) -> list[Column]:
    """The columns of rows, of which nothing may be known."""
    return (
        spec.schema.columns if isinstance(spec.schema, TableSchema) else [Column(name) for name in nameless(spec.dims)]
    )


def words(x: Tensor, spec: DataSpec) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows as words."""
    columns: dict[str, Any] = table_columns(x, spec)
    cells = [c.words(columns[c.name]) for c in columns_of(spec)]
    return list(columns), [list(row) for row in zip(*cells, strict=True)]
