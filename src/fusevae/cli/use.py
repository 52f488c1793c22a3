"""``fusevae sample``, ``reconstruct`` and ``encode``."""

from __future__ import annotations

import sys
from argparse import Namespace

from fusevae.cli import load
from fusevae.cli.write import Output, which
from fusevae.core.generation import GREEDY
from fusevae.data.modality import modality_of
from fusevae.evaluation import latents, samples

SHOWN = 96  # examples of a sheet


def sample(options: Namespace) -> int:
    """Write new examples."""
    output, run = Output(options.output), load.opened(options)
    artifact, spec = run.artifact, run.artifact.data
    output.check(spec)
    kind = samples.kind_used(artifact, options.kind)
    how = load.generation(options, artifact)
    asked = samples.conditions(artifact, options.label, options.n)
    with run.computing():
        x = samples.sample(artifact, options.n, asked, options.seed, options.kind, how)
    print("means of p(x | z)" if kind == "mean" else "samples from the model", file=sys.stderr)
    beside = spec.conditions.values(asked) if asked is not None and spec.conditions is not None else {}
    output.examples(x, spec, beside)
    facts = {"n": len(x), "kind": kind, "label": options.label, "seed": options.seed}
    return output.tell(options.json, facts, x, spec)


def reconstruct(options: Namespace) -> int:
    """Write examples after encoding and decoding."""
    output, run = Output(options.output), load.opened(options)
    artifact, spec = run.artifact, run.artifact.data
    output.check(spec)
    load.need_latents(artifact)
    data, name = load.examples(options, run, options.text)
    how = load.generation(options, artifact)
    with run.computing():
        x = latents.reconstruct(artifact, data, seed=options.seed, generation=how or GREEDY)
    shown = data.evenly(SHOWN)
    seen = artifact.seen(data.batch(shown)[0])
    output.examples(x, spec, which(data), lambda: modality_of(spec).pairs(seen, x[shown], spec))
    return output.tell(options.json, {"n": len(x), "data": name}, x, spec)


def encode(options: Namespace) -> int:
    """Write the latents of examples."""
    output = Output(options.output)
    output.check_table()
    run = load.opened(options)
    load.need_latents(run.artifact)
    data, name = load.examples(options, run, options.text)
    with run.computing():
        arrays = latents.encode(run.artifact, data, seed=options.seed)
    output.columns(arrays, which(data))
    return output.tell(options.json, {"n": len(data), "data": name, "arrays": list(arrays)})
