"""Whose turn it is to compute: what a user waits for goes before what is prepared."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fusevae.core.errors import InputError

LONGEST = 30.0  # seconds that a request waits
OFTEN = 0.1  # seconds after which it looks whether somebody still waits for it
GONE: ContextVar[threading.Event | None] = ContextVar("gone", default=None)  # set when whoever asked has left


class Busy(InputError):
    """Others are before it."""


class Turns:
    """One computes at a time: the nets share the processor, and noise is the process's.

    Example:
        >>> turns = Turns()
        >>> with turns.asked():
        ...     turns.waiting
        1
    """

    def __init__(self) -> None:
        self.lock, self.counting, self.waiting = threading.Lock(), threading.Lock(), 0

    @contextmanager
    def asked(self) -> Iterator[None]:
        """The turn of a request; :class:`Busy` where it doesn't come in time, or nobody waits for it any more."""
        until, gone = time.monotonic() + LONGEST, GONE.get()
        self._count(1)
        try:
            while not self.lock.acquire(timeout=OFTEN):
                if time.monotonic() > until:
                    raise Busy("other requests are computed first: try again")
                if gone is not None and gone.is_set():
                    raise Busy("nobody waits for this any more")
            try:
                yield
            finally:
                self.lock.release()
        finally:
            self._count(-1)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The turn of a piece of work that nobody waits for."""
        while True:
            while self.waiting:
                time.sleep(0.002)
            with self.lock:
                if not self.waiting:
                    yield
                    return

    def _count(self, more: int) -> None:
        with self.counting:
            self.waiting += more
