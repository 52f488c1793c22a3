"""fit and resume: from a recipe, an experiment or a model to a trained artifact, and on from one that was stopped."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.description import Trust, check_remembered, describe
from fusevae.core.errors import InputError
from fusevae.core.files import write_text
from fusevae.core.steps import Step, View
from fusevae.core.trace import Trace
from fusevae.core.weights import weights_follow
from fusevae.data.source import read_data
from fusevae.data.splits import Splits
from fusevae.objectives.objective import Objective
from fusevae.training import checkpoint, configuration
from fusevae.training.budget import begun
from fusevae.training.callbacks import Callback
from fusevae.training.compose import IN_MEMORY, Recipe, changed, composed, timely
from fusevae.training.diagnosis import look_at_conditions
from fusevae.training.experiment import Experiment
from fusevae.training.folder import CHECKPOINTS, CONFIG, fresh_folder, last_values
from fusevae.training.functions import as_objective, as_views
from fusevae.training.history import History
from fusevae.training.identity import changes, check_data, identity
from fusevae.training.lock import locked
from fusevae.training.loop import Loop
from fusevae.training.moments import follow
from fusevae.training.prepare import trained
from fusevae.training.progress import Progress
from fusevae.training.records import METRICS
from fusevae.training.settings import Training


@dataclass
class Rest:
    """What a training depends on, so that it can go on; the weights are those of the state."""

    experiment: Experiment
    splits: Splits
    folder: Path | None
    state: checkpoint.State | None = None  # where no folder has it
    records: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def fit(
    what: str | Conditional | Experiment | Recipe,
    data: Any = None,
    views: Sequence[View | Callable[..., Any]] | None = None,
    objective: Objective | Callable[[Trace], Any] | Callable[[Trace, float], Any] | None = None,
    training: Training | Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str = "auto",
    folder: str | Path | None = None,
    quiet: bool = False,
    *,
    options: Mapping[str, Any] | None = None,
    budget: str | float | None = None,
    callbacks: Sequence[Callback] = (),
    refit: bool = False,
) -> Artifact:
    """Train a model on data and return the artifact that samples, evaluates and saves itself.

    What is given stays as it is: a copy is trained. Ctrl-C ends the training after its step, and a second one at once;
    the artifact's ``history`` says whether it came to its end, and :func:`resume` goes on.

    Args:
        what: the name of a recipe (``"binary-vae"``, or ``"package.module:function"`` for one of your own), a recipe
            itself (a function from a :class:`DataSpec` to an :class:`Experiment`), an experiment, or a model: any
            nesting of the library's parts and your own networks.
        data: what :func:`fusevae.read_data` takes: a path, arrays, a torch Dataset, ...; by default those of the
            experiment, or scikit-learn's digits. A recipe says how they are read.
        views: what is done to the examples before the model sees them (binarization, resize ...); a plain function of
            examples will do. By default those of the experiment, as with what follows.
        objective: what is maximised, the ELBO for a model; a plain function of the trace will do.
        training: settings of the loop, or some of them by name to change: ``{"epochs": 5}``.
        seed: of noise and order, and of a recipe's first weights; the split of the data doesn't depend on it.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for the best there is.
        folder: where the configuration, checkpoints, ``metrics.jsonl`` and the artifact go, if anywhere.
        quiet: show no progress.
        options: of a recipe: ``{"latent": 32}``.
        budget: time for all of it, in seconds or as ``"90s"``, ``"20m"``, ``"1h30m"``: the same as the setting
            :attr:`Training.budget`. Some steps are timed first, so that the schedules end in time.
        callbacks: called with each record, a dictionary, as ``f(record)`` or ``f(record, moment)``
            (:class:`fusevae.Moment`); one may return numbers by name, which are recorded, or False, which stops. Where
            one is a context manager (a logger), it is open for as long as the training runs.
        refit: whether preprocessing that was fitted before takes its means and ranges from these data; by default it
            keeps them.

    Raises :class:`InputError` before any work starts where model and data don't fit, or the folder holds a training.

    Example:
        >>> import torch
        >>> from fusevae import MLP, VAE, Flat, Gaussian, Normal
        >>> posterior = Gaussian(MLP(2, Gaussian.outputs(1)))
        >>> vae = VAE(Flat(Normal(1), posterior), decoder=Gaussian(MLP(1, 2), scale="shared"))
        >>> artifact = fit(vae, torch.randn(64, 2), training={"epochs": 1, "batch_size": 16}, quiet=True)
        >>> artifact.support, artifact.history.finished
        ('density on R^2', True)
        >>> fit("binary-vae", options={"latent": 4}, training={"epochs": 0.1}, quiet=True).history.steps
        1
    """
    since, where = time.monotonic(), None if folder is None else fresh_folder(folder)
    made, splits = composed(what, data, options or {}, seed)
    views, objective = made.views if views is None else views, made.objective if objective is None else objective
    experiment = copy.deepcopy(
        Experiment(
            made.model,
            made.data,
            as_views(views, splits, made.seed),
            as_objective(objective),
            timely(changed(made.training, training), budget, training),
            made.seed,
        )
    )
    if where is not None:
        configured(experiment)  # what can't be written is said before the work
    for step in experiment.model.modules():
        if refit and isinstance(step, Step):
            step.fitted = False
    progress = Progress(quiet, python=True)
    experiment, loop = started(experiment, splits, device, where, progress, since)
    with nullcontext() if where is None else locked(where):
        if where is not None:
            fresh_folder(where)  # nobody has begun in it meanwhile
            loop.save()  # the state at the start: the weights that the model came with are nowhere else
            write_text(where / CONFIG, configured(experiment))
        return run(loop, experiment, splits, callbacks)


def resume(
    what: Artifact | str | Path,
    data: Any = None,
    epochs: float | None = None,
    device: str = "auto",
    quiet: bool = False,
    *,
    callbacks: Sequence[Callback] = (),
    trust: Trust = (),
) -> Artifact:
    """Go on with a training that was stopped, to the same end as if it had not been; returns a new artifact.

    Args:
        what: what :func:`fit` returned, or the folder of a training.
        data: of a training in a folder, where they were in memory.
        epochs: passes over the data in all, where the training is to be longer (or shorter) than it was begun; its
            schedules are those of the new length from here on. A budget that it had is lifted.
        device: as for :func:`fit`.
        quiet: show no progress.
        callbacks: as for :func:`fit`; those that it was given are not remembered.
        trust: of a training in a folder, the classes of your own that it uses, as for :func:`fusevae.load`.

    Raises :class:`InputError` where there is nothing to go on from.

    Example:
        >>> import torch
        >>> from fusevae import Constant, Gaussian
        >>> settings = {"epochs": 9, "log_every": 1}
        >>> model, x = Gaussian(Constant(Gaussian.outputs(2))), torch.randn(64, 2)
        >>> first = fit(model, x, training=settings, callbacks=[lambda record: False], quiet=True)
        >>> first.history.finished, resume(first, quiet=True).history.finished
        (False, True)
    """
    if isinstance(what, Artifact):
        rest = what.history.rest if what.history is not None else None
        if rest is None:
            raise InputError(
                "this artifact has no training to go on with (it was loaded, or made by hand): give the folder of the "
                "training, or fit its distribution"
            )
        if data is not None:
            raise InputError(
                "data were given, and an artifact goes on with those that it was fitted to: leave them out, or fit its "
                "distribution to these"
            )
        if what.history.finished and epochs is None:
            return what
        with nullcontext() if rest.folder is None else locked(rest.folder):
            return _gone_on(rest, epochs, device, quiet, callbacks)
    folder = Path(what).expanduser()
    if not (folder / CONFIG).is_file():
        raise InputError(f"no training to go on with in {folder} (it holds no {CONFIG}): fit anew, in another folder")
    with locked(folder):
        return _gone_on(rest_of(folder, data, trust), epochs, device, quiet, callbacks)


def _gone_on(rest: Rest, epochs: float | None, device: str, quiet: bool, callbacks: Sequence[Callback]) -> Artifact:
    """:func:`resume`, once nobody else writes into the folder."""
    experiment, state = copy.deepcopy(rest.experiment), rest.state
    if epochs is not None:
        experiment = experiment.replaced(training=changed(experiment.training, {"epochs": epochs, "budget": None}))
    if state is None and rest.folder is not None:
        last_values(rest.folder)  # there is one
        state = checkpoint.read_newest(rest.folder / CHECKPOINTS)
    assert state is not None
    for name, parameter in experiment.model.named_parameters():
        parameter.requires_grad_(name not in state.values.get("held", ()))
    progress = Progress(quiet, python=True)
    _, loop = started(experiment, rest.splits, device, rest.folder, progress)
    count = state.values.get("examples", len(rest.splits.train))
    if len(rest.splits.train) != count:
        raise InputError(
            f"the data have {len(rest.splits.train)} training examples, the training began with {count}: give the same"
        )
    known, found = state.values.get("identity"), []
    if known is not None and rest.folder is not None:
        check_data(known, rest.splits, str(rest.folder))
        asked = () if epochs is None else ("training.epochs", "training.budget")
        found = changes(known["configuration"], loop.values["identity"]["configuration"], str(rest.folder), asked)
    now = loop.values.get("identity")
    loop.restore(state)
    if now is not None:
        loop.values["identity"] = now
    if rest.folder is not None:
        progress.earlier = loop.records.rewind(rest.folder / METRICS, loop.values["records"])
    else:
        loop.records[:] = rest.records[: loop.values["records"]]
        progress.earlier = rest.seconds
    progress.earlier = max(progress.earlier, state.values.get("seconds", 0.0))
    for change in found:
        loop.tell("changed", str(change))
    if epochs is not None:
        loop.finished, loop.values["stale"], loop.values["late"] = False, 0, False
        if rest.folder is not None:
            loop.save()
            write_text(rest.folder / CONFIG, configured(experiment))
    return run(loop, experiment, rest.splits, callbacks)


def configured(experiment: Experiment) -> str:
    """The ``config.yaml`` of an experiment, or :class:`InputError` where it can't be built again from one."""
    check_remembered(experiment.model)
    node = yaml.safe_load(configuration.dump(experiment))
    if experiment.data.path == IN_MEMORY:
        node["data"]["path"] = IN_MEMORY
    text: str = yaml.safe_dump(node, sort_keys=False, width=120)
    return text


def rest_of(folder: Path, data: Any, trust: Trust) -> Rest:
    """What a folder holds of a training."""
    with weights_follow():  # those of the checkpoint
        experiment = configuration.experiment(configuration.read(folder / CONFIG), trust)
    source = experiment.data
    if data is not None:
        settings = {k: v for k, v in describe(source).items() if k not in ("class", "path")}
        return Rest(experiment, read_data(data, **settings), folder)
    if source.path == IN_MEMORY:
        raise InputError(f"the data of {folder} were in memory: give the same again, resume(folder, data)")
    return Rest(experiment, source.read(), folder)


def started(
    experiment: Experiment,
    splits: Splits,
    device: str,
    folder: Path | None,
    progress: Progress,
    since: float | None = None,
) -> tuple[Experiment, Loop]:
    """An experiment with its plan, where it has a budget, and its loop."""
    experiment, loop, _ = begun(experiment, splits, device, folder, progress, since)
    loop.values["examples"] = len(splits.train)
    if folder is not None:
        loop.values["identity"] = identity(experiment, splits)
    return experiment, loop


def run(loop: Loop, experiment: Experiment, splits: Splits, callbacks: Sequence[Callback]) -> Artifact:
    """Train until the end or a stop; the artifact knows how it came about."""
    with ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, AbstractContextManager):
                stack.enter_context(callback)
        loop.callbacks = list(callbacks)
        loop.run()
        finished, seconds = loop.step >= loop.total or loop.finished, loop.records.seconds
        artifact = trained(loop)
        if finished or loop.progress.late:
            artifact = follow(loop, artifact)
            look_at_conditions(loop, artifact)
    artifact.history = History(loop.records, loop.step, loop.total, seconds, finished, "" if finished else loop.why)
    for part in (experiment.model, experiment.objective):
        if isinstance(part, nn.Module):
            part.cpu()
    state = loop.good if loop.folder is None else None
    artifact.history.rest = Rest(experiment, splits, loop.folder, state, list(loop.records), seconds)
    if loop.folder is not None:
        artifact.save(loop.folder, {"seed": str(experiment.seed)})
    return artifact
