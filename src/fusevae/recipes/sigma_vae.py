"""sigma-VAE on images: means learned by a shared variance that is optimal, so that no beta has to be tuned."""

from __future__ import annotations

from fusevae.core.conditional import Conditional
from fusevae.core.spec import DataSpec
from fusevae.core.steps import Step
from fusevae.data.defaults import few
from fusevae.data.preprocessing import Dequantize, Normalise
from fusevae.distributions.calibrated_levels import CalibratedLevels
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.modalities.images.levels import levels_of
from fusevae.modalities.images.recommend import square
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.conv import ConvDecoder, ConvEncoder
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"

MOST = 4096  # values whose noise is counted one by one


def recipe(
    data: DataSpec, latent: int = 64, channels: tuple[int, ...] = (32, 64), blocks: int = 1, patch: int | None = None
) -> Experiment:
    """Rybkin et al. 2021. Of whole numbers the noise about the means is counted (:class:`CalibratedLevels`), so that
    the likelihood is a probability of these; numbers with a point have the Gaussian. ``patch`` as of ``conv-vae``."""
    patch = patch or square(min(data.shape[1:]))
    posterior = Gaussian(ConvEncoder(data.shape, 2 * latent, channels, blocks, patch=patch))
    net = ConvDecoder(latent, data.shape, channels[::-1], blocks, places=few(data), patch=patch)
    decoder: Conditional
    steps: list[Step]
    if data.is_discrete and data.high - data.low < MOST:
        steps = [Normalise(data.low, data.high, -1.0, 1.0)]
        decoder = CalibratedLevels(net, levels_of(data))
    else:
        steps = [Dequantize()] if data.is_discrete else []
        steps.append(Normalise(data.low, data.high + len(steps), -1.0, 1.0))
        decoder = Gaussian(net, scale="optimal")
    return Experiment(
        model=Preprocessed(steps, VAE(Flat(Normal(latent), posterior), decoder)),
        training=Training(epochs=30, batch_size=64, learning_rate=5e-4),
    )
