"""VAE-Transformer over molecules as SMILES: a latent space of molecules."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.random_smiles import RandomSmiles
from fusevae.recipes import captions_vae_transformer
from fusevae.training.experiment import Experiment

reads = {"tokens": "smiles"}


def recipe(
    data: DataSpec,
    latent: int = 64,
    width: int = 192,
    heads: int = 6,
    layers: int = 3,
    free_bits: float = 0.2,
    randomised: bool = False,
) -> Experiment:
    """``randomised`` writes a molecule in another order of atoms each time that it is seen in training (Bjerrum 2017),
    which rdkit takes some time for."""
    made = captions_vae_transformer.recipe(data, latent, width, heads, layers, free_bits=free_bits, dropout=0.0)
    training = made.training.replaced(epochs=8, batch_size=128)
    return made.replaced(training=training, views=[RandomSmiles()] if randomised else [])
