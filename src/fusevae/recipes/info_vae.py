"""Convolutional VAE with a maximum mean discrepancy beside its KL (InfoVAE, Zhao et al. 2019)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.objectives.mmd import MMD
from fusevae.recipes import conv_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 64, weight: float = 1000.0, beta: float = 1.0) -> Experiment:
    """The model of ``conv-vae``; ``beta=0`` makes it a Wasserstein autoencoder (``wae``)."""
    return conv_vae.recipe(data, latent).replaced(objective=MMD(weight, beta))
