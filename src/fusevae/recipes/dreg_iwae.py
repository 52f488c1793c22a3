"""VAE on binarized images, IWAE with doubly reparameterised gradients (Tucker et al. 2019)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.dreg import DReG
from fusevae.recipes import binary_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), samples: int = 5) -> Experiment:
    """The nets of ``binary-vae``; half an hour on 2 cores with 5 samples."""
    base = binary_vae.recipe(data, latent, hidden)
    return base.replaced(objective=DReG(samples), training=base.training.replaced(epochs=200))
