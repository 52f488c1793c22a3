"""Convolutional ladder of latents on binarized images: many levels, one top-down pass (Sønderby et al. 2016)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.views import Binarize
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.models.ladder import Ladder
from fusevae.models.vae import VAE
from fusevae.nets.ladder import ConvLadder, Doubling
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training


def recipe(
    data: DataSpec, levels: tuple[int, ...] = (2, 3, 2), latent: int = 4, width: int = 32, epochs: float = 20
) -> Experiment:
    """``levels`` at each size, from the smallest to half the image: 4 x 4, 7 x 7 and 14 x 14 where it is 28 x 28."""
    net = ConvLadder(data.shape, levels, latent, width)
    return Experiment(
        model=VAE(Ladder(net), decoder=Bernoulli(Doubling(net.state, data.shape, width // 2))),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=epochs, batch_size=100, learning_rate=2e-3),
    )
