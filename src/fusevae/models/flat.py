"""Flat: one level of latents, z ~ q(z | x) against p(z)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.errors import SlotError
from fusevae.core.levels import Level, require
from fusevae.core.trace import Term
from fusevae.distributions.factor_gaussian import FactorGaussian
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.distributions.vamp import Vamp
from fusevae.models.latents import Latents
from fusevae.nets.mlp import MLP

#: for each space, what makes a pair
PAIRS = {
    "reals": "Gaussian with Normal",
    "sphere": "VonMisesFisher with UniformSphere",
    "one-hot": "OneHotCategoricals with OneHotCategoricals of a Constant",
    "sequences": "two LanguageModels",
    "frames": "two Frames",
}


class Flat(Latents):
    """One latent z with prior p(z | conditions) and posterior q(z | x, conditions).

    Args:
        prior: at least a bound on its log-density.
        posterior: samples with their exact log-density. Where it has no reparameterised sample, objectives use the
            score-function gradient.

    Raises :class:`SlotError` where a part can't stand in its slot.

    Example:
        >>> import torch
        >>> latents = Flat(prior=Normal(2), posterior=Gaussian(MLP(4, 4)))
        >>> z, terms, _ = latents.infer(torch.zeros(3, 4))
        >>> z.shape, terms[0].kl.per_dim.shape
        (torch.Size([3, 2]), torch.Size([3, 2]))
    """

    def __init__(self, prior: Conditional, posterior: Conditional) -> None:
        super().__init__()
        require("a prior", prior, Level.BOUND, "a density (Normal, Gaussian, GaussianMixture) or a bound (a VAE)")
        require("a posterior", posterior, Level.DENSITY, "a density (Gaussian with scale 'net' or 'shared')")
        if prior.discrete != posterior.discrete:
            kinds = ["a density over reals", "a mass on discrete values"]
            raise SlotError(
                f"{type(posterior).__name__} as posterior is {kinds[posterior.discrete]} but {type(prior).__name__} as "
                f"prior is {kinds[prior.discrete]}, so their KL is infinite: take both of one kind (Gaussian with "
                "Normal)"
            )
        if prior.space != posterior.space:
            raise SlotError(
                f"{type(posterior).__name__} as posterior has values of the kind {posterior.space!r} but "
                f"{type(prior).__name__} as prior of the kind {prior.space!r}, so their KL is infinite: take both of "
                f"one kind ({PAIRS[posterior.space]}, or {PAIRS[prior.space]})"
            )
        self.prior, self.posterior = prior, posterior

    @property
    def level(self) -> Level:  # type: ignore[override]
        return self.prior.level

    def infer(
        self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()
    ) -> tuple[Tensor, list[Term], dict[str, Tensor]]:
        q = self.posterior(x, *conditions)  # step 2: encode to mean and variance
        z = noise.rsample(q, samples) if q.has_rsample else noise.sample(q, samples)  # step 3: reparameterise
        return z, [Term("z", z, self.prior(*conditions), q)], {}

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Tensor:
        return noise.sample_to(self.prior(*conditions), shape)

    def encode(self, x: Tensor, *conditions: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        q = self.posterior(x, *conditions)
        if not self.posterior.has_mean:
            z = noise.sample(q)
            return z, {"sample": z}
        if self.posterior.space not in ("reals", "frames"):  # their mean is none of the values that the decoder knows
            return q.mode, {"mode": q.mode, "mean": q.mean}
        mean = q.mean
        try:
            return mean, {"mean": mean, "scale": q.stddev}
        except NotImplementedError:  # not every family has a variance in closed form
            return mean, {"mean": mean}

    def complete(self, z: Tensor, *conditions: Tensor | None) -> Tensor:
        return z

    def inference(self) -> list[nn.Module]:
        return [self.posterior]

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        if isinstance(self.prior, Vamp):  # the one prior that looks at examples
            self.prior.start_from(examples)
        if isinstance(self.posterior, FactorGaussian):
            self.posterior.start_from(examples)

    @classmethod
    def examples(cls) -> list[tuple[Self, Any]]:
        return [(cls(Normal(2), Gaussian(MLP(3, 4, hidden=(4,)))), torch.randn(5, 3))]
