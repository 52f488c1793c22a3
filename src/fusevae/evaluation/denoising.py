"""Denoising: what an example was before noise was added to it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution

from fusevae.core import noise as random
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.evaluation.blocks import as_examples
from fusevae.evaluation.chain import Draws, Space, Task, walk

CANDIDATES = 4  # draws of a clean value at each step


def denoise(
    artifact: Artifact,
    data: Any,
    noise: float,
    label: Any = None,
    samples: Count = 1,
    steps: Count = 300,
    seed: int = 0,
) -> Draws:
    r"""Draws from :math:`p(x \mid \tilde x) \propto p(x)\, p(\tilde x \mid x)`, clean examples given noisy ones; their
    mean is the estimate :math:`E[x \mid \tilde x]` of the least squared error.

    What noise is follows from the decoder:

    * Bernoulli: each value of the view is flipped with probability ``noise``.
    * Others: :math:`\tilde x = x + \epsilon,\ \epsilon \sim \mathcal N(0, \text{noise}^2)` in the data's units. Where
      the data are integers (by dtype), the sum was then rounded and cut off at the ends of their range: the mass of
      what is rounded to a value counts, whatever the noise.

    By turns z given x (accepted so that the chain is exact, see :func:`fusevae.impute`) and each value of x given z and
    :math:`\tilde x`. For a Bernoulli decoder that is a Bernoulli again. For others, of some draws from p(x | z) and the
    value before one is chosen with probabilities proportional to :math:`p(\tilde x \mid x)`, which leaves the
    distribution as it is (iterated sampling importance resampling, Andrieu et al. 2018).

    Args:
        artifact: a VAE with one level of latents, trained on clean data.
        data: noisy examples ``(n, *shape)`` of the kind that it was trained on.
        noise: probability of a flip, below 1/2; or standard deviation.
        label: the examples' labels, where the model is conditional.
        samples: chains for each example.
        steps: of each chain; its last state is a sample, the mean is over its second half.
        seed: of the view and of the chains.

    Returns ``samples`` ``(samples, n, *shape)`` in the data's units and dtype; ``mean`` ``(n, *shape)`` in float32; and
    ``accepted`` ``(n,)``.

    Raises :class:`InputError` for noise out of its range, and for a model without such a decoder.

    Example:
        >>> import torch
        >>> from fusevae import MLP, VAE, Artifact, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), Gaussian(MLP(1, 2), scale=0.1))
        >>> denoise(Artifact(vae, DataSpec((2,))), torch.zeros(3, 2), noise=0.5, steps=10).mean.shape
        torch.Size([3, 2])
    """
    space = Space(artifact)
    check_noise(noise, space)
    viewed = artifact.viewed

    def task(rows: Tensor, raw: Tensor, seen: Tensor, label: Tensor | None) -> Task:
        start = space.into(seen.clamp(viewed.low, viewed.high))

        def log_noise(y: Tensor) -> Tensor:
            log_p = log_gaussian(raw, space.back(y), noise, artifact)
            return log_p.sum(1, keepdim=True) if space.linked else log_p  # the channels of a pixel are chosen together

        def unflip(p: Any, _: Tensor | None) -> Tensor:
            odds = math.log((1 - noise) / noise)
            return random.sample(Bernoulli(logits=p.base_dist.logits + odds * (2 * start - 1), validate_args=False))

        def choose(p: Distribution, y: Tensor | None) -> Tensor:
            best = random.sample(p) if y is None else y
            score = log_noise(best) + gumbel(best)
            for _ in range(CANDIDATES):
                drawn = random.sample(p)
                its = log_noise(drawn) + gumbel(drawn)
                best, score = torch.where(its > score, drawn, best), torch.maximum(its, score)
            return best

        def gumbel(y: Tensor) -> Tensor:
            shape = (len(y), 1, *y.shape[2:]) if space.linked else y.shape
            return -torch.log(-torch.log(random.uniform(shape, y.device)))

        return Task(start, unflip if space.binary else choose, space.back)

    return walk(space, as_examples(artifact, data, label), task, samples, steps, seed)


def check_noise(noise: float, space: Space) -> None:
    """Refuse what is no probability of a flip, or no standard deviation."""
    if not space.artifact.data.schema.quantities:
        raise InputError("some columns hold words, which noise does not shift: give data of numbers alone")
    if space.binary and not 0 < noise < 0.5:
        raise InputError(
            f"noise is {noise:g}: the model's values are 0 and 1 and noise flips them, expected its probability, above "
            "0 and below 0.5"
        )
    if not 0 < noise < float("inf"):
        raise InputError(f"noise is {noise:g}: expected a standard deviation above 0 in the data's units")


def log_gaussian(noisy: Tensor, x: Tensor, sigma: float, artifact: Artifact) -> Tensor:
    r"""log p(noisy | x) for each value. Of integers it is the mass of all that is rounded to it,

    .. math:: \Phi\big((\tilde x + \tfrac12 - x)/\sigma\big) - \Phi\big((\tilde x - \tfrac12 - x)/\sigma\big),

    an end of the data's range standing for all that lies beyond it; of other numbers the density, without what doesn't
    depend on x.
    """
    if not artifact.data.is_discrete:
        return -0.5 * ((noisy.to(x.dtype) - x) / sigma).square()
    apart = noisy.double() - x.double()
    below, above = (((apart + by) / sigma).clamp(-1e150, 1e150) for by in (-0.5, 0.5))  # their squares are finite
    below = below.masked_fill(noisy <= artifact.data.low, -torch.inf)
    above = above.masked_fill(noisy >= artifact.data.high, torch.inf)
    # of the two tails the one in which the numbers are small, so that their difference keeps its digits
    below, above = torch.where(apart > 0, -above, below), torch.where(apart > 0, -below, above)
    upper = torch.special.log_ndtr(above)
    return upper + torch.log1p(-(torch.special.log_ndtr(below) - upper).exp())
