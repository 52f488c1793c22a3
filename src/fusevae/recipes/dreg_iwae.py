"""VAE on binarized images, IWAE with doubly reparameterised gradients (Tucker et al. 2019)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.dreg import DReG
from fusevae.recipes import mnist_vae
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), samples: int = 5) -> Experiment:
    """The nets of ``mnist-vae``; half an hour on 2 cores with 5 samples."""
    model = mnist_vae.recipe(data, latent, hidden)
    return Experiment(
        model=model.model,
        views=model.views,
        objective=DReG(samples),
        training=Training(epochs=200, batch_size=200, learning_rate=3e-3),
    )
