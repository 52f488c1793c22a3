"""VAE with a pair of LSTMs for sentences (Bowman et al. 2016)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.language_model import LanguageModel
from fusevae.modalities.text.schema import vocabulary_of
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import of_label
from fusevae.nets.recurrent import LSTM
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
    width: int = 256,
    free_bits: float = 4.0,
    dropout: float = 0.3,
    conditional: bool = False,
    guidance: float = GUIDANCE,
    encoder_layers: int = 0,
) -> Experiment:
    """The latent is added to what the decoder is given at every token, and to its outputs. Encoder, free bits,
    ``conditional`` and ``guidance`` as of ``text-vae``; ``encoder_layers`` are LSTMs that read both ways."""
    vocabulary, classes = vocabulary_of(data), data.condition if conditional else 0
    words = vocabulary.size if encoder_layers else TokenEmbedding(vocabulary.size, width)
    bag = Transformer(width, layers=0, causal=False)
    net = LSTM(width, encoder_layers, dropout) if encoder_layers else bag
    encoder = SequenceEncoder(net, words, 2 * latent, classes, tells=free_bits)
    decoder = LanguageModel(
        LSTM(width, 1, dropout),
        words,
        context=latent,
        classes=classes,
        dropout=dropout,
        longest=data.shape[0],
        never_first=vocabulary.never_first,
        in_layers=True,
        guidance=guidance,
        at_outputs=True,
    )
    return Experiment(
        model=VAE(Flat(Gaussian(of_label(classes, 2 * latent)), Gaussian(encoder)), decoder=decoder),
        objective=ELBO(beta=Linear(part=0.3), free_bits=free_bits, per="whole"),
        training=Training(epochs=10, batch_size=64, learning_rate=2e-3, weight_decay=0.01),
    )
