"""Conditions as they are asked for, read and told apart: columns of a file, an array, a pattern of names."""

from __future__ import annotations

import logging
import numbers
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.columns import Condition, Text
from fusevae.core.conditions import Conditions, Label, Number
from fusevae.core.errors import InputError, near
from fusevae.core.typed import array_of
from fusevae.data.delimited import GAPS, is_number

WIDEST = 2**63 - 1  # whole number that int64 holds
EXACT = 2**53  # up to which float64 tells whole numbers apart
FEW = 20  # different whole numbers that are classes; more are numbers, unless it is said
USUAL = "label"  # the column that data bring without a name
LABELS = ("label", "labels", "fine_label", "class", "target", "y")  # columns of classes, however many, by their names
KINDS = ("label", "number", "text")
FILES = (".npz", ".npy", ".csv", ".tsv")

logger = logging.getLogger("fusevae")


@dataclass(frozen=True)
class Asked:
    """What ``data.conditions`` says: columns by name (``year:number``, ``digit:label`` where the kind isn't plain;
    ``caption:text`` of what is said in clips), a pattern of file names (``{digit}_{speaker}``), or a file of labels.

    Example:
        >>> Asked.of(["sentiment", "year:number"]).names, Asked.of("{digit}_{speaker}").pattern
        (['sentiment', 'year'], '{digit}_{speaker}')
    """

    columns: tuple[tuple[str, str | None], ...] = ()
    pattern: str | None = None
    file: str | None = None
    optional: bool = False  # of a model's own conditions: what the data don't hold isn't known

    @classmethod
    def of(cls, given: str | Sequence[str] | None) -> Asked:
        if given is None:
            return cls()
        if isinstance(given, str):
            if "{" in given:
                fields = re.findall(r"{(\w+)}", given)
                if not fields or len(set(fields)) < len(fields):
                    raise InputError(
                        f"conditions={given!r} was given: expected names in braces, each once: {{a}}_{{b}}"
                    )
                return cls(tuple((name, None) for name in fields), pattern=given)
            if given.lower().endswith(FILES):
                return cls(file=given)
            given = [given]
        pairs = [
            name.rpartition(":") if name.endswith(tuple(f":{k}" for k in KINDS)) else ("", "", name) for name in given
        ]
        columns = tuple((first, last) if colon else (last, None) for first, colon, last in pairs)
        names = [name for name, _ in columns]
        if not names or not all(names) or len(set(names)) < len(names):
            raise InputError(f"conditions={list(given)} was given: expected names, each once, such as ['qed']")
        return cls(columns)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]

    @property
    def told(self) -> bool:
        """Whether anything was said."""
        return bool(self.columns or self.file)

    def kind(self, name: str) -> str | None:
        """``"label"``, ``"number"`` or ``"text"``, where that was said of a column."""
        return dict(self.columns).get(name)

    def among(self, names: Iterable[str], where: str, computed: Sequence[str] = ()) -> list[str]:
        """Which of the names of columns were asked for; one that isn't there is refused, unless it is computed."""
        if self.pattern:
            return []
        known = set(names)
        for name in self.names:
            if name not in known and name not in computed and not self.optional:
                raise InputError(f"{where} has no column {name!r} for the conditions{near(name, known)}")
        return [name for name in self.names if name in known]

    def in_names(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The columns that the pattern finds in the names of files, their types left out; nothing of a name that it
        doesn't fit is known, where that may be."""
        assert self.pattern is not None
        parts = [
            re.escape(p) if i % 2 == 0 else f"(?P<{p}>.+?)" for i, p in enumerate(re.split(r"{(\w+)}", self.pattern))
        ]
        form = re.compile("".join(parts) + r"(?:\.[^.]*)?$")
        found: dict[str, list[str]] = {name: [] for name in self.names}
        matches = [form.fullmatch(name) for name in names]
        if other := [name for name, match in zip(names, matches, strict=True) if match is None]:
            says = f"{other[0]} is not named as conditions={self.pattern!r} says"
            if not self.optional:
                raise InputError(f"{says}: rename it, or mend the pattern")
            logger.warning("%d of %d: %s; taken without %s", len(other), len(names), says, ", ".join(self.names))
            if len(other) == len(names):
                return {}
        for match in matches:
            values = match.groupdict() if match else dict.fromkeys(self.names, "")
            for key, value in values.items():
                found[key].append(value)
        return {name: parsed(values) for name, values in found.items()}


def as_column(values: Any, n: int, name: str) -> np.ndarray:
    """One value an example ``(n,)``: int64, text, or float64 with NaN where one isn't known; :class:`InputError` for
    any other shape or kind."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind == "U" and isinstance(values, list | tuple):  # NaN beside words would be one
        array = np.array(values, dtype=object)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}: expected one value an example, ({n},)")
    if len(array) != n:
        raise InputError(
            f"{name} has {len(array)} labels for {n} examples: expected one for each; check the two belong together"
        )
    if array.dtype.kind == "O":
        array = _plain(array.tolist(), name)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind == "b":
        return np.where(array, "True", "False")
    if array.dtype.kind in "ui":
        return array.astype(np.int64 if int(array.max(initial=0)) <= WIDEST else str)
    if array.dtype.kind == "f":
        if np.isinf(array).any():
            raise InputError(f"{name} has infinite values: expected numbers, or NaN for unknown ones")
        whole = bool(np.isfinite(array).all()) and bool((array == np.round(array)).all())
        return array.astype(np.int64 if whole else np.float64)
    raise InputError(f"{name} holds {array.dtype} values: expected numbers or text; convert them")


def parsed(words: Sequence[str]) -> np.ndarray:
    """Words as whole numbers where all of them are, as numbers with NaN for an empty one, else as the words.

    Example:
        >>> parsed(["1", "2"]), parsed(["0.5", ""]), parsed(["007", "8"])
        (array([1, 2]), array([0.5, nan]), array(['007', '8'], dtype='<U3'))
    """
    stripped = [word.strip() for word in words]
    known = [word for word in stripped if word.lower() not in GAPS]
    cells = [word if word.lower() not in GAPS else "nan" for word in stripped]
    if known and all(re.fullmatch(r"-?(0|[1-9]\d*)", word) for word in known):
        widest, gaps = max(abs(int(word)) for word in known), len(known) < len(stripped)
        if not gaps and widest <= WIDEST:
            return np.array([int(word) for word in stripped], dtype=np.int64)
        if widest > EXACT:  # kept apart as they are
            return np.array(["" if word == "nan" else word for word in cells])
    codes = any(re.fullmatch(r"[+-]?0\d+", word) for word in known)
    if not known or codes or not all(is_number(word) for word in known):
        return np.array(stripped)
    found = np.array(cells, dtype=np.float64)
    return np.array(stripped) if np.isinf(found).any() else found


def _plain(values: list[Any], name: str) -> np.ndarray:
    """Python's own values as an array of one kind, what is missing as NaN or an empty text."""
    missing = [
        v is None or type(v).__name__ in ("NAType", "NaTType") or (isinstance(v, float) and v != v) for v in values
    ]
    known = [v for v, gap in zip(values, missing, strict=True) if not gap]
    if not known:
        return np.full(len(values), np.nan)
    if all(isinstance(v, str | bool | np.bool_) for v in known):
        return np.array(["" if gap else str(v) for v, gap in zip(values, missing, strict=True)])
    if all(isinstance(v, numbers.Real | Decimal) for v in known):
        return parsed(["" if gap else str(v) for v, gap in zip(values, missing, strict=True)])
    kinds = ", ".join(sorted({type(v).__name__ for v in known}))
    raise InputError(f"{name} holds {kinds}: expected numbers or text; convert them")


def named(y: Any, asked: Asked, name: str) -> dict[str, Any]:
    """What was given beside examples in Python, as columns by name: one column is ``label``, unless another name was
    asked for; several in one array want names, or are ``label_0``, ``label_1``, ..."""
    if y is None:
        return {}
    if isinstance(y, Mapping):
        return {str(k): v for k, v in y.items()}
    if hasattr(y, "to_dict") and hasattr(y, "columns"):  # a DataFrame
        return {str(k): y[k].to_numpy() for k in y.columns}
    if hasattr(y, "to_numpy") and getattr(y, "name", None):  # a Series
        return {str(y.name): y.to_numpy()}
    array = array_of(y, name)
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        return {asked.names[0] if len(asked.names) == 1 else USUAL: array}
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}: expected (n,) or (n, columns)")
    if asked.names and len(asked.names) != array.shape[1]:
        raise InputError(f"{name} has {array.shape[1]} columns, conditions name {', '.join(asked.names)}: name each")
    if not asked.names and array.shape[1] > 2 and array.dtype.kind in "biuf" and _is_one_hot(array):
        raise InputError(f"{name} of shape {array.shape} is one-hot: take the argmax, or name the columns (conditions)")
    names = asked.names or [f"{USUAL}_{i}" for i in range(array.shape[1])]
    return dict(zip(names, array.T, strict=True))


def _is_one_hot(y: np.ndarray) -> bool:
    return bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all())


def fitted(
    parts: Mapping[str, Mapping[str, np.ndarray]],
    names: Mapping[str, list[str]],
    asked: Asked,
    train: Tensor | None = None,
    texts: Collection[str] = (),
) -> Conditions | None:
    """The columns that all parts have: what classes and characters there are anywhere, the moments of numbers in
    training.

    Args:
        parts: columns ``(n,)`` of each split by name.
        names: what integers stand for, by column.
        asked: what was said of them.
        train: which rows of the part ``train`` are for training; all by default.
        texts: the columns that hold what is said.

    Example:
        >>> found = fitted({"train": {"label": np.array([10, 2, 10])}}, {}, Asked())
        >>> found.label.classes, found.tensor({"label": [2, 10]})
        (['2', '10'], tensor([0, 1]))
    """
    shared = [name for name in next(iter(parts.values()), {}) if all(name in part for part in parts.values())]
    for name in dict.fromkeys(name for part in parts.values() for name in part if name not in shared):
        have = " and ".join(which for which, part in parts.items() if name in part)
        logger.warning("%s is known of the %s part alone, and so is not used", name, have)
    columns: list[Condition] = []
    for name in sorted(shared, key=lambda name: name in texts):
        whole = [part[name] for part in parts.values()]
        first = parts["train"][name] if "train" in parts else whole[0]
        first = first if train is None else first[train.numpy()]
        if name in texts:
            columns.append(Text(name, sorted({sign for column in whole for text in column for sign in text})))
        elif _kind(whole, name, names, asked) == "label":
            if name not in names and asked.kind(name) is None:
                _check_unknown(name, whole)
            if found := _label(name, whole, first, names.get(name)):
                columns.append(found)
        else:
            if any(column.dtype.kind == "U" for column in whole):
                raise InputError(f"{name} holds text and was asked for as numbers: take {name}:label, or mend it")
            columns.append(Number.fitted(name, torch.from_numpy(first.astype(np.float64))))
    return Conditions(columns) if columns else None


def encode(
    conditions: Conditions | None, columns: Mapping[str, np.ndarray], names: Mapping[str, list[str]]
) -> Tensor | None:
    """A part's columns as the tensor that models are given, or None where it has none of them."""
    if conditions is None:
        return None
    found: dict[str, Any] = {}
    for column in conditions.columns:
        if column.name not in columns:
            continue
        values = columns[column.name]
        if column.name in names and values.dtype.kind == "i":
            words = names[column.name]
            found[column.name] = [words[i] if i >= 0 else None for i in values.tolist()]
        else:
            found[column.name] = values
    return conditions.tensor(found) if found else None


def _kind(whole: Sequence[np.ndarray], name: str, names: Mapping[str, list[str]], asked: Asked) -> str:
    if (said := asked.kind(name)) == "text":
        raise InputError(f"{name} was asked for as text, which models of sound alone take: take {name}:label")
    if said is not None:
        return said
    kinds = {column.dtype.kind for column in whole}
    if name in names or "U" in kinds:
        return "label"
    every = np.unique(np.concatenate([column[~np.isnan(column)] for column in whole]))
    if bool((every != np.round(every)).any()) or not len(every):
        return "number"
    few = len(every) <= FEW
    return "label" if few or name in LABELS or name.startswith(f"{USUAL}_") else "number"


def _check_unknown(name: str, whole: Sequence[np.ndarray]) -> None:
    """Refuse a -1 before 0, 1, 2 ..., which stands for "unknown" as often as for a class."""
    if any(column.dtype.kind == "U" for column in whole):
        return
    values = np.unique(np.concatenate(whole))
    if values.min() == -1 and (values == 0).any():
        raise InputError(
            f"{name} holds -1 beside 0: is it a class, or not known? Take it as a class, "
            f"data.conditions=[{name}:label], or as not known, data.unknown=-1 (or leave it empty, NaN)"
        )


def _label(name: str, whole: Sequence[np.ndarray], first: np.ndarray, words: list[str] | None) -> Label | None:
    """The classes of a column; None where all of them are withheld (-1)."""
    if words is not None:
        known = [column for column in whole if column.dtype.kind == "U" or not (column == -1).all()]
        if not known:
            return None
        for column in known:
            if column.dtype.kind != "U" and (column.min() < -1 or column.max() >= len(words)):
                raise InputError(
                    f"{name} is in {column.min()}..{column.max()}: expected 0..{len(words) - 1} for {len(words)} names"
                )
        seen = (
            {words[int(i)] for i in np.unique(first).tolist() if i >= 0}
            if first.dtype.kind != "U"
            else set(np.unique(first))
        )
        classes = list(words)
    else:
        kinds = {column.dtype.kind for column in whole}
        if "U" in kinds:
            classes = sorted({str(v) for column in whole for v in np.unique(column)} - {""})
            seen = {str(v) for v in np.unique(first)}
        else:
            values = np.unique(np.concatenate([c[np.isfinite(c)] for c in map(np.asarray, whole)]))
            classes = [str(int(v)) if float(v).is_integer() else str(v) for v in values.tolist()]
            seen = {str(int(v)) if float(v).is_integer() else str(v) for v in np.unique(first).tolist() if v == v}
    without = [word for word in classes if word not in seen]
    if without and words is None:
        shown = ", ".join(without[:5]) + (" ..." if len(without) > 5 else "")
        logger.warning("%s: %d of %d classes have no training example: %s", name, len(without), len(classes), shown)
    gaps = first == "" if first.dtype.kind == "U" else np.isnan(first) | (words is not None) & (first == -1)
    return Label(name, classes, without, 1.0 - float(gaps.mean()) if len(first) else 1.0)
