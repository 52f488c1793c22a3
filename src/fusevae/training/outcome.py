"""What a finished run leaves in its folder: figures on held-out data, pictures, and the report."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import fusevae
from fusevae.core.artifact import Artifact
from fusevae.core.conditions import Conditions
from fusevae.core.durations import clock
from fusevae.core.errors import SlotError
from fusevae.core.files import write_text
from fusevae.core.levels import Level
from fusevae.core.spec import DataSpec
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.data.sheet import Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation import pictures, report
from fusevae.evaluation.latent_pictures import draw_latents
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.likelihood import affordable, evaluate
from fusevae.evaluation.samples import kind_used, sample
from fusevae.evaluation.scores import Likelihood
from fusevae.evaluation.speaking import draw_alignments
from fusevae.evaluation.verdict import UNJUDGED, of_training, verdict
from fusevae.training.budget import DRAWN
from fusevae.training.experiment import Experiment
from fusevae.training.folder import CONFIG, REPORT
from fusevae.training.loop import Loop
from fusevae.training.records import finite

WORK = 8e8  # decoded values that the evaluation after a training may take: some seconds
SHARE, SOON = 0.1, 1.0  # of a budget, which that evaluation may take; seconds that it has in any case
LEAST = 100  # examples that it is of however dear they are
CLASSES, ROW = 10, 10  # rows of samples of a conditional model, and samples in each


def judge(
    artifact: Artifact, splits: Splits, loop: Loop, experiment: Experiment, folder: Path, k: int | None
) -> Likelihood | None:
    """Evaluate on held-out data; write ``evaluation.json``, the pictures and ``report.html``; return the figures."""
    held, held_out = splits.held
    artifact.to(loop.device)
    evaluation = None
    if artifact.distribution.level >= Level.BOUND:
        some = held
        if k is None:
            left = seconds_left(experiment.training.seconds, loop.progress.until)
            most = max(1, min(100, int(WORK / (len(held) * artifact.viewed.dims))))
            some, k = affordable([artifact], held, most, left, LEAST)
        held_out = (
            held_out if len(some) == len(held) else f"{held_out}, {len(some):,} of {len(held):,} for want of time"
        )
        loop.progress.say(f"evaluating {len(some):,} examples of the {held_out}")
        evaluation = evaluate(artifact, some, importance_samples=k)
        write_text(folder / "evaluation.json", to_json(evaluation))
    try:
        sheets, made = draw_samples(artifact, held)
    except SlotError as error:  # an autoencoder before its prior is fitted
        sheets, made = {}, str(error)
        loop.progress.say(f"no samples: {made}")
    sheets |= draw_reconstructions(artifact, held) | draw_latents(artifact, held)
    sheets |= draw_alignments(artifact, held)
    sheets["curves"] = pictures.curves(loop.records)
    artifact.cpu()
    for name, sheet in sheets.items():
        sheet.beside(folder / name)
    config = folder / CONFIG
    text = config.read_text(encoding="utf-8")
    model = getattr(artifact.distribution, "model", artifact.distribution)  # without its preprocessing
    facts = report.Facts(
        title=f"{type(model).__name__} on {splits.source}: {folder.name}",
        evaluation=evaluation,
        held_out=held_out,
        samples=made,
        sheets=sheets,
        verdict=verdict(of_training(loop.records, evaluation), unjudged=UNJUDGED, likelihood=evaluation is not None),
        parts={
            "data": f"{splits.source}: {len(splits.train):,} for training, {len(splits.validation):,} for validation, "
            f"{len(splits.test):,} for test",
            "example": splits.spec.schema.about(splits.spec),
            **({"conditions": words_of(splits.spec.conditions)} if splits.spec.conditions is not None else {}),
            "parameters": f"{artifact.n_parameters:,}",
            "training": f"{loop.step:,} steps, {loop.step / loop.per_epoch:.1f} epochs, {clock(loop.records.seconds)}",
            "evaluation": clock(evaluation.seconds) if evaluation else "none",
            "seed": experiment.seed,
            **environment(loop.device, loop.processes),
        },
        latents=latents(loop.records),
        events=[event(r) for r in loop.records if "event" in r],
        configuration=text,
        command=again(text, config),
    )
    report.write(folder / REPORT, facts)
    return evaluation


def seconds_left(budget: float | None, until: float) -> float:
    """For the evaluation after a training: a part of its time, and what is left until it is over."""
    return math.inf if budget is None else min(SHARE * budget, max(SOON, until - time.monotonic() - DRAWN))


def draw_samples(artifact: Artifact, real: Examples) -> tuple[dict[str, Sheet], str]:
    """Samples with the seed that ``fusevae sample`` has by default, beside real examples where that shows more: sheets
    by name; and how they were made, in words."""
    spec, kind = artifact.data, modality_of(real.spec)
    how = "means of p(x | z) for z from the prior" if kind_used(artifact, "auto") == "mean" else "draws from the model"
    if artifact.is_conditional and spec.classes and kind.by_class:
        lines = [(name, sample(artifact, ROW, label=name)) for name in _asked(spec)]
        return {"samples": kind.draw(lines, spec)}, f"A row for each class: {how}; the same seed in every row."
    beside = real.spread(kind.shown)
    x, label = beside.batch(torch.arange(len(beside)))
    said = artifact.is_conditional and spec.conditions is not None and spec.conditions.text is not None
    made = sample(artifact, len(x) if said else kind.shown, label if said else None)
    return kind.portrait(made, x, spec), f"{len(made):,} {how}{', of the texts of held-out examples' if said else ''}."


def _asked(spec: DataSpec) -> list[str]:
    label = spec.conditions.label if spec.conditions is not None else None
    return [word for word in label.classes if word not in label.without][:CLASSES] if label is not None else []


def draw_reconstructions(artifact: Artifact, examples: Examples) -> dict[str, Sheet]:
    """``reconstructions`` as a sheet, for a model that has latents."""
    if not artifact.distribution.has_latents:
        return {}
    kind = modality_of(examples.spec)
    some = examples.spread(kind.compared)
    x, made = artifact.seen(some.batch(torch.arange(len(some)))[0]), reconstruct(artifact, some)
    return {"reconstructions": kind.pairs(x, made, artifact.data)}


def words_of(conditions: Conditions) -> str:
    """Conditions in a line."""
    return "; ".join(f"{column.name}: {column.about}" for column in conditions.columns)


def environment(device: torch.device, processes: int = 1) -> dict[str, str]:
    """Versions and hardware, for whoever wants the same figures."""
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        hardware = f"{_processor()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
    return {
        "versions": f"fusevae {fusevae.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "hardware": hardware + (f", {processes} processes" if processes > 1 else ""),
    }


def event(record: Mapping[str, Any]) -> str:
    """A record of ``metrics.jsonl`` about something unusual, in words."""
    if record["event"] == "went back":
        return (
            f"Step {record['from']}: {record['cause']}; went back to step {record['step']} "
            f"with {record['rate_scale']:g} of the learning rate."
        )
    return f"Step {record['step']}: {record['says']}."


def latents(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The newest diagnosis of the latents in words, if there is one."""
    found: dict[str, Any] = next((r["diagnosis"] for r in reversed(records) if "diagnosis" in r), {})
    if "units" not in found:  # there are none
        return {}
    rows = {}
    whole: Mapping[str, Any] = next((r["validation"] for r in reversed(records) if "validation" in r), {})
    for name, codes in {**found["codes"], **whole.get("codes", {})}.items():  # of all held-out examples where there are
        rows[f"codes of {name} in use"] = f"{codes['used']} of {codes['codes']}, perplexity {codes['perplexity']:.1f}"
    for name, units in found["units"].items():
        active = found["active_units"][name]
        rows[f"active units of {name}"] = "not known" if active is None else f"{active} of {units}"
    if found["mutual_information"] is not None:
        rows["information I(x; z)"] = f"{found['mutual_information']:.2f} nats (at most log {found['examples']})"
        rows["aggregate posterior from prior"] = f"{found['aggregate_gap']:.2f} nats, KL(q(z) || p(z))"
    return rows


def again(config: str, path: Path) -> str:
    """The command that makes a run again, from the first lines of its configuration."""
    first, *others = [line for line in config.splitlines() if line.startswith("#")] or [""]
    made = [first.partition(": ")[2] if first.startswith("# fusevae") else first, *others]
    what = "the last settings from the start on" if "# from step" in config else "the same, from the configuration"
    plain = f"fusevae train {shlex.quote(str(path))} --output NEW"
    return "\n".join([*made, f"{plain}   # {what}"]) if first else plain


def to_json(value: Any) -> str:
    """JSON that every parser takes: what is not finite is null."""
    return json.dumps(finite(value))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
