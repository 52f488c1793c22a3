"""Training an experiment into a folder that explains itself. ``fusevae train`` reads arguments and does this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import distributed as dist
from torch import nn

import fusevae
from fusevae.core.artifact import WEIGHTS, Artifact
from fusevae.core.description import Trust
from fusevae.core.errors import InputError
from fusevae.core.files import write_text
from fusevae.core.processes import leave, world
from fusevae.core.weights import weights_follow
from fusevae.data.splits import Splits
from fusevae.training import configuration
from fusevae.training.configuration import Node
from fusevae.training.experiment import Experiment
from fusevae.training.fit import check_parts, in_parts, pick_device, prepare, trained
from fusevae.training.loop import Loop
from fusevae.training.outcome import judge
from fusevae.training.progress import Progress
from fusevae.training.records import METRICS
from fusevae.training.run import CONFIG, Run


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
    limit: float = math.inf,
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
        limit: seconds of training after which it ends, wherever its schedules are.

    Raises :class:`InputError` before anything is written. Ctrl-C saves and returns with ``finished`` False.
    """
    folder = fresh(output)
    place = pick_device(device)
    experiment = configuration.experiment(node, trust)
    splits = splits if splits is not None else experiment.data.read()
    if weights is not None:
        take_weights(experiment.model, weights, trust, only)
    loop = _loop(experiment, splits, folder, place, quiet)
    loop.progress.limit = limit
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
    limit: float = math.inf,
) -> Run:
    """Go on with a run that was stopped, as if it had not been; one that came to its end is judged again."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise InputError(f"no run to go on with in {folder} (it holds no {CONFIG}): train anew, with another --output")
    place = pick_device(device)
    with weights_follow():  # those of the checkpoint
        experiment = configuration.experiment(configuration.read(folder / CONFIG), trust)
    splits = experiment.data.read()
    loop = _loop(experiment, splits, folder, place, quiet)
    loop.resume()
    loop.progress.limit = limit
    return _go(loop, experiment, splits, folder, importance_samples)


def fresh(output: str | Path) -> Path:
    """``output`` as the place of a new run, or :class:`InputError` where it can't be."""
    folder = Path(output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give another --output, a folder")
    # a run killed before its config.yaml was written has only the checkpoint of step 0, and can be begun again
    signs = (CONFIG, WEIGHTS, METRICS, "checkpoints/step-*[1-9]*")
    holds = [name for name in signs if any(folder.glob(name))]
    if holds:
        raise InputError(
            f"{folder} holds a run already ({', '.join(holds)}): go on with it by --resume {folder}, or give "
            "another --output"
        )
    return folder


def take_weights(model: nn.Module, source: str | Path, trust: Trust = (), only: Sequence[str] = ()) -> None:
    """Copy the weights of another run's artifact into ``model``, whose names and shapes must be the same; only those
    of some parts where these are named (``latents`` is any part of that name, with what is in it)."""
    theirs = Artifact.load(source, trust).distribution.state_dict()
    ours = model.state_dict()
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


def _loop(experiment: Experiment, splits: Splits, folder: Path, device: torch.device, quiet: bool) -> Loop:
    progress = Progress(quiet or world()[0] > 0)
    views, objective, training = experiment.views, experiment.objective, experiment.training
    return prepare(experiment.model, splits, views, objective, training, experiment.seed, str(device), folder, progress)


def _go(loop: Loop, experiment: Experiment, splits: Splits, folder: Path, k: int | None) -> Run:
    finished = loop.run() or loop.progress.late
    seconds = loop.progress.seconds
    artifact = trained(loop)
    if loop.processes > 1:
        leave()  # what follows is for one; the others need not wait
        if loop.rank:
            return Run(folder, finished, loop.step, seconds)
    artifact.save(folder, {"seed": str(experiment.seed)})
    if finished:
        judge(artifact, splits, loop, experiment, folder, k)
    return Run(folder, finished, loop.step, seconds, artifact=artifact, data=splits)
