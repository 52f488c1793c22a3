"""From the name of a recipe, or a YAML file, and changes of settings to the configuration of a training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fusevae.core.budget import within_memory
from fusevae.core.description import Trust, describe
from fusevae.core.durations import seconds_of
from fusevae.core.errors import InputError
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.recipes.default import default, said_of, source_of
from fusevae.training import configuration
from fusevae.training.compose import for_recipe
from fusevae.training.configuration import Node
from fusevae.training.recipes import find, reads

HELD = 0.99  # part of the examples that a default's own form of them has to hold


def compose(
    what: str | None,
    data: str | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    precision: str | None = None,
    skip_damaged: bool = False,
    trust: Trust = (),
    budget: str | None = None,
) -> tuple[Node, Splits | None]:
    """The configuration that is asked for; and the data, where a recipe had to see them.

    Args:
        what: the name of a recipe, or a YAML file; None takes the default for the data, and says which and why.
        data: their path; by default those of the file, or scikit-learn's digits.
        settings: changes, ``"training.epochs=50"`` or ``"recipe.latent=32"``, each as for
            :func:`fusevae.training.configuration.override`.
        seed: of weights, noise and order.
        precision: of the nets.
        skip_damaged: leave out examples that can't be read.
        trust: as for :func:`fusevae.build`.
        budget: time for the training, as :attr:`fusevae.Training.budget`.

    Example:
        >>> node, data = compose("logistic-vae", settings=["training.epochs=3", "recipe.latent=2"])
        >>> node["training"]["epochs"], node["model"]["model"]["decoder"]["net"]["inputs"], len(data.train)
        (3, 2, 1437)
    """
    ours: dict[str, Any] = {"path": data} if data is not None else {}
    ours |= {"skip_damaged": True} if skip_damaged else {}
    rest, splits = list(settings), None
    seconds = None if budget is None else seconds_of(budget)
    for setting in rest if budget is not None else ():
        if setting.partition("=")[0].strip() in ("training.epochs", "training.budget"):
            raise InputError(f"--budget {budget} and --set {setting} were given: expected one, leave out the other")
    if what is not None and is_file(what):
        node = configuration.read(what)
        for setting in rest:
            if setting.startswith("recipe."):
                raise InputError(f"{setting!r} is an option of a recipe, {what} is none: set the part itself")
        node["data"] = {"class": "Source", **node.get("data", {})} | ours
    else:
        about_data, rest = configuration.parted(rest, "data")
        said = said_of(ours, about_data)
        if what is None:
            whole = source_of(said, ()).read()
            what, chosen = default(whole, seconds)
            read = _for_recipe(what, ours, about_data, [*chosen, *rest], whole)
            if len(read.splits.train) < HELD * len(whole.train):
                what, chosen = default(whole, seconds, f"{what} holds {len(read.splits.train):,} of them")
                read = _for_recipe(what, ours, about_data, [*chosen, *rest], whole)
        else:
            read = _for_recipe(what, ours, about_data, rest)
        source, splits, rest = read.source, read.splits, read.rest
        with within_memory():
            made = find(what)(splits.spec, **read.given)
        node = describe(made) | {"data": describe(source)}
    rest += [] if budget is None else [f"training.budget={budget}", "training.planned=false"]
    node = configuration.override(node, rest, trust)
    return settled(node, seed, precision), splits


class _Read(NamedTuple):
    """Data as a recipe wants them, what it is made with, and the other settings."""

    source: Source
    splits: Splits
    given: dict[str, Any]
    rest: list[str]


def _for_recipe(
    what: str, ours: dict[str, Any], about_data: Sequence[str], settings: Sequence[str], splits: Splits | None = None
) -> _Read:
    """Data for a recipe: read as it wants them, else the ``splits`` that were read. What the user says of them
    (``about_data``) stands above what is among the ``settings`` that come with a default."""
    more, rest = configuration.parted(settings, "data")
    about_recipe, rest = configuration.parted(rest, "recipe")
    given = dict(configuration.parse(s.removeprefix("recipe.")) for s in about_recipe)
    said = said_of(ours, [*more, *about_data])
    return _Read(*for_recipe(find(what), what, said, None if reads(what) else splits, given), rest)


def settled(node: Node, seed: int | None, precision: str | None) -> Node:
    """A configuration with another seed and precision, where these are given."""
    node = node if seed is None else node | {"seed": seed}
    if precision is None:
        return node
    return node | {"training": {"class": "Training", **(node.get("training") or {}), "precision": precision}}


def is_file(what: str) -> bool:
    """Whether ``what`` means a YAML file rather than a recipe."""
    return what.endswith((".yaml", ".yml")) or os.sep in what or Path(what).is_file()
