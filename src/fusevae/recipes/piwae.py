"""VAE on binarized images with a bound each for model and posterior (PIWAE, Rainforth et al. 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.piwae import PIWAE
from fusevae.recipes import binary_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(
    data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), groups: int = 8, each: int = 8
) -> Experiment:
    """The nets of ``binary-vae``; ``groups`` bounds of ``each`` samples."""
    base = binary_vae.recipe(data, latent, hidden)
    return base.replaced(objective=PIWAE(groups, each), training=base.training.replaced(epochs=60))
