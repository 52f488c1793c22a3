"""PixelCNN++ on grey or colour images: a mixture of discretized logistics for each pixel (Salimans et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.pixel_cnn import PixelCNN
from fusevae.modalities.images.levels import levels_of
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec, width: int = 48, kernels: tuple[int, ...] = (7, 5, 5, 5, 5, 1), components: int = 10
) -> Experiment:
    """Values as they are, integers from the lowest to the highest."""
    levels = levels_of(data)
    return Experiment(
        model=PixelCNN(
            data.shape, "logistic", width, kernels, levels, data.low, data.high, components, classes=data.condition
        ),
        training=Training(epochs=20, batch_size=64, learning_rate=1e-3),
    )
