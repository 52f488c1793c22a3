"""Adversarial autoencoder on images: a critic leads the latents to their prior (Makhzani et al. 2016)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Normalise
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.models.autoencoder import Deterministic
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.conv import ConvEncoder
from fusevae.nets.generator import ConvGenerator
from fusevae.nets.mlp import MLP
from fusevae.objectives.adversarial_autoencoder import AdversarialAutoencoder
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, latent: int = 8, channels: tuple[int, ...] = (32, 64, 128)) -> Experiment:
    """A deterministic encoder; it samples as it stands, from the prior that its latents were led to."""
    encoder = ConvEncoder(data.shape, latent, channels, blocks=0, patch=2)
    latents = Deterministic(encoder, penalty=0.0, prior=Normal(latent))
    decoder = Gaussian(ConvGenerator(latent, data.shape, channels[::-1]), scale="optimal")
    return Experiment(
        model=Preprocessed([Normalise(data.low, data.high, -1.0, 1.0)], VAE(latents, decoder)),
        objective=AdversarialAutoencoder(MLP(latent, 1, (256, 256), "leaky_relu")),
        training=Training(epochs=30, batch_size=64, learning_rate=5e-4, betas=(0.5, 0.99)),
    )
