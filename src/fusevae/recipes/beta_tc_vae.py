"""Convolutional VAE with a weight on the total correlation of its latents (beta-TC, Chen et al. 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.beta_tc import BetaTC
from fusevae.recipes import conv_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 10, beta: float = 6.0) -> Experiment:
    """The model of ``conv-vae`` with few latents, each to be one factor of the data."""
    return conv_vae.recipe(data, latent).replaced(objective=BetaTC(beta))
