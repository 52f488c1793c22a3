"""VAE on binarized images with a VampPrior: the mixture of its posterior at learned inputs (Tomczak & Welling 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import decay, pseudo_inputs, pull
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.vamp import Vamp
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), components: int | None = None
) -> Experiment:
    """The nets of ``binary-vae``; prior and posterior are one encoder."""
    posterior = Gaussian(MLP(data.shape, 2 * latent, hidden, centred=True))
    return Experiment(
        model=VAE(
            Flat(Vamp(posterior, data.shape, components or pseudo_inputs(data)), posterior, pull(data)),
            decoder=Bernoulli(MLP(latent, data.shape, hidden)),
        ),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=120, batch_size=200, learning_rate=3e-3, weight_decay=decay(data)),
    )
