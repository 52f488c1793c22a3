"""Transformer language model of texts: each token given those before it, exact."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.language_model import LanguageModel
from fusevae.modalities.text.schema import vocabulary_of
from fusevae.nets.recurrent import LSTM
from fusevae.nets.transformer import Transformer
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = ("text", "molecules")

GUIDANCE = 1.5  # as Sanchez et al. 2023 have it


def recipe(
    data: DataSpec,
    width: int = 192,
    heads: int = 4,
    layers: int = 3,
    dropout: float = 0.1,
    conditional: bool = False,
    guidance: float = GUIDANCE,
) -> Experiment:
    """Pre-norm blocks, rotary positions, the embedding of the tokens used again to read the outputs.
    ``conditional`` gives every layer the labels of the data, where they have some; what is written with one
    is more typical of it by ``guidance``, where 1 draws from the model."""
    net = Transformer(width, heads, layers, dropout=dropout)
    return of_net(data, net, dropout, conditional, guidance, 1.5e-3)


def of_net(
    data: DataSpec, net: Transformer | LSTM, dropout: float, conditional: bool, guidance: float, rate: float
) -> Experiment:
    """A language model of such texts, whatever its net is."""
    tokens = vocabulary_of(data)
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
            at_outputs=True,
        ),
        training=Training(epochs=10, batch_size=64, learning_rate=rate, weight_decay=0.01),
    )
