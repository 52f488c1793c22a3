"""Gated PixelCNN on binarized images: pixel by pixel, with an exact likelihood (van den Oord et al. 2016)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.pixel_cnn import PixelCNN
from fusevae.modalities.images.views import Binarize
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, width: int = 32, kernels: tuple[int, ...] = (7, 5, 5, 5, 5)) -> Experiment:
    """Each batch is binarized afresh; with the labels, where there are any."""
    return Experiment(
        model=PixelCNN(data.shape, "bernoulli", width, kernels, classes=data.condition, by_place=True),
        views=[Binarize()],
        training=Training(epochs=20, batch_size=64, learning_rate=2e-3),
    )
