"""DataSpec: what a recipe needs to know of the data, and what an artifact remembers of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.properties import Properties
from fusevae.core.vocabulary import Vocabulary

MOLECULES = ("smiles", "smiles-pairs", "selfies", "selfies-pairs")  # kinds of tokens


class DataSpec(Described):
    """Shape, dtype and range of one example, and its labels.

    Args:
        shape: of one example without the batch: ``(channels, height, width)`` for images, ``(features,)`` for tables,
            ``(length,)`` for sequences (of the longest, its end included).
        dtype: as the data came: ``"uint8"``, ``"float32"``, ``"int64"`` ...
        low: smallest value that the data can take (0 for uint8), or was seen to take.
        high: largest value (255 for uint8).
        classes: the names of the labels in order, or None where there are none.
        vocabulary: of token sequences, else None.
        properties: numbers that stand in the place of labels, or None.

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
        classes: list[str] | None = None,
        vocabulary: Vocabulary | None = None,
        properties: Properties | None = None,
    ) -> None:
        self.shape, self.dtype = tuple(shape), dtype
        self.low, self.high = float(low), float(high)
        self.classes = list(classes) if classes is not None else None
        self.vocabulary, self.properties = vocabulary, properties

    @property
    def dims(self) -> int:
        """Number of values in one example."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def is_discrete(self) -> bool:
        """Whether the raw data are integers, so that probabilities (not densities) can be claimed for them."""
        return "int" in self.dtype or self.dtype == "bool"

    @property
    def is_molecules(self) -> bool:
        """Whether texts are molecules, by the kind of their tokens."""
        return self.vocabulary is not None and self.vocabulary.kind in MOLECULES

    @property
    def n_classes(self) -> int:
        return len(self.classes) if self.classes is not None else 0

    @property
    def condition(self) -> int | Properties:
        """What a net is told about what it is given beside the data: the properties, else how many classes there are
        (0 for none)."""
        return self.properties or self.n_classes

    def with_shape(self, shape: Sequence[int]) -> DataSpec:
        """The same data in another shape (after a resize, say)."""
        return self.replaced(shape=tuple(shape))

    def with_range(self, low: float, high: float) -> DataSpec:
        """The same data in another range."""
        return self.replaced(low=low, high=high)

    def text(self, x: Tensor) -> list[str]:
        """Token sequences ``(n, length)`` as the texts that they stand for."""
        if self.vocabulary is None:
            raise InputError(f"the data are arrays of shape {self.shape}, not text: use them as they are")
        return [self.vocabulary.decode(row) for row in x.tolist()]

    def check(self, other: DataSpec, what: str = "the model") -> None:
        """Raise :class:`InputError` unless ``other`` is data of this kind; texts may be of any length."""
        if (self.vocabulary is None) != (other.vocabulary is None):
            kinds = ["arrays" if spec.vocabulary is None else "text" for spec in (self, other)]
            raise InputError(f"{what} was made for {kinds[0]}, these are {kinds[1]}: give data of that kind")
        if self.vocabulary is not None and other.vocabulary is not None:
            if self.vocabulary.entries != other.vocabulary.entries:
                raise InputError(
                    f"{what} was made for a vocabulary of {self.vocabulary.size} {self.vocabulary.kind}, these have "
                    f"another of {other.vocabulary.size}: read them with the model's own"
                )
            return
        if self.shape != other.shape:
            raise InputError(
                f"{what} was made for examples of shape {self.shape}, these have {other.shape}: "
                "resize them, or train a model on them"
            )
        if self.is_discrete != other.is_discrete or (self.is_discrete and self.high < other.high):
            raise InputError(
                f"{what} was made for {self.dtype} data in [{self.low:g}, {self.high:g}], these are {other.dtype} in "
                f"[{other.low:g}, {other.high:g}]: convert them first"
            )
