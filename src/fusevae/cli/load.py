"""What the commands share that use a trained model: loading it, reading data for it, its device and precision."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml

from fusevae.core.artifact import WEIGHTS, Artifact, read_header
from fusevae.core.description import build, describe, fit_type
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation
from fusevae.data.examples import Examples
from fusevae.data.source import Source, Splits, read_examples
from fusevae.evaluation.blocks import as_examples, check_examples
from fusevae.evaluation.comparison import TrainingCost
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.molecule_quality import MoleculeReference
from fusevae.evaluation.quality import Reference
from fusevae.evaluation.samples import check_generation
from fusevae.evaluation.text_quality import TextReference
from fusevae.training import configuration
from fusevae.training.extractor import extractor_for
from fusevae.training.fit import pick_device
from fusevae.training.outcome import held_out_part
from fusevae.training.run import CONFIG


def model(options: Namespace) -> Artifact:
    """The artifact of ``RUN`` on the device asked for."""
    device = pick_device(getattr(options, "device", "cpu"))
    if options.trust:
        sys.path.insert(0, os.getcwd())
    run = Path(options.run).expanduser()
    if (run / CONFIG).is_file() and not (run / WEIGHTS).exists():
        raise InputError(f"the training in {run} has not come to its end: go on with it, fusevae train --resume {run}")
    found = Artifact.load(run, options.trust, device)
    settings = getattr(options, "settings", None)
    return configuration.changed(found, settings, options.trust) if settings else found


def precision(options: Namespace) -> AbstractContextManager[Any]:
    """Runs the nets in the precision asked for."""
    if options.precision == "bfloat16":
        return torch.autocast(pick_device(options.device).type, torch.bfloat16)
    return nullcontext()


def generation(options: Namespace, artifact: Artifact) -> Generation | None:
    """How text is to be written, where anything was said about it."""
    given = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p", "beams", "longest", "start")}
    given = {name: value for name, value in given.items() if value is not None}
    if "start" in given and (vocabulary := artifact.data.vocabulary) is not None:
        given["start"] = tuple(vocabulary.encode(given["start"]))
    found = Generation(**given) if given else None
    check_generation(artifact, found)
    return found


def examples(options: Namespace, artifact: Artifact) -> tuple[Examples, str]:
    """The data asked for, or the run's own held-out ones; and what they are in words."""
    node = source(options)
    if texts := getattr(options, "text", None):
        if options.data is not None:
            raise InputError("--text and --data were given: expected one of them")
        return as_examples(artifact, texts), "the texts given"
    if options.data is None:
        if node is None:
            raise InputError(f"{options.run} has no {CONFIG} that names its data: give --data")
        found, name = held_out_part(splits(options))  # type: ignore[arg-type]
        name = f"{name} of the run"
    else:
        node = node or describe(Source())
        ours = {"path": options.data, "labels": options.labels, "skip_damaged": options.skip_damaged}
        ours |= {"validation_path": None, "test_path": None}
        if options.labels is None and _build(node).options.label_file is None:
            ours["labels"] = node["labels"]  # the name of an array or column means the same in other data of this kind
        classes = artifact.data.classes if artifact.is_conditional else None
        found = read_examples(_build(node | ours), classes, artifact.data.vocabulary)
        name = str(options.data)
    check_examples(artifact, found)
    return found, name


def held_and_splits(options: Namespace, artifact: Artifact) -> tuple[Examples, str, Splits | None]:
    """What :func:`examples` gives, and all parts of the run's own data, where the run names them."""
    if options.data is not None:
        return *examples(options, artifact), splits(options)
    own = splits(options)
    if own is None:
        return *examples(options, artifact), None
    found, name = held_out_part(own)
    check_examples(artifact, found)
    return found, f"{name} of the run", own


def splits(options: Namespace) -> Splits | None:
    """All parts of the data that the run was trained on, if it names them."""
    node = source(options)
    if node is None:
        return None
    if options.skip_damaged:
        node["skip_damaged"] = True
    return _build(node).read()


def training(options: Namespace, artifact: Artifact) -> tuple[Examples, str]:
    """The data asked for, or the run's own training ones; and what they are in words."""
    if options.data is not None or (node := source(options)) is None:
        return examples(options, artifact)
    return _build(node).read().train, "training split of the run"


def reference(options: Namespace, data: Examples, splits: Splits) -> Judge:
    """What samples are held against, on the device asked for."""
    if data.spec.is_molecules:
        return MoleculeReference(data, splits.train, options.samples)
    if data.spec.vocabulary is not None:
        judge = (
            Artifact.load(options.extractor, options.trust, pick_device(options.device)) if options.extractor else None
        )
        return TextReference(data, splits.train, options.samples, judge)
    quiet = bool(options.json)
    extractor = extractor_for(splits, options.extractor, options.device, quiet).to(pick_device(options.device))
    return Reference(extractor, data, splits.train, options.samples)


def source(options: Namespace) -> dict[str, Any] | None:
    """The description of the data in the run's configuration, in full, if there is one."""
    path = Path(options.run).expanduser()
    folder = path if path.is_dir() else path.parent
    if (folder / CONFIG).is_file():
        node = configuration.read(folder / CONFIG).get("data") or {"class": "Source"}
    elif "source" in (header := read_header(folder / WEIGHTS if path.is_dir() else path)):
        node = yaml.safe_load(header["source"])  # a copy with another prior
    else:
        return None
    found: dict[str, Any] = describe(_build(node))
    return found


def _build(node: dict[str, Any]) -> Source:
    found: Source = fit_type(build(node, where="data"), Source, "data")
    return found


def training_state(run: Path) -> TrainingCost | None:
    """How far the training of a run folder is, from its configuration and metrics."""
    config, metrics = run / CONFIG, run / "metrics.jsonl"
    if not config.is_file() or not metrics.is_file():
        return None
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    last: dict[str, Any] = next((r for r in reversed(records) if "epoch" in r), {})
    return TrainingCost(
        steps=last.get("step"),
        epochs=round(last["epoch"], 3) if last else None,
        epochs_asked_for=configuration.read(config).get("training", {}).get("epochs"),
        finished=(run / "report.html").is_file(),
        seconds=last.get("seconds"),
        went_back=sum("event" in r for r in records),
    )
