"""Transformer over the characters of one long text, in windows: a play, a novel."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.recipes import text_transformer
from fusevae.training.experiment import Experiment

modality = "text"
reads = {"tokens": "characters", "stream": 128}


def recipe(data: DataSpec, width: int = 192, heads: int = 6, layers: int = 4, dropout: float = 0.0) -> Experiment:
    """Validation and test are pieces from the end of the text; an epoch sees each token 16 times, in other windows."""
    made = text_transformer.recipe(data, width, heads, layers, dropout)
    return made.replaced(training=made.training.replaced(epochs=0.5, batch_size=32, learning_rate=2e-3))
