"""FSQ-VAE on images: the VQ-VAE whose codes are rounded features, so that there is no codebook to collapse."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import few
from fusevae.nets.quantizer import FiniteScalar
from fusevae.recipes.vq_vae import quantized
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(
    data: DataSpec,
    sides: tuple[int, ...] | None = None,
    channels: tuple[int, ...] = (32, 64),
    blocks: int = 1,
    components: int = 3,
    conditional: bool = False,
) -> Experiment:
    """Mentzer et al. 2024, with 240 codes, and 64 of fewer than 2,000 examples, as ``vq-vae``. ``conditional`` as of
    that."""
    sides = sides or ((4, 4, 4) if few(data, 2000) else (8, 6, 5))
    return quantized(data, FiniteScalar(sides), channels, blocks, components, conditional)
