"""How good sampled molecules are: valid, new, of many kinds, and spread as real ones are."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.evaluation.samples import sample
from fusevae.modalities.molecules.chemistry import PROPERTIES, canonical, fingerprints, measures, parse
from fusevae.modalities.molecules.distances import (
    chemnet_distance,
    cosine,
    kl_divergences,
    nearest_and_mean,
    nearest_of,
    scaffolds,
    wasserstein,
)

LIMIT = 10_000  # molecules of each set that are compared; GuacaMol takes as many
UNITS = {"qed": "", "sa": "", "logp": "", "weight": " g/mol"}


def molecule_quality(
    samples: Sequence[str],
    train: Iterable[str] | None,
    reference: Sequence[str],
    fcd: bool = True,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """The figures of MOSES and GuacaMol for molecules that a model made.

    Args:
        samples: SMILES strings, as they were drawn.
        train: those that the model was trained on; None leaves novelty out.
        reference: real molecules that were held out. GuacaMol's own KL and FCD scores are against molecules of the
            training set: give that as the reference to compare with published ones.
        fcd: compute the Frechet ChemNet distance, which needs ``fcd_torch``, and on one core a minute for 10,000.
        seed: of the draw of 10,000, where there are more.
        device: of ChemNet.

    Returns a dictionary; ``of`` says of how many molecules each figure is (samples, and reference where it takes part):

    * ``validity``: the part of the samples that :func:`parse` knows; ``uniqueness``: distinct ones of the valid;
      ``novelty``: of the distinct ones, those that are not in ``train``. Molecules are told apart by their canonical
      SMILES without stereochemistry, as GuacaMol does it.
    * ``kl_score``: the mean of exp(-KL) over the divergences in ``kl`` (:func:`kl_divergences`), of distinct molecules.
    * ``fcd`` (:func:`chemnet_distance`) and ``fcd_score`` = exp(-0.2 FCD).
    * ``snn``: the mean Tanimoto similarity to the nearest of the reference; ``diversity``: 1 less the mean similarity
      of all pairs of two samples.
    * ``scaffolds``: how many different Bemis-Murcko scaffolds; ``scaffold_similarity``: the cosine of their counts with
      those of the reference.
    * ``wasserstein``: the distances of the distributions of QED, SA, logP and weight; ``mean`` and ``reference_mean``.

    What there are too few molecules for is None. Figures other than validity, uniqueness and novelty are of at most
    10,000 valid samples, duplicates included but for the KL.
    """
    if not samples:
        raise InputError("no samples were given: expected at least one SMILES string")
    real = [m for m in map(parse, reference) if m is not None]
    if len(real) < 2:
        raise InputError(f"of {len(reference)} reference strings {len(real)} can be parsed: expected two molecules")
    made = [m for m in map(parse, samples) if m is not None]
    distinct = {canonical(m) for m in made}
    trained = None if train is None else {canonical(m) for m in map(parse, train) if m is not None}
    novel = None if trained is None else distinct - trained
    found: dict[str, Any] = {
        "n": len(samples),
        "valid": len(made),
        "unique": len(distinct),
        "novel": None if novel is None else len(novel),
        "train": None if trained is None else len(trained),
        "reference": len(real),
        "reference_invalid": len(reference) - len(real),
        "validity": len(made) / len(samples),
        "uniqueness": len(distinct) / len(made) if made else None,
        "novelty": len(novel) / len(distinct) if novel is not None and distinct else None,
        "seed": seed,
    }
    found["of"] = {"validity": [len(samples)], "uniqueness": [len(made)], "novelty": [len(distinct)]}
    made, real = drawn(made, LIMIT, seed), drawn(real, LIMIT, seed)
    return found | compared(made, real, fcd, device, found["of"])


class MoleculeReference:
    """Real molecules that samples are held against, made once for all the models that are compared.

    Args:
        held: molecules that no model was trained on.
        train: those that the models were trained on, to find copies; or None.
        n: samples of each model.
    """

    def __init__(self, held: Examples, train: Examples | None = None, n: int = 10_000) -> None:
        x, self.given = held.batch(torch.arange(len(held)))
        self.n, self.held = n, held.spec.text(x)
        parts = torch.arange(len(train) if train is not None else 0).split(1000)
        self.train = None if train is None else [t for p in parts for t in train.spec.text(train.batch(p)[0])]

    def judge(self, artifact: Artifact, kind: str = "auto", seed: int = 0) -> dict[str, Any]:
        """:func:`molecule_quality` of samples at temperature 1, and ``seconds_per_sample``, in batches of 256.

        A model that is given conditions gets those of the held-out molecules, and ``as_asked`` says how near its
        samples come to them (:func:`as_asked`); None for any other.
        """
        known = artifact.data.conditions if artifact.is_conditional else None
        asked = None
        if known is not None and self.given is not None:
            asked = self.given[torch.arange(self.n) % len(self.given)]
        started = time.perf_counter()
        x = sample(artifact, self.n, asked, seed)
        seconds = (time.perf_counter() - started) / self.n
        made = artifact.data.text(x)
        found = molecule_quality(made, self.train, self.held, seed=seed)
        numbers = None if asked is None or known is None else known.numbers(asked)
        found["as_asked"] = None if numbers is None or known is None else as_asked(made, numbers, known.names)
        return found | {"n": self.n, "kind": "sample", "seed": seed, "features": None, "seconds_per_sample": seconds}

    def lines(self, found: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The figures of :meth:`judge` in words."""
        return [*molecule_lines(found), ("time of a sample", f"{1000 * found['seconds_per_sample']:.3g} ms")]


def as_asked(smiles: Sequence[str], asked: Tensor, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """How near molecules come to the properties ``(n, len(names))`` that they were to have, by name, of those that can
    be parsed: ``error``, the mean absolute difference; ``by_chance``, that of the same molecules to what was asked of
    others (the next ones); ``correlation`` of what was asked and what was got.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> found = as_asked(["C", "CC", "CCC("], torch.tensor([[16.0], [30.0], [44.0]]), ["weight"])["weight"]
        >>> {name: round(value, 2) for name, value in found.items()}
        {'error': 0.06, 'by_chance': 14.01, 'correlation': 1.0}
    """
    molecules = [parse(text) for text in smiles]
    found = {}
    for i, name in enumerate(names):
        if name not in PROPERTIES:
            continue
        got, wanted = measures(molecules, [name])[name], asked[:, i].double().numpy()
        known = np.isfinite(got) & np.isfinite(wanted)
        got, wanted = got[known], wanted[known]
        if len(got) > 1:
            error = {"error": abs(got - wanted).mean(), "by_chance": abs(got - np.roll(wanted, 1)).mean()}
            spread = got.std() * wanted.std()
            correlation = ((got - got.mean()) * (wanted - wanted.mean())).mean() / spread if spread else 0.0
            found[name] = {key: float(v) for key, v in (error | {"correlation": correlation}).items()}
    return found


def compared(made: Sequence[Any], real: Sequence[Any], fcd: bool, device: str, of: dict[str, Any]) -> dict[str, Any]:
    """The figures that set samples beside the reference; adds to ``of``."""
    pairs = [len(made), len(real)]
    keys = ("kl_score", "kl", "fcd", "fcd_score", "snn", "diversity", "scaffolds", "scaffold_similarity")
    found: dict[str, Any] = dict.fromkeys((*keys, "wasserstein", "mean", "reference_mean"))
    of |= {"fcd": pairs, "snn": pairs, "diversity": [len(made)], "scaffolds": pairs, "wasserstein": pairs}
    once = [_distinct(real), _distinct(made)]
    of["kl_score"] = [len(once[1]), len(once[0])]
    found["reference_scaffolds"] = len(theirs := scaffolds(real))
    if not made:
        return found
    ours, prints = scaffolds(made), fingerprints(made)
    found |= {"scaffolds": len(ours), "scaffold_similarity": cosine(ours, theirs)}
    found["snn"] = float(nearest_of(prints, fingerprints(real)).mean())
    if len(made) > 1:
        found["diversity"] = 1 - nearest_and_mean(prints)[1]
        found["fcd"] = chemnet_distance(real, made, device) if fcd else None
        found["fcd_score"] = math.exp(-0.2 * found["fcd"]) if fcd else None
    found["kl"] = kl_divergences(*once)
    found["kl_score"] = sum(math.exp(-value) for value in found["kl"].values()) / len(found["kl"])
    a, b = ({name: v[~torch.from_numpy(v).isnan().numpy()] for name, v in measures(x).items()} for x in (made, real))
    found["wasserstein"] = {name: wasserstein(a[name], b[name]) for name in a if len(a[name]) and len(b[name])}
    found["mean"] = {name: float(v.mean()) for name, v in a.items() if len(v)}
    found["reference_mean"] = {name: float(v.mean()) for name, v in b.items() if len(v)}
    return found


def drawn(items: Sequence[Any], most: int, seed: int) -> list[Any]:
    """At most so many of them, by chance; in their own order where there are no more."""
    if len(items) <= most:
        return list(items)
    generator = torch.Generator().manual_seed(noise.key(seed, "molecules"))
    return [items[i] for i in torch.randperm(len(items), generator=generator)[:most].tolist()]


def molecule_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures in words; each says of how many molecules it is."""
    rows = [("molecules", f"{found['n']:,} samples, {found['n'] - found['valid']:,} of them can't be parsed")]
    if found["reference_invalid"]:
        rows.append(("left out", f"{found['reference_invalid']:,} reference strings, which can't be parsed"))
    digits = {"validity": 4, "uniqueness": 4, "novelty": 4, "kl_score": 4, "fcd": 3, "snn": 4, "diversity": 4}
    names = {"kl_score": "KL score", "fcd": "FCD", "snn": "nearest similarity", "diversity": "internal diversity"}
    for key, places in digits.items():
        if found[key] is not None:
            more = f" (score {found['fcd_score']:.4f})" if key == "fcd" else ""
            rows.append((names.get(key, key), f"{found[key]:.{places}f}{more}, {_of(found['of'][key])}"))
    if found["scaffolds"] is not None:
        text = f"{found['scaffolds']:,} different ones, the reference has {found['reference_scaffolds']:,}"
        rows.append(
            ("scaffolds", f"{text}; similarity {found['scaffold_similarity']:.4f}, {_of(found['of']['scaffolds'])}")
        )
    for name, value in (found.get("as_asked") or {}).items():
        text = f"off by {value['error']:.3g}{UNITS[name]} on average (by chance {value['by_chance']:.3g})"
        rows.append((f"{name}, as asked", f"{text}, correlation {value['correlation']:.3f}"))
    for name, value in (found["wasserstein"] or {}).items():
        mean, real, unit = found["mean"][name], found["reference_mean"][name], UNITS[name]
        rows.append((name, f"mean {mean:.4g}{unit}, of the reference {real:.4g}{unit}; Wasserstein {value:.4g}{unit}"))
    return rows


def _of(numbers: Sequence[int]) -> str:
    words = f"of {numbers[0]:,}"
    return words if len(numbers) == 1 else f"{words} against {numbers[1]:,}"


def _distinct(molecules: Sequence[Any]) -> list[Any]:
    return list({canonical(m): m for m in molecules}.values())
