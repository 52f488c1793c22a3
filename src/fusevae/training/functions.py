"""Plain functions as views and objectives, where the contract of these is one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.steps import View
from fusevae.core.trace import Trace
from fusevae.data.splits import Splits
from fusevae.objectives.objective import Objective
from fusevae.training.callbacks import name_of, takes_moment

LOOKED_AT = 1000  # examples that a function's shape and range are seen on


class _Function(View):
    """A view that is a plain function of examples ``(batch, *shape)``, given as floating point (tokens as integers).

    Args:
        function: what it is.
        x: some examples.
        y: what the function makes of them.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.function, self.shape, self.tokens = function, tuple(y.shape[1:]), False
        self.before, self.after = ((float(t.min()), float(t.max())) for t in (x, y))
        self.whole = bool((y == y.round()).all())

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x if self.tokens or x.is_floating_point() else x.float())

    def spec(self, data: DataSpec) -> DataSpec:
        self.tokens = not data.schema.numeric
        if self.tokens:
            return data.with_shape(self.shape)
        (a, b), (low, high) = self.before, self.after
        if not 0.5 * (b - a) <= high - low <= 2 * (b - a):
            raise InputError(
                f"the view {self.label} takes the range [{a:g}, {b:g}] to [{low:g}, {high:g}], and a plain function "
                "can't be undone for samples: take the step Normalise, or a View with restore"
            )
        if self.whole and data.is_discrete and data.low <= low and high <= data.high:
            return data.with_shape(self.shape)
        ends = {"low": min(low, data.low), "high": max(high, data.high)}
        return data.replaced(shape=self.shape, dtype="float32", **ends)

    @property
    def label(self) -> str:
        return name_of(self.function)


class _Value(Objective):
    """An objective that is a plain function of the trace, or of the trace and the progress."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function, self.scheduled = function, takes_moment(function)

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        return self.function(trace, progress) if self.scheduled else self.function(trace)

    def is_bound(self, progress: float) -> bool:
        return False  # nobody says so


def as_objective(given: Any) -> Objective:
    """An objective, or a plain function as one: ``trace -> (*batch,)``, or ``(trace, progress) -> (*batch,)``.

    Example:
        >>> as_objective(lambda trace: trace.elbo).is_bound(0.0)
        False
    """
    if isinstance(given, Objective):
        return given
    if not callable(given) or isinstance(given, type):
        raise InputError(f"{given!r} was given as an objective: expected an Objective, ELBO() say, or a function")
    return _Value(given)


def as_views(given: Sequence[Any], data: Splits, seed: int = 0) -> list[View]:
    """Views, with plain functions among them made views: their shape and range are those of the first examples."""
    found: list[View] = []
    if all(isinstance(view, View) for view in given):
        return list(given)
    x, spec = data.train.batch(torch.arange(min(LOOKED_AT, len(data.train))))[0], data.spec
    with torch.no_grad(), noise.preserved(), noise.keyed(seed, "views"):
        for view in given:
            if not isinstance(view, View):
                if not callable(view) or isinstance(view, type):
                    raise InputError(f"{view!r} was given as a view: expected a View, Binarize() say, or a function")
                view = _seen(view, spec.typed(x))
            spec = view.spec(spec)
            x = view(x)
            found.append(view)
    return found


def _seen(function: Callable[[Tensor], Any], x: Tensor) -> _Function:
    """A function as a view, after a look at what it makes of ``x``."""
    y = function(x)
    if not isinstance(y, Tensor) or len(y) != len(x):
        raise InputError(
            f"the view {name_of(function)} made {type(y).__name__} of {len(x)} examples: expected a tensor of as many"
        )
    return _Function(function, x, y)
