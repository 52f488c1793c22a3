"""Properties: numbers that are known of each example beside it, and that a model can be given as its condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from fusevae.core.description import Described
from fusevae.core.errors import InputError, near


class Properties(Described):
    """Names, means and scales of numbers; NaN is a number that isn't known.

    Args:
        names: of the numbers, in their order.
        mean: of each in the training data.
        scale: their standard deviations there.

    Example:
        >>> found = Properties.fitted(["width", "height"], torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, float("nan")]]))
        >>> found.mean, [round(s, 2) for s in found.scale]
        ([3.0, 5.0], [1.63, 1.0])
        >>> found.row({"height": 6.0})
        tensor([nan, 6.])
    """

    def __init__(self, names: list[str], mean: list[float], scale: list[float]) -> None:
        if not len(names) == len(mean) == len(scale) > 0 or min(scale) <= 0:
            raise InputError(f"{len(names)} names, {mean} and {scale}: expected a mean and a scale above 0 for each")
        self.names, self.mean, self.scale = list(names), list(mean), list(scale)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def fitted(cls, names: Sequence[str], values: Tensor) -> Self:
        """Means and scales of what is known of ``values`` ``(n, len(names))``; a constant keeps the scale 1."""
        mean, scale = [], []
        for column in values.double().T:
            known = column[column.isfinite()]
            mean.append(known.mean().item() if len(known) else 0.0)
            scale.append(known.std(correction=0).item() if len(known) else 0.0)
        return cls(list(names), mean, [s if s > 0 else 1.0 for s in scale])

    def row(self, values: Mapping[str, float]) -> Tensor:
        """The numbers of one example ``(len(names),)`` by their names; those that are left out aren't known."""
        for name in values:
            if name not in self.names:
                raise InputError(f"{name!r} is no property that the model was given{near(name, self.names)}")
        return torch.tensor([float(values.get(name, "nan")) for name in self.names])

    def read(self, text: str) -> Tensor:
        """:meth:`row` of ``"qed=0.9,logp=2"``."""
        try:
            pairs = [part.split("=") for part in text.split(",")]
            return self.row({name.strip(): float(value) for name, value in pairs})
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{text!r} was given: expected numbers by their names, such as {self.names[0]}={self.mean[0]:.3g}"
            ) from None


def forgotten(condition: Tensor) -> Tensor:
    """What stands for an unknown condition, in the shape of one that is known: -1 of a label, NaN of a number."""
    return torch.full_like(condition, float("nan") if condition.is_floating_point() else -1)
