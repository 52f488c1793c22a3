"""Pictures of the latents: traversals, interpolations, neighbours, and a map with a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.spec import DataSpec
from fusevae.core.vocabulary import joined
from fusevae.data.examples import Examples
from fusevae.evaluation.latent_space import LatentMap, Neighbours, flat_map, nearest
from fusevae.evaluation.paths import choose_pairs, sweep, way
from fusevae.evaluation.pictures import BLUE, GREY, PAPER, _save, _sheet, grid, save_image
from fusevae.evaluation.reading import DIMS, Traversal, along, decoded, has_real_latents, read
from fusevae.evaluation.texts import in_groups, write_rows

if TYPE_CHECKING:
    from PIL.Image import Image

EXAMPLES = 2000  # of a report: they are encoded in a moment
APART = 8  # pixels between what is in the data and what the model makes
NAMED = 20  # classes that a legend has room for


def traversal(found: Traversal, spec: DataSpec) -> Image:
    """A row for each dimension, with its number in the latent at the left."""
    dims, steps = found.values.shape
    return grid(found.x.flatten(0, 1), spec, steps, [f"z {d}" for d in found.dims.tolist()][:dims])


def interpolation(a: Tensor, x: Tensor, b: Tensor, spec: DataSpec) -> Image:
    """A row for each pair: ``a`` ``(n, *shape)`` as it is in the data, the way ``x`` ``(n, steps, *shape)``, ``b``."""
    return _beside(grid(a, spec, 1), grid(x.flatten(0, 1), spec, x.shape[1]), grid(b, spec, 1))


def neighbourhood(queries: Tensor, near: Tensor, spec: DataSpec) -> Image:
    """A row for each of ``queries`` ``(n, *shape)``: it, and ``near`` ``(n, k, *shape)``."""
    return _beside(grid(queries, spec, 1), grid(near.flatten(0, 1), spec, near.shape[1]))


def _beside(*sheets: Image) -> Image:
    """Sheets of one height, with a gap between."""
    from PIL import Image

    width = sum(sheet.width for sheet in sheets) + APART * (len(sheets) - 1)
    found, left = Image.new("RGB", (width, sheets[0].height), PAPER), 0
    for sheet in sheets:
        found.paste(sheet, (left, 0))
        left += sheet.width + APART
    return found


def latent_map(found: LatentMap, path: Path) -> None:
    """The points, coloured by class where there are labels."""
    import matplotlib

    figure, (axis,) = _sheet(1, width=7.2, height=5.6)
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
    _save(figure, path)


def examples_at(examples: Examples, indices: Tensor) -> Tensor:
    """Raw examples ``(*indices.shape, *shape)``."""
    return examples.batch(indices.flatten())[0].unflatten(0, indices.shape)


def draw_neighbours(examples: Examples, own: Tensor, found: Neighbours, spec: DataSpec) -> Image:
    """The sheet of :func:`neighbourhood` for examples by their numbers ``own`` ``(n,)``."""
    return neighbourhood(examples_at(examples, own), examples_at(examples, found.indices), spec)


def ways(a: Tensor, x: Tensor, b: Tensor) -> Tensor:
    """Texts ``x`` ``(n, steps, length)`` with the two that each way is between, ``(n, steps + 2, longest)``."""
    n, steps = x.shape[:2]
    return joined([a, x.transpose(0, 1).flatten(0, 1), b]).unflatten(0, (steps + 2, n)).transpose(0, 1)


def draw_latents(artifact: Artifact, examples: Examples, folder: Path) -> None:
    """``map.png``, and of images and texts the ``traversals``, ``interpolations`` and ``neighbours``, as a ``.png`` or
    a ``.csv``, where the model has latents that are numbers; the examples are encoded once."""
    spec = artifact.data
    if not has_real_latents(artifact):
        return
    some = examples.subset(torch.arange(min(EXAMPLES, len(examples))))
    found = read(artifact, some)
    points, axes = flat_map(found.z)
    latent_map(LatentMap(points, axes, found.label, some.spec.classes), folder / "map.png")
    if not spec.is_image and spec.vocabulary is None:
        return

    def draw(name: str, image: Callable[[], Image], words: Sequence[str], x: Tensor) -> None:
        if spec.is_image:
            save_image(image(), folder / f"{name}.png")
        else:
            write_rows(folder / f"{name}.csv", ("", "text"), in_groups(words, x, spec))

    z, values, dims = sweep(found, 0, DIMS, steps=9, reach=0.95, seed=0)
    own = None if found.label is None else found.label[[0] * values.numel()]
    x = decoded(artifact, z.flatten(0, 1), own, seed=0).unflatten(0, values.shape)
    draw("traversals", lambda: traversal(Traversal(x, dims, values), spec), [f"z {d}" for d in dims.tolist()], x)
    pairs = choose_pairs(found.label, len(some), 8, same=artifact.is_conditional)
    if pairs:
        a, b = torch.tensor(pairs).T
        first, last = (None, None) if found.label is None else (found.label[a], found.label[b])
        between = along(artifact, way(found.z[a], found.z[b], 7, "spherical"), first, last, seed=0)
        start, end = (artifact.seen(examples_at(some, side)) for side in (a, b))
        whole = ways(start, between, end) if spec.vocabulary is not None else between
        words = [f"{i} to {j}" for i, j in pairs]
        draw("interpolations", lambda: interpolation(start, between, end, spec), words, whole)
    k = min(8, len(some) - 1)
    if k:
        own = torch.arange(min(8, len(some)))
        near = nearest(found.z, found.z[own], k, own)
        rows = torch.cat([own[:, None], near.indices], 1)
        words = [f"near {i}" for i in own.tolist()]
        draw("neighbours", lambda: draw_neighbours(some, own, near, spec), words, examples_at(some, rows))
