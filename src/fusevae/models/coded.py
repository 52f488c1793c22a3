"""Coded: a latent of several codes at each place of a sequence, coarse ones first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.conditional import Conditional, parameters
from fusevae.core.errors import InputError, SlotError
from fusevae.core.frames import extent, within
from fusevae.core.levels import Level
from fusevae.core.trace import Term
from fusevae.distributions.autoregressive_frames import AutoregressiveFrames
from fusevae.models.latents import Latents
from fusevae.nets.quantizer import checked
from fusevae.nets.residual import NONE, ResidualQuantizer
from fusevae.nets.wave import WaveEncoder

FIRST = 16  # vectors for each code, from which the first codebooks are made
CLIPS = 500  # that they are taken from, at most


class Coded(Latents):
    r"""Codes :math:`c(x)` of residual quantization, as many places as the encoder gives: the latent of a codec. It is a
    point, and where it has no prior it compresses and doesn't sample.

    Args:
        encoder: from x to vectors ``(*batch, d, places)``, zeros after the end.
        quantizer: of d features.
        prior: over sequences of codes (:class:`fusevae.AutoregressiveCodes`), or of vectors, whose samples are coded;
            None for none.

    Example:
        >>> latents, x = Coded.examples()[0]
        >>> latents.encode(x)[1]["codes"].shape
        torch.Size([5, 2, 4])
    """

    level = Level.SAMPLES

    def __init__(self, encoder: nn.Module, quantizer: ResidualQuantizer, prior: Conditional | None = None) -> None:
        super().__init__()
        outputs = getattr(encoder, "outputs", (quantizer.features,))
        if outputs[0] != quantizer.features:
            raise InputError(
                f"the encoder gives vectors of {outputs[0]}, the quantizer takes {quantizer.features}: make them equal"
            )
        self.encoder, self.quantizer, self.prior = encoder, quantizer, prior

    def infer(
        self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()
    ) -> tuple[Tensor, list[Term], dict[str, Tensor]]:
        found = self.quantizer(parameters(self.encoder, (x, *conditions)))
        return found.z.expand(*samples, *found.z.shape), [], {"commitment": found.commitment}

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Tensor:
        if self.prior is None:
            raise SlotError(
                "this codec has no prior to sample from: encode and decode with it, fit one by fusevae "
                "fit-prior RUN autoregressive, or take speech-vae"
            )
        z = noise.sample_to(self.prior(*conditions), shape)
        if self.prior.discrete:
            found = self.quantizer.lookup(z.reshape(-1, *z.shape[-2:]).long() - 1)
            return found.view(*z.shape[:-2], *found.shape[-2:])
        return self.quantizer(z.reshape(-1, *z.shape[-2:])).z.view(z.shape)

    def encode(self, x: Tensor, *conditions: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        found = self.quantizer(parameters(self.encoder, (x, *conditions)))
        return found.z, {"codes": found.codes}

    def complete(self, z: Tensor, *conditions: Tensor | None) -> Tensor:
        return self.quantizer.lookup(checked(z.long(), self.quantizer.levels, NONE))

    def log_mass(self, codes: Tensor, *conditions: Tensor | None) -> Tensor:
        """The log-probability ``(n,)`` in nats that a prior over codes gives to ``(n, Q, places)``."""
        assert self.prior is not None and self.prior.discrete
        return self.prior(*conditions).log_prob(codes.float() + 1)

    def inference(self) -> list[nn.Module]:
        return [self.encoder, self.quantizer]

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        x = examples()
        some = x[torch.randperm(len(x))[:CLIPS]]
        found = []
        for part in some.split(50):
            h = parameters(self.encoder, (part[:, : int(extent(part[:, None]).max())],))
            found.append(h.transpose(1, 2)[within(extent(h), h.shape[-1])[:, 0] > 0])
        h = torch.cat(found)
        self.quantizer.start(h[torch.randperm(len(h))[: FIRST * self.quantizer.levels]])

    @classmethod
    def examples(cls) -> list[tuple[Self, Any]]:
        encoder = WaveEncoder(3, window=8, hop=2, stride=2, width=4, blocks=(1, 1))
        prior = AutoregressiveFrames(3, 4, hidden=4, components=2)
        return [(cls(encoder, ResidualQuantizer(4, 3, 2), prior), torch.randn(5, 16))]
