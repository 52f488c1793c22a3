"""Transformer over the pixels of a binarized image, one token each, with an exact likelihood (Chen et al. 2020)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.image_transformer import ImageTransformer
from fusevae.modalities.images.views import Binarize
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, width: int = 64, heads: int = 2, layers: int = 3) -> Experiment:
    """Each batch is binarized afresh; with the labels, where there are any. A large one is for a GPU."""
    return Experiment(
        model=ImageTransformer(
            data.shape, 2, width=width, heads=heads, layers=layers, classes=data.condition, marginal=True, by_place=True
        ),
        views=[Binarize()],
        training=Training(epochs=20, batch_size=64, learning_rate=1e-3),
    )
