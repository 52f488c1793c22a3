"""PixelVAE on binarized images: convolutional nets, a latent, and a decoder that sees only near pixels (Gulrajani et
al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.distributions.pixel_cnn import PixelCNN
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.conv import ConvDecoder, ConvEncoder
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec,
    latent: int = 32,
    channels: tuple[int, ...] = (16, 32),
    width: int = 16,
    kernels: tuple[int, ...] = (5, 3, 1),
) -> Experiment:
    """The decoder's map of features reaches every layer of a PixelCNN that sees 3 pixels far."""
    net = ConvDecoder(latent, (width, *data.shape[1:]), channels[::-1])
    return Experiment(
        model=VAE(
            Flat(prior=Normal(latent), posterior=Gaussian(ConvEncoder(data.shape, 2 * latent, channels))),
            decoder=PixelCNN(data.shape, "bernoulli", width, kernels, net=net),
        ),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=50, batch_size=100, learning_rate=2e-3),
    )
