"""Convolutional VAE whose KL is led to a target that grows (disentangled beta, Burgess et al. 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.capacity import Capacity
from fusevae.recipes import conv_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 10, capacity: float = 25.0, gamma: float = 10.0) -> Experiment:
    """The model of ``conv-vae`` with few latents, each to be one factor of the data."""
    return conv_vae.recipe(data, latent).replaced(objective=Capacity(capacity, gamma))
