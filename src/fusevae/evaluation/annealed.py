"""Annealed importance sampling: a stronger check of a likelihood, and an upper side for it on simulated data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.core.typed import Count
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.evaluation.likelihood import VALUES
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import layers
from fusevae.models.vae import VAE

ACCEPTED = 0.65  # part of the proposals that Hamiltonian Monte Carlo is best with (Neal 2011)


def annealed_likelihood(
    artifact: Artifact,
    data: Any,
    label: Any = None,
    steps: Count = 500,
    chains: Count = 16,
    leapfrog: Count = 10,
    seed: int = 0,
) -> Tensor:
    r"""log p(x) of each example in nats, ``(n,)``, by annealed importance sampling (Neal 2001; Wu et al. 2017).

    Chains start in the prior and pass through :math:`p(z)\, p(x|z)^{\beta_t}`, :math:`\beta` rising from 0 to 1, by
    Hamiltonian Monte Carlo. The mean weight is p(x) on average, so its logarithm is a lower bound on average. It does
    not use q: where it lies clearly above the importance-weighted bound, q misses some of the posterior.

    Args:
        artifact: a VAE with one level of continuous latents, its prior and decoder densities.
        data: raw examples, as for :func:`fusevae.log_likelihood`.
        label: their labels, where the model is conditional.
        steps: temperatures.
        chains: for each example.
        leapfrog: steps of each proposal.
        seed: of the view and of the chains.

    Example:
        >>> from fusevae import MLP, DataSpec, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), Gaussian(MLP(1, 2), scale=1.0))
        >>> annealed_likelihood(Artifact(vae, DataSpec((2,))), torch.zeros(3, 2), steps=10).shape
        torch.Size([3])
    """
    found = []
    device = next(artifact.distribution.parameters(), torch.zeros(())).device
    with noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, as_examples(artifact, data, label), seed, device):
            for start in range(0, len(block.x), at_once(block.x, chains)):
                cut = slice(start, start + at_once(block.x, chains))
                x, given = block.x[cut], block.label[cut] if block.label is not None else None
                with noise.keyed(seed, "annealed", block.number, start, device=device):
                    prior, likelihood, log_det = joint(artifact.distribution, x, given)
                    sizes = pilot(prior, likelihood, len(x), steps, leapfrog)
                    z = noise.sample_to(prior, (chains, len(x)))
                    weight = anneal(z, prior, likelihood, sizes, leapfrog)
                found.append(torch.logsumexp(weight, 0) - math.log(chains) + log_det)
    return torch.cat(found).cpu()


def annealed_sandwich(
    artifact: Artifact, n: Count = 100, steps: Count = 500, chains: Count = 16, leapfrog: Count = 10, seed: int = 0
) -> dict[str, float]:
    """How exact annealed importance sampling is: on examples simulated from the model, whose latents are therefore
    exact samples of the posterior, the reversed chains give an upper bound as well (Grosse et al. 2015).

    Returns the means of ``lower`` and ``upper`` over ``n`` examples and their ``gap``, in nats of the simulated view.
    """
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    with noise.preserved(device), noise.keyed(seed, "sandwich", device=device):
        artifact.eval()
        vae = unwrapped(model)
        with torch.no_grad():
            exact = vae.latents.generate((n,))
            y = noise.sample(vae.decoder(exact))
        lower, upper = [], []
        for start in range(0, n, at_once(y, chains)):
            cut = slice(start, start + at_once(y, chains))
            prior, likelihood, _ = joint(vae, y[cut], None)
            here = len(y[cut])
            sizes = pilot(prior, likelihood, here, steps, leapfrog)
            up = anneal(noise.sample_to(prior, (chains, here)), prior, likelihood, sizes, leapfrog)
            start_z = exact[cut].expand(chains, *exact[cut].shape).clone()
            down = anneal(start_z, prior, likelihood, sizes, leapfrog, reverse=True)
            lower.append(torch.logsumexp(up, 0) - math.log(chains))
            upper.append(math.log(chains) - torch.logsumexp(-down, 0))
    low, high = torch.cat(lower).mean().item(), torch.cat(upper).mean().item()
    return {"lower": low, "upper": high, "gap": high - low}


def at_once(x: Tensor, chains: int) -> int:
    """Examples whose chains fit in memory together."""
    return max(1, VALUES // (chains * math.prod(x.shape[1:])))


def unwrapped(model: Conditional) -> VAE:
    """The VAE within preprocessing, if its latents are of a kind that Hamiltonian chains can move in."""
    around, model = layers(model)
    if any(step.dequantizes for one in around for step in one.steps):
        raise InputError("annealing is for fixed data, a step dequantizes them: take log_likelihood, or leave it out")
    if not (isinstance(model, VAE) and isinstance(model.latents, Flat)):
        raise InputError(f"annealing is for a VAE with one level of latents, this is {type(model).__name__}")
    prior, decoder = model.latents.prior, model.decoder
    if prior.discrete or prior.space != "reals" or min(prior.level, decoder.level) < Level.DENSITY:
        raise InputError(
            "annealing needs continuous latents (not on a sphere) and densities as prior and decoder: take "
            "log_likelihood"
        )
    return model


Likelihood = Callable[[Tensor], Tensor]


def joint(model: Conditional, x: Tensor, label: Tensor | None) -> tuple[Distribution, Likelihood, Tensor | float]:
    """The prior p(z), the function z -> log p(x | z), and the log-determinant of what stands before the VAE."""
    vae = unwrapped(model)
    log_det: Tensor | float = 0.0
    for one in layers(model)[0]:
        with torch.no_grad():
            x, more = one.into(x)
        log_det = log_det + more
    prior = vae.latents.prior(label)  # type: ignore[operator]
    return prior, lambda z: vae.decoder(z, label).log_prob(x), log_det


def temperatures(steps: int) -> list[float]:
    """From 0 to 1, closest at the ends, where the distribution changes most (Wu et al. 2017)."""
    ends = [1 / (1 + math.exp(-4 * (2 * t / steps - 1))) for t in range(steps + 1)]
    return [(e - ends[0]) / (ends[-1] - ends[0]) for e in ends]


def pilot(prior: Distribution, likelihood: Likelihood, n: int, steps: int, leapfrog: int) -> list[Tensor]:
    """Step sizes ``(n,)`` for each temperature, found on chains of their own: those that count then don't adapt, so
    that their weights stay exact on average."""
    sizes = [torch.full((n,), 0.1, device=noise.sample(prior).device)]
    anneal(noise.sample_to(prior, (4, n)), prior, likelihood, sizes, leapfrog, adapt_over=steps)
    return sizes[1:]


def anneal(
    z: Tensor,
    prior: Distribution,
    likelihood: Likelihood,
    sizes: list[Tensor],
    leapfrog: int,
    reverse: bool = False,
    adapt_over: int = 0,
) -> Tensor:
    """The log-weights ``(chains, n)`` in float64 of chains that start at ``z`` of shape ``(chains, n, ...)``.

    With ``adapt_over`` steps, ``sizes`` starts with one step size and is extended by what each temperature adapts it
    to; otherwise it holds one for each temperature. ``reverse`` goes from the posterior to the prior.
    """
    steps = adapt_over or len(sizes)
    beta = temperatures(steps)
    weight = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
    for t in range(steps, 0, -1) if reverse else range(1, steps + 1):
        size = sizes[-1] if adapt_over else sizes[t - 1]
        if not reverse:
            weight += (beta[t] - beta[t - 1]) * value(likelihood, z)
        z, accepted = hamiltonian(z, prior, likelihood, beta[t], size, leapfrog)
        if reverse:
            weight += (beta[t] - beta[t - 1]) * value(likelihood, z)
        if adapt_over:
            sizes.append(size * torch.where(accepted.float().mean(0) > ACCEPTED, 1.05, 0.95))
    return weight


@torch.no_grad()
def value(likelihood: Likelihood, z: Tensor) -> Tensor:
    """log p(x | z) in float64, without a gradient."""
    return likelihood(z).double()


def hamiltonian(
    z: Tensor, prior: Distribution, likelihood: Likelihood, beta: float, size: Tensor, leapfrog: int
) -> tuple[Tensor, Tensor]:
    """One proposal for each chain, taken or not: the new ``z`` and whether it was taken ``(chains, n)``."""
    lead = z.dim() - 2
    step = size.view(-1, *[1] * lead)

    def energy(at: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = at.detach().requires_grad_(True)
            log_p = prior.log_prob(at) + beta * likelihood(at)
            (gradient,) = torch.autograd.grad(log_p.sum(), at)
        return log_p.detach(), gradient

    with torch.no_grad():
        momentum = torch.randn_like(z)
        before, gradient = energy(z)
        new, speed = z, momentum
        for _ in range(leapfrog):
            speed = speed + 0.5 * step * gradient
            new = new + step * speed
            after, gradient = energy(new)
            speed = speed + 0.5 * step * gradient

        def kinetic(p: Tensor) -> Tensor:
            return 0.5 * p.square().flatten(2).sum(-1)

        change = after - before + kinetic(momentum) - kinetic(speed)
        accepted = torch.rand_like(change).log() < change
        return torch.where(accepted.view(*accepted.shape, *[1] * lead), new, z), accepted
