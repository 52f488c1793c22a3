"""Flow of rational-quadratic spline couplings alone, over dequantized pixels or columns (Durkan et al. 2019)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import widths
from fusevae.recipes import maf
from fusevae.training.experiment import Experiment

modality = ("images", "tables")
outline = maf.outline


def recipe(
    data: DataSpec,
    transforms: int = 5,
    hidden: tuple[int, ...] | None = None,
    alpha: float = 1e-6,
    conditional: bool = False,
) -> Experiment:
    """``realnvp`` with splines in place of affine functions. ``hidden`` is (256, 256), less for few examples."""
    return maf.recipe(data, "coupling", "spline", transforms, hidden or widths(data, (256, 256)), alpha, conditional)
