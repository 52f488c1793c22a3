"""A standard normal that the latents have left: their Gaussian, or a mixture of Gaussians, takes its place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.trace import Term
from fusevae.data.examples import Examples
from fusevae.distributions.correlated import FullGaussian
from fusevae.distributions.gaussian_mixture import GaussianMixture
from fusevae.distributions.normal import Normal
from fusevae.evaluation.blocks import BLOCK, blocks
from fusevae.evaluation.distances import frechet_distance
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import inside, layers
from fusevae.models.vae import VAE
from fusevae.objectives.objective import Objective, Simultaneous
from fusevae.training.prior import with_prior
from fusevae.training.settings import Training

MOST, FEW = 50_000, 5_000  # training examples whose latents are taken, at most; at least, where a mixture is dear
LEAST = 20  # held-out ones that have to agree
WORTH = 1.0  # nats, under which a simpler prior is as good
NEARER = 0.8  # of the distance of samples of N(0, I), at which others come nearer
NUMBERS, ROUNDS = (3, 10, 30, 100), 10  # components of mixtures, and of their fit
SHARE, USUAL = 0.05, 10.0  # of a budget, what the dearest mixture may take; seconds without a budget
FOLLOWED = "latents.prior.net.value"  # the weights of such a prior, for which a model with N(0, I) has no place
SPEED = 4e9  # multiplications of a core in a second, by which: what is fitted depends on settings, not on a clock


def follow(loop: Any, artifact: Artifact) -> Artifact:
    r"""What was trained, with a prior that its latents follow.

    With encoder and decoder as they are, the bound is highest under the prior that is the aggregate posterior (Hoffman
    & Johnson 2016); of all Gaussians under that of its moments,

    .. math:: \mu = E_x[\mu_x], \qquad \Sigma = E_x[\Sigma_x + \mu_x \mu_x^\top] - \mu \mu^\top

    and nearer to it are mixtures of Gaussians fitted to latents of training examples (Ghosh et al. 2020), here of the
    greatest posterior (:func:`fusevae.core.clusters.clusters`). A training of minutes leaves the latents correlated,
    wider than N(0, I) and in groups, and samples come from where no data are: of a VAE of MNIST after 300 s of a core
    the samples' FID was 21.1 with N(0, I), 12.0 with the Gaussian and 1.0 with a mixture of 30, with the latents
    themselves 0.3.

    After a bound that was climbed to the end (an ELBO of weight 1), or a critic of what is decoded, N(0, I), the
    Gaussian and mixtures of more and more components compete by held-out examples: what is better than the best of the
    simpler ones by more than two standard errors and by more than a nat is the prior, which is an event;
    ``training.mend`` switches it off. A critic has also judged samples of N(0, I) while the decoder was trained, which
    the bound doesn't count: there samples, encoded again, have to come nearer by a fifth to what examples are encoded
    as, too. Of ``vae-gan`` and 1,900 characters the Gaussian was 60 nats better and the samples' FID 7.8 with it, 6.6
    with N(0, I) (eight draws of 300); of 54,000 digits 10.0 and 8.1, but 0.6 with a mixture of 100.
    """
    objective = getattr(next(iter(loop.game.players.values())), "objective", None)
    latents, held = followed(artifact.distribution, objective, loop.settings), loop.validation
    if latents is None or len(held) < LEAST:
        return artifact
    artifact.to(loop.device)
    n, numbers = extent(latents, len(loop.train), loop.settings)
    terms = list(_terms(artifact, latents, loop.train, n, loop.seed))
    z = torch.cat([t.z for t in _terms(artifact, latents, held, n, loop.seed)])

    def away(prior: Conditional) -> float:
        if not isinstance(objective, Simultaneous):
            return 0.0
        return _away(artifact, latents, prior, held.subset(held.evenly(n)), loop.seed)

    first = best = latents.prior
    enough = NEARER * away(first)
    for prior in _priors(terms, numbers):
        gain, error = better(prior.to(loop.device), best, z)
        if gain <= max(WORTH, 2 * error):
            if isinstance(prior, GaussianMixture):
                break  # no more are more components
        elif away(prior) <= enough:
            best = prior
    if best is not first:
        gain, error = better(best, first, z)
        mixed = isinstance(best, GaussianMixture)
        what = f"a mixture of {best.components} Gaussians" if mixed else "the Gaussian of their mean and covariance"
        artifact = Artifact(with_prior(artifact.distribution, best), artifact.data, list(artifact.views)).eval()
        loop.tell(
            "mended",
            f"the latents had left the standard normal: {what} is the prior in its place, the bound of held-out "
            f"examples {gain:.4g} ± {2 * error:.2g} nats higher",
        )
    return artifact.cpu()


def followed(model: Conditional, objective: Objective | None, settings: Training) -> Flat | None:
    """The latents of a model that have their prior follow them at the end of such a training; None where none have."""
    judged = objective is not None and (objective.plain or isinstance(objective, Simultaneous))
    model = layers(model)[1]
    latents = model.latents if isinstance(model, VAE) else None
    if not settings.mend or not judged or type(latents) is not Flat:
        return None
    standard = isinstance(latents.prior, Normal) and len(latents.prior.shape) == 1
    return latents if standard and latents.posterior.space == "reals" else None


def extent(latents: Flat, count: int, settings: Training) -> tuple[int, list[int]]:
    """Of how many of ``count`` examples the latents are taken, and of how many components the mixtures are."""
    d = latents.prior().event_shape[0]
    seconds = USUAL if settings.seconds is None else SHARE * settings.seconds
    work = SPEED * seconds / (ROUNDS * d**2)  # examples times components
    n = int(min(count, MOST, max(FEW, work / NUMBERS[2])))
    return n, [k for k in NUMBERS if k * n <= work and k * d <= n]


def seconds(latents: Flat, count: int, settings: Training) -> int:
    """About how long the mixtures take at most; what takes less than a second needs no time of its own."""
    n, numbers = extent(latents, count, settings)
    return int(n * sum(numbers) * ROUNDS * latents.prior().event_shape[0] ** 2 / SPEED)


@torch.no_grad()
def better(prior: Conditional, other: Conditional, z: Tensor) -> tuple[float, float]:
    """How many nats the bound is higher with a prior than with another, by latents ``(n, d)`` of examples, and the
    standard error."""
    gain = torch.cat([prior().log_prob(part) - other().log_prob(part) for part in z.split(BLOCK)]).double()
    return float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))


@torch.no_grad()
def _away(artifact: Artifact, latents: Flat, prior: Conditional, examples: Examples, seed: int) -> float:
    """The Frechet distance of what as many samples are encoded as from what examples are."""
    model, device = artifact.distribution, next(artifact.parameters()).device
    theirs, ours = list[Tensor](), list[Tensor]()
    with noise.preserved(device):
        for block in blocks(artifact, examples, seed, device):
            with noise.keyed(seed, "away", block.number, device=device):
                p = model.decode(noise.sample_to(prior(), (len(block.x),)), block.label)
                made = p.mean if model.has_mean else noise.sample(p)
                for x, found in ((block.x, theirs), (made, ours)):
                    found.append(latents.encode(inside(model, x)[0], block.label)[0].cpu())
    return frechet_distance(torch.cat(theirs), torch.cat(ours))


@torch.no_grad()
def _priors(terms: list[Term], numbers: Iterable[int]) -> Iterator[Conditional]:
    """The Gaussian of latents, then mixtures."""
    mean, covariance = _moments(terms)
    yield FullGaussian.of(mean.cpu(), covariance.cpu())
    z = torch.cat([t.z for t in terms])
    for k in numbers:
        yield GaussianMixture.fitted(z, k, rounds=ROUNDS)


@torch.no_grad()
def _terms(artifact: Artifact, latents: Flat, examples: Examples, most: int, seed: int) -> Iterator[Term]:
    """The latents of examples, evenly over all, in blocks."""
    device = next(artifact.parameters()).device
    with noise.preserved(device):
        for block in blocks(artifact, examples.subset(examples.evenly(most)), seed, device):
            with noise.keyed(seed, "follow", block.number, device=device):
                x, _ = inside(artifact.distribution, block.x)
                yield latents.infer(x, block.label)[1][0]


def _moments(terms: Iterable[Term]) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the mixture of posteriors, in float64."""
    means, variances = [], []
    for term in terms:
        assert term.q is not None
        try:
            mean, variance = term.q.mean, term.q.variance
        except NotImplementedError:  # not every family has its moments
            mean, variance = term.z, torch.zeros_like(term.z)
        means.append(mean.double())
        variances.append(variance.double())
    mean, variance = torch.cat(means), torch.cat(variances)
    away = mean - mean.mean(0)
    return mean.mean(0), away.mT @ away / len(away) + variance.mean(0).diag()
