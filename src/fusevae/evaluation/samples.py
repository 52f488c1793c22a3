"""New examples from a trained model, in the data's own units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditions import by_name
from fusevae.core.errors import InputError, near, shown
from fusevae.core.generation import Generation, generating
from fusevae.core.typed import Count
from fusevae.core.vocabulary import joined
from fusevae.data.modality import modality_of
from fusevae.evaluation.completion import Draw, given_draws

Kind = Literal["auto", "mean", "sample"]
Label = Any  # as of Conditions.given
logger = logging.getLogger("fusevae")

BATCH = 256
TRIES = 100  # of a row that has to hold something


class Asked(NamedTuple):
    """What samples are to have: conditions ``(n, ...)``, and a row ``(*shape)`` of given values, NaN elsewhere."""

    label: Tensor | None
    row: Tensor | None


class Drawn(NamedTuple):
    """Samples, and lines that say how they came about."""

    x: Tensor
    notes: list[str]


def sample(
    artifact: Artifact,
    n: Count = 16,
    label: Label = None,
    seed: int = 0,
    kind: Kind = "auto",
    generation: Generation | None = None,
) -> Tensor:
    """``n`` new examples ``(n, *shape)`` in the units and dtype of the data; of text the tokens ``(n, length)``, which
    ``artifact.data.text`` makes strings of.

    Args:
        artifact: the model.
        n: how many.
        label: the conditions: of a single column a class or a number; by name, ``{"mood": "good", "year": 1999}`` or
            ``"mood=good,year=1999"``, where what is left out is unknown; or one for each sample, as a
            tensor, an array, a list, a Series or a DataFrame. None samples without. Of a table any columns can be
            given by name, one value for all samples: the others are drawn given these
            (:func:`fusevae.evaluation.completion.given_draws`).
        seed: the same seed gives the same samples.
        kind: ``"sample"`` draws x ~ p(x | z) for z from the prior; ``"mean"`` takes the mean of p(x | z), which
            leaves the
            decoder's noise out; ``"auto"`` is the mean for images where there is one, else a sample
            (:func:`kind_used`).
        generation: how text is written; by default drawn from the model itself.

    Example:
        >>> from fusevae import Artifact, DataSpec, Normal
        >>> sample(Artifact(Normal(2), DataSpec((2,))), n=3).shape
        torch.Size([3, 2])
    """
    return drawn(artifact, n, label, seed, kind, generation).x


def drawn(
    artifact: Artifact,
    n: int = 16,
    label: Label = None,
    seed: int = 0,
    kind: Kind = "auto",
    generation: Generation | None = None,
) -> Drawn:
    """:func:`sample`, with what is to be said of it."""
    if not isinstance(n, Integral) or n < 1:
        raise InputError(f"n is {n!r}, expected at least 1, a whole number")
    check_generation(artifact, generation)
    labels, row = asked(artifact, label, n)
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    kind = kind_used(artifact, kind)
    how, notes = artifact.data.schema.writing(generation), list[str]()
    given: Draw | None = None

    def some(rows: Tensor) -> Tensor:
        condition = None if labels is None else labels[rows].to(device)
        if given is not None:
            return given(rows)
        if model.has_latents:
            p = model.generate((len(rows),), condition)
            x = _means(p, len(rows)) if kind == "mean" else noise.sample_to(p, (len(rows),))
        else:
            x = noise.sample_to(model(condition), (len(rows),))
        return artifact.restore(x).cpu()

    def all_of(rows: Tensor, again: int = 0) -> Tensor:
        found = []
        for part in rows.split(BATCH):
            with noise.keyed(seed, "sample", int(part[0]), *([again] if again else []), device=device):
                found.append(some(part))
        return joined(found)

    with torch.no_grad(), noise.preserved(device), generating(how):
        artifact.eval()
        if row is not None:
            if kind == "mean":
                raise InputError("columns were given: take draws of the others, kind='sample'")
            given, notes = given_draws(artifact, row, n, labels, seed)
        x = all_of(torch.arange(n))
        if kind != "mean" and (row is not None or artifact.data.schema.constrained):
            known = torch.zeros(artifact.data.shape).bool() if row is None else ~row.isnan()
            x, more = _redrawn(artifact, x, known, all_of)
            notes += more
    return Drawn(x, notes)


def _redrawn(artifact: Artifact, x: Tensor, given: Tensor, draw: Callable[..., Tensor]) -> tuple[Tensor, list[str]]:
    """Samples without those that lack what was given (a missing cell there) or break a constraint: drawn anew."""
    schema, tried, n = artifact.data.schema, len(x), len(x)
    for again in range(1, TRIES + 1):
        x, good = schema.held(x, given)
        bad = (~good | x[:, given].isnan().any(1)).nonzero().flatten()
        if not len(bad):
            return x, [f"{1 - n / tried:.1%} of the rows drawn were rejected, and drawn anew"] if tried > n else []
        x[bad] = draw(bad, again)
        tried += len(bad)
    raise InputError(
        f"of {tried:,} rows drawn, {n - len(bad):,} of the {n:,} wanted have what was given and hold the constraints: "
        "give other values, loosen the constraints, or train for longer"
    )


def _means(p: Distribution, count: int) -> Tensor:
    mean = p.mean
    return mean.expand(count, *mean.shape[len(p.batch_shape) :])  # sequences may be shorter than the longest


def check_generation(artifact: Artifact, generation: Generation | None) -> None:
    """Refuse a way of writing for what is no text."""
    if generation is not None and artifact.distribution.space != "sequences":
        raise InputError("temperature, top_k, top_p, beams, longest and start are for text: leave them out")


def kind_used(artifact: Artifact, kind: Kind) -> Literal["mean", "sample"]:
    """What ``"auto"`` means for a model: every figure about samples says it."""
    model = artifact.distribution
    has_mean = model.has_latents and model.has_mean
    if kind not in ("auto", "mean", "sample"):
        raise InputError(f"kind={kind!r} was given: expected 'auto', 'mean' or 'sample'")
    if kind == "mean" and not has_mean:
        raise InputError(f"{type(model).__name__} has no mean given a latent: take kind='sample'")
    if kind != "auto":
        return kind
    return "mean" if has_mean and modality_of(artifact.data).means else "sample"


def asked(artifact: Artifact, label: Label, n: int) -> Asked:
    """What was asked for by name, apart: conditions of the model, and columns of the examples themselves."""
    schema, beside = artifact.data.schema, artifact.data.conditions
    theirs = beside.names if beside is not None and artifact.is_conditional else []
    pairs: dict[str, Any] = {}
    if schema.names and isinstance(label, str) and "=" in label:
        pairs = dict(by_name(label, [*theirs, *schema.names]))
    elif schema.names and isinstance(label, Mapping):
        pairs = {str(key): value for key, value in label.items()}
    own = {key: value for key, value in pairs.items() if key not in theirs}
    if not own:
        return Asked(conditions(artifact, label, n), None)
    for key, value in own.items():
        if key not in schema.names:
            known = [*theirs, *schema.names]
            raise InputError(f"{key!r} was given: it is no column of the table and no condition{near(key, known)}")
        if isinstance(value, list | tuple | np.ndarray | Tensor):
            raise InputError(f"{key} was given several values: give one for all samples, or fill in rows by impute")
    rest = {key: value for key, value in pairs.items() if key in theirs}
    return Asked(conditions(artifact, rest, n) if rest else None, schema.row(own))


def conditions(artifact: Artifact, label: Label, n: int) -> Tensor | None:
    """The conditions of each of ``n`` samples, as of :meth:`fusevae.core.conditions.Conditions.given`."""
    if label is None:
        return None
    known = artifact.data.conditions
    if known is None or not artifact.is_conditional:
        columns = artifact.data.schema.names
        how = f"name a column, {columns[0]}=..." if columns else "train a conditional recipe"
        raise InputError(f"label {shown(label)} was given but the model has no condition: {how}")
    found = known.given(label, n)
    for said in [] if isinstance(label, Tensor) else known.beyond(found):
        logger.warning(said)
    return found
