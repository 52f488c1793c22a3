"""Flat: one level of latents, z ~ q(z | x) against p(z)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence, register_kl
from torch.distributions import Normal as TorchNormal
from torch.func import functional_call

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError, SlotError
from fusevae.core.levels import Level, log_bound, require
from fusevae.core.trace import Term
from fusevae.distributions.defensive import Defensive
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
    r"""One latent z with prior p(z | conditions) and posterior q(z | x, conditions).

    Args:
        prior: at least a bound on its log-density.
        posterior: samples with their exact log-density. Where it has no reparameterised sample, objectives use the
            score-function gradient.
        pull: w, the part of a learned prior's pull that reaches z; the rest is that of the standard normal.
        every: in training, the learned prior takes part in one of so many steps, by chance, and the others are those of
            a VAE with N(0, I), which cost less.

    A prior that is learned together with q lets the latent take any shape that training examples like, and of few
    examples that is learned by heart. With ``pull`` under 1 the prior fits what z there is, while q and the decoder see

    .. math:: \nabla_z = w\, \nabla_z \log p(z) + (1 - w)\, \nabla_z \log \mathcal N(z; 0, I)

    in training, and of the parameters that are the prior's and q's (of a VampPrior) the same part; with 0 it is a prior
    fitted to a VAE with N(0, I) (Dai & Wipf 2019), while that is trained. Every value is that of log p(z), so that the
    bound stays the true one. With ``every`` n the steps with the prior pull by n w, at most 1, so that z is pulled as
    often as much on the average; the values of the others are the bound with N(0, I).

    Raises :class:`SlotError` where a part can't stand in its slot.

    Example:
        >>> import torch
        >>> latents = Flat(prior=Normal(2), posterior=Gaussian(MLP(4, 4)))
        >>> z, terms, _ = latents.infer(torch.zeros(3, 4))
        >>> z.shape, terms[0].kl.per_dim.shape
        (torch.Size([3, 2]), torch.Size([3, 2]))
    """

    def __init__(self, prior: Conditional, posterior: Conditional, pull: float = 1.0, every: int = 1) -> None:
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
        if not 0 <= pull <= 1:
            raise InputError(f"pull is {pull}, expected a part from 0 to 1: 1 for the prior's own gradient alone")
        if pull < 1 and (prior.discrete or prior.space != "reals"):
            raise SlotError(
                f"pull is {pull} but the prior, {type(prior).__name__}, is not over vectors of reals, as a standard "
                "normal beside it would be: leave pull at 1"
            )
        if every < 1:
            raise InputError(f"every is {every}, expected steps, at least 1: 1 for a prior that takes part in each")
        self.prior, self.posterior, self.pull, self.every = prior, posterior, pull, every

    @property
    def level(self) -> Level:  # type: ignore[override]
        return self.prior.level

    def infer(
        self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()
    ) -> tuple[Tensor, list[Term], dict[str, Tensor]]:
        q = self.posterior(x, *conditions)  # step 2: encode to mean and variance
        z = noise.rsample(q, samples) if q.has_rsample else noise.sample(q, samples)  # step 3: reparameterise
        if self.pull == 1 or not (self.training and torch.is_grad_enabled() and z.requires_grad):
            return z, [Term("z", z, self.prior(*conditions), q)], {}
        if self.every > 1 and torch.rand(()) >= 1 / self.every:  # of the step's key, so the same in all processes
            return z, [Term("z", z, _Standard(z, q.event_shape), q)], {}
        pull = min(1.0, self.every * self.pull)
        return z, [Term("z", z, _Pulled(self._held_prior(pull, *conditions), pull, q), q)], {}

    def _held_prior(self, pull: float, *conditions: Tensor | None) -> Distribution:
        """The prior, of whose gradient only the part ``pull`` reaches the parameters that are q's, too (a VampPrior's
        are)."""
        ours = {id(p) for p in self.posterior.parameters()}
        shared = {n: _partly(p, pull) for n, p in self.prior.named_parameters() if id(p) in ours}
        found: Distribution = functional_call(self.prior, shared, conditions) if shared else self.prior(*conditions)
        return found

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
        prior = self.prior.model if isinstance(self.prior, Defensive) else self.prior
        if isinstance(prior, Vamp):  # the one prior that looks at examples
            prior.start_from(examples)
        if isinstance(self.posterior, FactorGaussian):
            self.posterior.start_from(examples)
        start = getattr(getattr(self.posterior, "net", None), "start_from", None)
        if start is not None:  # of an encoder that takes something from examples itself
            start(examples)

    @classmethod
    def examples(cls) -> list[tuple[Self, Any]]:
        q = Gaussian(MLP(3, 4, hidden=(4,)))
        return [(cls(Normal(2), q), torch.randn(5, 3)), (cls(Vamp(q, 3, 2), q, pull=0.5), torch.randn(5, 3))]


class _Standard(Distribution):
    """N(0, I) in the place of a prior whose KL isn't told by dimensions."""

    arg_constraints = {}

    def __init__(self, like: Tensor, event: torch.Size) -> None:
        zero = like.new_zeros(event)
        self.normal = Independent(TorchNormal(zero, zero + 1, validate_args=False), len(event), validate_args=False)
        super().__init__(torch.Size(), event, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        found: Tensor = self.normal.log_prob(value)
        return found


@register_kl(Independent, _Standard)  # type: ignore[untyped-decorator]
def _from_standard(q: Any, p: _Standard) -> Tensor:
    found: Tensor = kl_divergence(q, p.normal)
    return found


def of_frames(latents: object) -> bool:
    """Whether these are latents that are a sequence of vectors, as long as the example."""
    return isinstance(latents, Flat) and latents.posterior.space == "frames"


def _partly(value: Tensor, part: float) -> Tensor:
    """The same numbers, through which a part of the gradient passes."""
    held = value.detach()
    return held + part * (value - held)


class _Pulled(Distribution):
    """``p`` of whose gradient only the part ``pull`` reaches the values; the rest is the standard normal's: of one
    sample of ``q`` in its closed form, as where that is the prior."""

    arg_constraints = {}

    def __init__(self, p: Distribution, pull: float, q: Distribution) -> None:
        self.p, self.pull, self.q = p, pull, q
        super().__init__(p.batch_shape, p.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        own = log_bound(self.p, _partly(value, self.pull))
        square = value.square()
        if value.shape == self.q.batch_shape + self.q.event_shape:
            with contextlib.suppress(NotImplementedError):  # not every family has its moments
                square = self.q.mean.square() + self.q.variance
        theirs = -0.5 * square.flatten(own.dim()).sum(-1)
        return own + (1 - self.pull) * (theirs - theirs.detach())
