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
from fusevae.nets.sequence_encoder import SequenceEncoder
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.recipes.text_transformer import GUIDANCE
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = ("text", "molecules")


def recipe(
    data: DataSpec,
    latent: int = 32,
    width: int = 256,
    free_bits: float = 0.15,
    dropout: float = 0.3,
    conditional: bool = False,
    guidance: float = GUIDANCE,
) -> Experiment:
    """The latent is added to what the decoder is given at every token; free bits and a rise of beta against a
    collapse. ``conditional`` and ``guidance`` as of ``text-vae``."""
    vocabulary, classes = vocabulary_of(data), data.condition if conditional else 0
    encoder = SequenceEncoder(LSTM(width, 1, dropout), vocabulary.size, 2 * latent, classes)
    decoder = LanguageModel(
        LSTM(width, 1, dropout),
        vocabulary.size,
        context=latent,
        classes=classes,
        dropout=dropout,
        longest=data.shape[0],
        never_first=vocabulary.never_first,
        in_layers=True,
        guidance=guidance,
    )
    return Experiment(
        model=VAE(Flat(Gaussian(of_label(classes, 2 * latent)), Gaussian(encoder)), decoder=decoder),
        objective=ELBO(beta=Linear(part=0.3), free_bits=free_bits),
        training=Training(epochs=10, batch_size=64, learning_rate=2e-3, weight_decay=0.01),
    )
