"""Two levels of latents on binarized images, the upper one with a VampPrior (Tomczak & Welling 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import decay, pull
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.gaussian import Gaussian
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.ladder import Ladder
from fusevae.models.vae import VAE
from fusevae.nets.ladder import DenseLadder
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.recipes import vamp_vae
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, latent: int = 40, width: int = 300, components: int | None = None) -> Experiment:
    """z2 ~ Vamp, z1 given z2 and x given both; the pass from z2 down is shared by inference and generation."""
    posterior = Gaussian(MLP(data.shape, 2 * latent, (width, width), centred=True))
    top = Flat(vamp_vae.prior(data, posterior, latent, components), posterior, pull(data))
    net = DenseLadder(data.shape, latents=(latent,), width=width, top=latent, centred=True)
    return Experiment(
        model=VAE(Ladder(net, top), decoder=Bernoulli(MLP(width, data.shape, (width,)))),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=120, batch_size=200, learning_rate=2e-3, weight_decay=decay(data)),
    )
