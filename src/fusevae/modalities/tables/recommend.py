"""Which recipes suit tables of numbers, by their rows and columns."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import PATIENCE, epochs
from fusevae.data.modality import Choice

FEW = 1000  # rows below which nets are kept narrow


def choices(spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
    """The default first."""
    latent = {"recipe.latent": min(8, spec.dims)}
    narrow = latent | {"recipe.hidden": (64, 64), "training.weight_decay": 0.01}
    wide = {
        "recipe.hidden": (128, 128),
        "training.epochs": epochs(n, 100, 20_000, 10, 200),
        "training.patience": PATIENCE,
    }
    wide |= {"training.learning_rate": 3e-4}  # a larger one diverges on columns with far outliers
    why = f"{n:,} rows of {spec.dims} columns: a latent, a Gaussian for each column, stopped in time"
    return [
        Choice("table-vae", why, (narrow if n < FEW else latent) | {"training.patience": 10}),
        Choice("maf", "an exact density of columns that depend on each other", wide),
        Choice("spline-flow", "the same with more flexible functions", wide),
    ]
