"""LSTM language model of texts: each token given those before it, exact."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.language_model import LanguageModel
from fusevae.modalities.text.schema import vocabulary_of
from fusevae.nets.recurrent import LSTM
from fusevae.recipes.text_transformer import GUIDANCE
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = ("text", "molecules")


def recipe(
    data: DataSpec,
    width: int = 256,
    layers: int = 1,
    dropout: float = 0.3,
    conditional: bool = False,
    guidance: float = GUIDANCE,
) -> Experiment:
    """The transformer's sibling: the same distribution with another net."""
    net, tokens = LSTM(width, layers, dropout), vocabulary_of(data)
    return Experiment(
        model=LanguageModel(
            net,
            tokens.size,
            classes=data.condition if conditional else 0,
            dropout=dropout,
            longest=data.shape[0],
            never_first=tokens.never_first,
            in_layers=True,
            guidance=guidance,
        ),
        training=Training(epochs=10, batch_size=64, learning_rate=2e-3, weight_decay=0.01),
    )
