"""Transformer language model of molecules as SMILES: the baseline of the molecules' VAE."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.recipes import text_transformer
from fusevae.training.experiment import Experiment

modality = "molecules"
reads = {"tokens": "smiles-pairs"}


def recipe(
    data: DataSpec,
    width: int = 256,
    heads: int = 4,
    layers: int = 3,
    dropout: float = 0.1,
    conditional: bool = False,
    guidance: float = text_transformer.GUIDANCE,
) -> Experiment:
    """The decoder of ``molecules-vae`` without its latent; what is dropped are embedded tokens, too."""
    made = text_transformer.recipe(data, width, heads, layers, dropout, conditional, guidance)
    return made.replaced(training=made.training.replaced(epochs=20, batch_size=64, learning_rate=1e-3))
