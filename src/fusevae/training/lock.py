"""One writer a folder: a lock of the operating system, which lets go of it however the process ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import distributed as dist

from fusevae.core.errors import InputError
from fusevae.core.processes import world

LOCK = ".lock"
AT = 2**30  # the byte that is locked on Windows, where nobody could read it


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one who writes into a folder, which is made where there is none; :class:`InputError` where another
    does. The processes of one training count as one. Who only reads never asks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
        ...     with locked(Path(folder)):
        ...         pass
        Traceback (most recent call last):
        fusevae.core.errors.InputError: ...
    """
    held, refused, made = None, [""], list[Path]()
    if world()[0] == 0:
        made = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        held, refused[0] = _taken(folder)
    try:
        if world()[1] > 1:
            dist.broadcast_object_list(refused)
        if refused[0]:
            raise InputError(refused[0])
        yield
    finally:
        if held is not None:
            _let_go(held, folder / LOCK)
        with suppress(OSError):  # one that something was written to stays
            for place in made:
                place.rmdir()


def _taken(folder: Path) -> tuple[int | None, str]:
    """The open file of the lock; or why there is none, in a line."""
    path = folder / LOCK
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):  # a file system without locks
                return file, ""
            holder = os.read(file, 1000).decode(errors="replace") or "one that has just begun"
            os.close(file)
            mine = " (this one)" if holder == _me() else ""
            return None, (
                f"another process writes into {folder}, {holder}{mine}: wait for its end, stop it, or give another "
                "--output"
            )
        with suppress(FileNotFoundError):  # whoever held it may have taken it away between the two calls
            if os.path.samestat(os.fstat(file), os.stat(path)):
                break
        os.close(file)
    with suppress(OSError):  # a disk that is full: the lock holds without a name
        os.ftruncate(file, 0)
        os.write(file, _me().encode())
    return file, ""


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _let_go(file: int, path: Path) -> None:
    if sys.platform != "win32":  # where what is open can't be taken away
        path.unlink(missing_ok=True)
    os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, AT, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
