"""``fusevae sample``, ``reconstruct`` and ``encode``."""

from __future__ import annotations

import sys
from argparse import Namespace

import torch

from fusevae.cli import load
from fusevae.cli.write import Output
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.generation import GREEDY
from fusevae.evaluation import latents, pictures, samples


def sample(options: Namespace) -> int:
    """Write new examples."""
    output = Output(options.output)
    artifact = load.model(options)
    output.check(artifact.data)
    kind = samples.kind_used(artifact, options.kind)
    how = load.generation(options, artifact)
    with load.precision(options):
        x = samples.sample(artifact, options.n, options.label, options.seed, options.kind, how)
    print("means of p(x | z)" if kind == "mean" else "samples from the model", file=sys.stderr)
    output.examples(x, artifact.data, lambda: pictures.grid(x[:400], artifact.data))
    facts = {"n": len(x), "kind": kind, "label": options.label, "seed": options.seed}
    return output.tell(options.json, facts, lambda: artifact.data.text(x))


def reconstruct(options: Namespace) -> int:
    """Write examples after encoding and decoding."""
    output = Output(options.output)
    artifact = load.model(options)
    output.check(artifact.data)
    _need_latents(artifact)
    data, name = load.examples(options, artifact)
    how = load.generation(options, artifact)
    with load.precision(options):
        x = latents.reconstruct(artifact, data, seed=options.seed, generation=how or GREEDY)
    shown = min(len(x), 96)
    raw, _ = data.batch(torch.arange(shown))
    output.examples(x, artifact.data, lambda: pictures.pairs(artifact.seen(raw), x[:shown], artifact.data))
    return output.tell(options.json, {"n": len(x), "data": name}, lambda: artifact.data.text(x))


def encode(options: Namespace) -> int:
    """Write the latents of examples."""
    output = Output(options.output)
    output.check_table()
    artifact = load.model(options)
    _need_latents(artifact)
    data, name = load.examples(options, artifact)
    with load.precision(options):
        arrays = latents.encode(artifact, data, seed=options.seed)
    output.arrays(arrays)
    return output.tell(options.json, {"n": len(data), "data": name, "arrays": list(arrays)})


def _need_latents(artifact: Artifact) -> None:
    if not artifact.distribution.has_latents:
        name = type(artifact.distribution).__name__
        raise InputError(f"{name} has no latents: give the run of a model that has (a VAE)")
