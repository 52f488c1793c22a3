"""Callbacks: functions that see each record of a training, add figures of their own, and may stop it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError

#: ``f(record)`` or ``f(record, moment)``; returns nothing, figures by name, or False to stop
Callback = Callable[..., Any]


class Moment:
    """The training as a callback finds it.

    Attributes:
        step: updates made.
        total: updates of the whole training.
        seconds: spent on it so far.
        stop: a function that ends the training after this step, saved, so that it can be resumed.
    """

    def __init__(
        self, step: int, total: int, seconds: float, game: Callable[[], Any], stop: Callable[[], None]
    ) -> None:
        self.step, self.total, self.seconds = step, total, seconds
        self._game, self.stop = game, stop

    @property
    def artifact(self) -> Artifact:
        """The model as it would be evaluated now, in evaluation mode on the device of the training; look at it, but
        don't keep or change it."""
        return cast(Artifact, next(iter(self._game().players.values())).artifact)


def call(callbacks: Sequence[Callback], record: dict[str, Any], moment: Moment) -> bool:
    """Show ``record`` to each callback and add the figures that they return; whether the training is to go on.

    A record of training or validation has its figures under ``"train"`` or ``"validation"``, and these go there, too.

    Raises :class:`InputError` where a callback returns something else.
    """
    go_on = True
    for callback in callbacks:
        found = callback(record, moment) if takes_moment(callback) else callback(record)
        if isinstance(found, Mapping):
            place = next((record[kind] for kind in ("train", "validation") if kind in record), record)
            place |= {str(name): number(callback, name, value) for name, value in found.items()}
        elif isinstance(found, (bool, np.bool_)):
            go_on = go_on and bool(found)
        elif found is not None:
            raise InputError(
                f"the callback {name_of(callback)} returned {found!r}: expected nothing, False to stop, or numbers by "
                "name"
            )
    return go_on


def takes_moment(callback: Callback) -> bool:
    """Whether a callback asks for the :class:`Moment` beside the record: by a second argument without a default."""
    try:
        given = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):  # one that is not written in Python
        return False
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in given) > 1


def number(callback: Callback, name: Any, value: Any) -> float:
    """A figure as a number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"the callback {name_of(callback)} returned {name}={value!r}: expected a number for each name"
        ) from None


def name_of(function: Any) -> str:
    """What a function is called in a message."""
    return getattr(function, "__qualname__", type(function).__name__)
