"""The candidates of a bench: recipes that are named, or those that the modality has for such data and such a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from fusevae.core.artifact import Artifact
from fusevae.core.description import Trust, describe
from fusevae.core.errors import InputError, SlotError, TrainingError
from fusevae.core.levels import Level
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.evaluation.likelihood import sample_seconds, weighted
from fusevae.evaluation.samples import sample
from fusevae.recipes.compose import is_file, settled
from fusevae.recipes.default import as_settings
from fusevae.training import configuration
from fusevae.training.configuration import Node, one_line
from fusevae.training.notices import ASIDE
from fusevae.training.prepare import artifact_of, prepare
from fusevae.training.recipes import find, reads

FEW = 20  # samples by which the time of an evaluation is foreseen
#: what a recipe says of data that it is not for, in whatever words
UNFIT = (InputError, TrainingError, RuntimeError, ValueError, TypeError, IndexError)


class Candidate(NamedTuple):
    """A recipe, or a YAML file, and its settings as ``--set`` takes them."""

    what: str
    settings: Sequence[str] = ()


class Cost(NamedTuple):
    """About how long a model's evaluation takes, in seconds: of the likelihood of all examples, and of all samples; and
    how long the likelihood takes with one importance sample each."""

    likelihood: float
    samples: float
    once: float = 0.0


def named(recipes: Sequence[str]) -> dict[str, Candidate]:
    """Recipes and configurations by the names of their runs; each is known, or :class:`InputError`."""
    found: dict[str, Candidate] = {}
    for each in [recipes] if isinstance(recipes, str) else recipes:
        configuration.read(each) if is_file(each) else find(each)
        name = Path(each).stem if is_file(each) else each.replace(":", ".")
        if name in found:
            raise InputError(f"{name} was given twice: give each recipe once")
        found[name] = Candidate(each)
    return found


def recommended(splits: Splits, seconds: float) -> dict[str, Candidate]:
    """What the modality has for such data and about so long a training, the best first: those that read the data as
    most of them do, since likelihoods of others can't be compared."""
    choices = modality_of(splits.spec).recommend(splits.spec, len(splits.train), seconds)
    if not choices:
        raise InputError(f"{splits.source} has no candidates: name recipes (fusevae recipes lists them)")
    ways = [reads(choice.recipe) for choice in choices]
    usual = max(ways, key=ways.count)  # the default's, of several that are as many
    found = {}
    for choice, way in zip(choices, ways, strict=True):
        if way == usual:
            options = {key: value for key, value in choice.options.items() if key != "training.epochs"}
            found[choice.recipe] = Candidate(choice.recipe, as_settings(options))  # the time says how many epochs
    return found


def read_by(makers: dict[str, Candidate]) -> dict[str, Any]:
    """How all the recipes want their data read, or :class:`InputError` where they don't agree."""
    found: dict[str, Any] = {}
    whose: dict[str, str] = {}
    for name, (what, _) in makers.items():
        for key, value in ({} if is_file(what) else reads(what)).items():
            if found.setdefault(key, value) != value:
                raise InputError(
                    f"{whose[key]} reads its data with {key}={found[key]}, {name} with {key}={value}: give "
                    "recipes that read them alike"
                )
            whose.setdefault(key, name)
    return found


def configured(candidate: Candidate, source: Source, splits: Splits, seed: int, precision: str | None) -> Node:
    """The configuration of a candidate for some data."""
    what, settings = candidate
    about_recipe, rest = configuration.parted(list(settings), "recipe")
    if is_file(what):
        node = configuration.read(what)
    else:
        given = dict(configuration.parse(s.removeprefix("recipe.")) for s in about_recipe)
        node = describe(find(what)(splits.spec, **given))
    node = configuration.override(node | {"data": describe(source)}, rest)
    return settled(node, seed, precision)


def fitting(
    makers: dict[str, Candidate],
    source: Source,
    splits: Splits,
    seed: int,
    precision: str | None,
    device: str,
    trust: Trust,
    try_out: Callable[[Artifact], Cost] | None,
) -> tuple[dict[str, Node], dict[str, str], dict[str, Cost]]:
    """The configurations that fit the data, by name; why others don't, each a line; what a trial of each says."""
    nodes, refused, trials = {}, {}, {}
    for name, candidate in makers.items():
        try:
            node = configured(candidate, source, splits, seed, precision)
            made = configuration.experiment(node, trust)
            loop = prepare(made.model, splits, made.views, made.objective, made.training, made.seed, device)
            if try_out is not None:
                trials[name] = try_out(artifact_of(loop.game))
            nodes[name] = node
        except UNFIT as error:
            refused[name] = one_line(error)
            say(f"{name} is left out: {refused[name]}")
    return nodes, refused, trials


def evaluation_cost(artifact: Artifact, held: Examples, k: int, samples: int) -> Cost:
    """About how long a model's evaluation takes: that of a few examples and samples, times how many there are."""
    once = took = 0.0
    if artifact.distribution.level >= Level.BOUND:
        once = len(held) * sample_seconds(artifact, held)
    for n in (1, FEW) if samples else ():  # whatever is done once is done by the first
        started = time.perf_counter()
        with suppress(SlotError):  # an autoencoder before its prior is fitted
            sample(artifact, n)
        took = (time.perf_counter() - started) * samples / FEW
    return Cost(once * (k if weighted(artifact) else 1), took, once)


def say(text: str, quiet: bool = False) -> None:
    """A line beside the results."""
    if not quiet:
        print(text, file=ASIDE)
