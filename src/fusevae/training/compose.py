"""What fit is given, as an experiment and its data: by the name of a recipe, a recipe, an experiment or a model."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.description import describe
from fusevae.core.errors import InputError, near
from fusevae.core.spec import DataSpec
from fusevae.data.source import Source, read_data
from fusevae.data.splits import Splits
from fusevae.training import configuration
from fusevae.training.budget import duration
from fusevae.training.callbacks import name_of
from fusevae.training.experiment import Experiment
from fusevae.training.recipes import find, reads
from fusevae.training.settings import Training

Recipe = Callable[..., Experiment]
IN_MEMORY = "data in memory"  # the path of data that have none


def composed(what: Any, data: Any, options: Mapping[str, Any], seed: int | None) -> tuple[Experiment, Splits]:
    """The experiment that ``what`` stands for, with the source of the data; and the data."""
    if isinstance(what, str):
        recipe, name = find(what), what
    elif isinstance(what, (Experiment, Conditional)):
        recipe, name = None, type(what).__name__
    elif callable(what) and not isinstance(what, (type, nn.Module)):
        recipe, name = what, name_of(what)
    else:
        kind = f"the class {what.__name__}" if isinstance(what, type) else f"a {type(what).__name__}"
        hint = "its distribution" if isinstance(what, Artifact) else "one of these"
        raise InputError(
            f"{kind} was given to fit: expected a recipe's name, a recipe, an Experiment or a model (a Conditional); "
            f"give {hint}"
        )
    settings = {} if recipe is None else reads(what)
    if data is None and isinstance(what, Experiment):
        data = what.data
    source, splits = read(data, settings)
    if recipe is not None:
        found = experiment_of(recipe, name, splits.spec, options, seed)
    elif options:
        raise InputError(f"options {dict(options)} are for a recipe, a {name} was given: leave them out")
    elif isinstance(what, Experiment):
        found = what
    else:
        found = Experiment(what)
    seed = found.seed if seed is None else seed
    return Experiment(found.model, source, found.views, found.objective, found.training, seed), splits


def read(data: Any, settings: Mapping[str, Any]) -> tuple[Source, Splits]:
    """Data, and where they are from."""
    if isinstance(data, Source):
        return data, data.read()
    path = str(data) if isinstance(data, (str, os.PathLike)) else None
    source = Source(IN_MEMORY if path is None and data is not None else path, **settings)
    return source, read_data(data, **settings)


def experiment_of(
    recipe: Recipe, name: str, data: DataSpec, options: Mapping[str, Any], seed: int | None
) -> Experiment:
    """The experiment that a recipe makes of data; the first weights depend on the seed alone, and are those of the
    command line where its parts can be described."""
    chosen = configuration.recipe_options(recipe, name, options) if options else {}
    with noise.preserved():
        torch.manual_seed(noise.key(seed or 0, "weights"))
        made = recipe(data, **chosen)
    if not isinstance(made, Experiment):
        raise InputError(f"the recipe {name} made a {type(made).__name__}: expected an Experiment")
    try:
        node = describe(made) | ({} if seed is None else {"seed": seed})
        return configuration.experiment(node, [recipe.__module__.partition(".")[0]])
    except InputError:  # a part of one's own that is not described: as the recipe made it
        return made


def changed(training: Training, given: Training | Mapping[str, Any] | None) -> Training:
    """Settings of the loop, those that were given in place of others."""
    if given is None or isinstance(given, Training):
        return training if given is None else given
    if not isinstance(given, Mapping):
        raise InputError(f"training={given!r} was given: expected a Training, or a mapping of its settings")
    known = inspect.signature(Training).parameters
    for name in given:
        if name not in known:
            raise InputError(f"training has no setting {name!r}{near(name, known)}")
    return training.replaced(**given)


def seconds_of(budget: str | float) -> float:
    """The seconds of a budget."""
    seconds = duration(budget) if isinstance(budget, str) else float(budget)
    if not 0 < seconds < math.inf:
        raise InputError(f"budget={budget!r} was given: expected seconds above 0, or 90s, 20m, 1h30m")
    return seconds
