"""What the commands share that use a run: opening it, its precision, how text is written."""

from __future__ import annotations

from argparse import Namespace
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation
from fusevae.data.examples import Examples
from fusevae.evaluation.samples import check_generation
from fusevae.training.fit import pick_device
from fusevae.training.run import Run, trusted


def opened(options: Namespace, path: str | None = None) -> Run:
    """The run of the command, or that at another path."""
    trusted(options.trust)
    return Run.open(
        path or options.run,
        getattr(options, "device", "cpu"),
        options.trust,
        getattr(options, "settings", None) or (),
        getattr(options, "skip_damaged", False),
    )


def examples(options: Namespace, run: Run, data: str | None = None, gaps: bool = False) -> tuple[Examples, str]:
    """The data asked for, or the run's own held-out ones; and what they are in words."""
    return run.examples(data or options.data, options.conditions, getattr(options, "text", None), gaps)


def precision(options: Namespace) -> AbstractContextManager[Any]:
    """Runs the nets in the precision asked for."""
    if options.precision == "bfloat16":
        return torch.autocast(pick_device(options.device).type, torch.bfloat16)
    return nullcontext()


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


def need_latents(artifact: Artifact) -> None:
    """Refuse a model that has none."""
    if not artifact.distribution.has_latents:
        name = type(artifact.distribution).__name__
        raise InputError(f"{name} has no latents: give the run of a model that has (a VAE)")
