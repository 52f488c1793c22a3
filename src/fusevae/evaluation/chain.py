"""Chains over latents and over the values that data leave open: what imputation and denoising share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.data.examples import Examples
from fusevae.distributions.any_order import AnyOrder
from fusevae.distributions.categorical import Categorical
from fusevae.distributions.discretized_logistic import DiscretizedLogistic
from fusevae.distributions.factor_gaussian import FactorGaussian
from fusevae.distributions.mixed import Mixed
from fusevae.evaluation.blocks import BLOCK, blocks
from fusevae.evaluation.likelihood import decoded_at_once
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import layers
from fusevae.models.vae import VAE

#: x given p(x | z) and the x before it, None for the first: leaves the distribution of x given z and what is known
Redraw = Callable[[Distribution, Tensor | None], Tensor]


class Draws(NamedTuple):
    """What chains gave.

    Attributes:
        samples: their last states in the data's units and dtype, ``(samples, n, *shape)``: draws for each example.
        mean: the mean of all draws of their second halves, ``(n, *shape)`` in float32, or float64 where the data are.
        accepted: the part of the proposals that was accepted, ``(n,)``. Near 0 the chains have hardly moved: take more
            steps, or don't trust them.
        notes: what is to be said of how the draws came about.
    """

    samples: Tensor
    mean: Tensor
    accepted: Tensor
    notes: tuple[str, ...] = ()


class Task(NamedTuple):
    """What a chain is to do for some examples: its first x, the draw of x given z, how x looks in the data's units; and
    x with NaN for what is missing, of a model that can be told it."""

    x: Tensor
    redraw: Redraw
    units: Callable[[Tensor], Tensor]
    told: Tensor | None = None


class Space:
    """The space that chains run in: what a VAE's decoder gives, behind views and preprocessing.

    Raises :class:`InputError` for a model or a view that chains can't be run through.

    Attributes:
        vae: the VAE within the artifact.
        binary: whether the decoder's values are Bernoulli.
        linked: whether the channels of a pixel depend on each other given z.
        told: whether the model can be told what is missing (NaN).
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        if not artifact.viewed.schema.numeric:
            raise InputError(
                f"the model is of {artifact.data.modality}, tokens with no values to fill in or change: take "
                "one of pictures or tables"
            )
        if artifact.viewed.shape != artifact.data.shape:
            raise InputError(
                f"the model sees {artifact.viewed.shape} of examples of {artifact.data.shape} and can't give values "
                "back in their places: train one without a view that resizes or crops"
            )
        self.steps, model = layers(artifact.distribution)
        if not (isinstance(model, VAE) and isinstance(model.latents, Flat) and model.level >= Level.EVIDENCE):
            raise InputError(
                f"a chain needs a VAE with one level of latents whose prior and decoder are densities, this is a "
                f"{type(model).__name__}: train such a one (fusevae recipes lists some)"
            )
        self.vae = model
        device = next(model.parameters(), torch.zeros(())).device
        with torch.no_grad(), noise.preserved(device), noise.keyed("space", device=device):
            p = model.eval().generate((1,), None)
        base = p.base_dist if isinstance(p, Independent) else None
        decoder = model.decoder
        if not isinstance(decoder, (Categorical, DiscretizedLogistic, Mixed)) and (base is None or base.event_shape):
            raise InputError(
                f"{type(decoder).__name__} as decoder gives dimensions that depend on each other given z, a chain "
                "needs independent ones: take a model with Bernoulli, Gaussian, ContinuousBernoulli, Categorical or "
                "DiscretizedLogistic as decoder"
            )
        self.binary = isinstance(base, Bernoulli)
        self.told = model.mixed or isinstance(model.latents.posterior, FactorGaussian)
        self.linked = isinstance(decoder, DiscretizedLogistic) and len(p.event_shape) == 3 and p.event_shape[0] > 1

    def into(self, x: Tensor) -> Tensor:
        """The view of examples as the decoder sees it; dequantized values are drawn."""
        for step in self.steps:
            x = step.into(x)[0]
        return x

    def back(self, y: Tensor) -> Tensor:
        """What the decoder gives, in the data's units and dtype."""
        for step in reversed(self.steps):
            y = step.back(y)
        return self.artifact.restore(y)


def space_of(artifact: Artifact) -> Space | None:
    """Where chains run; None for a model that has every conditional itself and needs none."""
    return None if isinstance(artifact.distribution, AnyOrder) else Space(artifact)


def walk(
    space: Space,
    examples: Examples,
    task: Callable[[Tensor, Tensor, Tensor, Tensor | None], Task],
    samples: int,
    steps: int,
    seed: int,
) -> Draws:
    """``samples`` chains of ``steps`` for each example. ``task`` is given the indices of examples, one a chain, the
    examples raw and as the model views them, and their labels.

    A tenth of the steps accept every proposal, to come from the start to where the posterior is (Mattei & Frellsen
    2018); half of them are kept.
    """
    if not len(examples):
        raise InputError("no examples were given: give at least one")
    device = next(space.vae.parameters(), torch.zeros(())).device
    at_once = decoded_at_once(space.vae, space.artifact.data.shape, samples)
    kept = max(1, steps // 2)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad(), noise.preserved(device):
        space.artifact.eval()
        for block in blocks(space.artifact, examples, seed, device):
            for rows in torch.arange(len(block.x)).split(at_once):
                chosen = rows.repeat_interleave(samples)
                label = block.label[chosen.to(device)] if block.label is not None else None
                with noise.keyed(seed, "chain", block.number, int(rows[0]), device=device):
                    raw, seen = block.raw[chosen].to(device), block.x[chosen.to(device)]
                    start, redraw, units, told = task(block.number * BLOCK + chosen, raw, seen, label)
                    exact = torch.float64 if raw.dtype == torch.float64 else torch.float32
                    total, accepted = start.new_zeros(start.shape, dtype=exact), start.new_zeros(len(start))
                    for i, (x, moved) in enumerate(chain(space.vae, start, label, redraw, steps, steps // 10, told)):
                        if i >= steps - kept:
                            total += units(x).to(total.dtype)
                            accepted += moved
                last = units(x).unflatten(0, (-1, samples)).transpose(0, 1)
                means = [v.unflatten(0, (-1, samples)).mean(1) / kept for v in (total, accepted)]
                found.append((last.cpu(), means[0].cpu(), means[1].cpu()))
    parts = list(zip(*found, strict=True))
    return Draws(torch.cat(parts[0], 1), torch.cat(parts[1]), torch.cat(parts[2]))


def chain(
    vae: VAE,
    x: Tensor,
    label: Tensor | None,
    redraw: Redraw,
    steps: int,
    free: int = 0,
    told: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Metropolis-within-Gibbs (Mattei & Frellsen 2018): by turns z given x, and x given z by ``redraw``.

    z' ~ q(z | x) is accepted with probability

    .. math:: \min\Big(1, \frac{p(x|z') p(z')}{q(z'|x)} \frac{q(z|x)}{p(x|z) p(z)}\Big)

    so that a q that isn't the posterior costs steps, not correctness. The first ``free`` steps accept always
    (pseudo-Gibbs, Rezende et al. 2014). Yields x and whether z moved, ``(batch,)``.

    Given ``told``, x with NaN for what is missing, every other step has it in the place of x, proposing from and
    accepting for z given only what is there: where z says much of what is missing, and that much of z, the other steps
    hardly leave where they are. A :class:`FactorGaussian` proposes what is missing, too, by its factor analysis
    :math:`f(x)`, and z for that, accepted by :math:`p(x, z) / (f(x)\, q(z|x))`: its q is sharp and knows only whole
    rows, so that of diabetes 90 % intervals covered 71 % after 100 steps with the former, and 89 % after 20 with this.
    """
    trace = vae.trace(x, label)
    z, log_p, likelihood = trace.terms[0].z, trace.terms[0].log_p, trace.likelihood
    x = redraw(likelihood, None)
    q = getattr(vae.latents, "posterior", None)
    for i in range(steps):
        y = told if told is not None and i % 2 else x
        both = q if y is told and isinstance(q, FactorGaussian) else None
        y = both.completed(y) if both is not None else y
        trace = vae.trace(y, label)
        (term,) = trace.terms
        assert term.q is not None  # a flat latent has one
        # a prior that is only an evidence bound keeps the value that it had when z was accepted, which is exact
        # (Andrieu & Roberts 2009)
        new = trace.log_weight
        if both is None:
            held = likelihood.log_prob(y) + log_p - term.q.log_prob(z)
        else:
            new = new - both.log_completed(y)
            held = likelihood.log_prob(x) + log_p - both(x, label).log_prob(z) - both.log_completed(x)
        moved = noise.uniform(held.shape, held.device).log() < new - held
        moved = moved | (i < free)
        z = torch.where(moved.view(-1, *[1] * (z.dim() - 1)), term.z, z)
        log_p = torch.where(moved, term.log_p, log_p)
        likelihood = vae.decoder(z, label)
        x = redraw(likelihood, torch.where(moved.view(-1, *[1] * (x.dim() - 1)), y, x) if both is not None else x)
        yield x, moved
