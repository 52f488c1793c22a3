"""VAE on binarized images, trained by sticking the landing (Roeder et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.stl import STL
from fusevae.recipes import mnist_vae
from fusevae.training.experiment import Experiment


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200)) -> Experiment:
    """The nets of ``mnist-vae``; the gradient of the posterior vanishes where it is the true one."""
    base = mnist_vae.recipe(data, latent, hidden)
    return base.replaced(objective=STL())
