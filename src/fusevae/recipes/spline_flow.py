"""Flow of rational-quadratic spline couplings alone, over dequantized pixels or columns (Durkan et al. 2019)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.recipes import maf
from fusevae.training.experiment import Experiment

modality = ("images", "tables")


def recipe(
    data: DataSpec,
    transforms: int = 5,
    hidden: tuple[int, ...] = (256, 256),
    alpha: float = 1e-6,
    conditional: bool = False,
) -> Experiment:
    """``realnvp`` with splines in place of affine functions."""
    return maf.recipe(data, "coupling", "spline", transforms, hidden, alpha, conditional)
