"""PixelCNN++ on grey or colour images: a mixture of discretized logistics for each pixel (Salimans et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.pixel_cnn import PixelCNN
from fusevae.modalities.images.levels import scaled
from fusevae.models.preprocessed import Preprocessed
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec, width: int = 48, kernels: tuple[int, ...] = (7, 5, 5, 5, 5, 1), components: int = 10
) -> Experiment:
    """Every channel of a pixel by those before it."""
    steps, levels = scaled(data)
    net = PixelCNN(
        data.shape, "logistic", width, kernels, levels, -1.0, 1.0, components, classes=data.condition, by_place=True
    )
    return Experiment(model=Preprocessed(steps, net), training=Training(epochs=20, batch_size=64, learning_rate=1e-3))
