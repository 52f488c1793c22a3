"""Checkpoints: everything a training needs to go on as if it had not been stopped. Nothing is ever pickled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.files import written_whole
from fusevae.core.stored import Stored, check_finite, stored
from fusevae.core.untrusted import from_json

logger = logging.getLogger(__name__)
KEEP = 2
NUMBER = (int, float)
#: what is known of a checkpoint's values: types, and the least where they are numbers
KINDS: dict[str, tuple[Any, Any]] = {
    "step": (int, 0), "rollbacks": (int, 0), "stale": (int, 0), "records": (int, 0), "looked": (int, 0),
    "rate_scale": (NUMBER, 0), "rate_limit": (NUMBER, 0), "rate_since": (int, 0), "best": ((*NUMBER, type(None)), None),
    "reached": ((*NUMBER, type(None)), None),
}  # fmt: skip


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
    there = sorted(folder.glob("step-*.safetensors"))
    upto = there.index(path) + 1
    for other in [*there[: max(0, upto - KEEP)], *there[upto:]]:  # later ones are of a way that was left
        other.unlink()
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
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        with contextlib.suppress(InputError):
            return values_of(stored(path, "checkpoint"))
    return None


def read(path: Path) -> State:
    """One checkpoint, its digest checked; ValueError where it is damaged."""
    from safetensors.torch import load_file

    header = stored(path, "checkpoint")
    values, tensors = values_of(header), load_file(path)
    if digest(tensors) != header.metadata.get("digest"):
        raise ValueError("its digest does not match its content")
    check_finite({name: tensor for name, tensor in tensors.items() if name.startswith("game/")}, path.name)
    return State(tensors, values)


def values_of(header: Stored) -> dict[str, Any]:
    """The plain values in the header of a checkpoint, or :class:`InputError`."""
    found = from_json(header.metadata.get("values", ""), "its header")
    if not isinstance(found, dict) or "step" not in found:
        raise InputError("its header names no step")
    for name, (kinds, least) in KINDS.items():
        value = found.get(name, least)
        if isinstance(value, bool) or not isinstance(value, kinds) or (least is not None and not value >= least):
            raise InputError(f"its {name} is {str(value)[:40]!r}")
    return found


def check_fits(state: State, ours: State, where: Path) -> None:
    """Raise :class:`InputError` unless the weights of a state have the names, shapes and dtypes of ours."""
    for name, tensor in ours.tensors.items():
        other = state.tensors.get(name)
        if name.startswith(("game/", "buffer/")) and (
            other is None or (other.shape, other.dtype) != (tensor.shape, tensor.dtype)
        ):
            have = "is missing" if other is None else f"is {other.dtype} {tuple(other.shape)}"
            raise InputError(
                f"the checkpoints in {where} are of another model, {name} {have}: put them, or config.yaml, back, or "
                "train anew with another --output"
            )


def digest(tensors: dict[str, Tensor]) -> str:
    """A hash of names and bytes, the same on every machine."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        found.update(name.encode())
        data = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        found.update(data.numpy().data)
    return found.hexdigest()
