"""VAE on binarized images whose prior is a normalizing flow (masked autoregressive, learned with the rest)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.views import Binarize
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.flow import Flow
from fusevae.distributions.gaussian import Gaussian
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), transforms: int = 4) -> Experiment:
    """The nets of ``mnist-vae``; a learned prior mends a latent too simple for the data (Chen et al. 2017)."""
    prior = Flow(latent, "autoregressive", "affine", transforms)
    return Experiment(
        model=VAE(
            Flat(prior, posterior=Gaussian(MLP(data.shape, 2 * latent, hidden))),
            decoder=Bernoulli(MLP(latent, data.shape, hidden)),
        ),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=200, batch_size=200, learning_rate=3e-3),
    )
