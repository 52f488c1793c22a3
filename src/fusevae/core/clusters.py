"""Mixture of Gaussians, and of classes, of few examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDS, STILL = 60, 1e-3  # of expectation and maximisation, at most; nats of a row by which one is still worth another
FOLDS = 5
MOST = 1000  # examples by which components are chosen
NUMBERS, STRENGTHS = (1, 2, 3, 4, 6, 8), (0.3, 1.0, 3.0)  # components, and pseudo-examples of each for each dimension
STACKED = 100  # rounds by which shares of mixtures are found
SHARE = 0.1  # pseudo-examples of each class, in every component
SMALLEST = 1e-8  # variance
LEAST = 1e-3  # of the covariances' correlations, what is drawn to independence


class Clusters(NamedTuple):
    """Logarithms of weights ``(*batch, k)``, means ``(*batch, k, d)``, covariances ``(*batch, k, d, d)``, and the
    logarithms of how likely each class is ``(*batch, k, classes)``."""

    log_weights: Tensor
    means: Tensor
    covariances: Tensor
    log_shares: Tensor

    def each(self, x: Tensor, classes: Tensor) -> Tensor:
        """Log-densities ``(*batch, k, n)`` of components and examples, numbers ``(*batch, n, d)`` and indicators of
        ``classes`` ``(n, classes)``, weights included."""
        factor = torch.linalg.cholesky(self.covariances)
        volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * x.shape[-1] * math.log(2 * math.pi)
        squares = []  # one by one: all together are many
        for mean, root in zip(self.means.unbind(-2), factor.unbind(-3), strict=True):
            z = torch.linalg.solve_triangular(root, (x - mean[..., None, :]).mT, upper=False)
            squares.append(z.square().sum(-2))
        return (self.log_weights - volume)[..., None] - 0.5 * torch.stack(squares, -2) + self.log_shares @ classes.mT

    def log_prob(self, x: Tensor, classes: Tensor) -> Tensor:
        """Log-densities ``(*batch, n)`` of examples."""
        return self.each(x, classes).logsumexp(-2)


def clusters(
    x: Tensor,
    k: int,
    strength: float,
    part: Tensor | None = None,
    classes: Sequence[Tensor] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Clusters:
    r"""The mixture of ``k`` Gaussians of greatest posterior for examples ``(*batch, n, d)`` with weights ``part``
    ``(*batch, n)``, by expectation and maximisation from k-means (Fraley & Raftery 2007): each covariance is that of
    its own examples and of :math:`\nu d` more (``strength``) that have the covariance P within all clusters, drawn to
    independence by as much as the number of examples asks for (Ledoit & Wolf 2004),

    .. math:: \Sigma_k = \frac{\sum_i r_{ik} (x_i - \mu_k) (x_i - \mu_k)^\top + \nu d P}{\sum_i r_{ik} + \nu d}.

    Example:
        >>> x = torch.cat([torch.randn(300, 2) - 5, torch.randn(100, 2) + 5]).double()
        >>> found = clusters(x, 2, 0.1)
        >>> found.log_weights.exp().sort().values.round(decimals=2).tolist()
        [0.25, 0.75]
    """
    d = x.shape[-1]
    part = x.new_ones(x.shape[:-1]) if part is None else part
    total = part.sum(-1)
    told = torch.cat([x.new_zeros(x.shape[-2], 0), *classes], -1)
    first = x.flatten(0, -3)[0] if x.dim() > 2 else x
    labels = _means(torch.cat([first, told], -1), k, seed)
    r = (torch.nn.functional.one_hot(labels, k).to(x).T * part[..., None, :]).contiguous()  # (*batch, k, n)
    last = x.new_full((), -torch.inf)
    for _ in range(rounds):
        count = r.sum(-1) + 1e-9
        means = (r @ x) / count[..., None]
        own = torch.stack([_own(x, *one) for one in zip(means.unbind(-2), r.unbind(-2), strict=True)], -3)
        common = _drawn(own.sum(-3) / total[..., None, None], x, means, r, total)
        more = strength * d
        covariances = (own + more * common[..., None, :, :]) / (count + more)[..., None, None]
        shares = [means.new_zeros(*count.shape, 0), *(_shares(r, part, column) for column in classes)]
        found = Clusters(((count + 1) / (total + k)[..., None]).log(), means, covariances, torch.cat(shares, -1))
        each = found.each(x, told)
        log_p = each.logsumexp(-2)
        r = (each - log_p[..., None, :]).exp() * part[..., None, :]
        before, last = last, ((log_p * part).sum(-1) / total).mean()
        if k == 1 or last - before < STILL:
            break
    return found


def stacked(log_p: Tensor, sizes: Sequence[int], most: int) -> dict[int, float]:
    r"""The shares :math:`w` of models in their mixture of greatest held-out likelihood (stacking, Smyth & Wolpert
    1999), :math:`\sum_i \log \sum_m w_m p_m(x_i)`, by which: which of several is the best is mostly chance, and
    their mixture is better than most of them. A model has none that adds less than :math:`\log(n) / 2`
    nats in all (Schwarz 1978).

    Args:
        log_p: held-out log-densities of models and examples ``(models, n)``.
        sizes: components of each model; of those that have a share there are ``most`` at most.
        most: at least the smallest of the sizes.

    Example:
        >>> found = stacked(torch.tensor([[0.0, -9.0], [-9.0, 0.0], [-3.0, -3.0]]), [1, 1, 1], 3)
        >>> {i: round(share, 3) for i, share in found.items()}
        {0: 0.5, 1: 0.5}
    """

    def best(models: list[int]) -> tuple[float, list[float]]:
        log_w = log_p.new_full((len(models),), -math.log(len(models)))
        for _ in range(STACKED if len(models) > 1 else 0):
            shares = (log_w[:, None] + log_p[models]).log_softmax(0)
            log_w = shares.logsumexp(1) - math.log(log_p.shape[1])
        return float((log_w[:, None] + log_p[models]).logsumexp(0).sum()), log_w.exp().tolist()

    left, worth = [i for i, size in enumerate(sizes) if size <= most], 0.5 * math.log(log_p.shape[1])
    value, shares = best(left)
    while len(left) > 1:
        without, i = max((best([j for j in left if j != i])[0], i) for i in left)
        if value - without > worth and sum(sizes[j] for j in left) <= most:
            break
        left.remove(i)
        value, shares = best(left)
    return dict(zip(left, shares, strict=True))


def _own(x: Tensor, mean: Tensor, r: Tensor) -> Tensor:
    """The scatter of examples ``(*batch, n, d)`` of weights ``r`` about a mean."""
    apart = x - mean[..., None, :]
    return (apart * r[..., None]).mT @ apart


def _drawn(covariance: Tensor, x: Tensor, means: Tensor, r: Tensor, total: Tensor) -> Tensor:
    """A covariance within clusters ``(*batch, d, d)`` of examples ``x`` ``(*batch, n, d)``, about the ``means``
    ``(*batch, k, d)`` with weights ``r`` ``(*batch, k, n)``, drawn to its diagonal as by
    :func:`fusevae.core.covariance.shrunk`."""
    scale = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=SMALLEST).sqrt()
    unit = covariance / scale[..., :, None] / scale[..., None, :]
    away = (unit - torch.diag_embed(unit.diagonal(dim1=-2, dim2=-1))).square().sum((-1, -2))
    squares = torch.cdist(means / scale[..., None, :], x / scale[..., None, :]).square()  # (*batch, k, n)
    norms = (squares * r).sum(-2)
    noise = (norms.square().sum(-1) / total - unit.square().sum((-1, -2))) / total
    share = (noise / away.clamp(min=1e-12)).clamp(LEAST, 1.0)[..., None, None]
    return (1 - share) * covariance + share * torch.diag_embed(scale.square())


def _shares(r: Tensor, part: Tensor, column: Tensor) -> Tensor:
    """Logarithms of how likely each option of a column ``(n, options)`` is in each component."""
    usual = (part @ column + 0.5)[..., None, :]
    more = SHARE * column.shape[-1] * usual / usual.sum(-1, keepdim=True)
    found = r @ column + more
    return (found / found.sum(-1, keepdim=True)).log()


def _means(x: Tensor, k: int, seed: int, tries: int = 4, rounds: int = 20) -> Tensor:
    """The nearest of ``k`` means for each example ``(n, d)``, by the best of a few k-means (Arthur & Vassilvitskii
    2007)."""
    generator, best, labels = torch.Generator().manual_seed(seed), math.inf, torch.zeros(len(x), dtype=torch.long)
    unit = (x - x.mean(0)) / x.std(0).clamp(min=1e-12)
    for _ in range(tries if k > 1 else 0):
        centers = unit[torch.randint(len(x), (1,), generator=generator)]
        near = torch.full((len(x),), math.inf)
        for _ in range(k - 1):
            near = near.minimum(torch.cdist(unit, centers[-1:])[:, 0].square().cpu().float() + 1e-12)
            centers = torch.cat([centers, unit[torch.multinomial(near, 1, generator=generator)]])
        for _ in range(rounds):
            distance, nearest = torch.cdist(unit, centers).min(1)
            member = torch.nn.functional.one_hot(nearest, k).to(x)
            centers = torch.where(member.sum(0)[:, None] > 0, member.T @ unit / member.sum(0)[:, None], centers)
        if (inertia := float(distance.square().sum())) < best:
            best, labels = inertia, nearest
    return labels
