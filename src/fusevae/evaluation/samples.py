"""New examples from a trained model, in the data's own units."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation, generating
from fusevae.core.vocabulary import joined
from fusevae.data.modality import modality_of

Kind = Literal["auto", "mean", "sample"]
Label = Any  # as of Conditions.given
BATCH = 256


def sample(
    artifact: Artifact,
    n: int = 16,
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
            tensor, an array, a list, a Series or a DataFrame. None samples without.
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
    if n < 1:
        raise InputError(f"n is {n}, expected at least 1")
    check_generation(artifact, generation)
    labels = conditions(artifact, label, n)
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    kind = kind_used(artifact, kind)
    found = []
    how = artifact.data.schema.writing(generation)
    with torch.no_grad(), noise.preserved(device), generating(how):
        artifact.eval()
        for start in range(0, n, BATCH):
            count = min(BATCH, n - start)
            condition = None if labels is None else labels[start : start + count].to(device)
            with noise.keyed(seed, "sample", start, device=device):
                if model.has_latents:
                    p = model.generate((count,), condition)
                    x = _means(p, count) if kind == "mean" else noise.sample_to(p, (count,))
                else:
                    x = noise.sample_to(model(condition), (count,))
            found.append(artifact.restore(x).cpu())
    return joined(found)


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
    if kind == "mean" and not has_mean:
        raise InputError(f"{type(model).__name__} has no mean given a latent: take kind='sample'")
    if kind != "auto":
        return kind
    return "mean" if has_mean and modality_of(artifact.data).means else "sample"


def conditions(artifact: Artifact, label: Label, n: int) -> Tensor | None:
    """The conditions of each of ``n`` samples, as of :meth:`fusevae.core.conditions.Conditions.given`."""
    if label is None:
        return None
    known = artifact.data.conditions
    if known is None or not artifact.is_conditional:
        raise InputError(f"label {label!r} was given but the model has no condition: train a conditional recipe")
    return known.given(label, n)
