"""Flow matching on images of any size with a small U-Net; labels are a condition where the data have them."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Dequantize, Normalise
from fusevae.distributions.flow_matching import FlowMatching
from fusevae.distributions.samplers import Heun
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.unet import UNet
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training


def recipe(
    data: DataSpec, channels: tuple[int, ...] = (32, 64), blocks: int = 1, patch: int | None = None, steps: int = 25
) -> Experiment:
    """The net of ``diffusion`` with straight paths (Lipman et al. 2023); it samples and claims no likelihood."""
    patch = patch or (2 if min(data.shape[1:]) >= 16 else 1)
    net = UNet(data.shape, channels, blocks, patch, data.n_classes)
    steps_in = [Dequantize()] if data.is_discrete else []
    return Experiment(
        model=Preprocessed(
            [*steps_in, Normalise(data.low, data.high + len(steps_in), -1.0, 1.0)],
            FlowMatching(net, data.shape, Heun(steps)),
        ),
        training=Training(epochs=10, batch_size=64, learning_rate=2e-3),
    )
