"""The autoencoder of latent diffusion: little KL, a perceptual distance, a critic of patches (Rombach et al. 2022)."""

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
from fusevae.objectives.patch_gan import PatchGAN
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, latent: int = 32, channels: tuple[int, ...] = (32, 64, 128)) -> Experiment:
    """Where the data have labels, features of a classifier measure, else those of the critic; ``fusevae fit-prior``
    then gives it a prior to sample from."""
    vae = VAE(
        Flat(Normal(latent), Gaussian(ConvEncoder(data.shape, 2 * latent, channels, blocks=0, patch=2))),
        Gaussian(ConvGenerator(latent, data.shape, channels[::-1]), scale="optimal"),
    )
    extractor = ConvEncoder(data.shape, data.n_classes, channels[:2], blocks=0) if data.n_classes > 1 else None
    return Experiment(
        model=Preprocessed([Normalise(data.low, data.high, -1.0, 1.0)], vae),
        objective=PatchGAN(ConvCritic(data.shape, channels[:2], patches=True), extractor),
        training=Training(epochs=30, batch_size=64, learning_rate=5e-4, betas=(0.5, 0.99), clip=0.0, skip=0.0),
    )
