"""What latents with an inner form decide: the levels of a hierarchy, and the codes of a quantized model."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.models.ladder import Ladder
from fusevae.models.preprocessed import inside, layers
from fusevae.models.vae import VAE
from fusevae.nets.quantizer import Quantizer
from fusevae.nets.residual import ResidualQuantizer


def depth(artifact: Artifact) -> int:
    """The number of levels of a hierarchy; 0 for a model that is none."""
    ladders = [part for part in artifact.distribution.modules() if isinstance(part, Ladder)]
    return ladders[0].depth if len(ladders) == 1 else 0


def vocabulary(artifact: Artifact) -> int:
    """The number of different codes that a place of the latent can have; 0 for a model without."""
    found = [part for part in artifact.distribution.modules() if isinstance(part, Quantizer | ResidualQuantizer)]
    return found[0].levels if found else 0


def partly_drawn(artifact: Artifact, x: Tensor, label: Tensor | None, kept: int, seed: int = 0) -> Tensor:
    """Examples ``(n, *shape)`` in the data's units, whose first ``kept`` levels are those of raw ``x`` and whose others
    are drawn from the prior: with all kept what :func:`fusevae.reconstruct` gives, with none new examples.

    Raises :class:`InputError` for a model that is no hierarchy.

    Example:
        >>> import torch
        >>> from fusevae import VAE, Artifact, DataSpec, Gaussian, MLP
        >>> from fusevae.nets.ladder import DenseLadder
        >>> vae = VAE(Ladder(DenseLadder(4, latents=(2, 3), width=8)), Gaussian(MLP(8, 8)))
        >>> partly_drawn(Artifact(vae, DataSpec((4,))), torch.zeros(3, 4), None, kept=1).shape
        torch.Size([3, 4])
    """
    levels = depth(artifact)
    if not 0 <= kept <= levels or not levels:
        raise InputError(f"{kept} levels were to be kept of {levels}: give a hierarchy (ladder-vae), and 0 to {levels}")
    device = next(artifact.distribution.parameters()).device
    steps, model = layers(artifact.eval().distribution)
    with torch.no_grad(), noise.preserved(device):
        with noise.keyed("levels", device=device):  # seen the same, whatever is drawn
            y = inside(artifact.distribution, artifact.view(x).to(device))[0]
        with noise.keyed(seed, "levels", kept, device=device):
            given = () if label is None else (label.to(device),)
            vae = cast(VAE, model)
            p = vae.decoder(cast(Ladder, vae.latents).partly(y, kept, *given), *given)
            y = p.mean if vae.has_mean else noise.sample(p)
            for step in reversed(steps):
                y = step.back(y)
            return artifact.restore(y).cpu()
