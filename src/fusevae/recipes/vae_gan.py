"""VAE-GAN on images: the critic of the samples also measures the reconstructions (Larsen et al. 2016)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Normalise
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.conv import ConvEncoder
from fusevae.nets.critic import ConvCritic
from fusevae.nets.generator import ConvGenerator
from fusevae.objectives.vae_gan import VAEGAN
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, latent: int = 64, channels: tuple[int, ...] = (32, 64, 128)) -> Experiment:
    """The nets of ``gan``, with a plain encoder. That takes squares of 2 x 2 pixels as one place: convolutions of the
    whole picture were most of an update. The reconstruction is measured in the middle of the critic, where places are
    still told apart. A larger ``objective.beta`` keeps the latents of data nearer to those that samples are made of,
    at the cost of the reconstructions."""
    vae = VAE(
        Flat(Normal(latent), Gaussian(ConvEncoder(data.shape, 2 * latent, channels, blocks=0, patch=2))),
        Gaussian(ConvGenerator(latent, data.shape, channels[::-1]), scale="optimal"),
    )
    return Experiment(
        model=Preprocessed([Normalise(data.low, data.high, -1.0, 1.0)], vae),
        objective=VAEGAN(ConvCritic(data.shape, channels, inner=len(channels) // 2)),
        training=Training(epochs=30, batch_size=64, learning_rate=1e-3, betas=(0.5, 0.99), clip=0.0, skip=0.0),
    )
