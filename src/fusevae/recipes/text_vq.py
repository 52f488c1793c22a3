"""Discrete latents for sentences: a handful of codes with a transformer as their prior, a transformer that writes."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.image_transformer import ImageTransformer
from fusevae.distributions.language_model import LanguageModel
from fusevae.modalities.text.schema import vocabulary_of
from fusevae.models.quantized import Quantized
from fusevae.models.vae import VAE
from fusevae.nets.quantizer import FiniteScalar
from fusevae.nets.sequence_encoder import SequenceEncoder
from fusevae.nets.transformer import Transformer
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = ("text", "molecules")


def recipe(
    data: DataSpec,
    sides: tuple[int, ...] = (8, 8),
    groups: int = 8,
    width: int = 192,
    heads: int = 4,
    layers: int = 3,
    dropout: float = 0.1,
) -> Experiment:
    """``groups`` codes of as many values as the product of ``sides`` (van den Oord et al. 2017, Kaiser et al. 2018 for
    text; rounded as of Mentzer et al. 2024: of a learned codebook of 64, 11 to 28 were in use after 150 steps)."""
    vocabulary, quantizer = vocabulary_of(data), FiniteScalar(sides)
    shape = (quantizer.features, 1, groups)
    encoder = Transformer(width, heads, 2, dropout=dropout, causal=False)
    return Experiment(
        model=VAE(
            Quantized(
                SequenceEncoder(encoder, vocabulary.size, shape),
                quantizer,
                prior=ImageTransformer((1, 1, groups), levels=quantizer.levels, width=64, heads=4, layers=2),
            ),
            decoder=LanguageModel(
                Transformer(width, heads, layers, dropout=dropout),
                vocabulary.size,
                context=shape,
                dropout=dropout,
                longest=data.shape[0],
                never_first=vocabulary.never_first,
            ),
        ),
        training=Training(epochs=10, batch_size=64, learning_rate=1.5e-3, weight_decay=0.01),
    )
