"""What fit is given, as an experiment and its data: by the name of a recipe, a recipe, an experiment or a model."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.description import build, describe, fit_type
from fusevae.core.errors import InputError, near
from fusevae.core.spec import DataSpec
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.training import configuration
from fusevae.training.callbacks import name_of
from fusevae.training.experiment import Experiment
from fusevae.training.recipes import find, modalities_of, reads
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
    if data is None and isinstance(what, Experiment):
        data = what.data
    said, data = told(data)
    if recipe is not None:
        source, splits, chosen = for_recipe(recipe, name, said, data, options)
        found = experiment_of(recipe, name, splits.spec, chosen, seed)
    elif options:
        raise InputError(f"options {dict(options)} are for a recipe, a {name} was given: leave them out")
    else:
        source, splits = _read(Source(**said), data, ())
        source = known(source, splits)
        found = what if isinstance(what, Experiment) else Experiment(what)
    seed = found.seed if seed is None else seed
    return Experiment(found.model, source, found.views, found.objective, found.training, seed), splits


def timely(training: Training, budget: str | float | None, given: Training | Mapping[str, Any] | None) -> Training:
    """Settings of the loop with a time for it, which decides how many epochs there are."""
    if budget is None:
        return training
    if isinstance(given, Mapping) and "epochs" in given:
        raise InputError(f"budget={budget!r} and epochs={given['epochs']!r} were given: leave one out")
    return training.replaced(budget=budget, planned=False)


def told(data: Any) -> tuple[dict[str, Any], Any]:
    """What is said of data as settings of a :class:`Source`, and the data where they are in memory."""
    if isinstance(data, Source):
        usual = Source()._arguments
        return {key: value for key, value in data._arguments.items() if value != usual[key]}, None
    if data is None or isinstance(data, (str, os.PathLike)):
        return ({} if data is None else {"path": str(data)}), None
    return {"path": IN_MEMORY}, data


def for_recipe(
    recipe: Recipe, name: str, said: Mapping[str, Any], data: Any, options: Mapping[str, Any]
) -> tuple[Source, Splits, dict[str, Any]]:
    """What a recipe is made with, for ``fit`` as for the command line: the source of the data, the data, the options.

    The data are read as the recipe wants them (``reads``) where nothing else is said; what isn't recognised, or is
    refused as what it looks like, is read as what the recipe is for, where it can be. A recipe with the option
    ``conditional`` is so where conditions are asked for.

    Args:
        recipe: a function from a :class:`DataSpec`.
        name: what to call it.
        said: settings of :class:`Source` that were given, by name.
        data: what is in memory, or None.
        options: of the recipe that were given.
    """
    source = fit_type(build({"class": "Source", **reads(recipe), **said}, where="data"), Source, "data")
    source, splits = _read(source, data, modalities_of(recipe))
    if source.options.conditions.told and "conditional" in inspect.signature(recipe).parameters:
        options = {"conditional": True} | dict(options)  # who asks for conditions wants to give them
    chosen = configuration.recipe_options(recipe, name, options) if options else {}
    return known(source, splits), splits, chosen


def _read(source: Source, data: Any, kinds: Sequence[str]) -> tuple[Source, Splits]:
    def attempt(source: Source) -> tuple[Source, Splits]:
        if isinstance(data, Splits):
            return source, data
        return source, source.read() if data is None else source.replaced(path=None).split(data)

    try:
        return attempt(source)
    except InputError:
        for kind in kinds if source.options.modality is None else ():
            with contextlib.suppress(InputError):
                return attempt(source.replaced(modality=kind))
        raise


def known(source: Source, splits: Splits) -> Source:
    """A source with the kind of its data: once it is known, it isn't guessed again."""
    return source.replaced(modality=splits.spec.modality) if splits.spec.modality else source


def experiment_of(
    recipe: Recipe, name: str, data: DataSpec, options: Mapping[str, Any], seed: int | None
) -> Experiment:
    """The experiment that a recipe makes of data; the first weights depend on the seed alone, and are those of the
    command line where its parts can be described."""
    with noise.preserved():
        torch.manual_seed(noise.key(seed or 0, "weights"))
        made = recipe(data, **options)
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
