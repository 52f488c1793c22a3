"""Reverse perplexity: how well a language model that has read nothing but samples knows real texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.typed import Count
from fusevae.data.examples import Examples
from fusevae.data.source import read_examples
from fusevae.data.splits import Splits
from fusevae.distributions.language_model import LanguageModel
from fusevae.evaluation.samples import sample
from fusevae.modalities.text.quality import perplexity
from fusevae.modalities.text.schema import vocabulary_of
from fusevae.nets.recurrent import LSTM
from fusevae.training.fit import fit
from fusevae.training.settings import Training

#: of the reader, which is small because it is trained twice
USUAL = Training(epochs=5, batch_size=64, learning_rate=2e-3, weight_decay=0.01)


def reverse_perplexity(
    artifact: Artifact,
    train: Examples,
    held: Examples,
    n: Count = 10_000,
    width: Count = 256,
    training: Training | None = None,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, Any]:
    """Perplexity of held-out texts under an LSTM language model trained on samples of the model (Zhao et al. 2018).

    Fluent samples that are all alike have a good perplexity and a bad reverse one: what they never say, their reader
    doesn't know.

    Args:
        artifact: a model of text.
        train: the texts that it was trained on, to train the same reader on as many real ones.
        held: texts that it was not trained on.
        n: samples and real texts to read, at most as many as there are in ``train``.
        width: of the reader.
        training: of the reader; 5 epochs by default.
        seed: of samples and readers.
        device: as for :func:`fusevae.fit`.

    Returns a dictionary: ``perplexity``, with a reader of samples; ``real``, with one of real texts; their ``ratio``;
    ``n``, ``width``, ``seed``. Raises :class:`InputError` for a model of anything but text.
    """
    spec = artifact.data
    vocabulary_of(spec)
    n = min(n, len(train))
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:n]
    real = train.spec.text(train.batch(chosen)[0])
    written = [text for text in spec.text(sample(artifact, n, seed=seed)) if text.strip()]
    goal = held.spec.text(held.batch(torch.arange(len(held)))[0])
    found: dict[str, Any] = {"n": n, "width": width, "seed": seed}
    for name, texts in (("perplexity", written), ("real", real)):
        found[name] = perplexity(_reader(artifact, texts, width, training or USUAL, seed, device), goal)
    return found | {"ratio": found["perplexity"] / found["real"]}


def _reader(
    artifact: Artifact, texts: Sequence[str], width: int, training: Training, seed: int, device: str
) -> Artifact:
    """A language model of the texts in the model's own tokens."""
    vocabulary = vocabulary_of(artifact.data)
    longest = max(len(vocabulary.encode(text)) for text in texts) + 1
    examples = read_examples(list(texts), artifact.data.replaced(conditions=None), longest=longest)
    none = examples.subset(torch.arange(0))
    splits = Splits(examples, none, none, examples.spec, "texts to read")
    with noise.preserved():
        torch.manual_seed(noise.key(seed, "reader"))
        model = LanguageModel(LSTM(width, 1, 0.3), vocabulary.size, dropout=0.3, longest=longest)
    return fit(model, splits, training=training, seed=seed, device=device, quiet=True)
