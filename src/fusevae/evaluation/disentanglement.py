"""Disentanglement: whether each dimension of the latent stands for one factor of variation of the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import array_of
from fusevae.evaluation.reading import read

SOFT_BINS, HARD_BINS = 50, 20  # of a dimension: of Gaussians, and of points
CHUNK = 10_000  # examples at once
VOTES, TOGETHER = 2000, 64  # of the FactorVAE score, and examples of a vote
ACTIVE = 0.05  # part of its variance that must be between examples for a dimension to have a vote
TREES, LEAF = 20, 5  # of a forest; examples in a leaf at least


def disentanglement(artifact: Artifact, images: Any, factors: Any, seed: int = 0) -> dict[str, Any]:
    """Three scores from 0 to 1 of how far single dimensions of the latent stand for single factors of the data.

    * ``mig``, the mutual information gap, see :func:`mig` (Chen et al. 2018), from the Gaussians q(z | x) where the
      model gives their scale, else from points in 20 bins; ``mig_per_factor`` before the mean.
    * ``dci_disentanglement``, ``dci_completeness`` and ``dci_informativeness``, see :func:`dci` (Eastwood & Williams
      2018), of the posterior means.
    * ``factor_vae``, see :func:`factor_vae` (Kim & Mnih 2018), of the posterior means.

    Args:
        artifact: a model with latents.
        images: raw examples ``(n, *shape)``, some thousands.
        factors: the factors behind each, integers ``(n, factors)``, drawn independently of each other.
        seed: of the view, the split into training and test examples, the forests and the votes.

    Raises :class:`InputError` where a factor has a single value.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> found = disentanglement(Artifact(vae, DataSpec((4,))), torch.randn(200, 4), torch.randint(3, (200, 2)))
        >>> sorted(found)
        ['dci_completeness', 'dci_disentanglement', 'dci_informativeness', 'factor_vae', 'mig', 'mig_per_factor', 'n']
    """
    found = read(artifact, images, seed=seed)
    z, scale = found.z.flatten(1), None if found.scale is None else found.scale.flatten(1)
    factors = check_factors(factors, len(z))
    gaps = mig(z, factors, scale)
    names = ("dci_disentanglement", "dci_completeness", "dci_informativeness")
    return {
        "n": len(z),
        "mig": gaps.mean().item(),
        "mig_per_factor": gaps.tolist(),
        **dict(zip(names, dci(z, factors, seed), strict=True)),
        "factor_vae": factor_vae(z, factors, scale, seed),
    }


def check_factors(factors: Any, n: int) -> Tensor:
    """``factors`` as numbers of values, 0 to below the count of each: int64 ``(n, factors)``."""
    factors = torch.as_tensor(array_of(factors, "factors", "biuf"))
    if factors.dim() != 2 or len(factors) != n or factors.is_floating_point():
        raise InputError(
            f"factors of shape {tuple(factors.shape)} and {factors.dtype} were given for {n} examples: expected "
            f"integers ({n}, factors)"
        )
    coded = [column.unique(return_inverse=True) for column in factors.T]
    if single := [k for k, (values, _) in enumerate(coded) if len(values) < 2]:
        raise InputError(f"factor {single[0]} has the same value in every example: leave it out, or give more examples")
    return torch.stack([inverse for _, inverse in coded], 1)


def mig(z: Tensor, factors: Tensor, scale: Tensor | None = None) -> Tensor:
    r"""The mutual information gap of each factor, ``(factors,)`` (Chen et al. 2018): by how much more the best
    dimension knows of it than the second best,

    .. math:: \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    A dimension is cut into bins of equal width. With ``scale``, the probability of each bin is exact under the mixtures
    of Gaussians :math:`q(z_d) = \frac1n \sum_i q(z_d | x_i)` and :math:`q(z_d | v_k)` (50 bins); without, the points
    are counted (20 bins).

    Args:
        z: means, or points ``(n, dims)``.
        factors: ``(n, factors)`` from 0.
        scale: of the Gaussians ``(n, dims)``.

    Example:
        >>> v = torch.cartesian_prod(torch.arange(4), torch.arange(3))
        >>> mig(v.float(), v).round(decimals=6)
        tensor([1., 1.], dtype=torch.float64)
    """
    information = mutual_information(z, factors, scale)
    entropies = torch.stack([_entropy(v.bincount() / len(v)) for v in factors.T])
    best = torch.cat([information, information.new_zeros(1, factors.shape[1])]).topk(2, 0).values
    return (best[0] - best[1]) / entropies


def mutual_information(z: Tensor, factors: Tensor, scale: Tensor | None = None) -> Tensor:
    """I(z_d; v_k) in nats, ``(dims, factors)`` in float64; arguments as of :func:`mig`."""
    n, dims = z.shape
    z, scale = z.double(), None if scale is None else scale.double()
    counts = (factors.max(0).values + 1).tolist()
    found = torch.zeros(dims, len(counts), dtype=torch.float64)
    for d in range(dims):
        wide = 0.0 if scale is None else 3 * scale[:, d]
        low, high = (z[:, d] - wide).min(), (z[:, d] + wide).max()
        bins = HARD_BINS if scale is None else SOFT_BINS
        edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1] * (high - low) + low
        joint = [torch.zeros(count, bins, dtype=torch.float64) for count in counts]
        for rows in torch.arange(n).split(CHUNK):
            part = _in_bins(z[rows, d], edges, None if scale is None else scale[rows, d])
            for k, table in enumerate(joint):
                table.index_add_(0, factors[rows, k], part)
        for k, table in enumerate(joint):
            p = table / n
            found[d, k] = _entropy(p.sum(0)) + _entropy(p.sum(1)) - _entropy(p.flatten())
    return found.clamp(min=0)


def dci(z: Tensor, factors: Tensor, seed: int = 0) -> tuple[float, float, float]:
    r"""Disentanglement, completeness and informativeness (Eastwood & Williams 2018).

    A random forest predicts each factor from the latent on half of the examples. Its importances
    :math:`R_{dk}` (Breiman 2001) say which dimensions it used. A dimension is disentangled as far as one factor has all
    of its importance, :math:`1 - H(R_{d\cdot}) / \log K`, averaged with the importance of the dimensions as weights; a
    factor is complete as far as one dimension has all of it, :math:`1 - H(R_{\cdot k}) / \log D`. Informativeness is
    the accuracy on the other half.

    Args:
        z: points ``(n, dims)``.
        factors: ``(n, factors)`` from 0.
        seed: of the split and of the forests.
    """
    from sklearn.ensemble import RandomForestClassifier

    order = torch.randperm(len(z), generator=_generator(seed, "dci")).numpy()
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    points, accuracies, importances = z.numpy(), [], []
    for v in factors.T.numpy():
        # all dimensions at each split: those that happen to be tried would share what belongs to one
        forest = RandomForestClassifier(TREES, max_features=None, min_samples_leaf=LEAF, random_state=seed % 2**32)
        forest.fit(points[train], v[train])
        accuracies.append(float((forest.predict(points[test]) == v[test]).mean()))
        importances.append(forest.feature_importances_)
    r = torch.from_numpy(np.stack(importances, 1)).double()
    dims, count = r.shape
    weights = r.sum(1) / r.sum().clamp(min=1e-300)
    single = torch.stack([_concentration(row, count) for row in r])
    complete = torch.stack([_concentration(column, dims) for column in r.T])
    return (weights * single).sum().item(), complete.mean().item(), float(np.mean(accuracies))


def factor_vae(z: Tensor, factors: Tensor, scale: Tensor | None = None, seed: int = 0) -> float:
    """The score of Kim & Mnih (2018): 64 examples share one value of one factor; the dimension that varies least among
    them, relative to all examples, votes for that factor. Each dimension is given the factor that most of 2,000 votes
    say; the score is the part of 2,000 others that agree.

    A dimension in which less than 5 % of the variance of q(z) is between the means of examples has no vote: it has
    collapsed to the prior. Chance is about 1 / factors.

    Args:
        z: points ``(n, dims)``.
        factors: ``(n, factors)`` from 0.
        scale: of q(z | x), ``(n, dims)``.
        seed: of the votes.
    """
    z = z.double()
    variance = z.var(0, correction=0)
    whole = variance + (0.0 if scale is None else scale.double().square().mean(0))
    kept = variance > ACTIVE * whole
    if not kept.any():
        return 0.0
    z = z[:, kept] / variance[kept].sqrt()
    votes = torch.zeros(2, z.shape[1], factors.shape[1])
    generator = _generator(seed, "votes")
    for half in range(2):
        k = torch.randint(factors.shape[1], (VOTES,), generator=generator)
        for i, v in enumerate(factors.T):
            n = int((k == i).sum())
            value = v[torch.randint(len(v), (n,), generator=generator)]
            order, counts = v.argsort(stable=True), v.bincount()
            start = (counts.cumsum(0) - counts)[value]
            # 64 of the examples that have the value, with replacement
            step = (torch.rand(n, TOGETHER, generator=generator) * counts[value][:, None]).long()
            least = z[order[start[:, None] + step]].var(1).argmin(1)
            votes[half, :, i] += least.bincount(minlength=z.shape[1])
    chosen = votes[0].argmax(1, keepdim=True)
    return (votes[1].gather(1, chosen).sum() / votes[1].sum()).item()


def _in_bins(z: Tensor, edges: Tensor, scale: Tensor | None) -> Tensor:
    """The probability of each bin, ``(n, bins)``; the outer ones have no end."""
    if scale is None:
        bins: Tensor = torch.bucketize(z, edges, right=True)
        return torch.nn.functional.one_hot(bins, len(edges) + 1).double()
    below = torch.special.ndtr((edges - z[:, None]) / scale[:, None])
    ends = below.new_zeros(len(z), 1)
    return torch.cat([ends, below, ends + 1], 1).diff(dim=1)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p.double()).sum()


def _concentration(importances: Tensor, n: int) -> Tensor:
    """1 where one of ``n`` importances has all, 0 where all are equal."""
    if n == 1:
        return torch.ones((), dtype=torch.float64)
    return 1 - _entropy(importances / importances.sum().clamp(min=1e-300)) / math.log(n)


def _generator(seed: int, word: str) -> torch.Generator:
    return torch.Generator().manual_seed(noise.key(seed, word))
