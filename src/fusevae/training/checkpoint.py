"""Checkpoints: everything a training needs to go on as if it had not been stopped. Nothing is ever pickled."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.files import written_whole

logger = logging.getLogger(__name__)
KEEP = 2


class State(NamedTuple):
    """Tensors by name, and plain values (step, best value ...). Noise is keyed by seed and step, and the order of
    the data by seed and epoch, so the step holds every random state and the position in the epoch."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


def write(folder: Path, state: State) -> Path:
    """Write a checkpoint beside its place, move it there whole, and keep the newest two."""
    from safetensors.torch import save_file

    path = folder / f"step-{state.values['step']:09d}.safetensors"
    header = {"values": json.dumps(state.values), "digest": digest(state.tensors)}
    with written_whole(path) as beside:
        save_file(state.tensors, str(beside), metadata=header)
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEEP]:
        old.unlink()
    for leftover in folder.glob(".step-*.part.safetensors"):  # of a process that was killed while it wrote
        leftover.unlink(missing_ok=True)
    return path


def read_newest(folder: Path) -> State | None:
    """The newest whole checkpoint; a damaged one is said and the one before is taken. None where there is none."""
    paths = sorted(folder.glob("step-*.safetensors"), reverse=True)
    for path in paths:
        try:
            return read(path)
        except (ValueError, KeyError, OSError) as error:
            logger.warning("%s is damaged (%s); going on from the one before", path.name, error)
    if paths:
        raise InputError(f"every checkpoint in {folder} is damaged: train again with a new --output")
    return None


def newest_values(folder: Path) -> dict[str, Any] | None:
    """The plain values of the newest checkpoint whose header can be read, without its tensors; None where there is
    none."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(str(path), framework="pt") as file:
                found: dict[str, Any] = json.loads(file.metadata()["values"])
                return found
        except (SafetensorError, ValueError, KeyError, OSError):
            continue
    return None


def read(path: Path) -> State:
    """One checkpoint, its digest checked; ValueError where it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    if digest(tensors) != header["digest"]:
        raise ValueError("its digest does not match its content")
    return State(tensors, json.loads(header["values"]))


def digest(tensors: dict[str, Tensor]) -> str:
    """A hash of names and bytes, the same on every machine."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        found.update(name.encode())
        data = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        found.update(data.numpy().data)
    return found.hexdigest()
