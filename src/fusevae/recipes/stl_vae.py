"""VAE on binarized images, trained by sticking the landing (Roeder et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.stl import STL
from fusevae.recipes import binary_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200)) -> Experiment:
    """The nets of ``binary-vae``; the gradient of the posterior vanishes where it is the true one."""
    base = binary_vae.recipe(data, latent, hidden)
    return base.replaced(objective=STL())
