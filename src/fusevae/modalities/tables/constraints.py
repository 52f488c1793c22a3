"""What must hold between the columns of a row: ranges, orders, sums, combinations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from fusevae.core.description import Described
from fusevae.core.errors import InputError, near
from fusevae.data.delimited import is_number
from fusevae.modalities.tables.column import Column

COMPARED = re.compile(r"\s(<=|>=|<|>|=)\s")
SUMMED = re.compile(r"\s([+-])\s")
CLOSE = 1e-6  # of the numbers summed: what float32 may be off by
COMBINATIONS = 10_000

Terms = list[tuple[float, "int | None", float]]  # sign, column or none, number


class Constraint(Described):
    """One constraint on rows. A missing cell breaks none.

    Args:
        text: ``"low <= high"``, ``"0 <= age < 120"``, ``"total = net + tax"`` (operators between spaces; a column, a
            number, a date or a class on each side, or sums), ``"fixed(city, country)"`` (only the combinations of the
            training rows) or ``"unique(code)"``.
        columns: of the table.
        seen: of ``fixed``, the combinations.

    Example:
        >>> both = Constraint("a <= b + 1", [Column("a"), Column("b")])
        >>> both.holds(torch.tensor([[1.0, 0.0], [3.0, 1.0], [torch.nan, 0.0]]))
        tensor([ True, False,  True])
    """

    def __init__(self, text: str, columns: list[Column], seen: Sequence[Sequence[float]] = ()) -> None:
        self.text, self.columns, self.seen = text.strip(), columns, [list(map(float, one)) for one in seen]
        called = re.fullmatch(r"(fixed|unique)\((.*)\)", self.text)
        self.kind = called[1] if called else "compared"
        self.of = [self._column(name) for name in called[2].split(",")] if called else []
        pieces = [] if called else COMPARED.split(self.text)
        if not called and len(pieces) < 3:
            raise self._wrong("expected 'a <= b', '0 <= a < 9', 'total = a + b', 'fixed(a, b)' or 'unique(a)'")
        self.sides = [self._terms(side, pieces[::2]) for side in pieces[::2]]
        self.signs = pieces[1::2]
        self.of = self.of or [i for side in self.sides for _, i, _ in side if i is not None]
        if not self.of:
            raise self._wrong("it names no column")

    def holds(self, x: Tensor) -> Tensor:
        """Whether each of the rows ``(n, columns)``, in the table's units, is as demanded: ``(n,)``."""
        missing = x[:, self.of].isnan().any(1)
        if self.kind != "compared":  # rows with a gap apart: NaN has no place in an order, which others would lose
            found, whole = missing.clone(), x[~missing][:, self.of]
            found[~missing] = self._known(whole) if self.kind == "fixed" else self._first(whole)
            return found
        found = torch.ones(len(x), dtype=torch.bool)
        values = [self._value(side, x) for side in self.sides]
        for sign, (a, size), (b, other) in zip(self.signs, values, values[1:], strict=False):
            near = CLOSE * (size + other)
            found &= {
                "<=": a <= b + near, ">=": a >= b - near, "<": a < b, ">": a > b, "=": (a - b).abs() <= near
            }[sign]  # fmt: skip
        return missing | found

    def _known(self, x: Tensor) -> Tensor:
        """Whether combinations ``(n, of)`` are among those that were seen."""
        known = torch.tensor(self.seen, dtype=torch.float32).view(-1, len(self.of))
        both = torch.cat([known, x.float()]).unique(dim=0, return_inverse=True)[1]
        return torch.isin(both[len(known) :], both[: len(known)])

    def _first(self, x: Tensor) -> Tensor:
        """Whether combinations ``(n, of)`` come for the first time."""
        if not len(x):
            return torch.zeros(0, dtype=torch.bool)
        _, place = x.unique(dim=0, return_inverse=True)
        first = torch.full((int(place.max()) + 1,), len(x)).scatter_reduce(0, place, torch.arange(len(x)), "amin")
        return first[place] == torch.arange(len(x))

    def settled(self, x: Tensor, given: Tensor) -> Tensor:
        """Rows ``(n, columns)`` with an equation solved for one of its columns that isn't ``given`` (``(columns,)``, or
        that of each row): for the one that stands alone before the sign, else the last one that may have the value."""
        if self.signs != ["="]:
            return x
        x, given, solved = x.clone(), given.expand(x.shape), torch.zeros(len(x), dtype=torch.bool)
        left, right = self.sides
        terms = [*left, *((-sign, i, number) for sign, i, number in right)]
        alone = left[0][1] if len(left) == 1 else None
        for sign, i, _ in [*left, *reversed(right)] if alone is not None else reversed(terms):
            if i is None or self.of.count(i) > 1:
                continue
            sign = next(s for s, j, _ in terms if j == i)
            value = (-sign * self._value([t for t in terms if t[1] != i], x)[0]).to(x.dtype)
            low, high = (-math.inf, math.inf) if i == alone else self.columns[i].limits
            may = ~given[:, i] & ~solved & ~x[:, i].isnan() & (value >= low) & (value <= high)
            x[:, i], solved = torch.where(may, value, x[:, i]), solved | may
        return x

    def fitted(self, x: Tensor) -> Constraint:
        """With the combinations of training rows."""
        if self.kind != "fixed":
            return self
        seen = x[:, self.of][~x[:, self.of].isnan().any(1)].unique(dim=0)
        if len(seen) > COMBINATIONS:
            raise self._wrong(f"there are {len(seen):,} combinations: expected {COMBINATIONS:,} at most")
        return self.replaced(seen=seen.tolist())

    def _terms(self, side: str, sides: Sequence[str]) -> Terms:
        pieces = SUMMED.split(f" {side}")
        signs = [1.0, *(1.0 if sign == "+" else -1.0 for sign in pieces[1::2])]
        return [self._term(sign, word.strip(), sides) for sign, word in zip(signs, pieces[::2], strict=True)]

    def _term(self, sign: float, word: str, sides: Sequence[str]) -> tuple[float, int | None, float]:
        names = [column.name for column in self.columns]
        if word in names:
            return sign, self._column(word), 0.0
        beside = [names.index(side.strip()) for side in sides if side.strip() in names]
        if word in map(str.strip, sides) and beside and self.columns[beside[0]].worded:
            # a class, or a date, of the column that is beside it
            return sign, None, self.columns[beside[0]].cell(word, within=False)
        if not is_number(word):
            raise self._wrong(f"{word!r} is no column of the table and no number{near(word, names)}")
        return sign, None, float(word)

    def _column(self, name: str) -> int:
        names, name = [column.name for column in self.columns], name.strip()
        if name not in names:
            raise self._wrong(f"{name!r} is no column of the table{near(name, names)}")
        if self.columns[names.index(name)].kind == "identifier":
            raise self._wrong(f"{name} is an identifier, made anew (and unique) in any case: leave it out")
        return names.index(name)

    def _value(self, side: Terms, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sum ``(n,)`` in float64, and the size of what was summed."""
        each = [sign * (x[:, i].double() if i is not None else x.new_tensor(v).double()) for sign, i, v in side]
        total, size = (sum(v, torch.zeros(len(x), dtype=torch.float64)) for v in (each, [e.abs() for e in each]))
        return total, size

    def _wrong(self, why: str) -> InputError:
        return InputError(f"data.constraints holds {self.text!r}: {why}")


def check_rows(constraints: Sequence[Constraint], x: Tensor, what: str) -> None:
    """Refuse rows that themselves break what is to hold."""
    for one in constraints:
        broken = (~one.holds(x)).nonzero().flatten()
        if len(broken):
            raise InputError(
                f"{len(broken):,} of {len(x):,} rows of the {what} break {one.text!r}, row {int(broken[0]) + 1} first: "
                "mend them, or leave the constraint out"
            )
