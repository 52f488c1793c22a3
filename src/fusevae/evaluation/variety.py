"""Have samples the variety of real examples: each class or group of them, as wide a spread, as much detail?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from fusevae.evaluation.intervals import interval_of_part, spread
from fusevae.evaluation.verdict import Failing

LEFT_OUT = 0.25  # of its share of real examples, under which a class counts as left out
NARROW = 0.75  # of the spread of real examples, or of their detail
GROUPS, OF = 12, 25  # groups of features at most, and of how many examples each on average at least

#: parts of the samples and of the real examples that are of a class, by its name; they may overlap; and, where they are
#: of more than a count of samples, the most that the first and the least that the second may be
Shares = Mapping[str, Sequence[float]]


def shares(made: np.ndarray, real: np.ndarray, names: Sequence[str]) -> dict[str, list[float]]:
    """The part of samples and of real examples that are of each class; classes by their places, ``(n,)``.

    Example:
        >>> shares(np.array([0, 0]), np.array([0, 1]), ["a", "b"])
        {'a': [1.0, 0.5], 'b': [0.0, 0.5]}
    """
    return {name: [float((x == i).mean()) for x in (made, real)] for i, name in enumerate(names)}


def corrected(made: np.ndarray, told: np.ndarray, true: np.ndarray, names: Sequence[str]) -> dict[str, list[float]]:
    r"""The same by what a classifier takes examples for, corrected for what it mistakes (Rogan & Gladen 1978): a class
    that is found in a part h of the samples has the share

    .. math:: \pi = (h - f) / (t - f)

    of them, with t the part of its real examples in which it is found, and f that of others. How large it may be is
    told by the intervals of h and f (Newcombe 1998); the share of real examples is that of their classes themselves.

    Args:
        made: what samples are taken for, ``(n,)``.
        told: what real examples are taken for, ``(m,)``.
        true: what these are.
        names: of the classes.

    Example:
        >>> true = np.arange(400) % 2
        >>> told = np.where(np.arange(400) < 40, 0, true)  # 20 of 200 are mistaken
        >>> [round(x, 2) for x in corrected(np.repeat([0, 1], [10, 90]), told, true, ["a", "b"])["a"]]
        [0.0, 0.5, 0.09, 0.45]
    """
    found: dict[str, list[float]] = {}
    for i, name in enumerate(names):
        of, h = true == i, float((made == i).mean())
        if not of.any() or of.all():
            found |= {name: [h, float(of.mean())]}
            continue
        t, f = (float((told[part] == i).mean()) for part in (of, ~of))
        if t <= f:
            continue  # it can't be told
        share = min(1.0, max(0.0, (h - f) / (t - f)))
        above = interval_of_part(h, len(made))[1] - h, f - interval_of_part(f, int((~of).sum()))[0]
        most, real = min(1.0, share + math.hypot(*above) / (t - f)), float(of.mean())
        found[name] = [share, real, most, interval_of_part(real, len(true))[0]]
    return found


def groups(fitted: Tensor, made: Tensor, real: Tensor) -> dict[str, list[float]]:
    """The same of groups of like examples, found by k-means on features ``(n, d)`` of other real ones."""
    from sklearn.cluster import KMeans

    k = min(GROUPS, len(fitted) // OF)
    if k < 2:
        return {}
    means = KMeans(k, n_init=4, random_state=0).fit(fitted.double().numpy())
    ours, theirs = (means.predict(x.double().numpy()) for x in (made, real))
    return shares(ours, theirs, [f"a group of like examples ({i + 1} of {k})" for i in range(k)])


def left_out(found: Shares | None, n: int) -> list[Failing]:
    """Classes that ``n`` samples surely have far less often than real examples do: the interval of the difference of
    the one share and a part of the other, of the intervals of both (Zou & Donner 2008), lies below 0.

    Example:
        >>> [each.evidence for each in left_out({"cat": [0.0, 0.3], "dog": [1.0, 0.7]}, 200)]
        ['cat: 0.0% of the samples, 30.0% of real examples']
    """
    lacking = {}
    for name, (made, real, *sides) in (found or {}).items():
        most, least = sides or (interval_of_part(made, n)[1], interval_of_part(real, n)[0])
        if made - LEFT_OUT * real + math.hypot(most - made, LEFT_OUT * (real - least)) < 0:
            lacking[name] = made, real
    if not lacking:
        return []
    worst = sorted(lacking, key=lambda name: -lacking[name][1])
    name, more = worst[0], f" (and {len(lacking) - 1} more)" * (len(lacking) > 1)
    says = "{}: {:.1%} of the samples, {:.1%} of real examples".format(name, *lacking[name])
    return [Failing("not covering the data", says + more, "train longer, or take a larger model")]


def width(real: Tensor, made: Tensor) -> tuple[float, list[float]] | None:
    """How widely numbers ``(n, d)`` spread, as a part of what real ones do, with the interval: the geometric mean over
    the columns of the ratio of mean absolute deviations; NaN is left out, None where nothing varies, or of fewer than
    four examples, of which it can't be told.

    Example:
        >>> import torch
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> round(width(x, 0.5 * x)[0], 2)
        0.5
    """
    used = [i for i in range(real.shape[1]) if _deviation(real[:, i]) > 0]

    def figures(a: Tensor, b: Tensor) -> dict[str, float]:
        pairs = [(_deviation(a[:, i]), _deviation(b[:, i])) for i in used]
        return {"width": sum(math.log(max(y, 1e-3 * x) / x) for x, y in pairs if x > 0) / max(1, len(pairs))}

    if not used:
        return None
    whole = figures(real, made)
    error = spread(figures, real, made, whole).error.get("width")
    if error is None:
        return None
    middle, reach = whole["width"], 1.96 * error
    return math.exp(middle), [math.exp(middle - reach), math.exp(middle + reach)]


def ratio(ours: Tensor, theirs: Tensor, power: float = 1.0) -> tuple[float, list[float]]:
    """The ratio of two means, each over examples ``(n,)`` that are never negative, to a power (0.5 for squares), with
    its interval; 1 where the second is 0.

    Example:
        >>> import torch
        >>> round(ratio(torch.full((9,), 1.0), torch.full((9,), 4.0), 0.5)[0], 3)
        0.5
    """
    found, error = 1.0, 0.0
    if theirs.mean() > 0:
        found = (ours.mean() / theirs.mean()).item() ** power
        parts = [(d.var() / len(d) / d.mean().square()).item() for d in (ours, theirs) if d.mean() > 0]
        error = power * math.sqrt(sum(parts))  # of its logarithm
    return found, [found * math.exp(-1.96 * error), found * math.exp(1.96 * error)]


def narrow(sides: Sequence[float] | None, says: str, remedy: str) -> list[Failing]:
    """That samples are blurred, where what is in this interval is surely less than in real examples."""
    return [Failing("blurred", says, remedy)] if sides is not None and max(sides) < NARROW else []


def _deviation(x: Tensor) -> float:
    """The mean absolute deviation from the median of the numbers that are there."""
    there = x[~x.isnan()]
    return (there - there.median()).abs().mean().item() if len(there) else 0.0
