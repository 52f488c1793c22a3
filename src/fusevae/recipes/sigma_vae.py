"""sigma-VAE on images: a Gaussian decoder whose shared variance is optimal, so that no beta has to be tuned."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import few
from fusevae.data.preprocessing import Dequantize, Normalise
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.modalities.images.recommend import square
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.conv import ConvDecoder, ConvEncoder
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec, latent: int = 64, channels: tuple[int, ...] = (32, 64), blocks: int = 1, patch: int | None = None
) -> Experiment:
    """Rybkin et al. 2021, on dequantized pixels, so that its likelihood bounds the probability of the integers;
    ``patch`` as of ``conv-vae``."""
    patch = patch or square(min(data.shape[1:]))
    vae = VAE(
        Flat(
            prior=Normal(latent), posterior=Gaussian(ConvEncoder(data.shape, 2 * latent, channels, blocks, patch=patch))
        ),
        decoder=Gaussian(
            ConvDecoder(latent, data.shape, channels[::-1], blocks, places=few(data), patch=patch), scale="optimal"
        ),
    )
    steps = [Dequantize()] if data.is_discrete else []
    return Experiment(
        model=Preprocessed([*steps, Normalise(data.low, data.high + len(steps), -1.0, 1.0)], vae),
        training=Training(epochs=30, batch_size=64, learning_rate=5e-4),
    )
