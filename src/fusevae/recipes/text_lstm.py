"""LSTM language model of texts: each token given those before it, exact."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.nets.recurrent import LSTM
from fusevae.recipes import text_transformer
from fusevae.training.experiment import Experiment

modality = ("text", "molecules")


def recipe(
    data: DataSpec,
    width: int = 256,
    layers: int = 1,
    dropout: float = 0.3,
    conditional: bool = False,
    guidance: float = text_transformer.GUIDANCE,
) -> Experiment:
    """The transformer's sibling: the same distribution with another net."""
    return text_transformer.of_net(data, LSTM(width, layers, dropout), dropout, conditional, guidance, 2e-3)
