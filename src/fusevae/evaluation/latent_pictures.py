"""Sheets of the latents: traversals, interpolations, neighbours, and a map with a legend."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.vocabulary import joined
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.data.sheet import Picture, Sheet
from fusevae.evaluation.latent_space import LatentMap, Neighbours, flat_map, nearest
from fusevae.evaluation.paths import choose_pairs, sweep, way
from fusevae.evaluation.pictures import BLUE, GREY, axes_of
from fusevae.evaluation.reading import DIMS, Traversal, along, decoded, has_real_latents, read

EXAMPLES = 2000  # of a report: they are encoded in a moment
NAMED = 20  # classes that a legend has room for

#: rows of a sheet: examples, and a word for them
Lines = list[tuple[str, Tensor]]


def traversal(found: Traversal) -> Lines:
    """A row for each dimension, with its number in the latent."""
    return [(f"z {d}", x) for d, x in zip(found.dims.tolist(), found.x, strict=True)]


def interpolation(a: Tensor, x: Tensor, b: Tensor, words: list[str] | None = None) -> Lines:
    """A row for each pair: ``a`` ``(n, *shape)`` as it is in the data, the way ``x`` ``(n, steps, *shape)``, ``b``."""
    words = words or [""] * len(x)
    return [
        (word, joined([first[None], between.to(first.dtype), last[None]]))
        for word, first, between, last in zip(words, a, x, b, strict=True)
    ]


def neighbourhood(queries: Tensor, near: Tensor, words: list[str] | None = None) -> Lines:
    """A row for each of ``queries`` ``(n, *shape)``: it, and ``near`` ``(n, k, *shape)``."""
    words = words or [f"near {i}" for i in range(len(queries))]
    return [(w, joined([q[None].to(n.dtype), n])) for w, q, n in zip(words, queries, near, strict=True)]


def latent_map(found: LatentMap) -> Picture:
    """The points, coloured by class where there are labels."""
    import matplotlib

    figure, (axis,) = axes_of(1, width=7.2, height=5.6)
    size = min(25.0, max(3.0, 20_000 / len(found.points)))
    names = found.classes or []
    label = found.label if names else None
    if label is None:
        x, y = found.points.T.numpy()
        axis.scatter(x, y, s=size, color=BLUE, alpha=0.7, linewidths=0)
    else:
        colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20" if len(names) <= NAMED else "turbo"]
        for k in label.unique().tolist():
            colour = GREY if k < 0 else colours(k if len(names) <= NAMED else k / (len(names) - 1))
            x, y = found.points[label == k].T.numpy()
            named = "unknown" if k < 0 else names[k]
            axis.scatter(x, y, s=size, color=colour, alpha=0.75, linewidths=0, label=named)
        if len(names) <= NAMED:
            axis.legend(fontsize=8, frameon=False, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.set_xlabel(found.axes[0], fontsize=9)
    axis.set_ylabel(found.axes[1], fontsize=9)
    if found.axes[0].startswith("component"):
        axis.set_aspect("equal", adjustable="datalim")  # distances along the two mean the same
    return Picture.of(figure)


def examples_at(examples: Examples, indices: Tensor) -> Tensor:
    """Raw examples ``(*indices.shape, *shape)``."""
    return examples.batch(indices.flatten())[0].unflatten(0, indices.shape)


def neighbours_of(examples: Examples, own: Tensor, found: Neighbours) -> Lines:
    """:func:`neighbourhood` of examples by their numbers ``own`` ``(n,)``."""
    words = [f"near {row}" for row in examples.rows()[own].tolist()]
    return neighbourhood(examples_at(examples, own), examples_at(examples, found.indices), words)


def draw_latents(artifact: Artifact, examples: Examples) -> dict[str, Sheet]:
    """``map``, ``traversals``, ``interpolations`` and ``neighbours`` as sheets by name, where the model has latents
    that are numbers; the examples, spread evenly over all, are encoded once."""
    if not has_real_latents(artifact):
        return {}
    some, spec = examples.spread(EXAMPLES), artifact.data
    draw = modality_of(some.spec).draw
    found = read(artifact, some)
    z, values, dims = sweep(found, 0, DIMS, steps=9, reach=0.95, seed=0)
    own = None if found.label is None else found.label[[0] * values.numel()]
    x = decoded(artifact, z.flatten(0, 1), own, seed=0).unflatten(0, values.shape)
    sheets = {"traversals": draw(traversal(Traversal(x, dims, values)), spec)}
    known = spec.conditions
    label = known.classes(found.label) if known is not None and found.label is not None else None
    pairs = choose_pairs(label, len(some), 8, same=artifact.is_conditional)
    if pairs:
        a, b = torch.tensor(pairs).T
        first, last = (None, None) if found.label is None else (found.label[a], found.label[b])
        between = along(artifact, way(found.z[a], found.z[b], 7, "spherical"), first, last, seed=0)
        start, end = (artifact.seen(examples_at(some, side)) for side in (a, b))
        names = some.rows().tolist()
        words = [f"{names[i]} to {names[j]}" for i, j in pairs]
        sheets["interpolations"] = draw(interpolation(start, between, end, words), spec)
    points, axes = flat_map(found.z)
    sheets["map"] = latent_map(LatentMap(points, axes, found.label, some.spec.classes))
    if k := min(8, len(some) - 1):
        own = some.evenly(8)
        sheets["neighbours"] = draw(neighbours_of(some, own, nearest(found.z, found.z[own], k, own)), spec)
    return sheets
