"""VAE-Transformer over molecules as SELFIES, of which every sequence is a molecule (Krenn et al. 2020)."""

from __future__ import annotations

from typing import Any

from fusevae.core.spec import DataSpec
from fusevae.recipes import molecules_vae
from fusevae.recipes.text_transformer import GUIDANCE
from fusevae.training.experiment import Experiment

modality = "molecules"
reads = {"tokens": "selfies-pairs"}


def recipe(
    data: DataSpec,
    latent: int = 8,
    width: int = 256,
    heads: int = 4,
    layers: int = 3,
    rate: float = 4.0,
    dropout: float = 0.1,
    conditional: bool = False,
    guidance: float = GUIDANCE,
    encoder_layers: int = 0,
) -> Experiment:
    """The model of ``molecules-vae`` on other tokens."""
    options: dict[str, Any] = {"conditional": conditional, "guidance": guidance, "encoder_layers": encoder_layers}
    return molecules_vae.recipe(data, latent, width, heads, layers, rate, dropout, **options)
