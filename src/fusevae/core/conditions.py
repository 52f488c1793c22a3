"""Conditions: named columns that are known beside the data, and that a model can be given."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.columns import Condition, Text
from fusevae.core.description import Described
from fusevae.core.errors import InputError, near, shown

KNOTS = 9  # of a column of numbers


class Label(Condition):
    """A column of classes.

    Args:
        name: of the column.
        classes: their names, in order.
        without: those that have no training example, which can't be asked for.
        known: the part of the training examples whose class is known.

    Example:
        >>> digit = Label("digit", ["zero", "one"])
        >>> digit.number("one"), digit.word(0), digit.number(None)
        (1.0, 'zero', nan)
    """

    def __init__(self, name: str, classes: list[str], without: Sequence[str] = (), known: float = 1.0) -> None:
        self.name, self.classes, self.without, self.known = name, list(classes), list(without), known
        self.places = {word: i for i, word in enumerate(self.classes)}

    def number(self, value: Any) -> float:
        if value is None or value == "" or (isinstance(value, float) and value != value):
            return float("nan")
        word = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        at = self.places.get(word)
        if at is None and word in ("True", "False"):  # flags may have been classes 0 and 1
            at = self.places.get(str(int(word == "True")))
        if at is None and word.isdecimal() and int(word) < len(self.classes):
            at = int(word)
        if at is None:
            known = near(word, self.classes) if len(self.classes) > 20 else f"; known are {', '.join(self.classes)}"
            raise InputError(f"unknown {self.name} {word!r}{known}")
        return float(at)

    def word(self, number: float) -> str:
        return self.classes[int(number)] if number >= 0 else ""

    @property
    def about(self) -> str:
        part = "" if self.known == 1 else f", known of {self.known:.3g} of the training examples"
        names = ", ".join(self.classes[:10]) + (" ..." if len(self.classes) > 10 else "")
        return f"{len(self.classes)} classes ({names}){part}"


class Number(Condition):
    """A column of numbers.

    Args:
        name: of the column.
        mean: in the training data.
        scale: the standard deviation there, above 0.
        knots: rising values, between which what a net makes of the number may bend; none for a line.
    """

    def __init__(self, name: str, mean: float = 0.0, scale: float = 1.0, knots: Sequence[float] = ()) -> None:
        if not scale > 0:
            raise InputError(f"{name} was given a scale of {scale}: expected one above 0")
        if any(not low < high for low, high in itertools.pairwise(knots)):
            raise InputError(f"{name} was given the knots {list(knots)}: expected rising numbers")
        self.name, self.mean, self.scale, self.knots = name, float(mean), float(scale), list(map(float, knots))

    @classmethod
    def fitted(cls, name: str, values: Tensor) -> Number:
        """With the moments of what is known of ``values`` ``(n,)``, and knots at so many of their quantiles (Gorishniy
        et al. 2022); a constant keeps the scale 1."""
        known = values.double()[values.isfinite()]
        mean = known.mean().item() if len(known) else 0.0
        scale = known.std(correction=0).item() if len(known) else 0.0
        places = torch.linspace(0, 1, KNOTS, dtype=torch.float64)
        knots = np.quantile(known.numpy(), places.numpy()) if len(known) >= KNOTS else np.empty(0)
        return cls(name, mean, scale if scale > 0 else 1.0, np.unique(knots.astype(np.float32)).tolist())

    def number(self, value: Any) -> float:
        try:
            found = float("nan") if value is None else float(value)
        except (TypeError, ValueError):
            found = math.inf
        if not math.isinf(found):
            return found
        raise InputError(f"{self.name} {value!r} was given: expected a number such as {self.mean:.3g}")

    def word(self, number: float) -> float:
        return number

    @property
    def about(self) -> str:
        return f"a number, {self.mean:.4g} ± {self.scale:.3g}"


class Conditions(Described):
    """All that is known beside each example, column by column; each may be unknown.

    As a tensor a single column of classes is ``(n,)`` int64 with -1 for unknown, as torch has labels; any others are
    ``(n, columns)`` float32, classes by their numbers, with NaN for unknown. A column of texts is the last, and takes
    as many numbers as the longest text has.

    Args:
        columns: in their order.

    Example:
        >>> both = Conditions([Label("sentiment", ["negative", "positive"]), Number("year", 2000, 8)])
        >>> both.row({"year": 1999})
        tensor([  nan, 1999.])
        >>> both.read("sentiment=positive,year=1999").tolist()
        [1.0, 1999.0]
        >>> Conditions([Label("digit", ["zero", "one"])]).read("one")
        tensor(1)
    """

    def __init__(self, columns: list[Condition]) -> None:
        names = [column.name for column in columns]
        if not names or len(set(names)) < len(names):
            raise InputError(f"conditions {', '.join(names) or 'without any column'}: expected names, each once")
        if any(isinstance(column, Text) for column in columns[:-1]):
            raise InputError(f"conditions {', '.join(names)}: expected texts in the last column alone")
        self.columns = list(columns)

    @classmethod
    def of(cls, names: Sequence[str], values: Tensor) -> Conditions:
        """Numbers alone, with the moments of ``values`` ``(n, len(names))``."""
        return cls([Number.fitted(name, column) for name, column in zip(names, values.T, strict=True)])

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def label(self) -> Label | None:
        """The column where it is a single one, of classes."""
        (first, *others) = self.columns
        return first if isinstance(first, Label) and not others else None

    @property
    def text(self) -> Text | None:
        """The column of texts, where there is one."""
        last = self.columns[-1]
        return last if isinstance(last, Text) else None

    def texts(self, condition: Tensor) -> Tensor:
        """Of conditions ``(..., columns)`` the characters of their texts ``(..., length)``."""
        return condition[..., len(self) - 1 :]

    def tensor(self, columns: Mapping[str, Sequence[Any] | np.ndarray | Tensor]) -> Tensor:
        """Values by column as a tensor; columns that are left out are unknown."""
        self.check(columns)
        n = len(next(iter(columns.values()), ()))
        found = [np.full((n, 1), np.nan)] * len(self)
        for i, column in enumerate(self.columns):
            if column.name in columns:
                values = columns[column.name]
                plain = values.tolist() if isinstance(values, np.ndarray | Tensor) else list(values)
                if len(plain) != n:
                    raise InputError(f"{column.name} has {len(plain)} values, others {n}: give one for each example")
                numbers = {value: column.numbers(value) for value in set(plain)}
                width = max((len(one) for one in numbers.values()), default=1)
                rows = {value: one + [one[0] * 0] * (width - len(one)) for value, one in numbers.items()}
                found[i] = np.array([rows[value] for value in plain], dtype=np.float64).reshape(n, width)
        return self.tidy(torch.from_numpy(np.concatenate(found, 1)))

    def tidy(self, numbers: Tensor) -> Tensor:
        """Numbers ``(..., columns)`` in the form of a condition."""
        if self.label is not None:
            return numbers[..., 0].nan_to_num(-1.0).long()
        return numbers.float()

    def numbers(self, condition: Tensor) -> Tensor:
        """The reverse of :meth:`tidy`: ``(..., columns)``, NaN where unknown."""
        if self.label is not None:
            return torch.where(condition < 0, torch.nan, condition.double())[..., None]
        return condition

    def classes(self, condition: Tensor) -> Tensor | None:
        """The columns of classes alone, ``(..., columns)`` int64 with -1 for unknown; None where there are none."""
        some = [isinstance(column, Label) for column in self.columns]
        return self.numbers(condition)[..., some].nan_to_num(-1.0).long() if any(some) else None

    def row(self, values: Mapping[str, Any]) -> Tensor:
        """The condition of one example, by name; what is left out is unknown."""
        self.check(values)
        parts = [column.numbers(values.get(column.name)) for column in self.columns]
        for column, (number, *_) in zip(self.columns, parts, strict=True):
            if isinstance(column, Label) and column.word(number) in column.without:
                raise InputError(f"{column.name} {column.word(number)!r} had no training example: ask for another")
        return self.tidy(torch.tensor([number for part in parts for number in part], dtype=torch.float64))

    def read(self, text: str) -> Tensor:
        """:meth:`row` of ``"sentiment=positive,year=1999"``; of a single column its value alone will do. A text is the
        last, whatever signs it has in it."""
        return self.row(self.pairs(text))

    def pairs(self, text: str) -> dict[str, str]:
        """The values by name that :meth:`read` reads."""
        name = self.columns[0].name
        if len(self) == 1 and not text.startswith(f"{name}="):
            text = f"{name}={text}"
        if self.text is not None and (
            said := re.match(rf"(.*?)(?:^|,)\s*{re.escape(self.text.name)}=(.*)", text, re.S)
        ):
            return (self.pairs(said[1]) if said[1] else {}) | {self.text.name: said[2]}
        found, parts = by_name(text, self.names), text.split(",")
        wrong = [part for part in parts if "=" not in part]
        if wrong and (len(found) == len(parts) or not found.keys() <= {*self.names}):  # fewer: commas are in values
            example = ",".join(f"{c.name}={c.word(0.0)}" for c in self.columns[:2] if not isinstance(c, Text))
            raise InputError(f"{wrong[0]!r} was given: expected values by the names of columns, such as {example}")
        return found

    def given(self, value: Any, n: int) -> Tensor:
        """The conditions of ``n`` examples, however they are given.

        Args:
            value: one for all: a class, its number, a text as for :meth:`read` or a mapping by name; or one for each:
                a tensor (of classes by their places, as batches have them), an array, a sequence or a Series (by their
                names), a mapping by name to these, or a DataFrame.
            n: how many.
        """
        if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a DataFrame
            value = {str(name): list(value[name]) for name in value.columns}
        elif hasattr(value, "to_numpy"):  # a Series
            value = value.to_numpy()
        if isinstance(value, Mapping):
            each = {name: v.tolist() if isinstance(v, np.ndarray | Tensor) else v for name, v in value.items()}
            if any(isinstance(v, list | tuple) for v in each.values()):
                whole = {k: v if isinstance(v, list | tuple) else [v] * n for k, v in each.items()}
                return self._counted(self.tensor(whole), n)
            return self._all(self.row(each), n)
        if isinstance(value, str):
            return self._all(self.read(value), n)
        if isinstance(value, int | float | np.generic):
            return self._all(self.row({self._only(): value}), n)
        if self.label and isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iuf":
            unknown = "-1" not in self.label.places  # a value is a class by its name, as in a list
            value = [None if unknown and v == -1 else v for v in value.tolist()]
        if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf"):
            numbers = torch.as_tensor(value)
            numbers = numbers[:, None] if numbers.dim() == 1 else numbers
            if numbers.dim() != 2 or (
                numbers.shape[1] != len(self) and not (self.text and numbers.shape[1] > len(self))
            ):
                raise InputError(
                    f"conditions of shape {tuple(value.shape)} were given for {n} examples: expected ({n}, {len(self)})"
                    f", a column each for {', '.join(self.names)}"
                )
            numbers = torch.where(numbers < 0, torch.nan, numbers.double()) if self.label else numbers
            if self.label and bool((numbers >= len(self.label.classes)).any()):
                at = int(numbers.nan_to_num().max())
                raise InputError(
                    f"{self.label.name} {at} was given in a tensor: expected the places of {len(self.label.classes)} "
                    "classes, counted from 0; give their names as a list or an array"
                )
            return self._counted(self.tidy(numbers), n)
        if not isinstance(value, Iterable):
            raise InputError(f"{shown(value)} was given as {', '.join(self.names)}: expected a value, or one for each")
        return self._counted(self.tensor({self._only(): list(value)}), n)

    def values(self, condition: Tensor) -> dict[str, np.ndarray]:
        """The values ``(n,)`` by column, to be written beside examples."""
        rows = self.numbers(condition).double().tolist()
        ends = [*range(1, len(self)), None] if self.text is not None else range(1, len(self) + 1)
        parts = zip(self.columns, range(len(self)), ends, strict=True)
        return {c.name: np.array([c.said(row[a:b]) for row in rows]) for c, a, b in parts}

    def beyond(self, condition: Tensor) -> list[str]:
        """What is to be said of numbers that lie more than a deviation beyond all of the training."""
        found = []
        for column, values in zip(self.columns, self.numbers(condition).T, strict=False):
            if isinstance(column, Number) and column.knots:
                low, high = column.knots[0], column.knots[-1]
                far = values[(values < low - column.scale) | (values > high + column.scale)]
                if len(far):
                    said = f"{column.name}={far[0].item():g} was asked for, in training it is {low:g} to {high:g}"
                    found.append(f"{said}: what comes of it was not learned")
        return found

    def words(self, condition: Tensor) -> str:
        """One condition as :meth:`read` takes it; what isn't known is left out."""
        numbers, values = self.numbers(condition).tolist(), self.values(condition[None])
        known = [(c, values[c.name][0]) for c, v in zip(self.columns, numbers, strict=False) if v == v]
        return ",".join(f"{c.name}={v:.4g}" if isinstance(c, Number) else f"{c.name}={v}" for c, v in known)

    def check(self, names: Mapping[str, Any]) -> None:
        """Raise :class:`InputError` for a column that isn't one."""
        for name in names:
            if name not in self.names:
                raise InputError(f"{name!r} is no condition of the model{near(name, self.names)}")

    def _only(self) -> str:
        if len(self) > 1:
            raise InputError(f"there are conditions {', '.join(self.names)}: give each by its name")
        return self.columns[0].name

    def _all(self, row: Tensor, n: int) -> Tensor:
        return row.expand(n, *row.shape)

    def _counted(self, found: Tensor, n: int) -> Tensor:
        if len(found) != n:
            raise InputError(f"{len(found)} conditions were given for {n} examples: expected one for each")
        return found


def forgotten(condition: Tensor) -> Tensor:
    """What stands for an unknown condition, in the shape of one that is known: -1 of a label, NaN of a number."""
    return torch.full_like(condition, float("nan") if condition.is_floating_point() else -1)


def by_name(text: str, names: Iterable[str] = ()) -> dict[str, str]:
    """Values by their names, as they are written on the command line; :class:`InputError` where one has two.

    Names that are known may have commas and signs of their own, and values commas.

    Example:
        >>> by_name("mood=good, year=1999"), by_name("at=Paris, Texas,a=b=1", ["at", "a=b"])
        ({'mood': 'good', 'year': '1999'}, {'at': 'Paris, Texas', 'a=b': '1'})
    """
    pairs = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in text.split(","))]
    known = sorted(names, key=len, reverse=True)
    if not {name for name, _ in pairs} <= {*known}:
        marks = [*re.finditer(rf"(?:^|,)\s*({'|'.join(map(re.escape, known))})\s*=", text)] if known else []
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        wider = [(mark[1], text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=False)]
        if marks and not marks[0].start() and not any("=" in value for _, value in wider):
            pairs = wider
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if [each for each, _ in pairs].count(name) > 1)
        raise InputError(f"{twice} was given twice in {text!r}: give it one value")
    return found
