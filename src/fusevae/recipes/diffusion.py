"""Diffusion on images of any size with a small U-Net; labels are a condition where the data have them."""

from __future__ import annotations

from torch import nn

from fusevae.core.conditional import Conditional
from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Dequantize, Normalise
from fusevae.distributions.diffusion import Diffusion
from fusevae.distributions.samplers import DPMSolver
from fusevae.distributions.schedules import CauchySchedule
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.marginal_denoiser import MarginalDenoiser
from fusevae.nets.unet import UNet
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"

GUIDANCE = 1.5  # Ho & Salimans 2022 have their best FID at a little more than 1, their most typical samples above


def recipe(
    data: DataSpec,
    channels: tuple[int, ...] = (32, 64),
    blocks: int = 1,
    patch: int | None = None,
    steps: int = 25,
    guidance: float = GUIDANCE,
    bins: int | None = 16,
) -> Experiment:
    """v-prediction on dequantized pixels, so that its bound is on the probability of the integers (Ho et al. 2020;
    Kingma et al. 2021). ``patch`` is 2 for images of 16 pixels or more, which is four times as fast. Samples with a
    label are more typical of it by ``guidance``; 1 draws what was learned. The net tells only how pixels differ from
    what each says by itself, a histogram of so many ``bins`` (:class:`MarginalDenoiser`); with None it tells all."""
    net: nn.Module = u_net(data, channels, blocks, patch)
    schedule = CauchySchedule(-17.0)
    if bins is not None:
        net = MarginalDenoiser(net, data.shape, schedule.low, schedule.high, bins)
    return over_pixels(data, Diffusion(net, data.shape, "v", schedule, DPMSolver(steps), guidance=guidance))


def u_net(data: DataSpec, channels: tuple[int, ...], blocks: int, patch: int | None) -> UNet:
    """For images of these data, and their labels."""
    return UNet(
        data.shape, channels, blocks, patch or (2 if min(data.shape[1:]) >= 16 else 1), data.condition, by_place=True
    )


def over_pixels(data: DataSpec, model: Conditional) -> Experiment:
    """A model of images of about unit scale, over the pixels."""
    steps_in = [Dequantize()] if data.is_discrete else []
    return Experiment(
        model=Preprocessed(
            [*steps_in, Normalise(data.low, data.high + len(steps_in), -1.0, 1.0)],
            model,
        ),
        training=Training(epochs=10, batch_size=64, learning_rate=2e-3),
    )
