"""Where examples lie in latent space: the direction of an attribute, the nearest of others, a map of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.conditions import Label as ClassColumn
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.core.vocabulary import joined
from fusevae.data.conditions import as_column
from fusevae.evaluation.blocks import as_examples
from fusevae.evaluation.reading import decoded, read
from fusevae.evaluation.samples import Label

Method = Literal["auto", "pca", "tsne"]
TSNE = 3000  # examples that t-SNE takes at most: about a minute
PARTS = 2**22  # differences computed at once


class Neighbours(NamedTuple):
    """The numbers ``indices`` ``(queries, k)`` of the nearest examples, nearest first, and their Euclidean
    ``distances`` in latent space."""

    indices: Tensor
    distances: Tensor


class LatentMap(NamedTuple):
    """``points`` ``(n, 2)``, the names of the two ``axes``, and the numbers of the points' classes ``label`` ``(n,)``
    with the names ``classes`` of these, or None."""

    points: Tensor
    axes: tuple[str, str]
    label: Tensor | None
    classes: list[str] | None


def attribute_vectors(
    artifact: Artifact,
    data: Any,
    attributes: Mapping[str, Any] | Sequence[Any] | Tensor | np.ndarray | None = None,
    label: Label = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    r"""The direction of each attribute in latent space: the mean latent of the examples that have it minus the mean of
    those that don't (Larsen et al. 2016; White 2016),

    .. math:: v = E[z \mid \text{with}] - E[z \mid \text{without}]

    Args:
        artifact: a model with latents.
        data: raw examples: an array or tensor ``(n, *shape)``, a path, or a data set.
        attributes: by name, whether each example has it ``(n,)``; or one class for each example, each class an
            attribute; None takes the labels that the data bring.
        label: the condition, where the model has one and the data don't bring it.
        seed: of the view.

    Returns a vector of the latent's shape by name. Raises :class:`InputError` where all or no examples have an
    attribute.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> x = torch.randn(6, 4)
        >>> attribute_vectors(Artifact(vae, DataSpec((4,))), x, {"first": x[:, 0] > x[:, 0].median()})["first"].shape
        torch.Size([2])
    """
    found = read(artifact, data, label, seed)
    n = len(found.z)
    if attributes is None:
        has = classes_of(artifact, found.label)
        if not has:
            raise InputError("the data have no labels: give attributes, by name whether each example has it")
    elif isinstance(attributes, Mapping):
        flags = {"True": 1, "False": 0}
        columns = {name: as_column(v, n, f"attribute {name!r}").tolist() for name, v in attributes.items()}
        given = {name: np.array([flags.get(v, v) for v in values]) for name, values in columns.items()}
        if wrong := [name for name, values in given.items() if not bool(((values == 0) | (values == 1)).all())]:
            raise InputError(
                f"attribute {wrong[0]!r} has values besides 0 and 1: say of each example whether it has it"
            )
        has = {name: torch.from_numpy(values == 1) for name, values in given.items()}
    else:
        labels = as_column(attributes, n, "attributes")
        has = {str(name): torch.from_numpy(labels == name) for name in np.unique(labels)}
    return {name: direction(found.z, with_it, name) for name, with_it in has.items()}


def direction(z: Tensor, with_it: Tensor, name: str) -> Tensor:
    """The mean of the latents ``(n, *latent)`` of examples with an attribute, minus that of those without."""
    if bool(with_it.all()) or not bool(with_it.any()):
        some = "no" if not bool(with_it.any()) else "every"
        raise InputError(f"{some} example has {name!r}: a direction needs some with it and some without")
    return (z[with_it].double().mean(0) - z[~with_it].double().mean(0)).to(z.dtype)


def add_attribute(
    artifact: Artifact,
    data: Any,
    vector: Tensor,
    amounts: Sequence[float] = (-1.0, 0.0, 1.0),
    label: Label = None,
    seed: int = 0,
) -> Tensor:
    """Examples moved along a direction of latent space: z + amount * vector decoded, ``(n, amounts, *shape)`` in the
    data's units; an amount of 0 gives the reconstructions.

    Args:
        artifact: a model with latents.
        data: raw examples ``(n, *shape)``, a path, or a data set.
        vector: of the latent's shape, as of :func:`attribute_vectors`.
        amounts: how far, in units of the vector.
        label: the condition, where the model has one.
        seed: of the view, and of the draws of a model without a mean.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> add_attribute(Artifact(vae, DataSpec((4,))), torch.randn(6, 4), torch.ones(2)).shape
        torch.Size([6, 3, 4])
    """
    found = read(artifact, data, label, seed)
    if vector.shape != found.z.shape[1:]:
        raise InputError(
            f"a vector of shape {tuple(vector.shape)} was given, the latents have {tuple(found.z.shape[1:])}: give one "
            "of that shape, as attribute_vectors returns it"
        )
    if not len(amounts):
        raise InputError("amounts is empty: give at least one, such as 1.0")
    moved = [decoded(artifact, found.z + amount * vector.cpu(), found.label, seed) for amount in amounts]
    return joined(moved).unflatten(0, (len(amounts), -1)).transpose(0, 1)  # texts differ in length


def neighbours(
    artifact: Artifact,
    data: Any,
    queries: Any,
    k: Count = 5,
    label: Label = None,
    query_label: Label = None,
    seed: int = 0,
) -> Neighbours:
    """The ``k`` examples of ``data`` whose latents are nearest to that of each query, exactly.

    Args:
        artifact: a model with latents.
        data: raw examples to search: an array or tensor ``(n, *shape)``, a path, or a data set.
        queries: raw examples, like ``data``.
        k: how many, at most ``n``.
        label: the condition of ``data``, where the model has one and they don't bring it.
        query_label: the same of ``queries``.
        seed: of the view.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> x = torch.randn(6, 4)
        >>> neighbours(Artifact(vae, DataSpec((4,))), x, x[2:4], k=1).indices
        tensor([[2],
                [3]])
    """
    found = read(artifact, data, label, seed)
    return nearest(found.z, read(artifact, queries, query_label, seed).z, k)


def nearest(z: Tensor, queries: Tensor, k: int, own: Tensor | None = None) -> Neighbours:
    """The rows of ``z`` nearest to those of ``queries``, by direct differences, in bounded memory.

    Args:
        z: latents ``(n, *latent)``.
        queries: latents ``(m, *latent)``.
        k: how many.
        own: a row of ``z`` for each query that is no neighbour of it: itself ``(m,)``.
    """
    n = len(z) - (own is not None)
    if n < 1:
        raise InputError("1 example has no neighbours: give more")
    if not 1 <= k <= n:
        raise InputError(f"k={k} was given with {n} examples to search: expected a number from 1 to {n}")
    both = joined([z, queries]).flatten(1)  # sequences may differ in length
    z, queries = both[: len(z)], both[len(z) :]
    at_once = max(1, PARTS // z.numel())
    indices, distances = [], []
    for start in range(0, len(queries), at_once):
        part = queries[start : start + at_once]
        # not by |a|^2 - 2ab + |b|^2, whose rounding would change who is nearest
        apart = torch.cdist(part, z, compute_mode="donot_use_mm_for_euclid_dist")
        if own is not None:
            apart.scatter_(1, own[start : start + at_once, None], torch.inf)
        found = apart.topk(k, largest=False)
        indices.append(found.indices)
        distances.append(found.values)
    return Neighbours(torch.cat(indices), torch.cat(distances))


def latent_map(artifact: Artifact, data: Any, labels: Any = None, method: Method = "auto", seed: int = 0) -> LatentMap:
    """The latents of examples in the plane.

    Args:
        artifact: a model with latents.
        data: raw examples: an array or tensor ``(n, *shape)``, a path, or a data set.
        labels: the class of each, where an array brings none; a conditional model encodes with it.
        method: ``"auto"`` is the latent itself where it has two dimensions, else ``"pca"``: the two directions in which
            the latents vary most. ``"tsne"`` keeps neighbours together and distances not (van der Maaten & Hinton
            2008); for at most 3,000 examples.
        seed: of the view, and of t-SNE.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> found = latent_map(Artifact(vae, DataSpec((4,))), torch.randn(6, 4))
        >>> found.points.shape, found.axes
        (torch.Size([6, 2]), ('z 0', 'z 1'))
    """
    examples = as_examples(artifact, data, labels)
    found = read(artifact, examples, seed=seed)
    points, axes = flat_map(found.z, method, seed)
    return LatentMap(points, axes, found.label, examples.spec.classes)


def classes_of(artifact: Artifact, given: Tensor | None) -> dict[str, Tensor]:
    """Whether each example is of a class, by the class; with the column's name before it where there are several."""
    known = artifact.data.conditions
    if known is None or given is None:
        return {}
    numbers = known.numbers(given)
    return {
        word if known.label is not None else f"{column.name}={word}": numbers[:, i] == k
        for i, column in enumerate(known.columns)
        if isinstance(column, ClassColumn)
        for k, word in enumerate(column.classes)
        if bool((numbers[:, i] == k).any())
    }


def flat_map(z: Tensor, method: Method = "auto", seed: int = 0) -> tuple[Tensor, tuple[str, str]]:
    """Points ``(n, 2)`` for latents ``(n, *latent)``, and the names of the two axes."""
    z = z.flatten(1)
    n = len(z)
    if method == "tsne":
        if not 4 <= n <= TSNE:
            raise InputError(f"t-SNE of {n:,} examples was asked for: give 4 to {TSNE:,}, or take 'pca'")
        from sklearn.manifold import TSNE as Embedding

        embedding = Embedding(init="pca", perplexity=min(30.0, (n - 1) / 3), random_state=seed)
        return torch.from_numpy(embedding.fit_transform(z.numpy())), ("t-SNE 1", "t-SNE 2")
    plane = Plane.of(z, own=method == "auto")
    return plane.points(z), plane.axes


class Plane(NamedTuple):
    """A plane in latent space: a ``centre`` ``(dims,)`` on it, two ``directions`` ``(2, dims)`` of unit length at right
    angles (zeros where the latent has fewer dimensions), and the names of the two ``axes``."""

    centre: Tensor
    directions: Tensor
    axes: tuple[str, str]

    @classmethod
    def of(cls, z: Tensor, own: bool = True) -> Plane:
        """That in which latents ``(n, *latent)`` vary most; where they have two dimensions their own, unless it is
        ``own=False``.

        Example:
            >>> plane = Plane.of(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [3.0, 0.0, 0.0], [-3.0, 0.0, 0.0]]))
            >>> plane.points(torch.tensor([[2.0, 1.0, 9.0]])), plane.place(torch.tensor([[2.0, 1.0]]))
            (tensor([[2., 1.]]), tensor([[2., 1., 0.]]))
        """
        z = z.flatten(1)
        dims = z.shape[1]
        if own and dims <= 2:
            # a latent of one dimension lies on a line
            names = ("z 0", "z 1" if dims == 2 else "")
            return cls(z.new_zeros(dims), torch.eye(2, dims, dtype=z.dtype), names)
        centre = z.mean(0)
        centred = (z - centre).double()
        _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
        directions = directions[:2]
        # the sign is free: the largest part of a direction points upwards
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        directions = directions * largest.sign()
        missing = 2 - len(directions)  # of a single example, or a single dimension
        directions = torch.cat([directions, directions.new_zeros(missing, dims)])
        parts = (sizes**2 / (sizes**2).sum().clamp(min=1e-300))[:2].tolist()
        words = [f"component {i + 1} ({100 * part:.0f} % of the variance)" for i, part in enumerate([*parts, 0.0][:2])]
        return cls(centre, directions, (words[0], words[1]))

    def points(self, z: Tensor) -> Tensor:
        """Where latents ``(n, *latent)`` fall, ``(n, 2)``."""
        found = (z.flatten(1) - self.centre).to(self.directions) @ self.directions.T
        return found.to(z.dtype)

    def place(self, points: Tensor, through: Tensor | None = None) -> Tensor:
        """Latents ``(n, dims)`` that fall on points ``(n, 2)``: of the plane itself, or of the one beside it that goes
        ``through`` a latent ``(dims,)``."""
        base = self.centre if through is None else through
        moved = points - self.points(base[None]) if through is not None else points
        return base + (moved.to(self.directions) @ self.directions).to(base.dtype)
