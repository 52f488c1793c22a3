"""Which recipes suit a table, by its rows and columns."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice
from fusevae.modalities.tables.families import FEW, clustered, numbers_alone
from fusevae.modalities.tables.schema import TableSchema

TOLD = 150  # rows of several kinds, below which a transformer takes too few steps to learn what a column has
MANY = 100  # columns from which on a table of counts alone is cells by genes, or documents by words
WIDE = 64  # columns from which a transformer over them takes too long


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first."""
    if spec.dims >= MANY and _counts(spec):
        why = f"{n:,} rows of {spec.dims} counts: a latent, one for the depth, a negative binomial for each column"
        return [Choice("counts-vae", why), _mixed(spec, n)]
    schema = spec.schema if isinstance(spec.schema, TableSchema) else None
    mixture = schema is not None and clustered(schema, n, bool(spec.condition))
    alone = mixture and schema is not None and numbers_alone(schema)
    if schema is not None and schema.mixed:
        ordered = [_transformer(spec, n, mixture)] if (n >= TOLD or mixture) and spec.dims < WIDE else []
        return [*ordered, _mixed(spec, n)] + ([] if _worded(spec) else _densities(n))
    latent = {"recipe.latent": min(8, spec.dims)}
    narrow = latent | {"recipe.hidden": (64, 64), "training.weight_decay": 0.01}
    why = f"{n:,} rows of {spec.dims} columns: a latent, a Gaussian for each column, stopped in time"
    options = (narrow if n < FEW else latent) | {"training.patience": 10}
    spiked = any(column.spikes for column in getattr(schema, "columns", ()))  # it has a density of these too
    ordered = [_transformer(spec, n, mixture)] if alone and n < FEW and spec.dims < WIDE and not spiked else []
    return [*ordered, Choice("table-vae", why, options), *_densities(n)]


def _transformer(spec: DataSpec, n: int, mixture: bool) -> Choice:
    """On Adult, in 168 s of a core against 133 s, it was before table-vae in all but the columns one by one; on breast
    cancer (358 rows, 30 numbers and a class, 20 s), with a regression under it, 13 nats before it, and with hidden
    cells filled in at an RMSE of 0.37 against 0.58. Of six tables of several kinds (15 s of a core) it was 0.0 to 3.9
    nats a row before it at 165 training rows, and 0.1 to 4.5 at 480; of 12 rows up to 33 behind. Of few rows of numbers
    alone, which begin as a mixture, a smaller net learns as much in half of the time (rows of the training part held
    out, seeds 0 and 1): breast cancer 42.1 and 40.3 nats in 11 s, 42.2 and 40.6 in 21; wine -16.5 and -17.7, -16.4 and
    -17.8."""
    mixed = isinstance(spec.schema, TableSchema) and spec.schema.mixed
    kinds = "of several kinds" if mixed else "of numbers"
    why = f"{n:,} rows of {spec.dims} columns {kinds}: an exact likelihood, any of them can be given"
    options = {"training.learning_rate": 3e-3, "training.epochs": epochs(n, 128, 12_000, 5, 100)}
    if mixture and n < FEW:
        options |= {"recipe.width": 32, "recipe.layers": 1, "training.patience": 4}
    return Choice("table-transformer", why, options)


def _densities(n: int) -> list[Choice]:
    wide = {
        "recipe.hidden": (128, 128),
        "training.epochs": epochs(n, 100, 20_000, 10, 200),
        "training.patience": PATIENCE,
    }
    wide |= {"training.learning_rate": 3e-4}  # a larger one diverges on columns with far outliers
    return [
        Choice("maf", "an exact density of columns that depend on each other", wide),
        Choice("spline-flow", "the same with more flexible functions", wide),
    ]


def _mixed(spec: DataSpec, n: int) -> Choice:
    """Columns of several kinds: wide nets and a fast rate, which Adult's 15 columns gained most by."""
    why = f"{n:,} rows of {spec.dims} columns of several kinds: a latent, a family for each column, gaps are told"
    if n < FEW:
        narrow = {"recipe.latent": min(8, spec.dims), "recipe.hidden": (64, 64), "training.weight_decay": 0.01}
        return Choice("table-vae", why, narrow | {"training.patience": 10})
    batch = 256 if n >= 10_000 else 64
    options = {"recipe.latent": min(16, 2 * spec.dims), "recipe.hidden": (256, 256), "training.batch_size": batch}
    options |= {"training.learning_rate": 4e-3 if batch == 256 else 2e-3, "training.patience": 10}
    return Choice("table-vae", why, options | {"training.epochs": epochs(n, batch, 6000, 5, 200)})


def _counts(spec: DataSpec) -> bool:
    columns = getattr(spec.schema, "columns", ())
    return bool(columns) and all(column.kind == "count" and not column.missing for column in columns)


def _worded(spec: DataSpec) -> bool:
    return any(column.worded or column.missing for column in getattr(spec.schema, "columns", ()))
