"""From data to latents and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.generation import GREEDY, Generation, generating
from fusevae.core.vocabulary import END, joined
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.nets.residual import NONE


def reconstruct(
    artifact: Artifact, data: Any, label: Any = None, seed: int = 0, generation: Generation = GREEDY
) -> Tensor:
    """Each example after encoding and decoding, ``(n, *shape)`` in the data's units: the mean of p(x | z) at the
    posterior's mean; a draw from it where it has no mean; of text the likeliest tokens, one after the other.

    Args:
        artifact: a model with latents.
        data: raw examples: an array or tensor ``(n, *shape)``, a path, or a data set.
        label: their labels, where the model is conditional.
        seed: of the view, where it draws (binarization).
        generation: how text is written.
    """
    model = artifact.distribution
    device = next(model.parameters()).device
    found = []
    how = artifact.data.schema.writing(generation)
    with torch.no_grad(), noise.preserved(device), generating(how):
        artifact.eval()
        for block in blocks(artifact, as_examples(artifact, data, label), seed, device):
            with noise.keyed(seed, "reconstruct", block.number, device=device):
                p = model.reconstruct(block.x, block.label)
                found.append(artifact.restore(p.mean if model.has_mean else noise.sample(p)).cpu())
    return joined(found)


def encode(artifact: Artifact, data: Any, label: Any = None, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays that the latents name, each with one row an example: ``mean`` and ``scale`` for a flat latent,
    ``sample`` where its posterior has no mean.

    Arguments as of :func:`reconstruct`.
    """
    device = next(artifact.distribution.parameters()).device
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, as_examples(artifact, data, label), seed, device):
            with noise.keyed(seed, "encode", block.number, device=device):
                arrays = artifact.distribution.encode(block.x, block.label)
            for name, value in arrays.items():
                found.setdefault(name, []).append(value.cpu())
    return {name: joined(parts, NONE if name == "codes" else END).numpy() for name, parts in found.items()}
