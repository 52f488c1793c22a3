"""From the name of a recipe, or a YAML file, and changes of settings to the configuration of a training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusevae.core.description import Trust, build, describe, fit_type
from fusevae.core.errors import InputError
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.recipes.find import find, reads
from fusevae.training import configuration
from fusevae.training.configuration import Node


def compose(
    what: str,
    data: str | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    precision: str | None = None,
    skip_damaged: bool = False,
    trust: Trust = (),
) -> tuple[Node, Splits | None]:
    """The configuration that is asked for; and the data, where a recipe had to see them.

    Args:
        what: the name of a recipe, or a YAML file.
        data: their path; by default those of the file, or scikit-learn's digits.
        settings: changes, ``"training.epochs=50"`` or ``"recipe.latent=32"``, each as for
            :func:`fusevae.training.configuration.override`.
        seed: of weights, noise and order.
        precision: of the nets.
        skip_damaged: leave out examples that can't be read.
        trust: as for :func:`fusevae.build`.

    Example:
        >>> node, data = compose("digits-vae", settings=["training.epochs=3", "recipe.latent=2"])
        >>> node["training"]["epochs"], node["model"]["model"]["latents"]["prior"]["shape"], len(data.train)
        (3, 2, 1437)
    """
    ours: dict[str, Any] = {"path": data} if data is not None else {}
    ours |= {"skip_damaged": True} if skip_damaged else {}
    splits = None
    if is_file(what):
        node = configuration.read(what)
        for setting in settings:
            if setting.startswith("recipe."):
                raise InputError(f"{setting!r} is an option of a recipe, {what} is none: set the part itself")
        node["data"] = {"class": "Source", **node.get("data", {})} | ours
    else:
        recipe = find(what)
        chosen = [s for s in settings if s.startswith("recipe.")]
        about_data = [s for s in settings if s.split("=")[0].split(".")[0] == "data"]
        settings = [s for s in settings if s not in chosen and s not in about_data]
        given = dict(configuration.parse(s.removeprefix("recipe.")) for s in chosen)
        given = configuration.recipe_options(recipe, what, given)
        source = {"data": describe(Source()) | reads(what) | ours}
        built = build(configuration.override(source, about_data)["data"], where="data")
        splits = fit_type(built, Source, "data").read()
        node = describe(recipe(splits.spec, **given)) | {"data": describe(built)}
    node = configuration.override(node, settings, trust)
    return settled(node, seed, precision), splits


def settled(node: Node, seed: int | None, precision: str | None) -> Node:
    """A configuration with another seed and precision, where these are given."""
    node = node if seed is None else node | {"seed": seed}
    if precision is None:
        return node
    return node | {"training": {"class": "Training", **(node.get("training") or {}), "precision": precision}}


def is_file(what: str) -> bool:
    """Whether ``what`` means a YAML file rather than a recipe."""
    return what.endswith((".yaml", ".yml")) or os.sep in what or Path(what).is_file()
