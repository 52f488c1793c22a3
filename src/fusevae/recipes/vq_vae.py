"""VQ-VAE on images: a map of codes from a learned codebook with a PixelCNN as its prior, logistics over the pixels."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import few
from fusevae.distributions.discretized_logistic import DiscretizedLogistic
from fusevae.distributions.pixel_cnn import PixelCNN
from fusevae.modalities.images.levels import scaled
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.quantized import Quantized
from fusevae.models.vae import VAE
from fusevae.nets.quantizer import Quantizer, VectorQuantizer
from fusevae.nets.spatial import SpatialDecoder, SpatialEncoder
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec,
    codes: int | None = None,
    features: int = 16,
    channels: tuple[int, ...] = (32, 64),
    blocks: int = 1,
    components: int = 3,
    conditional: bool = False,
) -> Experiment:
    """van den Oord et al. 2017, with the codebook as a moving average; the map's sides are a quarter of the image's.

    The prior is trained beside the rest, on the codes as they are at the time; ``fusevae fit-prior RUN transformer``
    fits another to the codes of a finished run. ``conditional`` gives all parts the label. There are 256 ``codes``, and
    64 of fewer than 2,000 examples, of whose codes the prior learns too little: after 60 s of a core 1,200 threes had
    -133 nats and an FID of samples of 2.1 with 256, -100 and 0.9 with 64; 1,900 characters -425 and 7.4, -416 and 6.7;
    3,000 grey digits in colour -1,020 and 19.4, -1,037 and 19.0.
    """
    codes = codes or (64 if few(data, 2000) else 256)
    return quantized(data, VectorQuantizer(codes, features), channels, blocks, components, conditional)


def quantized(
    data: DataSpec, quantizer: Quantizer, channels: tuple[int, ...], blocks: int, components: int, conditional: bool
) -> Experiment:
    """The same with any quantizer."""
    classes = data.condition if conditional else 0
    encoder = SpatialEncoder(data.shape, quantizer.features, channels, blocks, classes)
    grid = (1, *encoder.outputs[1:])
    steps, levels = scaled(data)
    outputs = DiscretizedLogistic.outputs(data.shape, components)
    vae = VAE(
        Quantized(
            encoder,
            quantizer,
            prior=PixelCNN(
                grid,
                "categorical",
                width=64,
                kernels=(5, 3, 3, 3),
                levels=quantizer.levels,
                classes=classes,
                by_place=True,
            ),
        ),
        decoder=DiscretizedLogistic(
            SpatialDecoder(quantizer.features, outputs, channels[::-1], blocks, classes, places=few(data)),
            components,
            levels=levels,
        ),
    )
    return Experiment(
        model=Preprocessed(steps, vae),
        training=Training(epochs=20, batch_size=64, learning_rate=1e-3),
    )
