"""DataSpec: what a recipe needs to know of the data, and what an artifact remembers of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fusevae.core.conditions import Conditions, Label
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.generation import Generation

Measure = Literal["mass", "density", "mixed"]

LARGEST = 2**40  # values of an example


class Schema(Described):
    """What is known of one kind of data beside its numbers; each modality has its own.

    Attributes:
        modality: the name of the kind.
        numeric: whether values are numbers to compute with; tokens are not.
        constrained: whether something must hold between the values of an example, as :meth:`held` says.
    """

    modality: str = ""
    constrained: bool = False
    numeric: bool = True

    @property
    def quantities(self) -> bool:
        """Whether every value is a quantity, whose differences say something; the code of a class is none."""
        return self.numeric

    def check(self, ours: DataSpec, theirs: DataSpec, what: str) -> None:
        """Raise :class:`InputError` unless ``theirs`` fit what was made for ``ours``."""
        if ours.shape != theirs.shape:
            raise InputError(
                f"{what} was made for examples of shape {ours.shape}, these have {theirs.shape}: "
                "resize them, or train a model on them"
            )
        beyond = ours.high < theirs.high or ours.low > theirs.low or (theirs.dtype == "bool" and ours.high > 1)
        if ours.is_discrete != theirs.is_discrete or (ours.is_discrete and beyond):
            raise InputError(
                f"{what} was made for {ours.dtype} data in [{ours.low:g}, {ours.high:g}], these are {theirs.dtype} in "
                f"[{theirs.low:g}, {theirs.high:g}]: convert them first"
            )

    def check_model(self, spec: DataSpec, mixed: bool) -> None:
        """Raise :class:`InputError` for data that a model can't take, unless its likelihood is ``mixed``."""

    def remarks(self, spec: DataSpec) -> list[str]:
        """What was inferred of the data, a line each: it is said when a training begins."""
        return []

    def support(self, spec: DataSpec, measure: Measure) -> str:
        """Over what a likelihood is."""
        shape = "x".join(map(str, spec.shape))
        words: dict[Measure, str] = {
            "mass": f"mass on {{{spec.low:g}..{spec.high:g}}}^{shape}",
            "density": f"density on R^{shape}",
            "mixed": f"mixed: density x mass over {shape}",
        }
        return words[measure]

    def into(self, x: Tensor) -> Tensor:
        """Raw examples in the units in which a model is given them; what that costs in density is nothing."""
        return x

    def back(self, x: Tensor) -> Tensor:
        """What a model gives ``(*batch, *shape)``, in the units and the form of the data."""
        return x

    def averaged(self, mean: Tensor, draws: Tensor) -> Tensor:
        """The ``mean`` ``(n, *shape)`` of many draws, of which ``draws`` ``(samples, n, *shape)`` are some, with what
        has no mean (a class) as most of them have it."""
        return mean

    @property
    def names(self) -> list[str]:
        """Of the values of an example, where each has one by which it can be given."""
        return []

    def row(self, values: Mapping[str, Any]) -> Tensor:
        """An example of which some values are given by their names, in the data's units, and the others are NaN; raises
        :class:`InputError` for what no example has."""
        raise InputError(f"{', '.join(values)} was given: the values of these data have no names")

    def held(self, x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Samples ``(n, *shape)`` with what follows from other values set so, unless it is ``given`` ``(*shape)``; and
        which of them are as an example must be, ``(n,)``."""
        return x, torch.ones(len(x), dtype=torch.bool)

    def text(self, x: Tensor) -> list[str]:
        """The texts that examples stand for, where they do."""
        raise InputError(f"the data are arrays of shape {tuple(x.shape[1:])}, not text: use them as they are")

    def tokens(self, text: str) -> list[int]:
        """A text as tokens, without an end, where examples are such."""
        raise InputError("the data are arrays, not text: leave texts out")

    def seen(self, x: Tensor) -> Any:
        """Examples as those who guess their conditions take them: rows of numbers ``(n, features)``, or texts."""
        if not self.numeric:
            return self.text(x)
        return np.nan_to_num(x.flatten(1).double().numpy(), nan=np.nan, posinf=1e30, neginf=-1e30).astype(np.float32)

    def measured(self, x: Tensor, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Those of the named conditions that are computed from examples themselves, ``(n,)``; NaN where they can't."""
        return {}

    def writing(self, how: Generation | None) -> Generation | None:
        """How samples are written where a way was asked for, or none was: without what no example holds."""
        return how

    def about(self, spec: DataSpec) -> str:
        """One example in words."""
        return f"{'x'.join(map(str, spec.shape))} {spec.dtype} in [{spec.low:g}, {spec.high:g}]"


class DataSpec(Described):
    """Shape, dtype and range of one example, what is known beside it, and of what kind it is.

    Args:
        shape: of one example without the batch: ``(channels, height, width)`` for images, ``(features,)`` for tables,
            ``(length,)`` for sequences (of the longest, its end included).
        dtype: as the data came: ``"uint8"``, ``"float32"``, ``"int64"`` ...
        low: smallest value that the data can take (0 for uint8), or were seen to take, as a model is given them.
        high: largest value (255 for uint8).
        conditions: the columns beside the examples, or None; the names of classes alone are one column ``label``.
        schema: what its modality knows of the data; None for plain arrays.
        examples: how many there are to train on, where that is known: recipes size their nets by it.

    Example:
        >>> DataSpec((1, 28, 28), "uint8", 0, 255).dims
        784
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        low: float = 0.0,
        high: float = 1.0,
        conditions: Conditions | list[str] | None = None,
        schema: Schema | None = None,
        examples: int | None = None,
    ) -> None:
        if min(shape, default=1) < 1 or math.prod(shape) > LARGEST:
            raise InputError(f"shape={tuple(shape)} was given: expected sizes above 0 that fit in memory")
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise InputError(f"dtype={dtype!r} was given: expected one of torch, such as 'uint8' or 'float32'")
        if not -math.inf < low <= high < math.inf:
            raise InputError(f"low={low} and high={high} were given: expected finite numbers, the lower one first")
        self.shape, self.dtype = tuple(shape), dtype
        self.low, self.high = float(low), float(high)
        if isinstance(conditions, list):
            conditions = Conditions([Label("label", conditions)]) if conditions else None
        self.conditions: Conditions | None = conditions
        self.schema, self.examples = schema or Schema(), examples

    @property
    def modality(self) -> str:
        """The name of the kind of data; empty for plain arrays."""
        return self.schema.modality

    @property
    def dims(self) -> int:
        """Number of values in one example."""
        return math.prod(self.shape)

    @property
    def is_discrete(self) -> bool:
        """Whether the raw data are integers, so that probabilities (not densities) can be claimed for them."""
        return "int" in self.dtype or self.dtype == "bool"

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, where one column of them is all that is known beside the data."""
        return self.conditions.label.classes if self.conditions is not None and self.conditions.label else None

    @property
    def n_classes(self) -> int:
        return len(self.classes or ())

    @property
    def condition(self) -> int | Conditions:
        """What a net is told about what it is given beside the data: how many classes there are where that is all (0
        for none), else the columns."""
        return len(self.classes) if self.classes is not None else self.conditions or 0

    def with_shape(self, shape: Sequence[int]) -> DataSpec:
        """The same data in another shape (after a resize, say)."""
        return self.replaced(shape=tuple(shape))

    def with_range(self, low: float, high: float) -> DataSpec:
        """The same data in another range."""
        return self.replaced(low=low, high=high)

    def check(self, other: DataSpec, what: str = "the model") -> None:
        """Raise :class:`InputError` unless ``other`` is data of this kind, with what belongs to it."""
        if self.modality and other.modality and self.modality != other.modality:
            raise InputError(f"{what} was made for {self.modality}, these are {other.modality}: give data of that kind")
        self.schema.check(self, other, what)

    def text(self, x: Tensor) -> list[str]:
        """Token sequences ``(n, length)`` as the texts that they stand for."""
        return self.schema.text(x)

    def typed(self, x: Tensor) -> Tensor:
        """Raw examples as a model computes with them: floating point, or integers for tokens."""
        return x.float() if self.schema.numeric else x
