"""The family that each column of a table has in a likelihood, by its kind."""

from __future__ import annotations

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PLENTY
from fusevae.modalities.tables.column import CLASSES, FIXED, WHOLE
from fusevae.modalities.tables.schema import TableSchema
from fusevae.nets.cells import Cells, Classes, Real, Whole
from fusevae.nets.regression import CLASSES as SHORT

LEAST = 200  # rows from which on a regression is worth its covariance
FEWEST = 10  # where cross-validation chooses it
FEW = 1000  # rows below which a mixture is a good beginning for columns of several kinds
FEWER, MANY = 100, 30  # rows, where there are so many numbers: of all their dependences a net learns less
MOST = 64  # numbers and classes up to which it is quick
COMPONENTS, DEAR = (8, 24), 15_000  # of a mixture at least and at most, and cells of their covariances in all


def cells_of(schema: TableSchema) -> Cells:
    """What the columns hold, as a model sees them: numbers with their offset taken off.

    Example:
        >>> from fusevae.modalities.tables.column import Column
        >>> cells = cells_of(TableSchema([Column("a", kind="count"), Column("b", classes=["x", "y"])]))
        >>> cells.total, cells.width
        (3, 4)
    """
    families: list[Classes | Real] = []
    for column in schema.columns:
        spikes = [v - column.offset for v in column.spikes]
        if column.kind in FIXED:
            families.append(Classes(1))
        elif column.classes is not None:
            families.append(Classes(len(column.classes)))
        elif column.kind in CLASSES:
            families.append(Classes(2))
        elif column.kind in WHOLE and column.step >= 1.0:
            least = -column.offset if column.kind == "count" else None
            families.append(Whole(spikes, least))
        else:
            families.append(Real(spikes))
    return Cells(families)


def gappy(schema: TableSchema) -> list[int]:
    """Columns with missing cells in training, of those that are learned."""
    return [i for i, c in enumerate(schema.columns) if c.missing and c.kind != "identifier" and c.missing < 1]


def numbers_alone(schema: TableSchema) -> bool:
    """Whether every cell is a number, and there."""
    return all(isinstance(c, Real) for c in cells_of(schema).columns) and not gappy(schema)


def clustered(schema: TableSchema, n: int | None, told: bool = False) -> bool:
    """Whether a table of ``n`` rows without gaps begins as a mixture that cross-validation chooses: from 10 rows on, up
    to 5,000 of numbers alone, and 1,000 of which at least as many columns are numbers as are classes. Of rows that are
    ``told`` by a condition a mixture knows nothing."""
    cells = cells_of(schema)
    classes = [c for c in cells.columns if isinstance(c, Classes) and c.n > 1]
    fits = len(cells.numbers) >= max(1, len(classes)) and not gappy(schema) and not told
    return fits and FEWEST <= (n or 0) < (FEW if classes else PLENTY) and _quick(cells)


def regressed(schema: TableSchema, n: int | None, told: bool = False) -> bool:
    """Whether a :class:`Regression` suits a table of ``n`` rows, of up to 64 numbers and classes: as a mixture
    (:func:`clustered`); else, up to 5,000 rows of which at least three quarters are numbers, from 200 rows on, or 100
    where there are 30 numbers."""
    cells = cells_of(schema)
    numbers, least = len(cells.numbers), FEWER if len(cells.numbers) >= MANY else LEAST
    fits = numbers >= max(1, 3 * _options(cells)) and least <= (n or 0) < PLENTY and _quick(cells)
    return fits or clustered(schema, n, told)


def affordable(schema: TableSchema) -> int:
    """Components of a mixture that a table has time for: each costs the cube of the numbers and classes in training."""
    cells = cells_of(schema)
    few, many = COMPONENTS
    return min(many, max(few, DEAR // max(1, _options(cells) + len(cells.numbers)) ** 2))


def _options(cells: Cells) -> int:
    return sum(c.n for c in cells.columns if isinstance(c, Classes) and 1 < c.n <= SHORT)


def _quick(cells: Cells) -> bool:
    return _options(cells) + len(cells.numbers) <= MOST


def check_counts(data: DataSpec) -> None:
    """Refuse columns that can't be counts, for a model of nothing else. Of numbers from 0 on only the likelihood, which
    looks at each, can say it."""
    for column in getattr(data.schema, "columns", ()):
        low = 0.0 if column.low is None and column.kind in ("count", None) else column.low
        fits = low is not None and low >= 0 and column.kind in ("count", "integer", "binary", "constant", None)
        if fits and column.classes is None and not column.missing and not column.offset:
            continue
        name, about = column.name, column.about
        if column.offset and fits:
            raise InputError(
                f"column {name} is taken for {about}: say that it holds counts (data.columns.{name}=count)"
            )
        raise InputError(
            f"column {name} is {about}, no counts: counts-vae is for whole numbers of at least 0; give raw counts (of "
            "an .h5ad perhaps data.layer=counts), name the columns that are (data.columns=[...]), or take table-vae"
        )
    if data.low < 0:
        raise InputError(
            f"counts-vae is for whole numbers of at least 0, the data reach from {data.low:g} to {data.high:g}: take "
            "table-vae"
        )
