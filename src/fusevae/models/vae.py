"""The variational autoencoder: latents and a decoder, itself a distribution."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.conditional import Conditional, batch_of
from fusevae.core.errors import SlotError
from fusevae.core.levels import BoundOnly, Level, require
from fusevae.core.trace import Trace
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.models.flat import Flat
from fusevae.models.latents import Latents
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import center_on


class VAE(Conditional):
    r""":math:`p(x \mid c) = \int p(x \mid z, c)\, p(z \mid c)\, dz`, with :math:`q(z \mid x, c)` to bound it from
    below:

    .. math:: \log p(x) \ge E_q[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \| p(z))

    (Kingma & Welling 2014). It is a distribution like any other, so it can be nested: as the prior of another VAE, say.

    Args:
        latents: the pair of prior and posterior.
        decoder: p(x | z, c), at least a bound.

    Example:
        >>> import torch
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Bernoulli(MLP(2, 4)))
        >>> vae().sample((3,)).shape, vae().log_bound(torch.ones(5, 4)).shape
        (torch.Size([3, 4]), torch.Size([5]))
    """

    has_latents = True
    least = Level.BOUND  # that the decoder has to promise

    def __init__(self, latents: Latents, decoder: Conditional) -> None:
        super().__init__()
        require("a decoder", decoder, self.least, "a density (Bernoulli, Gaussian, Categorical, DiscretizedLogistic)")
        self.latents, self.decoder = latents, decoder
        self.level = min(Level.EVIDENCE, latents.level, decoder.level)
        self.discrete, self.mixed = decoder.discrete, decoder.mixed
        self.space, self.has_mean = decoder.space, decoder.has_mean
        self.deterministic = latents.deterministic and decoder.level is Level.DENSITY

    def forward(self, *conditions: Tensor | None) -> Distribution:
        return _Marginal(self, conditions)

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        z, terms, auxiliary = self.latents.infer(x, *conditions, samples=samples)  # steps 2 and 3
        p = self.decoder(z, *conditions)  # step 4: decode
        draw = functools.partial(self.latents.generate, p.batch_shape, *conditions)

        def generate() -> Tensor:
            new = self.decoder(draw(), *conditions)
            return new.mean if self.has_mean else noise.rsample(new)

        return Trace(x, terms, p, 0.0, auxiliary, conditions, z, draw, generate)

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Distribution:
        return self.decoder(self.latents.generate(shape, *conditions), *conditions)

    def reconstruct(self, x: Tensor, *conditions: Tensor | None) -> Distribution:
        return self.decoder(self.latents.encode(x, *conditions)[0], *conditions)

    def encode(self, x: Tensor, *conditions: Tensor | None) -> dict[str, Tensor]:
        return self.latents.encode(x, *conditions)[1]

    def decode(self, z: Tensor, *conditions: Tensor | None) -> Distribution:
        return self.decoder(self.latents.complete(z, *conditions), *conditions)

    def inference(self) -> list[nn.Module]:
        return self.latents.inference()

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        center_on(self.latents, examples)
        self.latents.start_from(examples)
        self.decoder.start_from(examples)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        # a posterior at least as wide as the prior: importance weights are bounded, and the laws soon exact
        latents = Flat(Normal(1), Gaussian(MLP(2, 2, hidden=(3,)), bounds=(0.0, 1.0)))
        decoders = (Bernoulli(MLP(1, 2, hidden=(3,))), Gaussian(MLP(1, 4, hidden=(3,))))
        return [(cls(latents, decoder), ()) for decoder in decoders]


class _Marginal(BoundOnly):
    """p(x | conditions) of a VAE: samples by ancestors, and the ELBO of one sample as its bound."""

    draws_keyed = True

    def __init__(self, vae: VAE, conditions: tuple[Tensor | None, ...]) -> None:
        self.vae, self.conditions = vae, conditions
        super().__init__(batch_of(conditions), validate_args=False)

    @property
    def event_shape(self) -> torch.Size:
        """As the decoder says when it is asked, without a trace in the caller's random numbers."""
        device = next(self.vae.parameters(), torch.zeros(())).device
        with torch.no_grad(), noise.preserved(device), noise.keyed("event", device=device):
            return self.vae.generate(self.batch_shape, *self.conditions).event_shape

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            return noise.sample_to(self.vae.generate(shape, *self.conditions), shape)

    def log_bound(self, value: Tensor) -> Tensor:
        if self.vae.level < Level.BOUND:
            raise SlotError(
                f"{type(self.vae).__name__} only samples, no bound on its likelihood is known: take a VAE, whose "
                "latents have a posterior"
            )
        return self.vae.trace(value, *self.conditions).log_weight
