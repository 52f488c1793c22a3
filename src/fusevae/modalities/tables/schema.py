"""What is known of a table: its columns, each with the form that its values have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.description import Described
from fusevae.core.errors import InputError, near
from fusevae.core.spec import DataSpec, Schema
from fusevae.data.delimited import nameless

DECIMALS = 6  # after the point, at most, that are a form and no chance
COUNTED = 100_000  # values of a column whose difference is looked at
GAIN = 4.0  # how much nearer to 0 a column must come for its centre to be taken off
LOST = 0.01  # part of the different values that float32 may not lose without need


class Column(Described):
    """A column of numbers.

    Args:
        name: of the column.
        dtype: as it came: ``"int64"``, ``"bool"``, ``"float64"`` ...
        low: its smallest value in training; None where that is not kept (of arrays without names).
        high: its largest value there.
        decimals: digits after the point that no value has more of; None where there are more than six.
        offset: what is taken off before a model sees it as float32, 0 unless float32 would lose which values differ.
    """

    def __init__(
        self,
        name: str,
        dtype: str = "float32",
        low: float | None = None,
        high: float | None = None,
        decimals: int | None = None,
        offset: float = 0.0,
    ) -> None:
        self.name, self.dtype, self.low, self.high = name, dtype, low, high
        self.decimals, self.offset = decimals, float(offset)

    @property
    def whole(self) -> bool:
        """Whether it came as integers or flags."""
        return "int" in self.dtype or self.dtype == "bool"

    @property
    def limits(self) -> tuple[float, float]:
        """Where what a model makes may lie: as in training where the values are whole or never negative."""
        if self.low is None or self.high is None or not (self.whole or self.low >= 0):
            return -np.inf, np.inf
        return self.low, self.high

    def fitted(self, x: np.ndarray, named: bool) -> Column:
        """With what the values ``x`` ``(n,)`` of the training say; of an array without names the offset alone."""
        if not named:
            return self.replaced(offset=centre(x, self.name))
        ends = float(x.min()), float(x.max())
        decimals = 0 if self.whole else decimals_of(x)
        return self.replaced(low=ends[0], high=ends[1], decimals=decimals, offset=centre(x, self.name))

    def kept(self, x: np.ndarray) -> bool:
        """Whether float32 gives every one of these values back as it is written."""
        near = single(x).astype(np.float64)
        return bool(((near if self.decimals is None else np.round(near, self.decimals)) == x)[~np.isnan(x)].all())

    def typed(self, x: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` in the dtype and with the decimals of the column, where they have that form."""
        if self.whole:
            return x.astype(self.dtype) if bool((x == np.round(x)).all()) else x
        double = x.astype(np.float64)
        if self.decimals is not None and x.dtype == np.float32:  # 0.1 is 0.1, not 0.10000000149
            short = np.round(double, self.decimals)
            double = np.where(short.astype(np.float32) == x, short, double)
        return double if self.dtype == "float64" else double.astype(np.float32)

    def words(self, x: np.ndarray) -> list[str]:
        """Values ``(n,)`` to be read by people."""
        if x.dtype.kind != "f":
            return [str(v) for v in x.tolist()]
        form = ".12g" if self.offset or self.whole else ".4g" if self.decimals is None else f".{self.decimals}f"
        return [f"{v:{form}}" for v in x.tolist()]


class TableSchema(Schema):
    """The columns of a table, in the order in which a model is given them.

    Args:
        columns: of the table, or their names.
    """

    modality = "tables"

    def __init__(self, columns: list[Column | str]) -> None:
        self.columns = [Column(c) if isinstance(c, str) else c for c in columns]
        self.offset = torch.tensor([c.offset for c in self.columns], dtype=torch.float64)
        limits = torch.tensor([c.limits for c in self.columns], dtype=torch.float64)
        self.low, self.high = limits.unbind(1)
        self.unit = torch.tensor([10.0 ** (c.decimals or 0) for c in self.columns], dtype=torch.float64)
        self.rounded = torch.tensor([c.decimals is not None for c in self.columns])
        self.plain = not (bool(self.offset.any()) or bool(self.rounded.any()) or bool(limits.isfinite().any()))

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def named(self) -> bool:
        """Whether the columns came with names."""
        return self.names != nameless(len(self.columns))

    def fitted(self, x: np.ndarray, named: bool) -> TableSchema:
        """The same columns as the training rows ``(n, columns)`` have them."""
        return TableSchema([column.fitted(v, named) for column, v in zip(self.columns, x.T, strict=True)])

    def into(self, x: Tensor) -> Tensor:
        return (x.double() - self.offset.to(x.device)).float() if bool(self.offset.any()) else x

    def back(self, x: Tensor) -> Tensor:
        if self.plain:
            return x
        offset, unit, rounded, low, high = (
            t.to(x.device) for t in (self.offset, self.unit, self.rounded, self.low, self.high)
        )
        y = x.double() + offset
        return torch.where(rounded, (y * unit).round() / unit, y).clamp(low, high) + 0.0  # -0 is 0

    def check(self, ours: DataSpec, theirs: DataSpec, what: str) -> None:
        other = theirs.schema
        if isinstance(other, TableSchema) and self.named and other.named and other.names != self.names:
            for one in [name for name in self.names if name not in other.names]:
                raise InputError(f"{what} was made for a column {one!r}, these have none{near(one, other.names)}")
            for one in [name for name in other.names if name not in self.names]:
                raise InputError(f"{what} was not made for a column {one!r}: drop it{near(one, self.names)}")
            raise InputError(f"{what} was made for columns {', '.join(self.names)}: give these, in this order")
        super().check(ours, theirs, what)

    def about(self, spec: DataSpec) -> str:
        return f"{spec.dims} columns ({', '.join(self.names[:8])}{' ...' if len(self.names) > 8 else ''}), {spec.dtype}"


def decimals_of(x: np.ndarray) -> int | None:
    """Digits after the point that no value has more of, None beyond :data:`DECIMALS`.

    Example:
        >>> decimals_of(np.array([1.5, 20.25])), decimals_of(np.array([1 / 3]))
        (2, None)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return next((d for d in range(DECIMALS + 1) if bool((np.round(x, d) == x).all())), None)


def centre(x: np.ndarray, name: str) -> float:
    """What to take off values ``(n,)`` so that float32 tells them apart, 0 where it does so already (or where the
    values are spread too wide for that to help).

    A shift of the data changes no density: its log-determinant is 0.

    Example:
        >>> centre(np.array([1760000001.0, 1760000002.0, 1760000003.0]), "t"), centre(np.array([0.1, 7.25]), "x")
        (1760000002.0, 0.0)
    """
    if bool((single(x) == x).all()):
        return 0.0
    middle = float(np.sort(x)[len(x) // 2])  # one of the values
    some = x[np.arange(min(len(x), COUNTED)) * len(x) // min(len(x), COUNTED)]
    different = len(np.unique(some))
    offset = 0.0
    if GAIN * np.median(np.abs(x - middle)) < np.median(np.abs(x)):
        lost = different - len(np.unique(single(some)))
        whole = bool((x == np.round(x)).all())
        offset = middle if whole or lost > LOST * different else 0.0
    if 2 * len(np.unique(single(some - offset))) < different:
        raise InputError(
            f"column {name} has {different:,} different values that float32 does not tell apart: split it into parts, "
            "take something off it, or leave it out (data.columns=[...])"
        )
    return offset


def single(x: np.ndarray) -> np.ndarray:
    """Values as float32, what is too large as infinite."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def table_columns(x: Tensor, spec: DataSpec) -> dict[str, np.ndarray]:
    """Rows ``(n, columns)`` of a table as columns ``(n,)`` by name, each in its own dtype: integers are integers,
    flags are booleans, money has the decimals that it came with. Values that don't have that form (a mean of
    integers) stay what they are.

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
    schema = spec.schema if isinstance(spec.schema, TableSchema) else TableSchema([*nameless(rows.shape[1])])
    return {c.name: c.typed(values) for c, values in zip(schema.columns, rows.T, strict=True)}


def words(x: Tensor, spec: DataSpec) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows as words."""
    columns: dict[str, Any] = table_columns(x, spec)
    schema = spec.schema if isinstance(spec.schema, TableSchema) else TableSchema([*columns])
    cells = [c.words(columns[c.name]) for c in schema.columns]
    return list(columns), [list(row) for row in zip(*cells, strict=True)]
