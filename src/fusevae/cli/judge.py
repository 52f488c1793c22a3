"""``fusevae evaluate``, ``fusevae compare`` and ``fusevae info``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusevae.cli import load
from fusevae.cli.train import table
from fusevae.core.artifact import WEIGHTS, read_header
from fusevae.core.description import describe
from fusevae.core.errors import InputError
from fusevae.evaluation.blocks import check_examples
from fusevae.evaluation.compare import compare as compare_artifacts
from fusevae.evaluation.likelihood import check_samples
from fusevae.evaluation.likelihood import evaluate as evaluate_artifact
from fusevae.evaluation.report import lines, nats
from fusevae.training import configuration
from fusevae.training.outcome import to_json
from fusevae.training.run import CONFIG


def evaluate(options: Namespace) -> int:
    """Print the figures of a model on held-out data."""
    artifact = load.model(options)
    check_samples(artifact, options.importance_samples)
    data, name = load.examples(options, artifact)
    print(f"evaluating {len(data):,} examples: {name}", file=sys.stderr)
    with load.precision(options):
        found = evaluate_artifact(artifact, data, importance_samples=options.importance_samples, seed=options.seed)
    found |= {"run": str(options.run), "data": name}
    if options.json:
        print(to_json(found))
    else:
        table(lines(found))
    return 0


def compare(options: Namespace) -> int:
    """Print the likelihoods of several models, and their differences as pairs."""
    if len(set(options.runs)) < max(2, len(options.runs)):
        raise InputError(f"{' '.join(options.runs)} was given to compare: give at least two runs, each once")
    artifacts = {}
    for run in reversed(options.runs):  # the data are those of the first
        options.run = run
        artifacts[run] = load.model(options)
    data, name = load.examples(options, artifacts[options.runs[0]])
    for run in options.runs[1:]:
        check_examples(artifacts[run], data)
    print(f"comparing {len(artifacts)} models on {len(data):,} examples: {name}", file=sys.stderr)
    with load.precision(options):
        models = {run: artifacts[run] for run in options.runs}
        found = compare_artifacts(models, data, importance_samples=options.importance_samples, seed=options.seed)
    found["data"] = name
    if options.json:
        print(to_json(found))
        return 0
    rows = [("support", found["support"])]
    rows += [(run, f"{nats(f['value'], f['stderr'])} ({f['kind']})") for run, f in found["models"].items()]
    for d in found["differences"]:
        low, high = d["interval"]
        rows.append(
            (f"{d['model']} - {d['minus']}", f"{d['value']:+.3f} nats, 95 % between {low:+.3f} and {high:+.3f}")
        )
    table(rows)
    return 0


def info(options: Namespace) -> int:
    """Print what a model is, and how far its training is."""
    artifact = load.model(options)
    path = Path(options.run).expanduser()
    header = read_header(path / WEIGHTS if path.is_dir() else path)
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
        "training": training_state(path) if path.is_dir() else None,
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
        ("data", f"{'x'.join(map(str, data.shape))} {data.dtype} in [{data.low:g}, {data.high:g}]"),
        ("classes", ", ".join(data.classes or []) or "none"),
        ("conditional", "yes, on the class" if artifact.is_conditional else "no"),
        ("support", artifact.support),
        ("promises", facts["level"]),
        ("saved by", f"fusevae {facts['fusevae']} (format {facts['format']})"),
    ]
    if state:
        rows.append(("training", ", ".join(f"{k} {v}" for k, v in state.items() if v is not None)))
    table(rows)
    return 0


def training_state(run: Path) -> dict[str, Any] | None:
    """How far the training of a run folder is, from its configuration and metrics."""
    config, metrics = run / CONFIG, run / "metrics.jsonl"
    if not config.is_file() or not metrics.is_file():
        return None
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    last: dict[str, Any] = next((r for r in reversed(records) if "epoch" in r), {})
    return {
        "steps": last.get("step"),
        "epochs": round(last["epoch"], 3) if last else None,
        "epochs_asked_for": configuration.read(config).get("training", {}).get("epochs"),
        "finished": (run / "report.html").is_file(),  # the last that a run writes; what only samples has no evaluation
        "seconds": last.get("seconds"),
        "went_back": sum("event" in r for r in records),
    }


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
