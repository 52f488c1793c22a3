"""``fusevae interpolate``, ``traverse``, ``neighbours`` and ``map``: reading the latents."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.cli import load
from fusevae.cli.write import TABLES, Output
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.evaluation import latent_pictures, latent_space, reading
from fusevae.evaluation.paths import choose_pairs


def interpolate(options: Namespace) -> int:
    """Write examples on the way between pairs of them, pair after pair."""
    output, artifact = Output(options.output), load.model(options)
    output.check(artifact.data)
    reading.check_latents(artifact)
    if options.texts and (len(options.texts) % 2 or options.pairs is not None or options.data is not None):
        raise InputError("texts are interpolated in pairs, and need no --data or --pairs: give two, or four ...")
    options.text = options.texts
    data, name = load.examples(options, artifact)
    pairs = [(i, i + 1) for i in range(0, len(data), 2)] if options.texts else _pairs(options, artifact, data)
    first, second = (data.subset(torch.tensor(side)) for side in zip(*pairs, strict=True))
    with load.precision(options):
        x = reading.interpolate(artifact, first, second, options.steps, options.path, seed=options.seed)
    ends = [artifact.seen(part.batch(torch.arange(len(pairs)))[0]) for part in (first, second)]
    sheet = lambda: latent_pictures.interpolation(ends[0], x, ends[1], artifact.data)  # noqa: E731
    output.examples(x.flatten(0, 1), artifact.data, sheet)
    facts = {"n": len(pairs) * options.steps, "data": name, "pairs": pairs, "steps": options.steps}
    return output.tell(options.json, facts | {"path": options.path}, lambda: artifact.data.text(x.flatten(0, 1)))


def traverse(options: Namespace) -> int:
    """Write examples in which one dimension of the latent changes, dimension after dimension."""
    output, artifact = Output(options.output), load.model(options)
    output.check(artifact.data)
    reading.check_latents(artifact)
    data, name = load.examples(options, artifact)
    with load.precision(options):
        found = reading.traverse(
            artifact, data, example=options.example, dims=options.n, steps=options.steps, seed=options.seed
        )
    x = found.x.flatten(0, 1)
    output.examples(x, artifact.data, lambda: latent_pictures.traversal(found, artifact.data))
    facts: dict[str, Any] = {"n": len(x), "data": name, "example": options.example, "steps": options.steps}
    facts |= {"dims": found.dims.tolist(), "values": found.values.tolist()}
    return output.tell(options.json, facts, lambda: artifact.data.text(x))


def neighbours(options: Namespace) -> int:
    """Write the nearest of each of the first examples, as a picture or as numbers and distances."""
    output = _picture_or_table(options.output)
    artifact = load.model(options)
    if output.kind == ".png":
        output.check(artifact.data)
    reading.check_latents(artifact)
    data, name = load.examples(options, artifact)
    own = torch.arange(min(options.n, len(data)))
    with load.precision(options):
        z = reading.read(artifact, data, seed=options.seed).z
    found = latent_space.nearest(z, z[own], options.k, own)
    if output.kind == ".png":
        sheet = latent_pictures.draw_neighbours(data, own, found, artifact.data)
        output.examples(torch.empty(0), artifact.data, lambda: sheet)
    else:
        output.arrays({"example": own.numpy(), "index": found.indices.numpy(), "distance": found.distances.numpy()})
    return output.tell(options.json, {"n": len(own), "data": name, "k": options.k})


def draw_map(options: Namespace) -> int:
    """Write where examples lie in the plane, as a picture or as coordinates."""
    output = _picture_or_table(options.output)
    artifact = load.model(options)
    reading.check_latents(artifact)
    data, name = load.examples(options, artifact)
    some = data.subset(torch.arange(min(options.n, len(data))))
    with load.precision(options):
        found = latent_space.latent_map(artifact, some, method=options.method, seed=options.seed)
    if output.kind == ".png":
        latent_pictures.latent_map(found, output.path)
    else:
        arrays: dict[str, np.ndarray] = {"x": found.points[:, 0].numpy(), "y": found.points[:, 1].numpy()}
        if found.label is not None and found.classes:
            arrays["label"] = _words(found.label, found.classes)
        output.arrays(arrays)
    return output.tell(options.json, {"n": len(some), "data": name, "axes": list(found.axes)})


def _pairs(options: Namespace, artifact: Artifact, data: Examples) -> list[tuple[int, int]]:
    """The pairs asked for, or the first that fit: of one class where the model is conditional, else of two."""
    if options.pairs is None:
        some = min(len(data), 100 * options.n)
        label = data.batch(torch.arange(some))[1]
        found = choose_pairs(label, some, options.n, same=artifact.is_conditional)
        if not found:
            kind = "one class" if artifact.is_conditional else "different classes"
            raise InputError(f"there is no pair of {kind} among the first {some} examples: give more, or --pairs")
        return found
    if wrong := [i for pair in options.pairs for i in pair if i >= len(data)]:
        raise InputError(f"--pairs names example {wrong[0]}: expected a number from 0 to {len(data) - 1}")
    return options.pairs


def _picture_or_table(path: str) -> Output:
    output = Output(path)
    if output.kind != ".png" and output.kind not in TABLES:
        raise InputError(f"{path} is no place for this: give a .png, or a file that ends in {', '.join(TABLES)}")
    if output.kind != ".png":
        output.check_table()
    return output


def _words(label: Tensor, classes: list[str]) -> np.ndarray:
    return np.array([classes[k] if k >= 0 else "" for k in label.tolist()])
