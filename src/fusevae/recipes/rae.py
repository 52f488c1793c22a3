"""Regularised deterministic autoencoder (RAE, Ghosh et al. 2020), convolutional; ``fit-prior`` makes it sample."""

from __future__ import annotations

from typing import Literal

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import few
from fusevae.data.preprocessing import Normalise
from fusevae.distributions.gaussian import Gaussian
from fusevae.models.autoencoder import RAE, Deterministic
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.conv import ConvDecoder, ConvEncoder
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec,
    latent: int = 16,
    channels: tuple[int, ...] = (32, 64),
    regulariser: Literal["l2", "gradient", "spectral", "none"] = "gradient",
    weight: float = 1e-2,
) -> Experiment:
    """The encoder gives a point, the decoder is kept smooth; squared errors with a learned scale."""
    decoder = Gaussian(ConvDecoder(latent, data.shape, channels[::-1], places=few(data)), scale="optimal")
    return Experiment(
        model=Preprocessed(
            [Normalise(data.low, data.high)],
            RAE(Deterministic(ConvEncoder(data.shape, latent, channels)), decoder, regulariser, weight),
        ),
        training=Training(epochs=30, batch_size=64, learning_rate=5e-4),
    )
