"""How far a set of molecules is from another: descriptors, fingerprints, scaffolds, and ChemNet's features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.evaluation.distances import frechet_distance
from fusevae.modalities.molecules.chemistry import canonical, chemistry, fingerprints, quiet, tanimoto

CONTINUOUS = ("BertzCT", "MolLogP", "MolWt", "TPSA")
DISCRETE = ("NumHAcceptors", "NumHDonors", "NumRotatableBonds", "NumAliphaticRings", "NumAromaticRings")
SMALL = 1e-10  # added to densities, so that their ratio is finite; as GuacaMol has it
BATCH = 512


def kl_divergences(reference: Sequence[Any], samples: Sequence[Any]) -> dict[str, float]:
    r"""KL(reference || samples) in nats of the distributions of nine descriptors and of the internal similarity.

    By Brown et al. (2019, GuacaMol): the density of a continuous descriptor is estimated with Gaussian kernels (Scott's
    bandwidth) at 1,000 points over the range of both sets, that of a discrete one by ten bins over the range of the
    reference; :math:`10^{-10}` is added to each. The internal similarity of a molecule is the largest Tanimoto
    similarity to another of its own set. GuacaMol's score is the mean of :math:`e^{-\mathrm{KL}}` over the ten.

    It differs from GuacaMol in what follows: the internal similarity is of as many molecules of both sets (the first),
    since it grows with their number; and where a set holds one value only, so that there is no density to estimate, the
    divergence is 0 for two sets of the same value and infinite otherwise.

    Args:
        reference: molecules, each of which occurs once.
        samples: the same.
    """
    ours, theirs = descriptors(reference), descriptors(samples)
    found = {name: continuous_kl(ours[name], theirs[name]) for name in CONTINUOUS}
    found |= {name: discrete_kl(ours[name], theirs[name]) for name in DISCRETE}
    n = min(len(reference), len(samples))
    inside = [nearest_and_mean(fingerprints(part[:n]))[0] for part in (reference, samples)]
    return found | {"internal similarity": continuous_kl(*inside)}


def descriptors(molecules: Sequence[Any]) -> dict[str, np.ndarray]:
    """The descriptors of GuacaMol's KL score, each ``(n,)``; 0 where rdkit finds none."""
    module, found = chemistry("Chem.Descriptors"), {}
    with quiet():
        for name in (*CONTINUOUS, *DISCRETE):
            compute = getattr(module, name)
            values = np.array([compute(m) for m in molecules], dtype=np.float64)
            found[name] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return found


def continuous_kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats of the densities that Gaussian kernels estimate from draws ``(n,)`` and ``(m,)``."""
    alone = [len(values) == 0 or bool((values == values[0]).all()) for values in (p, q)]
    if any(alone):
        return _of_points(p, q, all(alone))
    both = np.concatenate([p, q])
    x = np.linspace(both.min(), both.max(), 1000)
    return _entropy(_kernels(p, x), _kernels(q, x))


def discrete_kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats of histograms in ten bins over the range of p; what q has outside of it is left out."""
    if len(p) == 0 or len(q) == 0:
        return _of_points(p, q, True)
    counts, edges = np.histogram(p, bins=10)
    others, _ = np.histogram(q, bins=edges)
    widths = np.diff(edges)
    return _entropy(counts / counts.sum() / widths, others / max(1, others.sum()) / widths)


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    r"""The Wasserstein-1 distance :math:`\int |F_a - F_b|` of two sets of numbers ``(n,)``, ``(m,)``, in their unit.

    Example:
        >>> wasserstein(np.array([0.0, 1.0]), np.array([2.0, 3.0, 3.0, 2.0]))
        2.0
    """
    points = np.sort(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(x), points[:-1], side="right") / len(x) for x in (a, b)]
    return float((np.abs(below[0] - below[1]) * np.diff(points)).sum())


def nearest_and_mean(prints: Sequence[Any]) -> tuple[np.ndarray, float]:
    """The largest Tanimoto similarity of each molecule to another one of the set, ``(n,)``, and the mean over all pairs
    of two; 0 and NaN for a molecule alone."""
    largest, total, n = np.zeros(len(prints)), 0.0, len(prints)
    for i in range(1, n):
        row = tanimoto(prints[i], prints[:i])
        total += float(row.sum())
        largest[i] = max(largest[i], row.max())
        np.maximum(largest[:i], row, out=largest[:i])
    return largest, total / (n * (n - 1) / 2) if n > 1 else float("nan")


def nearest_of(prints: Sequence[Any], others: Sequence[Any]) -> np.ndarray:
    """The largest Tanimoto similarity of each molecule to one of ``others``, ``(n,)``."""
    return np.array([tanimoto(each, others).max() for each in prints])


def scaffolds(molecules: Sequence[Any]) -> Counter[str]:
    """How often each scaffold occurs: the rings and what links them (Bemis & Murcko 1996); without a ring there is
    none."""
    module, found = chemistry("Chem.Scaffolds.MurckoScaffold"), []
    with quiet():
        for molecule in molecules:
            try:
                found.append(module.MurckoScaffoldSmiles(mol=molecule))
            except Exception:  # rare: cutting a molecule apart can leave what rdkit refuses
                continue
    return Counter(each for each in found if each)


def cosine(a: Counter[str], b: Counter[str]) -> float:
    """The cosine of two vectors of counts; 0 where one is empty.

    Example:
        >>> cosine(Counter(x=3), Counter(x=1)), cosine(Counter(x=3), Counter(y=1))
        (1.0, 0.0)
    """
    norms = [sum(count * count for count in each.values()) for each in (a, b)]
    product = sum(count * b[name] for name, count in a.items())
    return product / (norms[0] * norms[1]) ** 0.5 if all(norms) else 0.0


def chemnet_distance(reference: Sequence[Any], samples: Sequence[Any], device: str = "cpu") -> float:
    """The squared Frechet distance of ChemNet's features (FCD, Preuer et al. 2018); at least two molecules of each.

    It falls with the number of molecules: only figures of as many can be compared.
    """
    return frechet_distance(chemnet_features(reference, device), chemnet_features(samples, device))


def chemnet_features(molecules: Sequence[Any], device: str = "cpu") -> Tensor:
    """The last hidden activations of ChemNet, ``(n, 512)``, of molecules' canonical SMILES."""
    net = chemistry("", "fcd_torch").FCD(device=device).model.to(device)
    strings = chemistry("utils", "fcd_torch").SmilesDataset([canonical(m, True) for m in molecules], canonize=False)
    found = []
    with torch.no_grad():
        for start in range(0, len(strings), BATCH):
            part = [torch.from_numpy(strings[i]) for i in range(start, min(start + BATCH, len(strings)))]
            found.append(net(torch.stack(part).float().transpose(1, 2).to(device)).cpu())
    return torch.cat(found)


def _kernels(draws: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The density at ``x`` by Gaussian kernels around draws, of the width of Scott (1992)."""
    width = len(draws) ** -0.2 * draws.std(ddof=1)
    found = np.zeros_like(x)
    for part in np.array_split(draws, 1 + len(draws) // 1000):
        found += np.exp(-0.5 * ((x[:, None] - part) / width) ** 2).sum(1)
    return found / (len(draws) * width * (2 * np.pi) ** 0.5)


def _entropy(p: np.ndarray, q: np.ndarray) -> float:
    p, q = p + SMALL, q + SMALL
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def _of_points(p: np.ndarray, q: np.ndarray, both: bool) -> float:
    return 0.0 if both and np.array_equal(np.unique(p), np.unique(q)) else float("inf")
