"""The recipe that is taken for data where none is named, and where data come from."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fusevae.core.description import build, fit_type
from fusevae.core.errors import InputError
from fusevae.data.modality import modality_of
from fusevae.data.source import Source
from fusevae.data.splits import Splits
from fusevae.training import configuration


def default(splits: Splits, seconds: float | None = None, instead: str = "") -> tuple[str, list[str]]:
    """The recipe that suits data for which none was named, in the time there is, and its settings; says which and
    why. The next best where the best doesn't do, which is said ``instead``."""
    found = modality_of(splits.spec).recommend(splits.spec, len(splits.train), seconds)[bool(instead) :]
    if not found:
        raise InputError(f"{splits.source} has no default: name a recipe (fusevae recipes lists them)")
    first, options = found[0], dict(found[0].options)
    if seconds is not None:
        options.pop("training.epochs", None)  # the time says how many
    settings = as_settings(options)
    said = "".join(f" --set {shlex.quote(setting)}" for setting in settings)
    _say(f"{instead or 'no recipe was named'}, so it is {first.recipe}{said}: {first.why}")
    return first.recipe, settings


def as_settings(options: Mapping[str, Any]) -> list[str]:
    """Options as ``--set`` takes them.

    Example:
        >>> as_settings({"recipe.channels": (32, 64), "training.patience": 6})
        ['recipe.channels=[32,64]', 'training.patience=6']
    """
    return [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in options.items()]


def said_of(known: Mapping[str, Any], about_data: Sequence[str]) -> dict[str, Any]:
    """What is said of the data: what is known of them, then what the settings of ``data`` say.

    Example:
        >>> said_of({"path": "a.csv"}, ["data.header=false"])
        {'class': 'Source', 'path': 'a.csv', 'header': False}
    """
    said: dict[str, Any] = configuration.override({"data": {"class": "Source", **known}}, about_data)["data"]
    return said


def source_of(known: Mapping[str, Any], about_data: Sequence[str]) -> Source:
    """Where data come from, as :func:`said_of` has it."""
    return fit_type(build(said_of(known, about_data), where="data"), Source, "data")


def _say(line: str) -> None:
    """A line on stderr, of the first process."""
    if not int(os.environ.get("RANK", "0")):
        print(line, file=sys.stderr, flush=True)
