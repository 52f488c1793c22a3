"""Whose turn it is to compute: what a user waits for goes before what is prepared."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fusevae.core.errors import InputError

LONGEST = 30.0  # seconds that a request waits


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
        """The turn of a request; :class:`Busy` where it doesn't come in time."""
        self._count(1)
        try:
            if not self.lock.acquire(timeout=LONGEST):
                raise Busy("other requests are computed first: try again")
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
