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
from fusevae.nets.sequence_encoder import SequenceEncoder, TokenEmbedding
from fusevae.nets.transformer import Transformer
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.recipes.text_transformer import GUIDANCE
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = ("text", "molecules")


def recipe(
    data: DataSpec,
    latent: int = 8,
    width: int = 192,
    heads: int = 4,
    layers: int = 3,
    inject: Literal["add", "prefix", "cross"] = "add",
    places: int = 4,
    parts: int = 1,
    free_bits: float = 4.0,
    word_dropout: float = 0.0,
    dropout: float = 0.1,
    conditional: bool = False,
    guidance: float = GUIDANCE,
    encoder_layers: int = 0,
) -> Experiment:
    """The latent may hold ``free_bits`` nats for nothing, while beta rises over the first part of the training (Chen et
    al. 2017; Bowman et al. 2016), and begins with as many: with principal components of the words of a sentence. The
    prior's mean and scale are learned: of a fixed prior a posterior can be different in the same way for every
    sentence, which fills the free nats and tells nothing. The encoder is a bag of the decoder's own words (Bosc &
    Vincent 2020), unless ``encoder_layers`` read them in their order, which costs half a step more. Its mean is over
    the whole sentence, or over each of ``parts`` of it; ``places`` are the decoder's, for ``prefix`` and ``cross``.
    ``conditional`` gives the labels of the data, where they have some, to prior, encoder and every layer of the
    decoder: of a prior that didn't know them, latents would gainsay them. ``guidance`` as of ``text-transformer``.

    5,000 captions, batches of 16, one core: two layers took 70 ms a step where the language model took 44, and after
    60 s were 5.0 nats behind it, I(x; z) 1.4. Of fewer numbers each says more of the free nats: 4,000 molecules, 200
    steps, -61.2 nats with 8 and -62.0 with 16, I(x; z) 3.0 and 2.9; 300 captions, 250 steps, -88.6 and -89.0."""
    vocabulary, classes = vocabulary_of(data), data.condition if conditional else 0
    words = vocabulary.size if encoder_layers else TokenEmbedding(vocabulary.size, width)
    encoder = Transformer(width, heads, encoder_layers, dropout=dropout, causal=False)
    net = Transformer(width, heads, layers, dropout=dropout, cross=inject == "cross")
    return Experiment(
        model=VAE(
            Flat(
                Gaussian(of_label(classes, 2 * latent)),
                Gaussian(SequenceEncoder(encoder, words, 2 * latent, classes, parts, free_bits)),
            ),
            decoder=LanguageModel(
                net,
                words,
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
                at_outputs=True,
            ),
        ),
        objective=ELBO(beta=Linear(part=0.3), free_bits=free_bits, per="whole"),
        training=Training(epochs=10, batch_size=64, learning_rate=1.5e-3, weight_decay=0.01),
    )
