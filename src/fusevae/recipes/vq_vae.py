"""VQ-VAE on images: a map of codes from a learned codebook, and a mixture of discretized logistics over the pixels."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Normalise
from fusevae.distributions.categorical import Categorical
from fusevae.distributions.discretized_logistic import DiscretizedLogistic
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.quantized import Quantized
from fusevae.models.vae import VAE
from fusevae.nets.mlp import Constant
from fusevae.nets.quantizer import Quantizer, VectorQuantizer
from fusevae.nets.spatial import SpatialDecoder, SpatialEncoder
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training


def recipe(
    data: DataSpec,
    codes: int = 256,
    features: int = 16,
    channels: tuple[int, ...] = (32, 64),
    blocks: int = 2,
    components: int = 3,
) -> Experiment:
    """van den Oord et al. 2017, with the codebook as a moving average; a quarter of the image's sides each way."""
    return quantized(data, VectorQuantizer(codes, features), channels, blocks, components)


def quantized(
    data: DataSpec, quantizer: Quantizer, channels: tuple[int, ...], blocks: int, components: int
) -> Experiment:
    """The same with any quantizer."""
    encoder = SpatialEncoder(data.shape, quantizer.features, channels, blocks)
    outputs = DiscretizedLogistic.outputs(data.shape, components)
    vae = VAE(
        Quantized(
            encoder,
            quantizer,
            prior=Categorical(Constant((quantizer.levels, *encoder.outputs[1:])), levels=quantizer.levels),
        ),
        decoder=DiscretizedLogistic(
            SpatialDecoder(quantizer.features, outputs, channels[::-1], blocks),
            components,
            levels=int(data.high - data.low) + 1,
        ),
    )
    return Experiment(
        model=Preprocessed([Normalise(data.low, data.high, -1.0, 1.0)], vae),
        training=Training(epochs=20, batch_size=64, learning_rate=1e-3),
    )
