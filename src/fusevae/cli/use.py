"""``fusevae sample``, ``reconstruct`` and ``encode``."""

from __future__ import annotations

import sys
from argparse import Namespace

import numpy as np

from fusevae.cli import codec, load
from fusevae.cli.write import Output, which
from fusevae.core.generation import GREEDY
from fusevae.data.modality import modality_of
from fusevae.evaluation import classification, latents, samples
from fusevae.evaluation.labels import classified

SHOWN = 96  # examples of a sheet


def sample(options: Namespace) -> int:
    """Write new examples."""
    output, run = Output(options.output), load.opened(options)
    artifact, spec = run.artifact, run.artifact.data
    output.check(spec)
    kind = samples.kind_used(artifact, options.kind)
    how = load.generation(options, artifact)
    asked = samples.asked(artifact, options.label, options.n).label
    with run.computing():
        x, notes = samples.drawn(artifact, options.n, options.label, options.seed, options.kind, how)
    print("means of p(x | z)" if kind == "mean" else "samples from the model", *notes, sep="\n", file=sys.stderr)
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
    if (done := codec.compressed(options, run, output)) is not None:
        return done
    data, name = load.examples(options, run, options.text)
    with run.computing():
        arrays = latents.encode(run.artifact, data, seed=options.seed)
    output.columns(arrays, which(data))
    return output.tell(options.json, {"n": len(data), "data": name, "arrays": list(arrays)})


def classify(options: Namespace) -> int:
    """Write the likeliest label of each example, its probability and those of all; where labels are known, say how many
    are found."""
    output = Output(options.output)
    output.check_table()
    run = load.opened(options)
    artifact, conditions = run.artifact, run.artifact.data.conditions
    by = classification.check_classifies(artifact)
    data, name = load.examples(options, run, options.text)
    with run.computing():
        found = classification.classify(artifact, data, by, seed=options.seed)
    assert conditions is not None and conditions.label is not None
    best, names = found.max(-1), conditions.label.classes
    columns = {conditions.label.name: np.array(names)[best.indices], "probability": best.values.numpy()}
    columns |= {f"p_{word}": found[:, i].numpy() for i, word in enumerate(names)}
    beside = which(data)
    output.columns(columns, beside)
    facts = {"n": len(data), "data": name, "by": by}
    if conditions.label.name in beside:
        given = conditions.given(list(beside[conditions.label.name]), len(data))
        if (figures := classified(found.log(), given)) is not None:
            facts |= figures.to_dict()
            print("\n".join(f"{what}  {text}" for what, text in figures.lines()), file=sys.stderr)
    return output.tell(options.json, facts)
