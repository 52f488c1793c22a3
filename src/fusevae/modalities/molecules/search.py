"""Property search in the latent space of a model of molecules."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.evaluation.probing import Probe, fit_property
from fusevae.evaluation.reading import check_latents, decoded, read
from fusevae.evaluation.refinement import refined
from fusevae.evaluation.search import Found, Method, optimise
from fusevae.modalities.molecules.chemistry import PROPERTIES, fingerprints, measure, parse, properties, tanimoto


def optimise_molecules(
    artifact: Artifact,
    starts: Sequence[str],
    property: str = "qed",
    similarity: float = 0.4,
    evaluations: Count = 200,
    minimize: bool = False,
    method: Method = "evolution",
    radius: float = 1.0,
    probe: Probe | None = None,
    refine: int = 100,
    seed: int = 0,
) -> list[Found]:
    """Molecules with more (or less) of a property that are like those given, by a walk in the latent space.

    Args:
        artifact: a model of molecules with one latent vector each.
        starts: SMILES strings; one that can't be parsed is in the result with no score and without a success.
        property: ``"qed"``, ``"logp"``, ``"sa"`` or ``"weight"``.
        similarity: least Tanimoto similarity of fingerprints to the start.
        evaluations: molecules that are scored for each start, at most; see :func:`fusevae.evaluation.search.optimise`.
        minimize: lower the property instead.
        method: ``"evolution"``, or a baseline: ``"random"`` draws around the start, ``"prior"`` from the prior.
        radius: of the first draws, or of all draws of ``"random"``, in scales of the posterior.
        probe: from :func:`predict_property`, to guide the search.
        refine: steps by which the latent of each start is first moved to where the decoder says that molecule better
            (:func:`fusevae.evaluation.refinement.refined`); no molecule is scored in them.
        seed: the same seed gives the same result.

    Returns one :class:`fusevae.evaluation.search.Found` for each start; its scores are values of the property.
    """
    check_molecules(artifact)
    if property not in PROPERTIES:
        raise InputError(f"unknown property {property!r}: expected one of {', '.join(PROPERTIES)}")
    sign = -1.0 if minimize else 1.0
    valid = [i for i, each in enumerate(starts) if parse(each) is not None]
    found = [Found(each, None, each, None, 1.0, 0, False) for each in starts]
    if not valid:
        return found
    given = [starts[i] for i in valid]
    at = read(artifact, given, seed=seed)
    z = at.z if method == "prior" else refined(artifact, given, at.z, refine, seed)
    shape, scale = z.shape[1:], 1.0 if at.scale is None else at.scale.flatten(1)
    rounds = itertools.count()

    def decode(z: Tensor) -> list[str]:
        key = noise.key(seed, "search", next(rounds))
        return artifact.data.text(decoded(artifact, z.unflatten(1, shape), None, key))

    def prior(n: int) -> Tensor:
        latents = artifact.distribution.latents
        device = next(artifact.distribution.parameters()).device
        with torch.no_grad(), noise.preserved(device), noise.keyed(seed, "prior", next(rounds), device=device):
            drawn: Tensor = latents.generate((n,), None)  # type: ignore[union-attr, operator]
        return drawn.flatten(1).cpu()

    score = functools.partial(_score, name=property, sign=sign)
    walked = optimise(
        given,
        z.flatten(1),
        decode,
        score,
        _Alike(),
        similarity,
        evaluations,
        scale,
        method,
        radius,
        prior,
        _signed(probe, sign),
        seed,
    )
    for i, each in zip(valid, walked, strict=True):
        scores = [None if s is None else sign * s for s in (each.start_score, each.score)]
        found[i] = Found(each.start, scores[0], each.best, scores[1], each.similarity, each.evaluations, each.success)
    return found


def predict_property(artifact: Artifact, smiles: Sequence[str], property: str = "qed", seed: int = 0) -> Probe:
    """How well a line through the latent space of a model predicts a property of molecules; see
    :func:`fit_property`. Strings that can't be parsed are left out."""
    check_molecules(artifact)
    given = [each for each in smiles if parse(each) is not None]
    values = torch.from_numpy(properties(given, (property,))[property])
    return fit_property(read(artifact, given, seed=seed).z.flatten(1), values, seed=seed)


def check_molecules(artifact: Artifact) -> None:
    """Raise :class:`InputError` unless the model is of molecules, and has latents."""
    if artifact.data.modality != "molecules":
        kind = artifact.data.modality or f"arrays of shape {artifact.data.shape}"
        raise InputError(f"the model's data are {kind}, not molecules: give the run of molecules-vae or selfies-vae")
    check_latents(artifact)


class _Alike:
    """Tanimoto similarity to a start, whose fingerprint is made once."""

    def __init__(self) -> None:
        self.starts: dict[str, object] = {}

    def __call__(self, start: str, text: str) -> float:
        if start not in self.starts:
            self.starts[start] = fingerprints([parse(start)])[0]
        molecule = parse(text)
        return 0.0 if molecule is None else float(tanimoto(self.starts[start], fingerprints([molecule]))[0])


def _score(text: str, name: str, sign: float) -> float | None:
    value = measure(parse(text), name)
    return None if math.isnan(value) else sign * value


def _signed(probe: Probe | None, sign: float) -> Probe | None:
    if probe is None or sign > 0:
        return probe
    return Probe(-probe.weight, -probe.bias, probe.r2, probe.mae, probe.fitted, probe.held_out)
