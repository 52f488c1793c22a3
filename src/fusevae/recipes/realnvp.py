"""Flow of affine couplings alone, over dequantized pixels or columns (RealNVP, Dinh et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
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
    """``maf`` with couplings of a checkerboard's halves: density and sample take two passes."""
    return maf.recipe(data, "coupling", "affine", transforms, hidden, alpha, conditional)
