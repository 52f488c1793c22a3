"""Convolutional VAE with a weight above 1 on its KL, for latents that can be read (Higgins et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.elbo import ELBO
from fusevae.recipes import conv_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 10, beta: float = 4.0) -> Experiment:
    """The model of ``conv-vae`` with few latents, each to be one factor of the data."""
    return conv_vae.recipe(data, latent).replaced(objective=ELBO(beta=beta))
