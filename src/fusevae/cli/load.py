"""What the commands share that use a run: opening it, and how text is written."""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation
from fusevae.data.examples import Examples
from fusevae.evaluation.samples import check_generation
from fusevae.training.configuration import parted
from fusevae.training.recipes import trusted as package_of
from fusevae.training.run import Run


def opened(options: Namespace, path: str | None = None) -> Run:
    """The run of the command, or that at another path."""
    trusted(options.trust)
    about_data, _ = parted(getattr(options, "settings", ()), "data")
    if about_data and getattr(options, "data", None) is None:
        raise InputError(f"--set {about_data[0]} says how other data are read: give them, --data PATH, or leave it out")
    return Run.open(
        path or options.run,
        getattr(options, "device", "cpu"),
        options.trust,
        getattr(options, "settings", None) or (),
        getattr(options, "skip_damaged", False),
        getattr(options, "precision", None),
    )


def examples(
    options: Namespace, run: Run, texts: Sequence[str] | None = None, gaps: bool = False
) -> tuple[Examples, str]:
    """The data or texts asked for, or the run's own held-out ones; and what they are in words."""
    return run.examples(options.data, options.conditions, texts, gaps)


def generation(options: Namespace, artifact: Artifact) -> Generation | None:
    """How text is to be written, where anything was said about it."""
    given = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p", "beams", "longest", "start")}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    check_generation(artifact, Generation())
    if "start" in given:
        given["start"] = tuple(artifact.data.schema.tokens(given["start"]))
    return Generation(**given)


def about_data(options: Namespace) -> list[str]:
    """The settings, which can only be of the data."""
    ours, others = parted(options.settings, "data")
    if others:
        raise InputError(f"--set {others[0]} is no setting of the data: expected data.NAME=VALUE")
    return ours


def need_latents(artifact: Artifact) -> None:
    """Refuse a model that has none."""
    if not artifact.distribution.has_latents:
        name = type(artifact.distribution).__name__
        raise InputError(f"{name} has no latents: give the run of a model that has (a VAE)")


def trusted(names: Sequence[str], recipes: Sequence[str] = ()) -> list[str]:
    """Import the modules that the user names, so that what they define is known; returns the names, with the
    packages of recipes of one's own, which naming these trusts."""
    names = [*names, *(package for recipe in recipes for package in package_of(recipe))]
    if not names:
        return []
    sys.path.insert(0, os.getcwd())  # the user's own module lies there
    for name in names:
        parts = name.split(".")
        for i in range(len(parts), 0, -1):
            try:
                importlib.import_module(".".join(parts[:i]))
                break
            except ModuleNotFoundError as error:
                if i == 1:
                    raise InputError(f"--trust {name} can't be imported ({error}): check the name") from None
    return names
