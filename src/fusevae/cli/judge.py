"""``fusevae evaluate`` and ``fusevae info``."""

from __future__ import annotations

import functools
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from fusevae.cli import load
from fusevae.cli.train import table
from fusevae.core.artifact import read_header
from fusevae.core.description import describe
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.data.modality import modality_of
from fusevae.data.streamed import Streamed
from fusevae.evaluation.judge import LEAST, Judge, SampleQuality, of_conditions
from fusevae.evaluation.likelihood import MOST, PATIENT, affordable, check_samples, fewer
from fusevae.evaluation.likelihood import evaluate as evaluate_artifact
from fusevae.evaluation.results import Result
from fusevae.evaluation.scores import Size
from fusevae.evaluation.verdict import UNJUDGED, of_training, verdict
from fusevae.training.compare import judge_or_why
from fusevae.training.outcome import to_json, words_of


def evaluate(options: Namespace) -> int:
    """Print the figures of a model on held-out data."""
    run = load.opened(options)
    artifact = run.artifact
    kind = modality_of(artifact.data)
    codec = kind if isinstance(kind, Streamed) and kind.is_codec(artifact) else None
    if artifact.distribution.level >= Level.BOUND or not (options.samples or codec):
        check_samples(artifact, options.importance_samples or MOST)
    if options.extractor and not options.samples:
        raise InputError("--extractor is what samples are judged by: add --samples")
    data, name = load.examples(options, run)
    reference: Judge | None = None
    why, given = "", None if options.data is None else data
    if options.samples:
        make = functools.partial(run.judge, options.samples, options.extractor, given, options.json)
        bound = artifact.distribution.level >= Level.BOUND  # there are other figures where real examples are too few
        reference, why = judge_or_why(make) if bound else (make(), "")
    print(f"evaluating {len(data):,} examples: {name}", file=sys.stderr)
    parts: dict[str, Result] = {}
    made: SampleQuality | None = None
    with run.computing():
        whole: Size = Size.of(artifact)
        if artifact.distribution.level >= Level.BOUND:
            k = options.importance_samples or affordable([artifact], data, MOST, PATIENT)[1]
            if k < (options.importance_samples or MOST):
                print(fewer(k), file=sys.stderr)
            whole = evaluate_artifact(artifact, data, None, k, options.seed)
        if codec is not None:
            parts["codes"] = codec.bits(artifact, data, options.seed)
        if reference is not None:
            parts["samples"] = made = reference.judge(artifact, options.kind, options.seed)
            if artifact.distribution.has_latents:
                parts["reconstructions"] = kind.reconstruction(artifact, data, options.seed)
        elif why and (asked := of_conditions(artifact, run.data.train, given or run.data.unseen(2 * LEAST)[0])):
            parts["samples"] = made = asked
    found = of_training(run.metrics, run.evaluation) + (made.failings() if made is not None else [])
    if options.json:
        failings = [vars(each) for each in found]
        print(to_json({**whole.to_dict(), **parts, "failings": failings, "run": str(options.run), "data": name}))
    else:
        table([line for result in (whole, *parts.values()) for line in result.lines()])
        aside = "see above" + ", but for what was asked of them" * (made is not None) if why else UNJUDGED
        judged = made is not None and not why
        lines = verdict(found, made.n if made is not None and judged else None, "" if judged else aside)
        print("\n" + "\n".join(lines))
    return 0


def info(options: Namespace) -> int:
    """Print what a model is, and how far its training is."""
    run = load.opened(options)
    artifact, header = run.artifact, read_header(run.weights)
    facts: dict[str, Any] = {
        "run": str(options.run),
        "model": describe(artifact.distribution),
        "views": describe(list(artifact.views)),
        "data": {k: v for k, v in describe(artifact.data).items() if k != "class"},
        "support": artifact.support,
        "level": artifact.distribution.level.name.lower(),
        "conditional": artifact.is_conditional,
        "parameters": artifact.n_parameters,
        "fusevae": header.get("fusevae"),
        "format": int(header["format"]),
        "seed": int(header["seed"]) if "seed" in header else None,
        "training": run.state,
    }
    if options.json:
        print(to_json(facts))
        return 0
    print("\n".join(tree(facts["model"])))
    for view in facts["views"]:
        print("view: " + "\n".join(tree(view)))
    print()
    data, state = artifact.data, facts["training"]
    rows = [
        ("parameters", f"{artifact.n_parameters:,}"),
        ("modality", data.modality or "none"),
        ("data", data.schema.about(data)),
        ("conditions", words_of(data.conditions) if data.conditions is not None else "none"),
        ("conditional", "yes" if artifact.is_conditional else "no"),
        ("support", artifact.support),
        ("promises", facts["level"]),
        ("saved by", f"fusevae {facts['fusevae']} (format {facts['format']})"),
    ]
    if state:
        rows.append(("training", ", ".join(f"{k} {v}" for k, v in vars(state).items() if v is not None)))
    table(rows)
    return 0


def tree(node: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """A description as indented lines: a part and its plain settings, then the parts inside it."""
    indent = "  " * depth + (f"{name}: " if name else "")
    if isinstance(node, list):
        for i, part in enumerate(node):
            yield from tree(part, f"{name} {i}", depth)
        return
    inside = {k: v for k, v in node.items() if _has_parts(v)}
    plain = ", ".join(f"{k}={_short(v)}" for k, v in node.items() if k != "class" and k not in inside and v is not None)
    yield f"{indent}{node.get('class', '')}({plain})"
    for key, part in inside.items():
        yield from tree(part, key, depth + 1)


def _has_parts(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))


def _short(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, str) else str(value)
    return text if len(text) < 60 else text[:57] + "..."
