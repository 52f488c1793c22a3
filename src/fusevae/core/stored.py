"""Weights in a safetensors file: what its header says is compared with what they are for before they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fusevae.core.budget import Budget
from fusevae.core.errors import InputError
from fusevae.core.untrusted import regular

MOST_TENSORS = 20_000
SLACK_BYTES, SLACK_TENSORS = 2**28, 2_000  # for what is built and not kept: masks, tables, orthogonal starts
TIMES_BYTES, TIMES_TENSORS = 16, 50  # beside the slack; the library's own take up to 4 and 13 times what they keep
FLOATS = ("F64", "F32", "F16", "BF16")
OTHERS = {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8"}
OTHERS |= {torch.bool: "BOOL"}


class Stored(NamedTuple):
    """The header of a file: its metadata, and shape and dtype of each tensor."""

    metadata: dict[str, str]
    tensors: dict[str, tuple[tuple[int, ...], str]]
    size: int

    def budget(self, says: str) -> Budget:
        """What may be built for these tensors: some multiple of them."""
        size = SLACK_BYTES + TIMES_BYTES * self.size
        return Budget(size, SLACK_TENSORS + TIMES_TENSORS * len(self.tensors), says)


def stored(path: Path, what: str = "weights") -> Stored:
    """The header of a file, or :class:`InputError` where it is no whole safetensors file."""
    from safetensors import SafetensorError, safe_open

    path = regular(path, what)
    with open(path, "rb") as file:
        start = file.read(9)
    if path.suffix.lower() == ".npz":
        raise InputError(f"{path} holds arrays and no model: give a run folder, or a .safetensors file")
    # a safetensors file begins with eight bytes of a length, of which the first may be 0x80, and then a brace
    if start.startswith(b"PK\x03\x04") or (start.startswith(b"\x80") and start[8:] != b"{"):
        raise InputError(f"{path} is a pickle, which can run any code when opened: give a file that fusevae saved")
    try:
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise InputError(f"{path} holds {len(names):,} tensors: expected at most {MOST_TENSORS:,}")
            slices = {name: file.get_slice(name) for name in names}
            tensors = {name: (tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices.items()}
            return Stored(file.metadata() or {}, tensors, os.path.getsize(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); is it truncated?") from None


def load_into(module: nn.Module, path: Path, header: Stored) -> None:
    """Read the weights of a file into a module; :class:`InputError` before that where names, shapes or dtypes aren't
    its, and where a value isn't finite."""
    from safetensors.torch import load_model

    ours = module.state_dict()
    check_sizes(module, str(path))
    for name, (shape, dtype) in header.tensors.items():
        if name not in ours:
            raise _unfit(path, f"there is no place for {name!r}")
        wanted = ours[name]
        if tuple(wanted.shape) != shape:
            raise _unfit(path, f"{name} has shape {shape} and should have {tuple(wanted.shape)}")
        kinds = FLOATS if wanted.is_floating_point() else (OTHERS.get(wanted.dtype, ""),)
        if dtype not in kinds:
            raise _unfit(path, f"{name} is stored as {dtype} and should be {' or '.join(kinds)}")
    try:
        load_model(module, str(path))
    except RuntimeError as error:
        raise _unfit(path, " ".join(str(error).split())[:200]) from None
    check_finite(module.state_dict(), str(path))


def check_sizes(module: nn.Module, where: str) -> None:
    """Refuse a model of which a part has a size of 0."""
    if empty := next((name for name, p in module.named_parameters() if not p.numel()), None):
        raise InputError(f"{where}: the weights {empty!r} have a size of 0: give all sizes above it")


def check_finite(tensors: dict[str, Tensor], where: str) -> None:
    """Refuse weights of which a value is infinite or NaN."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            if not all(end.isfinite() for end in tensor.detach().aminmax()):  # no copy of the tensor is made
                raise InputError(
                    f"{where}: {name} holds values that aren't finite: the file is damaged, or its training went wrong"
                )


def _unfit(path: Path, why: str) -> InputError:
    return InputError(f"{path}: the weights don't fit the description ({why}); was the class changed?")
