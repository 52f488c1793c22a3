"""Variational lossy autoencoder on binarized images: a flow as prior, an autoregressive decoder that sees only near
pixels, so that the latent must carry what is global (Chen et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.flow import Flow
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.pixel_cnn import PixelCNN
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
    data: DataSpec,
    latent: int = 32,
    hidden: tuple[int, ...] = (300, 300),
    features: int = 4,
    width: int = 16,
    kernels: tuple[int, ...] = (7,),
    transforms: int = 4,
) -> Experiment:
    """The decoder's net gives each pixel some features of the latent, which one masked 7 x 7 layer joins with the
    pixels nearby: an hour on one core."""
    net = MLP(latent, (features, *data.shape[1:]), hidden, "silu")
    return Experiment(
        model=VAE(
            Flat(
                prior=Flow(latent, "autoregressive", "affine", transforms),
                posterior=Gaussian(MLP(data.shape, 2 * latent, hidden, "silu", centred=True)),
            ),
            decoder=PixelCNN(data.shape, "bernoulli", width, kernels, net=net),
        ),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=280, batch_size=200, learning_rate=3e-3),
    )
