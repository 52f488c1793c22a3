"""VAE on binarized images: 784-200-200-z50, the protocol of importance-weighted autoencoders (Burda et al. 2016)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import decay
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200)) -> Experiment:
    """Each batch is binarized afresh with the grey value as the probability; half an hour on 2 cores."""
    return Experiment(
        model=VAE(
            Flat(prior=Normal(latent), posterior=Gaussian(MLP(data.shape, 2 * latent, hidden, centred=True))),
            decoder=Bernoulli(MLP(latent, data.shape, hidden)),
        ),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),  # from the start at 1, two thirds of the latents never come alive
        training=Training(epochs=440, batch_size=200, learning_rate=3e-3, weight_decay=decay(data)),
    )
