"""Quantized: a latent of discrete codes, a point mass at what a quantizer makes of the encoder's features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.conditional import Conditional, parameters
from fusevae.core.errors import InputError, SlotError
from fusevae.core.levels import Level, require
from fusevae.core.trace import Term
from fusevae.distributions.categorical import Categorical
from fusevae.models.latents import Latents
from fusevae.nets.mlp import MLP, Constant
from fusevae.nets.quantizer import FiniteScalar, Quantizer, VectorQuantizer, checked

FIRST = 64  # features for each code, from which the first codebook is made


class Quantized(Latents):
    r"""A map of codes c(x) with a prior p(c): VQ-VAE (van den Oord et al. 2017), or FSQ (Mentzer et al. 2024), by its
    quantizer.

    The posterior is a point mass on a finite set, :math:`\log q = 0`, so one term of the sum over all maps is a bound
    without any noise:

    .. math:: \log p(x) = \log \sum_c p(x \mid c)\, p(c) \ge \log p(x \mid c(x)) + \log p(c(x))

    The decoder's gradient reaches the encoder straight through the quantizer; that of log p(c) trains the prior alone.
    The quantizer's commitment is an auxiliary term, no part of the bound.

    Args:
        encoder: a net from x to features ``(d, h, w)``; a vector of groups is ``(d, 1, groups)``.
        quantizer: :class:`fusevae.VectorQuantizer` or :class:`fusevae.FiniteScalar`, for d features.
        prior: p(c), discrete, over events ``(1, h, w)`` with values 0 to K - 1: independent
            ``Categorical(Constant((K, h, w)), levels=K)``, or autoregressive. ``fusevae fit-prior`` fits another after
            the training.

    Raises :class:`SlotError` for a prior that isn't discrete or promises no bound, :class:`InputError` for numbers that
    don't fit.

    Example:
        >>> prior = Categorical(Constant((8, 1, 2)), levels=8)
        >>> latents = Quantized(MLP(4, (3, 1, 2)), VectorQuantizer(8, 3), prior)
        >>> z, terms, _ = latents.infer(torch.zeros(5, 4))
        >>> z.shape, terms[0].z.shape, round(terms[0].kl.total[0].item(), 4)  # 2 log 8
        (torch.Size([5, 3, 1, 2]), torch.Size([5, 1, 1, 2]), 4.1589)
    """

    def __init__(self, encoder: nn.Module, quantizer: Quantizer, prior: Conditional) -> None:
        super().__init__()
        require("a prior", prior, Level.BOUND, "a mass on discrete values (Categorical of a Constant)")
        if not prior.discrete or prior.space != "reals":
            raise SlotError(
                f"{type(prior).__name__} can't stand as a prior over codes, which are the integers 0 to "
                f"{quantizer.levels - 1}: Categorical(Constant(({quantizer.levels}, h, w)), levels="
                f"{quantizer.levels}) would fit"
            )
        levels, outputs = getattr(prior, "levels", quantizer.levels), getattr(encoder, "outputs", None)
        if levels != quantizer.levels:
            raise InputError(
                f"the prior has {levels} levels and the quantizer {quantizer.levels} codes: make them equal"
            )
        if isinstance(outputs, tuple) and (len(outputs) != 3 or outputs[0] != quantizer.features):
            raise InputError(
                f"the encoder gives features of shape {outputs}, the quantizer takes ({quantizer.features}, h, w): set "
                f"the encoder's first output to {quantizer.features}"
            )
        self.encoder, self.quantizer, self.prior = encoder, quantizer, prior

    @property
    def level(self) -> Level:  # type: ignore[override]
        return self.prior.level

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        return self.prior.level is Level.DENSITY

    def infer(
        self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()
    ) -> tuple[Tensor, list[Term], dict[str, Tensor]]:
        codes, z, commitment = self.quantizer(parameters(self.encoder, (x, *conditions)))
        grid = codes.unsqueeze(-3).float().expand(*samples, *codes.shape[:-2], 1, *codes.shape[-2:])
        term = Term("z", grid, self.prior(*conditions), None, levels=self.quantizer.levels)
        auxiliary = {} if commitment is None else {"commitment": commitment}
        return z.expand(*samples, *z.shape), [term], auxiliary

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Tensor:
        return self.quantizer.lookup(noise.sample_to(self.prior(*conditions), shape).squeeze(-3).long())

    def encode(self, x: Tensor, *conditions: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        codes, z, _ = self.quantizer(parameters(self.encoder, (x, *conditions)))
        return z, {"codes": codes}

    def complete(self, z: Tensor, *conditions: Tensor | None) -> Tensor:
        return self.quantizer.lookup(checked(z.long(), self.quantizer.levels))

    def inference(self) -> list[nn.Module]:
        return [self.encoder, self.quantizer]

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        start = getattr(self.encoder, "start_from", None)
        if start is not None:  # of an encoder that takes something from examples itself
            start(examples)
        if type(self.quantizer).start is Quantizer.start:
            return
        x = examples()
        places = self.encoder(x[:1])[0, 0].numel()
        some = torch.randperm(len(x))[: math.ceil(FIRST * self.quantizer.levels / places)]  # examples may be in order
        self.quantizer.start(torch.cat([parameters(self.encoder, (x[part],)) for part in some.split(500)]))

    @classmethod
    def examples(cls) -> list[tuple[Self, Any]]:
        prior = Categorical(Constant((4, 1, 2), std=1.0), levels=4)
        net = MLP(3, (2, 1, 2), hidden=(4,))
        return [
            (cls(net, VectorQuantizer(4, 2), prior), torch.randn(5, 3)),
            (cls(net, FiniteScalar((2, 2)), prior), torch.randn(5, 3)),
        ]
