"""Multi-scale flow of convolutions alone, over dequantized images in logit space (Glow, Kingma & Dhariwal 2018)."""

from __future__ import annotations

from typing import Literal

from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import VariationalDequantize, into_reals
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.glow import Glow
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.invertible import CouplingNet
from fusevae.nets.mlp import Embedding
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training
from fusevae.training.sizing import defended

modality = "images"


def recipe(
    data: DataSpec,
    levels: int = 3,
    steps: int = 8,
    width: int = 64,
    dequantization: Literal["uniform", "variational"] = "uniform",
    alpha: float = 1e-6,
    conditional: bool = False,
) -> Experiment:
    """Density and sample cost the same; ``dequantization="variational"`` learns the noise (Ho et al. 2019)."""
    classes = data.condition if conditional else 0
    net = Embedding(classes, Glow.outputs(data.shape, 16)) if classes else None
    channels = data.shape[0]
    learned = VariationalDequantize(
        Gaussian(CouplingNet(channels, 2 * channels, width), event_dim=3), data.low, data.high
    )
    steps_in = into_reals(data, alpha, learned if dequantization == "variational" else None)
    return Experiment(
        model=Preprocessed(steps_in, defended(data, Glow(data.shape, levels, steps, width, net, 16 if classes else 0))),
        training=Training(epochs=10, batch_size=64, learning_rate=1e-3),
    )
