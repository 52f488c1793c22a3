"""Convolutional VAE with an opponent that estimates its total correlation (FactorVAE, Kim & Mnih 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.nets.mlp import MLP
from fusevae.objectives.factor_vae import FactorVAE
from fusevae.recipes import conv_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 10, gamma: float = 10.0) -> Experiment:
    """The model of ``conv-vae`` with few latents, each to be one factor of the data."""
    opponent = MLP(latent, 1, (256, 256), "leaky_relu")
    return conv_vae.recipe(data, latent).replaced(objective=FactorVAE(opponent, gamma))
