"""How good sampled molecules are: valid, new, of many kinds, and spread as real ones are."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.evaluation.asked import Teller
from fusevae.evaluation.intervals import interval_of_part
from fusevae.evaluation.judge import LEAST, Judge, SampleQuality, timed_samples
from fusevae.evaluation.results import figure
from fusevae.evaluation.samples import Kind
from fusevae.evaluation.variety import NARROW, narrow, width
from fusevae.evaluation.verdict import PART, Failing, further
from fusevae.modalities.molecules.chemistry import canonical, fingerprints, kinds_of, measures, parse
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
UNITS = {"weight": "g/mol"}
VALID, NOVEL = 0.5, 0.5  # of the samples, and of the distinct molecules, under which something is wrong
WIDE = 1 / NARROW  # of the spread of real molecules


def _of(key: str, both: bool = False) -> str:
    return f"of {{of[{key}][0]:,}}" + (f" against {{of[{key}][1]:,}}" if both else "")


class MoleculeQuality(SampleQuality):
    """The figures of MOSES and GuacaMol for molecules that a model made; what there are too few for is None.

    Molecules are told apart by their canonical SMILES without stereochemistry, as GuacaMol does it. Figures other than
    validity, uniqueness and novelty are of at most 10,000 valid samples, duplicates included but for the KL.

    Attributes:
        valid, unique, novel, train, reference, reference_invalid: how many molecules there are of each.
        of: of how many molecules each figure is: samples, and reference where it takes part.
        validity: the part of the samples that :func:`parse` knows.
        uniqueness: distinct ones of the valid.
        novelty: of the distinct ones, those that are not in the training set.
        kl_score: the mean of exp(-KL) over the divergences in ``kl`` (:func:`kl_divergences`), of distinct molecules.
        fcd: :func:`chemnet_distance`.
        fcd_score: exp(-0.2 FCD).
        snn: the mean Tanimoto similarity to the nearest of the reference.
        diversity: 1 less the mean similarity of all pairs of two samples.
        scaffolds: how many different Bemis-Murcko scaffolds; ``reference_scaffolds`` of the reference.
        scaffold_similarity: the cosine of their counts with those of the reference.
        wasserstein: the distances of the distributions of QED, SA, logP and weight.
        mean: of these; ``reference_mean`` of the reference.
        width: how widely these spread, as a part of what they do in the reference, with its interval ``sides``.
    """

    valid: int
    unique: int
    novel: int | None
    train: int | None
    reference: int = figure(
        "real ones", form=lambda n: f"{n:,} molecules", hint="{reference_invalid:,} can't be parsed"
    )
    reference_invalid: int
    of: dict[str, list[int]]
    validity: float = figure(
        "validity", better="high", form=".4f", interval="intervals", hint=_of("validity"), decides=1
    )
    uniqueness: float | None = figure("uniqueness", better="high", form=".4f", hint=_of("uniqueness"))
    novelty: float | None = figure("novelty", better="high", form=".4f", interval="intervals", hint=_of("novelty"))
    kl_score: float | None = figure("KL score", better="high", form=".4f", hint=_of("kl_score", True), default=None)
    kl: dict[str, float] | None = None
    fcd: float | None = figure("FCD", better="low", form=".3f", hint=_of("fcd", True), default=None)
    fcd_score: float | None = figure("FCD score", better="high", form=".4f", default=None)
    snn: float | None = figure("nearest similarity", form=".4f", hint=_of("snn", True), default=None)
    diversity: float | None = figure("internal diversity", form=".4f", hint=_of("diversity"), default=None)
    scaffolds: int | None = figure("scaffolds", form=",", real="reference_scaffolds", default=None)
    reference_scaffolds: int | None = None
    scaffold_similarity: float | None = figure(
        "similarity of scaffolds", form=".4f", hint=_of("scaffolds", True), default=None
    )
    mean: dict[str, float] | None = figure("mean", UNITS, form=".4g", real="reference_mean", default=None)
    reference_mean: dict[str, float] | None = None
    wasserstein: dict[str, float] | None = figure("Wasserstein distance", UNITS, "low", form=".4g", default=None)
    width: float | None = figure(
        "spread of properties", form=".3f", interval="intervals", hint="as a part of that of real ones", default=None
    )
    sides: list[float] | None = None

    def failings(self) -> list[Failing]:
        found: list[Failing] = []
        if max(self.intervals["validity"]) < VALID:
            says = f"{self.validity:.0%} of the samples are molecules"
            found.append(
                Failing("unlike the data", says, "train longer, or take SELFIES, whose strings all are: selfies-vae")
            )
        if self.uniqueness is not None and max(interval_of_part(self.uniqueness, self.valid)) < PART:
            says = f"{self.uniqueness:.0%} of the molecules are different ones"
            found.append(
                Failing("not covering the data", says, "see whether the latent has collapsed, or train longer")
            )
        if self.novelty is not None and max(self.intervals["novelty"]) < NOVEL:
            says = f"{1 - self.novelty:.0%} of the molecules stand in the training data"
            found.append(Failing("copying", says, "give more data, more dropout, or stop earlier (training.patience)"))
        says = f"weight, logP and such spread {self.width or 0:.2f} times as widely as of real molecules"
        found += narrow(self.sides, says, "draw at a higher temperature, or train longer")
        if self.sides is not None and min(self.sides) > WIDE:
            found.append(Failing("unlike the data", says, "draw at a lower temperature, or train longer"))
        return further(found, super().failings()) + found

    @property
    def intervals(self) -> dict[str, list[float]]:
        """Where the parts that are of independent molecules are with 95 % confidence (Wilson 1927)."""
        found = {"validity": self.validity, "novelty": self.novelty}
        parts = {k: interval_of_part(v, self.of[k][0]) for k, v in found.items() if v is not None and self.of[k][0]}
        return parts | ({} if self.sides is None else {"width": self.sides})


def molecule_quality(
    samples: Sequence[str],
    train: Sequence[str] | None,
    reference: Sequence[str],
    fcd: bool = True,
    seed: int = 0,
    device: str = "cpu",
) -> MoleculeQuality:
    """The figures of MOSES and GuacaMol for molecules that a model made.

    Args:
        samples: SMILES strings, as they were drawn.
        train: those that the model was trained on; None leaves novelty out.
        reference: real molecules that were held out. GuacaMol's own KL and FCD scores are against molecules of the
            training set: give that as the reference to compare with published ones.
        fcd: compute the Frechet ChemNet distance, which needs ``fcd_torch``, and on one core a minute for 10,000.
        seed: of the draw of 10,000, where there are more.
        device: of ChemNet.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> molecule_quality(["CCO", "C1CC1", "C("], ["CCO"], ["CCN", "CCC"], fcd=False).novelty
        0.5
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
    of = {"validity": [len(samples)], "uniqueness": [len(made)], "novelty": [len(distinct)]}
    few = drawn(made, LIMIT, seed), drawn(real, LIMIT, seed)
    return MoleculeQuality(
        n=len(samples),
        kind="sample",
        seed=seed,
        valid=len(made),
        unique=len(distinct),
        novel=None if novel is None else len(novel),
        train=None if trained is None else len(trained),
        reference=len(real),
        reference_invalid=len(reference) - len(real),
        of=of,
        validity=len(made) / len(samples),
        uniqueness=len(distinct) / len(made) if made else None,
        novelty=len(novel) / len(distinct) if novel is not None and distinct else None,
        **compared(*few, fcd, device, of),
    )


class MoleculeReference(Judge):
    """Real molecules that samples are held against, made once for all the models that are compared.

    Args:
        held: molecules that no model was trained on.
        train: those that the models were trained on, to find copies; or None.
        n: samples of each model.
    """

    about = "real molecules"

    def __init__(self, held: Examples, train: Examples | None = None, n: int = 10_000) -> None:
        x, self.given = held.batch(torch.arange(len(held)))
        self.n, self.examples, self.held = n, held, held.spec.text(x)
        self.told_by = train or held
        parts = torch.arange(len(train) if train is not None else 0).split(1000)
        self.train = None if train is None else [t for p in parts for t in train.spec.text(train.batch(p)[0])]

    @functools.cached_property
    def teller(self) -> Teller:
        """What tells conditions, made where a model is given some."""
        return Teller(self.told_by)

    def judge(self, artifact: Artifact, kind: Kind = "auto", seed: int = 0) -> MoleculeQuality:
        """:func:`molecule_quality` of samples at temperature 1, which are always draws.

        A model that is given conditions gets those of the held-out molecules, and ``as_asked`` says how near its
        samples come to them; None for any other.
        """
        known = artifact.data.conditions if artifact.is_conditional else None
        asked = None
        if known is not None and self.given is not None:
            asked = self.given[torch.arange(self.n) % len(self.given)]
        x, seconds = timed_samples(artifact, self.n, asked, seed)
        made = artifact.data.text(x)
        near = None if asked is None else self.teller.as_asked(x, asked, self.examples, artifact.data)
        found = molecule_quality(made, self.train, self.held, seed=seed)
        return replace(found, seconds_per_sample=seconds, as_asked=near)


def compared(made: Sequence[Any], real: Sequence[Any], fcd: bool, device: str, of: dict[str, Any]) -> dict[str, Any]:
    """The figures that set samples beside the reference; adds to ``of``."""
    pairs = [len(made), len(real)]
    of |= {"fcd": pairs, "snn": pairs, "diversity": [len(made)], "scaffolds": pairs, "wasserstein": pairs}
    once = [_distinct(real), _distinct(made)]
    of["kl_score"] = [len(once[1]), len(once[0])]
    theirs = scaffolds(real)
    found: dict[str, Any] = {"reference_scaffolds": len(theirs)}
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
    both = [measures(x) for x in (made, real)]
    spreads = width(*(torch.from_numpy(np.stack(list(x.values()), 1)) for x in reversed(both)))
    if spreads is not None:
        found["width"], found["sides"] = spreads
    a, b = ({name: v[~np.isnan(v)] for name, v in x.items()} for x in both)
    found["shares"] = kinds(made, real) if len(made) >= LEAST else None
    found["wasserstein"] = {name: wasserstein(a[name], b[name]) for name in a if len(a[name]) and len(b[name])}
    found["mean"] = {name: float(v.mean()) for name, v in a.items() if len(v)}
    found["reference_mean"] = {name: float(v.mean()) for name, v in b.items() if len(v)}
    return found


def kinds(made: Sequence[Any], real: Sequence[Any]) -> dict[str, list[float]]:
    """The parts of two sets that are of each kind, with an element or a ring, say, that any of the second is."""
    ours, theirs = (Counter(kind for m in each for kind in kinds_of(m)) for each in (made, real))
    return {f"molecules {kind}": [ours[kind] / len(made), n / len(real)] for kind, n in sorted(theirs.items())}


def drawn(items: Sequence[Any], most: int, seed: int) -> list[Any]:
    """At most so many of them, by chance; in their own order where there are no more."""
    if len(items) <= most:
        return list(items)
    generator = torch.Generator().manual_seed(noise.key(seed, "molecules"))
    return [items[i] for i in torch.randperm(len(items), generator=generator)[:most].tolist()]


def _distinct(molecules: Sequence[Any]) -> list[Any]:
    return list({canonical(m): m for m in molecules}.values())
