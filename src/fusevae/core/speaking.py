"""How texts are said: a setting of whoever asks for them, not of the model that says them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from fusevae.core.errors import InputError


@dataclass(frozen=True)
class Speaking:
    """How a text is said.

    Attributes:
        rate: 2 is twice as fast: each duration is its median, divided by it.
        temperature: of the latents: deviations from their means are taken times it; 0 says the same each time.

    Raises :class:`InputError` for settings out of range.
    """

    rate: float = 1.0
    temperature: float = 0.5

    def __post_init__(self) -> None:
        if not 0.1 <= self.rate <= 10:
            raise InputError(f"rate is {self.rate}, expected 0.1 to 10: 1 is as usual, 2 twice as fast")
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise InputError(f"temperature is {self.temperature}, expected 0 or more")


_current: ContextVar[Speaking | None] = ContextVar("speaking", default=None)


@contextmanager
def speaking(how: Speaking) -> Iterator[None]:
    """Inside, models that say texts do it in this way, however deep in a model they are nested."""
    token = _current.set(how)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Speaking | None:
    """The way that holds here; None where samples are draws from the model itself."""
    return _current.get()
