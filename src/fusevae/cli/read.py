"""``fusevae interpolate``, ``traverse``, ``neighbours`` and ``map``: reading the latents."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
import torch

from fusevae.cli import load
from fusevae.cli.write import Output, which
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.evaluation import latent_pictures, latent_space, reading
from fusevae.evaluation.paths import choose_pairs


def interpolate(options: Namespace) -> int:
    """Write examples on the way between pairs of them, pair after pair."""
    output, run = Output(options.output), load.opened(options)
    artifact, spec = run.artifact, run.artifact.data
    output.check(spec)
    reading.check_latents(artifact)
    if options.texts and (len(options.texts) % 2 or options.pairs is not None or options.data is not None):
        raise InputError("texts are interpolated in pairs, and need no --data or --pairs: give two, or four ...")
    data, name = load.examples(options, run, options.texts)
    pairs = [(i, i + 1) for i in range(0, len(data), 2)] if options.texts else _pairs(options, artifact, data)
    first, second = (data.subset(torch.tensor(side)) for side in zip(*pairs, strict=True))
    with run.computing():
        x = reading.interpolate(artifact, first, second, options.steps, options.path, seed=options.seed)
    ends = [artifact.seen(part.batch(torch.arange(len(pairs)))[0]) for part in (first, second)]
    step = np.tile(np.arange(options.steps), len(pairs))
    sides = {"from": which(first), "to": which(second)}
    beside = {
        f"{word}_{key}": np.repeat(value, options.steps) for word, of in sides.items() for key, value in of.items()
    }
    lines = latent_pictures.interpolation(ends[0], x, ends[1])
    output.examples(
        x.flatten(0, 1),
        spec,
        {**beside, "step": step},
        lambda: modality_of(spec).draw(lines, spec),
    )
    facts = {"n": len(pairs) * options.steps, "data": name, "pairs": pairs, "steps": options.steps}
    return output.tell(options.json, facts | {"path": options.path}, x.flatten(0, 1), spec)


def traverse(options: Namespace) -> int:
    """Write examples in which one dimension of the latent changes, dimension after dimension."""
    output, run = Output(options.output), load.opened(options)
    artifact, spec = run.artifact, run.artifact.data
    output.check(spec)
    reading.check_latents(artifact)
    data, name = load.examples(options, run)
    with run.computing():
        found = reading.traverse(
            artifact, data, example=options.example, dims=options.n, steps=options.steps, seed=options.seed
        )
    x = found.x.flatten(0, 1)
    own = which(data.subset(torch.tensor([options.example])))
    beside = {key: np.repeat(value, len(x)) for key, value in own.items()}
    beside |= {"dim": found.dims.repeat_interleave(options.steps).numpy(), "value": found.values.flatten().numpy()}
    lines = latent_pictures.traversal(found)
    output.examples(x, spec, beside, lambda: modality_of(spec).draw(lines, spec))
    facts: dict[str, Any] = {"n": len(x), "data": name, "example": options.example, "steps": options.steps}
    facts |= {"dims": found.dims.tolist(), "values": found.values.tolist()}
    return output.tell(options.json, facts, x, spec)


def neighbours(options: Namespace) -> int:
    """Write the nearest of each of some examples, as a picture or as numbers and distances."""
    output = Output(options.output)
    output.check_table(picture=True)
    run = load.opened(options)
    artifact, spec = run.artifact, run.artifact.data
    reading.check_latents(artifact)
    data, name = load.examples(options, run)
    own = data.evenly(options.n)
    if output.suffix == ".png" and modality_of(spec).draw([("", data.batch(own[:1])[0])], spec).suffix != ".png":
        output.check(spec)
    with run.computing():
        z = reading.read(artifact, data, seed=options.seed).z
    found = latent_space.nearest(z, z[own], options.k, own)
    if output.suffix == ".png":
        lines = latent_pictures.neighbours_of(data, own, found)
        output.examples(torch.empty(0), spec, None, lambda: modality_of(spec).draw(lines, spec))
    else:
        near = which(data.subset(found.indices.flatten()))
        columns = {"index": found.indices.numpy(), "distance": found.distances.numpy()}
        columns |= {f"near_{key}": value.reshape(len(own), -1) for key, value in near.items()}
        output.columns(columns, which(data.subset(own)))
    return output.tell(options.json, {"n": len(own), "data": name, "k": options.k})


def draw_map(options: Namespace) -> int:
    """Write where examples lie in the plane, as a picture or as coordinates."""
    output = Output(options.output)
    output.check_table(picture=True)
    run = load.opened(options)
    reading.check_latents(run.artifact)
    data, name = load.examples(options, run)
    some = data.spread(options.n)
    with run.computing():
        found = latent_space.latent_map(run.artifact, some, method=options.method, seed=options.seed)
    if output.suffix == ".png":
        assert output.path is not None
        latent_pictures.latent_map(found).save(output.path)
    else:
        output.columns({"x": found.points[:, 0].numpy(), "y": found.points[:, 1].numpy()}, which(some))
    return output.tell(options.json, {"n": len(some), "data": name, "axes": list(found.axes)})


def _pairs(options: Namespace, artifact: Artifact, data: Examples) -> list[tuple[int, int]]:
    """The pairs asked for, or some evenly over the data: of one class where the model is conditional, else of two."""
    if options.pairs is None:
        some, known = data.evenly(100 * options.n), artifact.data.conditions
        label = data.batch(some)[1]
        label = known.classes(label) if known is not None and label is not None else None
        found = choose_pairs(label, len(some), options.n, same=artifact.is_conditional)
        if not found:
            kind = "one class" if artifact.is_conditional else "different classes"
            raise InputError(f"there is no pair of {kind} among {len(some)} examples: give more, or --pairs")
        return [(int(some[i]), int(some[j])) for i, j in found]
    if wrong := [i for pair in options.pairs for i in pair if i >= len(data)]:
        raise InputError(f"--pairs names example {wrong[0]}: expected a number from 0 to {len(data) - 1}")
    return options.pairs
