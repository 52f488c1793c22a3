"""VAE-Transformer for sentences: a latent that means something above a transformer that writes."""

from __future__ import annotations

from typing import Literal

from fusevae.core.spec import DataSpec
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.language_model import LanguageModel
from fusevae.modalities.text.schema import vocabulary_of
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import of_label
from fusevae.nets.sequence_encoder import SequenceEncoder
from fusevae.nets.transformer import Transformer
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.recipes.text_transformer import GUIDANCE
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = ("text", "molecules")


def recipe(
    data: DataSpec,
    latent: int = 32,
    width: int = 192,
    heads: int = 4,
    layers: int = 3,
    inject: Literal["add", "prefix", "cross"] = "add",
    places: int = 4,
    parts: int = 1,
    free_bits: float = 0.15,
    word_dropout: float = 0.0,
    dropout: float = 0.1,
    conditional: bool = False,
    guidance: float = GUIDANCE,
) -> Experiment:
    """Against a collapse each dimension may hold ``free_bits`` nats for nothing, while beta rises over the first part
    of the training (Kingma et al. 2016; Bowman et al. 2016). The prior's mean and scale are learned: of a fixed prior a
    posterior can be different in the same way for every sentence, which fills the free bits and tells nothing.
    The encoder's mean is over the whole sentence, or over each of ``parts`` of it; ``places`` are the decoder's, for
    ``prefix`` and ``cross``. ``conditional`` gives the labels of the data, where they have some, to prior,
    encoder and every layer of the decoder: of a prior that didn't know them, latents would gainsay them.
    ``guidance`` as of ``text-transformer``."""
    vocabulary, classes = vocabulary_of(data), data.condition if conditional else 0
    encoder = Transformer(width, heads, 2, dropout=dropout, causal=False)
    net = Transformer(width, heads, layers, dropout=dropout, cross=inject == "cross")
    return Experiment(
        model=VAE(
            Flat(
                Gaussian(of_label(classes, 2 * latent)),
                Gaussian(SequenceEncoder(encoder, vocabulary.size, 2 * latent, classes, parts)),
            ),
            decoder=LanguageModel(
                net,
                vocabulary.size,
                context=latent,
                classes=classes,
                inject=inject,
                places=places,
                word_dropout=word_dropout,
                dropout=dropout,
                longest=data.shape[0],
                never_first=vocabulary.never_first,
                in_layers=True,
                guidance=guidance,
            ),
        ),
        objective=ELBO(beta=Linear(part=0.3), free_bits=free_bits),
        training=Training(epochs=10, batch_size=64, learning_rate=1.5e-3, weight_decay=0.01),
    )
