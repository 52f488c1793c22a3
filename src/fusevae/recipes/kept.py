"""What a folder keeps of a piece of work that goes on where it was stopped: what was asked for, how far it is, and what
time it has taken."""

from __future__ import annotations

import json
import threading
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from fusevae.core.errors import InputError
from fusevae.core.files import write_text
from fusevae.training.lock import LOCK

CLOCK = LOCK + "-seconds"  # a file beside the lock, which makes no folder a used one


class Clock(AbstractContextManager["Clock"]):
    """The seconds that a piece of work has taken over all its calls, those that were killed included: while it is open,
    a file of the folder says each second how many they are.

    Args:
        folder: of the work; who opens the clock holds its lock.
        started: when this call began, by :func:`time.monotonic`.
    """

    def __init__(self, folder: Path, started: float) -> None:
        self.path, self.started, self.before, self._over = folder / CLOCK, started, 0.0, threading.Event()
        with suppress(OSError, ValueError):  # the first call
            self.before = float(self.path.read_text())

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def __enter__(self) -> Clock:
        self._thread = threading.Thread(target=self._strike, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._write()

    def _strike(self) -> None:
        while not self._over.wait(1.0):
            self._write()

    def _write(self) -> None:
        with suppress(OSError):  # a disk that is full is told by what matters
            write_text(self.path, f"{self.seconds:.2f}")


def known(folder: Path, file: str, what: str, asked: dict[str, Any], beside: str = LOCK) -> dict[str, Any] | None:
    """What a folder holds of a ``what``, a bench say, for which the same was asked; None where it is free (but for the
    lock, and files whose names begin with ``beside``); :class:`InputError` where it holds something else."""
    path = folder / file
    if path.is_file():
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{path} can't be read: give another --output") from None
        for key in {**kept["asked"], **asked}:
            if kept["asked"].get(key) != asked.get(key):
                raise InputError(
                    f"{folder} holds a {what} with another {key} ({kept['asked'].get(key)}, now {asked.get(key)}): "
                    "give the same to go on with it, or another --output"
                )
        return kept
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give another --output, a folder")
    if folder.is_dir() and any(not each.name.startswith((LOCK, beside)) for each in folder.iterdir()):
        raise InputError(f"the folder {folder} is not empty and holds no {what}: give another --output")
    return None


def keep(folder: Path, file: str, kept: dict[str, Any]) -> None:
    """Write it."""
    write_text(folder / file, json.dumps(kept, indent=2) + "\n")
