"""Training an experiment into a folder that explains itself. ``fusevae train`` reads arguments and does this."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import distributed as dist
from torch import nn

import fusevae
from fusevae.core.artifact import Artifact
from fusevae.core.description import Trust
from fusevae.core.errors import InputError
from fusevae.core.files import write_text
from fusevae.core.processes import leave, world
from fusevae.core.weights import weights_follow
from fusevae.data.splits import Splits
from fusevae.training import configuration
from fusevae.training.budget import begun
from fusevae.training.callbacks import Callback
from fusevae.training.configuration import Node
from fusevae.training.diagnosis import look_at_conditions
from fusevae.training.experiment import Experiment
from fusevae.training.folder import CONFIG, REPORT, fresh_folder, last_values
from fusevae.training.identity import Change, changes, check_data, check_settings, identity, settings_of
from fusevae.training.lock import locked
from fusevae.training.loop import Loop
from fusevae.training.moments import FOLLOWED, follow
from fusevae.training.outcome import judge
from fusevae.training.prepare import check_parts, in_parts, pick_device, trained
from fusevae.training.progress import Progress
from fusevae.training.run import Run


def train(
    node: Node,
    output: str | Path,
    splits: Splits | None = None,
    weights: str | Path | None = None,
    only: Sequence[str] = (),
    device: str = "auto",
    trust: Trust = (),
    importance_samples: int | None = None,
    quiet: bool = False,
    command: str | None = None,
    callbacks: Sequence[Callback] = (),
    since: float | None = None,
) -> Run:
    """Train what a configuration describes, judge it on held-out data and write everything into a folder.

    Args:
        node: the configuration as plain data: what :func:`fusevae.describe` gives of an :class:`Experiment`, or
            :func:`fusevae.training.configuration.read` of a YAML file.
        output: a folder that holds no run yet.
        splits: the data, where they have been read already.
        weights: another run whose weights this one starts from.
        only: parts of the model (``latents``, say) that take them; the others start anew. All by default.
        device: as for :func:`fusevae.fit`.
        trust: as for :func:`fusevae.build`.
        importance_samples: k of the final evaluation; by default 100, or fewer where there are many large examples.
        quiet: show no progress.
        command: what made the run, for the report.
        callbacks: as for :func:`fusevae.fit`.
        since: when the time of a budget began, by :func:`time.monotonic`; with this call by default.

    Raises :class:`InputError` before anything is written. Ctrl-C saves and returns with ``finished`` False.
    """
    since = time.monotonic() if since is None else since
    folder = fresh_folder(output)
    place = pick_device(device)
    experiment = configuration.experiment(node, trust)
    splits = splits if splits is not None else experiment.data.read()
    if weights is not None:
        take_weights(experiment.model, weights, trust, only)
    progress = Progress(quiet or world()[0] > 0)
    experiment, loop, plan = begun(experiment, splits, str(place), folder, progress, since, report=True)
    loop.callbacks = list(callbacks)
    if plan is not None and loop.rank == 0:
        loop.progress.say(f"planned for {experiment.training.budget}: {plan}")
    loop.values["identity"] = identity(experiment, splits)
    with locked(folder):
        fresh_folder(folder)  # nobody has begun in it meanwhile
        if world()[1] > 1:
            dist.barrier()  # nobody writes before everybody has looked whether the folder is free
        loop.save()  # the state at the start: what it depends on (the weights of another run) may be gone later
        if loop.rank == 0:
            made = f"# fusevae {fusevae.__version__}: {command}\n" if command else ""
            write_text(folder / CONFIG, made + configuration.dump(experiment))
        return _go(loop, experiment, splits, folder, importance_samples)


def resume(
    folder: str | Path,
    device: str = "auto",
    trust: Trust = (),
    importance_samples: int | None = None,
    quiet: bool = False,
    settings: Sequence[str] = (),
    splits: Splits | None = None,
) -> Run:
    """Go on with a run that was stopped, as if it had not been; one that came to its end is judged again.

    Args:
        folder: of the run.
        settings: changes of what makes neither another model nor other data, ``"training.epochs=200"`` say: they are
            recorded in ``config.yaml``, ``metrics.jsonl`` and the report. Schedules (of the learning rate, of beta) go
            by the part of the training that is done, so in a longer one they go on from an earlier point.
        splits: the data, where they have been read already.

    Other arguments as of :func:`train`. Raises :class:`InputError` where the configuration or the data are others than
    those it was trained with.
    """
    folder = Path(folder).expanduser()
    if not (folder / CONFIG).is_file():
        raise InputError(f"no run to go on with in {folder} (it holds no {CONFIG}): train anew, with another --output")
    asked, place = check_settings(settings, str(folder)), pick_device(device)
    with locked(folder):
        kept, state = configuration.read(folder / CONFIG), last_values(folder)
        with weights_follow():  # those of the checkpoint
            experiment = configuration.experiment(configuration.override(kept, settings, trust), trust)
        splits = splits if splits is not None else experiment.data.read()
        now = identity(experiment, splits)
        before = state.get("identity") or now | {"configuration": settings_of(kept)}  # of an earlier version
        check_data(before, splits, str(folder))
        found = changes(before["configuration"], now["configuration"], str(folder), asked)
        _, loop, _ = begun(experiment, splits, str(place), folder, Progress(quiet or world()[0] > 0))
        if found:
            check_length(loop, state, found)
        loop.resume()
        loop.values["identity"] = now
        if found or asked:
            record(loop, found, folder, experiment)
        return _go(loop, experiment, splits, folder, importance_samples)


def check_length(loop: Loop, state: Mapping[str, Any], found: Sequence[Change]) -> None:
    """Refuse a training that is shorter than what is done, or that would not go on."""
    asked = next((change.now for change in found if change.path == "training.epochs"), None)
    done, patience = state.get("step", 0), loop.settings.patience
    if asked is not None and loop.total <= done:
        raise InputError(f"training.epochs={asked:g} was given and {done / loop.per_epoch:.4g} are done: give more")
    if asked is not None and patience and state.get("stale", 0) >= patience:
        raise InputError(
            f"the training has ended because {state['stale']} validations in a row were not better: give "
            "training.patience, too"
        )
    if state.get("late") and not any(change.path == "training.budget" for change in found):
        raise InputError("the training has used its time: give training.budget, too, more of it or null for no limit")


def record(loop: Loop, found: Sequence[Change], folder: Path, experiment: Experiment) -> None:
    """Note what was changed on the way: in the configuration, in the records and in the checkpoint."""
    for change in found:
        if change.path == "training.budget":
            loop.values["late"] = False
            loop.finished = loop.settings.ended(loop.values)
        if change.path == "training.patience":
            if change.now is None:
                loop.best = {}  # the end counts
            elif change.before is None:
                loop.values |= {"best": None, "stale": 0}  # what was best before has not been kept
                loop.finished = False
        says = str(change)
        if change.path == "training.epochs":
            says += f"; its schedules go on from {loop.step / loop.total:.0%} of the training"
        loop.tell("changed", says)
    if found:
        loop.save()
    if world()[1] > 1:
        dist.barrier()  # everybody has read the configuration
    if loop.rank == 0:
        lines = (folder / CONFIG).read_text(encoding="utf-8").splitlines()
        made = [line for line in lines if line.startswith("#")]
        made += [f"# from step {loop.step}: {change}" for change in found]
        write_text(folder / CONFIG, "\n".join([*made, configuration.dump(experiment)]))
        if found:
            (folder / REPORT).unlink(missing_ok=True)  # it says that the training is at its end


def take_weights(model: nn.Module, source: str | Path, trust: Trust = (), only: Sequence[str] = ()) -> None:
    """Copy the weights of another run's artifact into ``model``, whose names and shapes must be the same; only those
    of some parts where these are named (``latents`` is any part of that name, with what is in it)."""
    ours = model.state_dict()
    theirs = {
        name: value
        for name, value in Artifact.load(source, trust).distribution.state_dict().items()
        if name in ours or not name.endswith(FOLLOWED)  # found anew at the end
    }
    chosen = {name for name in [*ours, *theirs] if not only or in_parts(name, only)}
    if only:
        check_parts("--only", only, ours)
    for name in [n for n in [*ours, *theirs] if n in chosen]:
        have, want = theirs.get(name), ours.get(name)
        if have is None or want is None:
            who = f"{source} has no weights" if have is None else "this model has no place"
            raise InputError(
                f"{who} for {name}: --from needs a model with the same parts; take the other run's config.yaml"
            )
        if have.shape != want.shape:
            raise InputError(
                f"{name} has shape {tuple(have.shape)} in {source} and {tuple(want.shape)} here: --from needs a model "
                "of the same sizes; take the other run's config.yaml"
            )
    model.load_state_dict({name: theirs[name] for name in chosen}, strict=False)


def _go(loop: Loop, experiment: Experiment, splits: Splits, folder: Path, k: int | None) -> Run:
    finished = loop.run() or loop.progress.late
    seconds = loop.records.seconds
    artifact = trained(loop)
    if loop.processes > 1:
        leave()  # what follows is for one; the others need not wait
        if loop.rank:
            return Run(folder, finished, loop.step, seconds)
    artifact = follow(loop, artifact) if finished else artifact
    artifact.save(folder, {"seed": str(experiment.seed)})
    if finished:
        look_at_conditions(loop, artifact)
        judge(artifact, splits, loop, experiment, folder, k)
    return Run(folder, finished, loop.step, seconds, artifact=artifact, data=splits)
