"""How many bits a second the codes of sound take, as they are stored and by a prior over them."""

from __future__ import annotations

import math

import torch

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.frames import extent
from fusevae.data.examples import Examples
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.evaluation.results import Result, figure
from fusevae.modalities.audio.schema import rate_of
from fusevae.models.coded import Coded
from fusevae.models.vae import VAE
from fusevae.nets.residual import NONE


class CodeRate(Result):
    """How many bits the codes of clips take in a second.

    Attributes:
        n: clips.
        seconds: of them together.
        stored: as files hold them, every code in as many bits.
        entropy: :math:`-\\log_2 p` of the codes under the prior over them, ends included: what an arithmetic coder with
            it would write. None without such a prior.
    """

    section = "Codes of held-out data"
    n: int = figure("coded", form=lambda n: f"{n:,} clips")
    seconds: float = figure("in all", "s", form=".1f")
    stored: float = figure("bits per second, as stored", "bit/s", "low", form=",.0f")
    entropy: float | None = figure(
        "bits per second, by the entropy that the prior gives", "bit/s", "low", form=",.0f", default=None
    )


@torch.no_grad()
def code_rate(artifact: Artifact, data: Examples, seed: int = 0) -> CodeRate:
    """How many bits the codes of clips take, by a codec with or without a prior over its codes."""
    model, bits, nats, samples = artifact.distribution, 0, 0.0, 0
    assert isinstance(model, VAE) and isinstance(model.latents, Coded)
    latents = model.latents
    known = latents.prior is not None and latents.prior.discrete
    artifact.eval()
    for block in blocks(artifact, as_examples(artifact, data), seed, next(model.parameters()).device):
        codes = latents.encode(block.x, block.label)[1]["codes"]
        bits += int((codes != NONE).sum()) * latents.quantizer.bits
        nats -= latents.log_mass(codes, block.label).double().sum().item() if known else 0.0
        samples += int(extent(block.x[:, None]).sum())
    if not samples:
        raise InputError("there are no clips to code: give data with at least one")
    seconds = samples / rate_of(artifact.data)
    return CodeRate(
        n=len(data), seconds=seconds, stored=bits / seconds, entropy=nats / math.log(2) / seconds if known else None
    )
