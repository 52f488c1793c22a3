"""From data to latents and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.evaluation.blocks import as_examples, blocks


def reconstruct(artifact: Artifact, data: Any, label: Any = None, seed: int = 0) -> Tensor:
    """Each example after encoding and decoding, ``(n, *shape)`` in the data's units: the mean of p(x | z) at the
    posterior's mean.

    Args:
        artifact: a model with latents.
        data: raw examples: an array or tensor ``(n, *shape)``, a path, or a data set.
        label: their labels, where the model is conditional.
        seed: of the view, where it draws (binarization).
    """
    device = next(artifact.distribution.parameters()).device
    found = []
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, as_examples(artifact, data, label), seed, device):
            found.append(artifact.restore(artifact.distribution.reconstruct(block.x, block.label).mean).cpu())
    return torch.cat(found)


def encode(artifact: Artifact, data: Any, label: Any = None, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays that the latents name, each with one row an example: ``mean`` and ``scale`` for a flat latent.

    Arguments as of :func:`reconstruct`.
    """
    device = next(artifact.distribution.parameters()).device
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, as_examples(artifact, data, label), seed, device):
            for name, value in artifact.distribution.encode(block.x, block.label).items():
                found.setdefault(name, []).append(value.cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}
