"""Paths through a latent space: along one of its dimensions, and from one latent to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.vocabulary import joined

Path = Literal["linear", "spherical"]


class Latents(NamedTuple):
    """The latents of ``n`` examples, on the CPU: ``z`` ``(n, *latent)``, ``scale`` of q(z | x) alike where it has one,
    and the numbers of the classes ``(n,)`` that came with the examples, or None."""

    z: Tensor
    scale: Tensor | None
    label: Tensor | None


def active(found: Latents) -> Tensor:
    """The dimensions of the flattened latent, those first whose posterior means vary most."""
    return found.z.flatten(1).var(0, correction=0).argsort(descending=True, stable=True)


def sweep(
    found: Latents, example: int, dims: int | Sequence[int], steps: int, reach: float, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The latents ``(dims, steps, *latent)`` of a traversal, the values ``(dims, steps)`` of the dimensions that are
    swept, and which these are; see :func:`fusevae.traverse`."""
    n, size = len(found.z), found.z[0].numel()
    if steps < 2 or not 0 < reach < 1:
        raise InputError(
            f"steps={steps} and reach={reach} were given: expected at least 2, and from 0 to 1 (0.95, say)"
        )
    if not 0 <= example < n:
        raise InputError(f"example {example} was given of {n}: expected a number from 0 to {n - 1}")
    means = found.z.flatten(1)
    chosen = active(found)[:dims] if isinstance(dims, int) else torch.tensor(list(dims), dtype=torch.long)
    if not len(chosen) or int(chosen.min()) < 0 or int(chosen.max()) >= size:
        raise InputError(f"dims={dims} was given, the latent has {size}: expected a number, or some of 0 to {size - 1}")
    spread = means
    if found.scale is not None:
        with noise.preserved(), noise.keyed(seed, "traverse"):
            spread = noise.sample(Normal(means, found.scale.flatten(1), validate_args=False))
    at = np.linspace((1 - reach) / 2, (1 + reach) / 2, steps)
    values = torch.from_numpy(np.quantile(spread[:, chosen].double().numpy(), at, axis=0).T).to(means.dtype)
    z = means[example].repeat(len(chosen), steps, 1)
    z.scatter_(2, chosen[:, None, None].expand(-1, steps, 1), values[..., None])
    return z.unflatten(2, found.z.shape[1:]), values, chosen


def way(a: Tensor, b: Tensor, steps: int, path: Path) -> Tensor:
    """The latents ``(n, steps, *latent)`` from each of ``a`` to that of ``b``, both ends included and exact."""
    if steps < 2:
        raise InputError(f"steps={steps} was given: expected at least 2, since both ends count")
    a, b = joined([a, b]).split(len(a))  # sequences may differ in length
    ts = torch.linspace(0, 1, steps).tolist()
    if path == "linear":
        return torch.stack([(1 - t) * a + t * b for t in ts], 1)
    flat = torch.stack([slerp(a.flatten(1), b.flatten(1), t) for t in ts], 1)
    return flat.unflatten(2, a.shape[1:])


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    r"""The point at ``t`` in [0, 1] on the great circle from ``a`` to ``b``, both ``(*batch, dims)``:

    .. math:: \frac{\sin((1 - t) \Omega)}{\sin \Omega} a + \frac{\sin(t \Omega)}{\sin \Omega} b, \quad
              \cos \Omega = \frac{a \cdot b}{|a| |b|}

    (Shoemake 1985; White 2016 for latents). Equal norms are kept; where the two point the same or opposite ways, or one
    is zero, it is the straight line.

    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
        tensor([0.7071, 0.7071])
    """
    unit_a, unit_b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    # by half the chord: the arc cosine of a product near 1 would lose the small angles
    half = torch.atan2((unit_a - unit_b).norm(dim=-1, keepdim=True), (unit_a + unit_b).norm(dim=-1, keepdim=True))
    angle = 2 * half
    zero = (a == 0).all(-1, keepdim=True) | (b == 0).all(-1, keepdim=True)  # points no way
    straight = zero | (angle.sin().abs() < 1e-4)
    sine = torch.where(straight, 1.0, angle.sin())
    # the quotients are 1 and 0 at the ends, so that these are a and b exactly
    first, second = ((1 - t) * angle).sin() / sine, (t * angle).sin() / sine
    return torch.where(straight, (1 - t) * a + t * b, first * a + second * b)


def choose_pairs(label: Tensor | None, n: int, count: int, same: bool) -> list[tuple[int, int]]:
    """At most ``count`` pairs of ``n`` examples, evenly over them, none in two: ``same`` takes pairs of one class,
    otherwise they are of two; any where there are no labels. ``label`` is ``(n,)``, or ``(n, columns)`` of several.

    Example:
        >>> choose_pairs(torch.tensor([0, 0, 0, 1, 1, 1]), 6, 2, same=False)
        [(0, 3), (4, 1)]
    """
    classes = None if label is None else label.tolist()
    free = set(range(n))
    pairs: list[tuple[int, int]] = []

    def after(i: int) -> Iterator[int]:
        return (j % n for j in range(i, i + n) if j % n in free)

    for start in (k * n // count for k in range(count)):
        for first in after(start):
            free.remove(first)
            fits = (j for j in after(first) if classes is None or (classes[j] == classes[first]) == same)
            if (second := next(fits, None)) is not None:
                free.remove(second)
                pairs.append((first, second))
                break
    return pairs
