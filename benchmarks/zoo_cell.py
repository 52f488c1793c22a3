"""One cell of the zoo: a recipe trained on a set for a time, and what became of it, in a process of its own.

``python benchmarks/zoo_cell.py SET ARM SECONDS RECORD [MOST [KEPT]]`` writes one JSON file; ``zoo.py`` calls it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from common import ROOT, hardware
from zoo_sets import BY_NAME, Set

from fusevae.training.records import finite

K = 32  # importance samples of a bound
JUDGED = 300  # samples that are held against as many real examples
SEED = 0
STOPPED = 130  # how the process ends where somebody stopped it
LONGEST, SLACK = 3, 1800  # times the budget, and seconds beside, after which a process is ended wherever it is
OVERFITTED = 0.5  # per cent of the bound by which what is kept may be below the best that validation saw


clock = time.process_time


def by_the_core() -> None:
    """A budget is time of one core, whatever else the machine does: so the cells of a busy one are as long."""
    for name in ("budget", "fit", "outcome", "progress", "train"):
        module = importlib.import_module(f"fusevae.training.{name}")
        module.time = SimpleNamespace(monotonic=clock, perf_counter=clock)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Arm:
    """A recipe as it stands, or with options; or a function like one."""

    name: str
    recipe: str | Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)


def without_critic(data: Any) -> Any:
    """The nets of ``vae-gan`` as a VAE: the parent that it is held against."""
    import fusevae
    from fusevae.recipes import vae_gan

    found = vae_gan.recipe(data)
    usual = found.training.replaced(betas=(0.9, 0.999), clip=4.0, skip=20.0)
    return found.replaced(objective=fusevae.ELBO(), training=usual)


OWN: dict[str, tuple[str, Callable[..., Any]]] = {"vae-of-vae-gan": ("images", without_critic)}


def arms(one: Set) -> dict[str, Arm]:
    """What is trained on a set: every recipe of its modality, and once more given its conditions where it can be."""
    from fusevae.training.recipes import find, kinds

    found = {name: Arm(name, recipe) for name, (modality, recipe) in OWN.items() if modality == one.modality}
    for name, modalities in kinds().items():
        if one.modality not in modalities:
            continue
        found[name] = Arm(name, name)
        if one.conditions and "conditional" in inspect.signature(find(name)).parameters:
            found[f"{name}-given"] = Arm(f"{name}-given", name, {"conditional": True})
    return found


def measure(one: Set, arm: Arm, seconds: float, most: int | None, kept: Path | None, note: Callable[..., None]) -> None:
    """Train, then look: each finding goes to ``note`` as soon as it is there, so that a later failure keeps it."""
    from fusevae import Source, fit
    from fusevae.training.recipes import reads

    started = clock()
    with tempfile.TemporaryDirectory() as folder:
        path = one.write(Path(folder) / one.name, most)
        settings = {**(reads(arm.recipe) if isinstance(arm.recipe, str) else {}), **one.reading}
        if one.conditions and (arm.options or one.modality != "molecules"):  # whose properties take time
            settings["conditions"] = list(one.conditions)
        splits = Source(str(path), **settings).read()
    note(phase="read", seconds=clock() - started)
    note(examples=[len(part) for part in (splits.train, splits.validation, splits.test)])
    started = clock()
    artifact = fit(arm.recipe, splits, seed=SEED, folder=kept, quiet=True, options=arm.options, budget=seconds)
    history = artifact.history
    if history.why == "interrupted":
        sys.exit(STOPPED)
    note(phase="train", seconds=clock() - started, steps=history.steps, planned=history.total)
    note(finished=history.finished, parameters=artifact.n_parameters)
    events = [{k: r[k] for k in ("step", "event", "says", "cause") if k in r} for r in history.records if "event" in r]
    note(events=events, support=artifact.support, level=artifact.distribution.level.name.lower())
    for phase, look in {"overfitting": overfitting, "latents": latents, "likelihood": likelihood}.items():
        started = clock()
        note(**{phase: look(artifact, splits)})
        note(phase=phase, seconds=clock() - started)
    started = clock()
    found = quality(artifact, splits)
    note(quality=found)
    if one.conditions and artifact.is_conditional:
        note(followed=found.pop("followed", {}))
    note(phase="samples", seconds=clock() - started)


def overfitting(artifact: Any, splits: Any) -> dict[str, float] | None:
    """The best bound that validation saw, the last one, and that of what is kept, each by the training's own noise;
    None where what is kept is chosen by something else (of ``semi-vae`` its classification counts, too)."""
    from fusevae.training.prepare import prepare

    curve = artifact.history.validation
    name = next((n for n in ("elbo", "log_bound") if n in curve), None)
    if name is None:
        return None
    made = artifact.history.rest.experiment
    again = prepare(
        artifact.distribution, splits, made.views, made.objective, made.training.replaced(average=0.0), made.seed, "cpu"
    )
    again._validate()
    means = next(record for record in reversed(again.records) if "validation" in record)["validation"]
    artifact.eval()
    if name == "elbo" and next(iter(again.game.players.values())).score(means) != means[name]:
        return None
    now = means[name]
    best = float(curve[name].max())
    at = float(curve["step"][int(curve[name].argmax())]) / artifact.history.total
    percent = 100 * (best - now) / max(1.0, abs(best))
    return {"best": best, "best_at": at, "last": float(curve[name][-1]), "kept": now, "percent": percent}


def latents(artifact: Any, splits: Any) -> dict[str, Any] | None:
    """The library's diagnosis of held-out examples, and what it would warn of."""
    import torch

    from fusevae.core import noise
    from fusevae.core.levels import Level
    from fusevae.evaluation.blocks import blocks
    from fusevae.evaluation.collapse import diagnose
    from fusevae.evaluation.collapse import warnings as wrong

    if not artifact.distribution.has_latents:
        return None
    block = next(blocks(artifact, splits.test, SEED))
    constant = of_constant(artifact, splits) if artifact.distribution.level >= Level.BOUND else None
    with torch.no_grad(), noise.keyed(SEED, "latents"):
        found = diagnose(artifact.distribution, block.x, block.label, constant)
    return (found | {"wrong": wrong(found, finished=True)}) if found else None


def of_constant(artifact: Any, splits: Any) -> Any:
    """log p(x) of each held-out example under the constant model of the same view of the data."""
    import torch

    from fusevae.core import noise
    from fusevae.data.modality import modality_of
    from fusevae.evaluation.blocks import blocks
    from fusevae.training.prepare import BASELINE

    with torch.no_grad(), noise.preserved(), noise.keyed(SEED, "baseline"):
        x = artifact.view(splits.train.batch(torch.arange(min(len(splits.train), BASELINE)))[0])
        constant = modality_of(splits.spec).baseline(x, artifact.viewed, artifact.measure)
        return torch.cat([constant.log_prob(block.x) for block in blocks(artifact, splits.test, SEED)])


def likelihood(artifact: Any, splits: Any) -> dict[str, Any] | None:
    """log p(x) of each held-out example, beside that of the constant model."""
    from fusevae import evaluate, log_likelihood
    from fusevae.core.levels import Level

    if artifact.distribution.level < Level.BOUND:
        return None
    each = log_likelihood(artifact, splits.test, importance_samples=K, seed=SEED)
    about = evaluate(artifact, splits.test, importance_samples=1, seed=SEED)
    theirs = of_constant(artifact, splits)
    return {
        "value": each.mean().item(),
        "stderr": _error(each),
        "kind": about.log_likelihood.kind,
        "elbo": about.elbo,
        "kl": about.kl,
        "active_units": about.active_units,
        "information": about.mutual_information,
        "bits_per_dim": about.bits_per_dim,
        "tokens": about.tokens,
        "constant": theirs.mean().item(),
        "gain": (each - theirs).mean().item(),
        "gain_stderr": _error(each - theirs),
        "each": [round(v, 3) for v in each.tolist()],
    }


def quality(artifact: Any, splits: Any) -> dict[str, Any]:
    """The library's judgement of samples; by features, also that of draws from a constant model."""
    import torch

    from fusevae import InputError, SlotError
    from fusevae.data.modality import modality_of
    from fusevae.evaluation.quality import Reference, compared

    few = min(JUDGED, len(splits.test) // 2)  # asked for so few, they have their intervals
    reference = modality_of(splits.spec).reference(splits.test, splits, few, None, "cpu", True)
    try:
        judged = reference.judge(artifact, seed=SEED)
    except (InputError, SlotError) as error:  # an autoencoder before its prior is fitted, say
        return {"none": str(error)}
    found = finite(judged) | {"followed": followed(judged)}
    if isinstance(reference, Reference):
        x = splits.train.batch(torch.arange(min(len(splits.train), 4 * reference.n)))[0].flatten(1)
        draws = torch.Generator().manual_seed(SEED)
        rows = torch.randint(len(x), (reference.n, x.shape[1]), generator=draws)
        constant = x.gather(0, rows).view(-1, *splits.spec.shape)  # each pixel or column from another example
        with torch.no_grad():
            found["constant"] = finite(compared(reference.features, reference.features_of_made(constant)))
    return found


def followed(judged: Any) -> dict[str, Any]:
    """Whether samples have what was asked for, as the library found it."""
    return {
        name: {"samples": one.accuracy, "real": one.real_accuracy}
        if one.accuracy is not None
        else {"spearman": one.rank_correlation, "valid": getattr(judged, "validity", 1.0)}
        for name, one in judged.followed.items()
    }


def written(path: Path, record: dict[str, Any]) -> None:
    """A record whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(finite(record)) + "\n")
    beside.replace(path)


def commit() -> str:
    """The commit of the library that is measured, with a + where its files are others."""
    if shutil.which("git") is None:
        return "?"
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=False)
    return (head.stdout.strip() or "?") + ("+" if changed.stdout.strip() else "")


def _error(values: Any) -> float:
    return values.std(unbiased=True).item() / math.sqrt(len(values))


@contextmanager
def said(lines: list[str]) -> Iterator[None]:
    """What is warned of and logged inside, each line once."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            add(record.getMessage())

    def add(text: Any) -> None:
        line = " ".join(str(text).split())[:300]
        if line not in lines:
            lines.append(line)

    logger, handler = logging.getLogger("fusevae"), Handler()
    logger.addHandler(handler)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: add(message)
        try:
            yield
        finally:
            logger.removeHandler(handler)


def in_a_cell(about: dict[str, Any], path: Path, look: Callable[[Callable[..., None]], None]) -> None:
    """Do what ``look`` does with a place for its findings, whatever becomes of it: the record is whole."""
    from fusevae import InputError

    found = about | {"seed": SEED, "commit": commit(), "hardware": hardware(), "date": time.strftime("%Y-%m-%d")}
    found |= {"phases": {}, "said": []}

    def note(phase: str | None = None, **what: Any) -> None:
        if phase is not None:
            found["phases"][phase] = round(what.pop("seconds"), 2)
        found.update(what)
        written(path, found)

    by_the_core()
    most_of_all = int(LONGEST * about["budget"]) + SLACK
    resource.setrlimit(resource.RLIMIT_CPU, (most_of_all, most_of_all))
    started = time.perf_counter()
    with said(found["said"]):
        try:
            look(note)
        except InputError as error:
            found["refused" if "train" not in found["phases"] else "crash"] = " ".join(str(error).split())[:400]
        except Exception as error:
            found["crash"] = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    note(whole=True, wall=round(time.perf_counter() - started, 1))


def main(name: str, which: str, seconds: str, record: str, most: str = "", kept: str = "") -> None:
    one, limit = BY_NAME[name], int(most) if most else None
    arm, place = arms(one)[which], Path(kept) if kept else None
    about = {"set": name, "recipe": which, "budget": float(seconds)}
    in_a_cell(about, Path(record), lambda note: measure(one, arm, float(seconds), limit, place, note))


if __name__ == "__main__":
    main(*sys.argv[1:])
