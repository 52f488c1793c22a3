"""A VAE whose samples are told what they were asked for: a term for the information about the conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.func import functional_call

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.gaussian import Gaussian
from fusevae.models.flat import Flat
from fusevae.models.latents import Latents
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP, Told
from fusevae.nets.teller import Teller

EVERY = 4  # examples of which one has a sample that is told: a decoding is a third of a step


class Informed(VAE):
    r"""A VAE with a net r(c | x) that learns from examples what was known of them, and by which the conditions of
    samples are told in training:

    .. math:: -\log r(c \mid x), \qquad - w\, \log r(c \mid \bar x), \quad \bar x = E[x \mid z, c], z \sim p(z \mid c)

    are added to what is minimised; the gradient of the first moves r alone, that of the second the decoder alone. It
    is the term of InfoGAN (Chen et al. 2016) with what AC-GAN (Odena et al. 2017) has for a judge. The bound stays
    what it is, and is what is reported.

    A bound says little of conditions: that a class is known saves at most the nats of its entropy (1.1 of three), of
    thousands that pixels cost, and posteriors that tell the class by themselves leave decoder and prior nothing to
    learn from it.

    Args:
        latents: as of :class:`VAE`, given conditions.
        decoder: likewise, with a mean.
        teller: r(c | x).
        weight: w.
        blur: deviation of the noise in which r sees examples and samples, in units of x. What is small (a pattern of
            pixels that means a class to r and nothing to anybody else) is drowned in it, a form isn't (Cohen et al.
            2019): without it r was soon told what it wanted, and nobody else was.

    Example:
        >>> latents = Flat(Gaussian(Told(3, 4)), Gaussian(MLP(6, 4, classes=3)))
        >>> vae = Informed(latents, Gaussian(MLP(2, 12, classes=3)), Teller(MLP(6, 3), 3))
        >>> vae.trace(torch.zeros(8, 6), torch.zeros(8, dtype=torch.long)).auxiliary["asked"].shape
        torch.Size([8])
    """

    def __init__(
        self, latents: Latents, decoder: Conditional, teller: Teller, weight: float = 1.0, blur: float = 0.0
    ) -> None:
        super().__init__(latents, decoder)
        if not decoder.has_mean or decoder.space != "reals":
            raise InputError(f"{type(decoder).__name__} has no mean of a fixed size, which could be told: take a VAE")
        if not min(weight, blur) >= 0:
            raise InputError(f"weight is {weight} and blur {blur}, expected at least 0: 1 and 0.5, say")
        self.teller, self.weight, self.blur = teller, weight, blur

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        found = super().trace(x, *conditions, samples=samples)
        label = conditions[0] if conditions else None
        batch = x.shape[: x.dim() - len(found.likelihood.event_shape)]  # nested in another model it has more dimensions
        if self.training and torch.is_grad_enabled() and label is not None and batch == label.shape[:1]:
            found.auxiliary["asked"] = self._asked(x, label)
        return found

    def _asked(self, x: Tensor, label: Tensor) -> Tensor:
        """What the term costs, ``(n,)``: of samples for each :data:`EVERY`-th row of the whole batch."""
        rows = noise.part()
        here = torch.arange(len(x), device=x.device) + (0 if rows is None else rows.start)
        some = here % EVERY == 0
        learned = self.teller(self._in_noise(x), label)
        around = self._in_noise(torch.zeros_like(x))[some]
        z = self.latents.generate((len(x),), label)[some].detach()
        made = self.decoder(z, label[some]).mean
        fixed = {name: value.detach() for name, value in self.teller.state_dict(keep_vars=True).items()}
        told = functional_call(self.teller, fixed, (made + around, label[some]))
        return learned + self.weight * EVERY * torch.zeros_like(learned).masked_scatter(some, told)

    def _in_noise(self, x: Tensor) -> Tensor:
        return x + self.blur * noise.normal(x.shape, x.device)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        latents = Flat(Gaussian(Told(2, 2)), Gaussian(MLP(2, 2, hidden=(3,), classes=2), bounds=(0.0, 1.0)))
        decoder = Bernoulli(MLP(1, 2, hidden=(3,), classes=2))
        return [(cls(latents, decoder, Teller(MLP(2, 2, hidden=(3,)), 2)), (torch.tensor([0, 1, 1]),))]
