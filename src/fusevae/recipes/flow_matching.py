"""Flow matching on images of any size with a small U-Net; labels are a condition where the data have them."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.flow_matching import FlowMatching
from fusevae.distributions.samplers import Heun
from fusevae.recipes.diffusion import GUIDANCE, over_pixels, u_net
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(
    data: DataSpec,
    channels: tuple[int, ...] = (32, 64),
    blocks: int = 1,
    patch: int | None = None,
    steps: int = 25,
    guidance: float = GUIDANCE,
) -> Experiment:
    """The net of ``diffusion`` with straight paths (Lipman et al. 2023); it samples and claims no likelihood."""
    return over_pixels(data, FlowMatching(u_net(data, channels, blocks, patch), data.shape, Heun(steps), guidance))
