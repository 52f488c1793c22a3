"""How far two sets of vectors are apart: by their moments, by a kernel, by distances, by neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.typed import Count

#: distances of rows ``(n, ...)`` from rows ``(m, ...)``, some of the first at a time, as of :func:`distances`
Apart = Callable[[Tensor, Tensor], Iterator[Tensor]]
AT_ONCE = 2**20  # distances in memory at once: fewer stay in the processor's cache
CLOSEST = 0.01  # part of fresh examples that are as near to a training example as what counts as a copy
SUBSET = 1000  # of the kernel distance: at most so many vectors of each set (Binkowski et al. 2018)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    r"""The squared Frechet distance of the Gaussians that fit two sets of features ``(n, d)`` and ``(m, d)``:

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr}\big(\Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2}\big)

    (Heusel et al. 2017, there with the features of Inception). Its value depends on the features and on n and m: only
    figures with the same ones can be compared.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> round(frechet_distance(x, x + 3), 6)
        9.0
    """
    a, b = _checked(a, b, "a covariance")
    if len(a) * len(b) < a.shape[1] ** 2:  # the same by products of examples, of which there are fewer
        first, second = a - a.mean(0), b - b.mean(0)
        traces = first.square().sum() / (len(a) - 1) + second.square().sum() / (len(b) - 1)
        cross = torch.linalg.svdvals(first @ second.T).sum() / math.sqrt((len(a) - 1) * (len(b) - 1))
        return ((a.mean(0) - b.mean(0)).square().sum() + traces - 2 * cross).clamp(min=0).item()
    first, second = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # the eigenvalues of root second root are those of first second, and real
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross).clamp(min=0).item()


def kernel_distance(a: Tensor, b: Tensor) -> tuple[float, float]:
    r"""The squared maximum mean discrepancy of two sets ``(n, d)`` and ``(m, d)``, and its standard error:

    .. math:: E\,k(a, a') + E\,k(b, b') - 2 E\,k(a, b), \qquad k(a, b) = (a \cdot b / d + 1)^3

    (KID, Binkowski et al. 2018). The estimate is unbiased whatever n and m are, so it may be below zero: the mean over
    disjoint subsets of at most 1,000 vectors of each set, and at least ten of them where there are twenty vectors; the
    standard error is over the subsets.

    Example:
        >>> import torch
        >>> value, error = kernel_distance(torch.randn(500, 4), torch.randn(500, 4) + 3)
        >>> value > 10 * error
        True
    """
    a, b = _checked(a, b, "a mean over pairs")
    fewest = min(len(a), len(b))
    subsets = max(1, min(10, fewest // 2), math.ceil(fewest / SUBSET))
    size, values = fewest // subsets, []
    generator = torch.Generator().manual_seed(0)  # whatever order they came in, by class say
    a, b = (x[torch.randperm(len(x), generator=generator)] for x in (a, b))
    for i in range(subsets):
        x, y = a[i * size : (i + 1) * size], b[i * size : (i + 1) * size]
        within = [((k := _cubic(s, s)).sum() - k.trace()) / (size * (size - 1)) for s in (x, y)]
        values.append(within[0] + within[1] - 2 * _cubic(x, y).mean())
    found = torch.stack(values)
    error = found.std(unbiased=True).item() / math.sqrt(subsets) if subsets > 1 else math.nan
    return found.mean().item(), error


def energy_distance(a: Tensor, b: Tensor) -> float:
    r"""How far two distributions are apart, by all that sets ``(n, d)`` and ``(m, d)`` of them tell:

    .. math:: 2 E |a - b| - E |a - a'| - E |b - b'|

    (Szekely & Rizzo 2013). Zero only where the two are equal, so it sees what moments don't; unbiased, so an estimate
    may be a little below zero.

    Example:
        >>> import torch
        >>> energy_distance(torch.tensor([[0.0], [0.0]]), torch.tensor([[1.0], [1.0]]))
        2.0
    """
    a, b = _checked(a, b, "a mean over pairs")
    n, m = len(a), len(b)

    def total(x: Tensor, y: Tensor) -> float:
        return sum(rows.sum().item() for rows in distances(x, y))

    return 2 * total(a, b) / (n * m) - total(a, a) / (n * (n - 1)) - total(b, b) / (m * (m - 1))


def neighbourhoods(
    real: Tensor, made: Tensor, near: Count = 3, dense: Count = 5, apart: Apart | None = None
) -> dict[str, float]:
    r"""Four figures from the balls around each vector that reach to its k-th nearest neighbour in its own set.

    ``precision``: the part of ``made`` ``(m, d)`` in a ball of ``real`` ``(n, d)``; ``recall``: the part of ``real`` in
    a ball of ``made`` (Kynkaanniemi et al. 2019, k = ``near``). ``density``: how many balls of ``real`` one of ``made``
    lies in, divided by k, about 1 for equal distributions; ``coverage``: the part of the balls of ``real`` that hold
    any of ``made`` (Naeem et al. 2020, k = ``dense``): neither lets an outlier among ``real`` make a large ball count
    for much. ``apart`` gives other distances than Euclidean ones, as :func:`distances` does.

    Example:
        >>> import torch
        >>> x = torch.arange(10.0)[:, None]
        >>> neighbourhoods(x, x + 100)["precision"], neighbourhoods(x, x)["recall"]
        (0.0, 1.0)
    """
    real, made = _checked(real, made, "neighbours")
    k = min(len(real), len(made)) - 1
    near, dense = min(near, k), min(dense, k)
    apart = apart or distances
    radii = nearest(real, real, max(near, dense), itself=False, apart=apart)[0]
    theirs = nearest(made, made, near, itself=False, apart=apart)[0][:, near - 1]
    precise, inside, recalled, covered = 0, 0, [], []
    for start, rows in _numbered(apart(real, made)):
        recalled.append((rows <= theirs).any(1))
        covered.append((rows <= radii[start : start + len(rows), dense - 1, None]).any(1))
    for rows in apart(made, real):
        precise += int((rows <= radii[:, near - 1]).any(1).sum())
        inside += int((rows <= radii[:, dense - 1]).sum())
    return {
        "precision": precise / len(made),
        "recall": torch.cat(recalled).double().mean().item(),
        "density": inside / (dense * len(made)),
        "coverage": torch.cat(covered).double().mean().item(),
    }


def nearest(a: Tensor, b: Tensor, k: int = 1, itself: bool = True, apart: Apart | None = None) -> tuple[Tensor, Tensor]:
    """Distances to the ``k`` rows of ``b`` nearest to each of ``a``, and their numbers, both ``(len(a), k)``; where
    ``a`` is ``b``, without ``itself`` a row is no neighbour of its own."""
    values, indices = [], []
    for start, rows in _numbered((apart or distances)(a, b)):
        if not itself:
            rows[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = math.inf
        found = rows.topk(k, largest=False)
        values.append(found.values)
        indices.append(found.indices)
    return torch.cat(values), torch.cat(indices)


def copies(ours: Tensor, fresh: Tensor, theirs: Tensor, between: Tensor) -> Tensor:
    """Which samples are copies: those nearer to training examples than all but ``CLOSEST`` of held-out ones are, also
    in parts of how far they are from held-out ones. What is near to all, as a grey picture is, is no copy.

    Args:
        ours: distances of samples from the nearest training example.
        fresh: from the nearest held-out one.
        theirs: of held-out examples from the nearest training one.
        between: from the nearest other held-out one.

    Example:
        >>> theirs, between = torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0])
        >>> copies(torch.tensor([0.5, 0.5]), torch.tensor([0.6, 1.5]), theirs, between).tolist()
        [False, True]
    """
    part, usual = (torch.where(x + y > 0, x / (x + y), 0.5) for x, y in ((ours, fresh), (theirs, between)))
    return (ours < theirs.quantile(CLOSEST)) & (part < usual.quantile(CLOSEST))


def distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Euclidean distances of rows ``(n, d)`` from rows ``(m, d)``, some rows of ``a`` at a time, ``(rows, m)``: each in
    the same memory as those before (fresh pages for each took most of the time), so that it holds until the next.

    By products of matrices, which is fast; equal rows are at distance zero all the same.
    """
    centre = b.double().mean(0)
    a, b = a.double() - centre, b.double() - centre
    first, second = a.square().sum(1), b.square().sum(1)
    each = min(len(a), max(1, AT_ONCE // len(b)))
    both = a.new_empty(2, each, len(b))
    for start in range(0, len(a), each):
        cut = slice(start, start + each)
        squares, norms = both[:, : len(a[cut])]
        torch.add(first[cut, None], second, out=norms)
        torch.mm(2 * a[cut], b.T, out=squares)
        torch.sub(norms, squares, out=squares)
        squares.masked_fill_(squares < norms.mul_(1e-12), 0.0)  # what rounding left
        yield squares.clamp_(min=0).sqrt_()


def _numbered(blocks: Iterator[Tensor]) -> Iterator[tuple[int, Tensor]]:
    start = 0
    for rows in blocks:
        yield start, rows
        start += len(rows)


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _checked(a: Tensor, b: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
    for x in (a, b):
        if len(x) < 2:
            raise InputError(f"{len(x)} features were given: expected at least two, for {purpose}")
    return a.double(), b.double()
