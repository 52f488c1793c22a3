"""Source: where data come from, and how they are split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data.arrays import encode_labels, extremes, fixed_range, observed_range
from fusevae.data.examples import Examples, InMemory, Streamed, split_item
from fusevae.data.given import parts_from
from fusevae.data.images import WORKERS, Decoded
from fusevae.data.parts import Options, Part
from fusevae.data.readers import read_digits, read_path


@dataclass
class Splits:
    """Training, validation and test examples (the latter two may be empty), what they are, and where they came from."""

    train: Examples
    validation: Examples
    test: Examples
    spec: DataSpec
    source: str


class Source(Described):
    """Data by their path, and the split.

    Args:
        path: a folder of images, ``.npz``, ``.npy``, ``.parquet`` (or a folder of these), ``.csv``, ``.tsv``; None is
            scikit-learn's digits.
        validation: fraction of the training data that is held out, unless the data come with a validation part.
        test: fraction that is held out, unless the data come with a test part.
        seed: of the permutation that splits.
        labels: a file of labels (``.npz``, ``.npy``, ``.csv``), or the name of an array in the ``.npz`` or of a column.
        memory_gb: decoded images up to this size are kept in memory, others decoded when they are wanted.
        skip_damaged: leave out images that can't be decoded (they are counted in a warning), instead of refusing.
        size: (height, width) that images are scaled and cut to while reading.

    Example:
        >>> splits = Source(validation=0.2).read()
        >>> len(splits.train), len(splits.validation), len(splits.test), splits.spec.shape, splits.spec.high
        (1258, 359, 180, (1, 8, 8), 16.0)
    """

    def __init__(
        self,
        path: str | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        labels: str | None = None,
        memory_gb: float = 4.0,
        skip_damaged: bool = False,
        size: tuple[int, int] | None = None,
    ) -> None:
        for name, value in (("validation", validation), ("test", test)):
            if not 0 <= value < 1:
                raise InputError(f"{name}={value} was given: expected a fraction from 0 to below 1, such as 0.1")
        if validation + test >= 1:
            raise InputError(
                f"validation={validation} and test={test} leave nothing to train on: expected a sum below 1"
            )
        if memory_gb < 0:
            raise InputError(f"memory_gb={memory_gb} was given: expected 0 or more")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise InputError(f"size={size} was given: expected (height, width), such as (32, 32)")
        self.path, self.validation, self.test, self.seed = path, validation, test, seed
        self.options = Options(labels, memory_gb, skip_damaged, None if size is None else (size[0], size[1]))

    def read(self) -> Splits:
        """Read and split; every :class:`InputError` about the data is raised here."""
        if self.path is None:
            return self.split(read_digits(self.options), "scikit-learn digits")
        return self.split(read_path(self.path, self.options), self.path)

    def split(self, parts: dict[str, Part], source: str) -> Splits:
        """The parts that a reader found, cut into training, validation and test."""
        whole, spec = examples_of(parts)
        n = len(whole["train"])
        n_test = 0 if "test" in whole else _count(self.test, n)
        n_validation = 0 if "validation" in whole else _count(self.validation, n)
        if n - n_test - n_validation < 1:
            raise InputError(
                f"{source} has {n} training examples, of which {n_validation} are for validation and {n_test} "
                "for test: "
                "expected some to be left; set validation or test to 0, or give more data"
            )
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        # sorted, so that streaming reads the file in its order
        cuts = [rows.sort().values for rows in order.split([n_test, n_validation, n - n_test - n_validation])]
        found = {
            name: whole["train"].subset(rows) for name, rows in zip(("test", "validation", "train"), cuts, strict=True)
        }
        found |= {name: part for name, part in whole.items() if name != "train"}
        spec = DataSpec(spec.shape, spec.dtype, *_range(parts, cuts[2], spec.dtype), spec.classes)
        for examples in found.values():
            examples.spec = spec
        return Splits(found["train"], found["validation"], found["test"], spec, source)


def read_data(
    data: Any,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    labels: str | None = None,
    memory_gb: float = 4.0,
    skip_damaged: bool = False,
    size: tuple[int, int] | None = None,
) -> Splits:
    """Anything that holds data, split.

    Args:
        data: None for scikit-learn's digits, a path, a numpy array or tensor ``(N, *shape)``, a pair ``(x, y)``, a
            mapping of splits (``{"train": x, "test": (x, y)}``, or ``x_train``, ``y_train``, ...), a map-style torch
            dataset or a mapping of them, a :class:`Source`, or :class:`Splits` (returned as they are, like a Source
            without regard to the other settings).
        validation: as the others, see :class:`Source`.

    Example:
        >>> splits = read_data((torch.rand(10, 2), ["a", "b"] * 5), test=0)
        >>> len(splits.train), len(splits.test), splits.spec.classes
        (9, 0, ['a', 'b'])
    """
    if isinstance(data, Splits):
        return data
    if data is None:
        data = Source(None, validation, test, seed)
    if isinstance(data, Source):
        return data.read()
    path = str(data) if _is_path(data) else None
    source = Source(path, validation, test, seed, labels, memory_gb, skip_damaged, size)
    if path is not None:
        return source.read()
    return source.split(parts_from(data, source.options), f"{type(data).__name__} in memory")


def read_examples(
    data: Any,
    labels: str | None = None,
    memory_gb: float = 4.0,
    skip_damaged: bool = False,
    size: tuple[int, int] | None = None,
    classes: list[str] | None = None,
) -> Examples:
    """Data in one piece, to evaluate or encode: the test part where they come with one, otherwise everything.

    Args:
        data: as for :func:`read_data`; None is the digits.
        classes: the names that a model knows, so that labels mean the same as in training; unknown ones are refused.

    Example:
        >>> len(read_examples(None))
        1797
    """
    if isinstance(data, Examples):
        return data
    if isinstance(data, Splits):
        return data.test
    if isinstance(data, Source):
        source, path = data, data.path
    else:
        path = str(data) if _is_path(data) else None
        source = Source(path, labels=labels, memory_gb=memory_gb, skip_damaged=skip_damaged, size=size)
    if path is not None:
        parts = read_path(path, source.options)
    elif data is None or data is source:
        parts = read_digits(source.options)
    else:
        parts = parts_from(data, source.options)
    name = "test" if "test" in parts else "train"
    whole, spec = examples_of({name: parts[name]}, classes)
    spec = DataSpec(spec.shape, spec.dtype, *_range({name: parts[name]}, None, spec.dtype), spec.classes)
    whole[name].spec = spec
    return whole[name]


def examples_of(parts: dict[str, Part], classes: list[str] | None = None) -> tuple[dict[str, Examples], DataSpec]:
    """Examples with common classes for each part; the range in their spec is not yet known."""
    names = next((part.names for part in parts.values() if part.names), None)
    labels, known = encode_labels([part.y for part in parts.values()], names, classes)
    kinds = {name: _kind(part.x) for name, part in parts.items()}
    first = next(iter(kinds))
    for name, (shape, dtype) in kinds.items():
        if (shape, dtype) != kinds[first]:
            raise InputError(
                f"the {first} part holds {kinds[first][1]} of shape {kinds[first][0]}, the {name} part {dtype} "
                f"of shape {shape}: "
                "expected the same; convert one of them"
            )
    shape, dtype = kinds[first]
    spec = DataSpec(shape, dtype, classes=known)
    whole: dict[str, Examples] = {}
    for (name, part), y in zip(parts.items(), labels, strict=True):
        threads = WORKERS if isinstance(part.x, Decoded) else 0
        whole[name] = InMemory(part.x, y, spec) if isinstance(part.x, Tensor) else Streamed(part.x, spec, threads, y)
    return whole, spec


def _range(parts: dict[str, Part], train: Tensor | None, dtype: str) -> tuple[float, float]:
    """What the data can take: by format or dtype, for integers as seen anywhere, for floats as seen in training."""
    given = [part.range or (fixed_range(part.x) if isinstance(part.x, Tensor) else None) for part in parts.values()]
    if all(g is not None for g in given):
        return min(g[0] for g in given if g), max(g[1] for g in given if g)
    ends = {name: extremes(part.x) if part.ends is None else part.ends for name, part in parts.items()}
    floating = dtype.startswith("float")
    if floating and train is not None:
        return observed_range(ends["train"][train], floating)
    return observed_range(torch.cat(list(ends.values())), floating)


def _kind(x: Any) -> tuple[tuple[int, ...], str]:
    example = split_item(x[0], "item 0")[0] if not isinstance(x, Tensor) else x[0]
    return tuple(example.shape), str(example.dtype).removeprefix("torch.")


def _count(fraction: float, n: int) -> int:
    return max(1, round(fraction * n)) if fraction else 0


def _is_path(data: Any) -> bool:
    return isinstance(data, (str, os.PathLike))
