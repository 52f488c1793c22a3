"""Wasserstein autoencoder with a maximum mean discrepancy (WAE-MMD, Tolstikhin et al. 2018), convolutional."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.recipes import info_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(data: DataSpec, latent: int = 64, weight: float = 1000.0) -> Experiment:
    """``info-vae`` without a KL: only the aggregate of the latents is led to the prior."""
    return info_vae.recipe(data, latent, weight, beta=0.0)
