"""Files are written beside their place and moved there whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from fusevae.core.errors import InputError


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a place that nothing can be written to, as one below a file is, or in a folder that may not be changed."""
    above = next(p for p in Path(path).expanduser().absolute().parents if os.path.lexists(p))
    if not above.is_dir():
        raise InputError(f"{above} is a file, below which {Path(path).name} can't be: give another --output")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"the folder {above} may not be written to: give another --output")


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on success it is flushed to disk and moved to ``path``.

    Whatever happens, ``path`` holds either what it held before or all of the new file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        try:
            with named(path):
                yield beside
        except SafetensorError as error:  # a disk that is full, say
            raise OSError(f"{path}: {error}") from error
        os.chmod(beside, 0o666 & ~_umask())  # safetensors lets nobody else read
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name what is written to in the error of a write that fails: a disk that is full doesn't."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
