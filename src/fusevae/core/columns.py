"""A column that is known beside the data, and the column of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from fusevae.core.description import Described
from fusevae.core.errors import InputError


class Condition(Described):
    """One column: its name, and how its values are numbers; NaN is one that isn't known."""

    name: str

    @abstractmethod
    def number(self, value: Any) -> float:
        """The number that stands for a value, or :class:`InputError`; None and NaN are unknown."""

    @abstractmethod
    def word(self, number: float) -> Any:
        """The value that a number stands for; an empty string, or NaN, for what isn't known."""

    @property
    @abstractmethod
    def about(self) -> str:
        """What the column holds, in a few words."""

    def numbers(self, value: Any) -> list[float]:
        """All numbers that stand for a value: one, but of a text."""
        return [self.number(value)]

    def said(self, numbers: Sequence[float]) -> Any:
        """The reverse of :meth:`numbers`."""
        return self.word(numbers[0])


class Text(Condition):
    """A column of texts: what is said in a clip. Its numbers are those of the characters, counted from 1; zeros follow
    a text that is shorter than others.

    Args:
        name: of the column.
        characters: that texts are made of.

    Raises :class:`InputError` for an empty text, and for characters that no training text has.

    Example:
        >>> said = Text("text", ["a", "b"])
        >>> said.numbers("abba"), said.said([2.0, 1.0, 0.0])
        ([1.0, 2.0, 2.0, 1.0], 'ba')
    """

    def __init__(self, name: str, characters: list[str]) -> None:
        self.name, self.characters = name, list(characters)
        self.places = {character: float(i) for i, character in enumerate(self.characters, 1)}

    def numbers(self, value: Any) -> list[float]:
        if value is None or (isinstance(value, float) and value != value):
            return [float("nan")]
        if not str(value).strip():
            raise InputError(f"{self.name} is empty: expected a text to be said")
        return [self.number(character) for character in str(value)]

    def number(self, value: Any) -> float:
        if value not in self.places:
            raise InputError(
                f"{self.name} has the character {value!r}, which no training text has: expected those of "
                f"{''.join(self.characters)!r}"
            )
        return self.places[value]

    def said(self, numbers: Sequence[float]) -> str:
        return "".join(self.word(number) for number in numbers if number > 0)

    def word(self, number: float) -> str:
        return self.characters[int(number) - 1]

    @property
    def about(self) -> str:
        return f"texts of {len(self.characters)} different characters"
