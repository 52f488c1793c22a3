"""VAE on binarized images, trained by sticking the landing (Roeder et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.stl import STL
from fusevae.recipes import mnist_vae
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200)) -> Experiment:
    """The nets of ``mnist-vae``; the gradient of the posterior vanishes where it is the true one."""
    model = mnist_vae.recipe(data, latent, hidden)
    return Experiment(
        model=model.model,
        views=model.views,
        objective=STL(),
        training=Training(epochs=440, batch_size=200, learning_rate=3e-3),
    )
