"""Latents that say their examples better than the encoder's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.evaluation.blocks import as_examples, blocks

RATE = 0.1  # of Adam's steps


def refined(artifact: Artifact, data: Any, z: Tensor, steps: int, seed: int = 0) -> Tensor:
    r"""Latents ``(n, *latent)``, moved by so many steps of Adam to where :math:`\log p(x|z)` of their examples rises
    (after semi-amortized inference, Kim et al. 2018, without its prior).

    An encoder reads an example once and leaves in the latent as much as its rate allows; the decoder can tell more
    latents apart than the encoder names. For examples raw ``data``, and their latents as
    :func:`fusevae.evaluation.reading.read` gives them.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> x, z = torch.randn(5, 4), torch.zeros(5, 2)
        >>> better = refined(Artifact(vae, DataSpec((4,))), x, z, steps=10)
        >>> bool((vae.decode(better).log_prob(x) > vae.decode(z).log_prob(x)).all())
        True
    """
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    artifact.eval()
    found: list[Tensor] = []
    with torch.enable_grad(), noise.preserved(device):
        for block in blocks(artifact, as_examples(artifact, data), seed, device):
            first = sum(map(len, found))
            at = z[first : first + len(block.x)].to(device).clone().requires_grad_()
            adam = torch.optim.Adam([at], RATE)
            for _ in range(steps):
                said = model.decode(at, block.label).log_prob(block.x).sum()
                (at.grad,) = torch.autograd.grad(-said, at)  # the weights get none
                adam.step()
            found.append(at.detach().cpu())
    return torch.cat(found)
