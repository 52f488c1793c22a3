"""Weights that come from elsewhere: read where a model is made to be trained, not where its own weights follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_follow: ContextVar[bool] = ContextVar("weights_follow", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Inside, a model that is built reads no folder of weights: an artifact or a checkpoint gives all of them.

    So an artifact is whole without the folder that its training began from, and one from a stranger opens no other
    file.

    Example:
        >>> with weights_follow():
        ...     weights_are_read()
        False
    """
    token = _follow.set(True)
    try:
        yield
    finally:
        _follow.reset(token)


def weights_are_read() -> bool:
    """Whether a model that is built here reads the folder of weights that it names."""
    return not _follow.get()
