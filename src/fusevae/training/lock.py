"""One writer a folder: a lock of the operating system, which lets go of it however the process ends."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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
    file, refused = None, [""]
    if world()[0] == 0:
        folder.mkdir(parents=True, exist_ok=True)
        file, refused = _taken(folder)
    try:
        if world()[1] > 1:
            dist.broadcast_object_list(refused)
        if refused[0]:
            raise InputError(refused[0])
        yield
    finally:
        if file is not None:
            _let_go(file, folder / LOCK)


def _taken(folder: Path) -> tuple[IO[str] | None, list[str]]:
    """The open file of the lock; or why there is none, in a line."""
    path = folder / LOCK
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (it stays open for as long as the lock is held)
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):  # a file system without locks
                return file, [""]
            file.seek(0)
            holder = file.read().strip() or "one that has just begun"
            file.close()
            mine = " (this one)" if holder == _me() else ""
            return None, [
                f"another process writes into {folder}, {holder}{mine}: wait for its end, stop it, or give "
                "another --output"
            ]
        try:
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                break
        except FileNotFoundError:  # whoever held it took it away between the two calls
            pass
        file.close()
    file.truncate(0)
    file.write(_me())
    file.flush()
    return file, [""]


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _let_go(file: IO[str], path: Path) -> None:
    if sys.platform != "win32":  # where what is open can't be taken away
        path.unlink(missing_ok=True)
    file.close()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(AT)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
