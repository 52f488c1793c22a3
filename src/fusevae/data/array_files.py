"""Files of arrays as numpy writes them: what they hold, and the arrays, mapped where that can be."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fusevae.core.errors import InputError
from fusevae.core.untrusted import regular

Header = tuple[tuple[int, ...], np.dtype]
#: what reading a damaged archive or header raises
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError, SyntaxError, ArithmeticError,
    EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


def load_npy(path: Path) -> np.ndarray:
    """The array of an ``.npy`` file, mapped, not yet read."""
    try:
        found = np.load(regular(path, "numbers"), mmap_mode="c", allow_pickle=False)  # torch wants to write
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an .npz")
        return found
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path} is no whole .npy file of numbers ({_reason(error)}): save it with numpy.save"
        ) from None


def npz_headers(path: Path) -> dict[str, Header]:
    """Shape and dtype of each array in an ``.npz``, without reading the arrays."""
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if not member.endswith(".npy"):
                    raise InputError(
                        f"{path} holds {member}, which is no array: expected a file written by numpy.savez"
                    )
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(file)
                    if min(shape, default=0) < 0:
                        raise ValueError(f"its shape is {shape}")
                    headers[member.removesuffix(".npy")] = (shape, dtype)
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path} is no whole .npz file ({_reason(error)}): save it with numpy.savez_compressed"
        ) from None
    return headers


def load_arrays(path: Path, keys: list[str], headers: Mapping[str, Header]) -> dict[str, np.ndarray]:
    """The arrays ``keys`` of an ``.npz``; an array of Python objects is refused."""
    for key in keys:
        if headers[key][1].hasobject:
            raise InputError(
                f"{path}: {key} holds Python objects, which only a pickle could read: save it as numbers or text"
            )
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except DAMAGED as error:
        raise InputError(f"{path} is damaged ({_reason(error)}): get or save the file again") from None


def _reason(error: Exception) -> str:
    if "pickle" in str(error):
        return "it is a pickle, which can run any code when opened"
    return " ".join(str(error).split())[:120] or type(error).__name__
