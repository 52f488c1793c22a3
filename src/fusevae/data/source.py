"""Source: where data come from, and how they are split."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.properties import Properties
from fusevae.core.spec import DataSpec
from fusevae.core.vocabulary import Vocabulary
from fusevae.data.arrays import encode_conditions, extremes, fixed_range, observed_range
from fusevae.data.examples import Examples, InMemory, Streamed, split_item
from fusevae.data.given import parts_from
from fusevae.data.images import WORKERS, Decoded
from fusevae.data.parts import Options, Part
from fusevae.data.pretrained_tokens import is_folder
from fusevae.data.readers import read_digits, read_path, with_label_file
from fusevae.data.text import is_text
from fusevae.data.tokenised import cut_stream, part_at, tokenised
from fusevae.data.tokens import vocabulary as vocabulary_class


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
        path: a folder of images, ``.npz``, ``.npy``, ``.csv``, ``.tsv``, ``.parquet``; text a line in ``.txt``,
            ``.smi`` (the first field) or ``.jsonl``; a folder of these, where words like train and test in the names
            tell the splits, or of Hugging Face ``save_to_disk``; None is scikit-learn's digits.
        validation: fraction of the training data that is held out, unless the data come with a validation part.
        test: fraction that is held out, unless the data come with a test part.
        seed: of the permutation that splits.
        labels: a file of labels (``.npz``, ``.npy``, ``.csv``), or the name of an array in the ``.npz`` or of a column.
        memory_gb: decoded images up to this size are kept in memory, others decoded when they are wanted.
        skip_damaged: leave out images that can't be decoded (they are counted in a warning), instead of refusing.
        size: (height, width) that images are scaled and cut to while reading.
        validation_path: other data for validation, in whatever format.
        test_path: the same for the test.
        column: which column of a table holds the text.
        tokens: what text is cut into: ``"characters"``, ``"bytes"``, ``"words"``, ``"bpe"``, ``"smiles"`` (atoms),
            ``"selfies"``, ``"smiles-pairs"`` or ``"selfies-pairs"`` (pieces of several), or a folder with a pretrained
            model's ``tokenizer.json``. None is ``"smiles"`` for ``.smi``, else ``"bpe"``. The vocabulary is fitted on
            the training part.
        vocabulary_size: its size at most; by default 2,000 for ``"bpe"``, 300 for pairs and 8,000 for ``"words"``, else
            no limit.
        longest: tokens of a text at most, its end included; a longer one is refused, never cut.
        properties: numbers that stand in the place of labels, for models that are given them: names of columns, or of
            those of ``y`` in ``(x, y)``; of molecules also ``qed``, ``logp``, ``sa`` and ``weight``, which are then
            computed. A number that isn't known is an empty cell, or NaN.
        stream: the text is one long one, cut into windows of so many tokens; validation and test are then pieces from
            its end. Windows for training overlap, so that an epoch sees a token 16 times.

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
        validation_path: str | None = None,
        test_path: str | None = None,
        column: str | None = None,
        tokens: str | None = None,
        vocabulary_size: int | None = None,
        longest: int = 512,
        stream: int | None = None,
        properties: list[str] | None = None,
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
        if tokens is not None and not is_folder(tokens):
            vocabulary_class(tokens)
        for name, least, given in (
            ("vocabulary_size", 3, vocabulary_size),
            ("longest", 2, longest),
            ("stream", 1, stream),
        ):
            if given is not None and given < least:
                raise InputError(f"{name}={given} was given: expected at least {least}")
        if properties is not None and (not properties or len(set(properties)) < len(properties)):
            raise InputError(f"properties={properties} was given: expected names, each once, such as ['qed']")
        if properties and Options(labels).label_name:
            raise InputError(f"labels={labels!r} and properties={properties} were given: expected one of them")
        self.path, self.validation, self.test, self.seed = path, validation, test, seed
        self.other = {"validation": validation_path, "test": test_path}
        size = None if size is None else (size[0], size[1])
        text = (column, tokens, vocabulary_size, longest, stream)
        asked = None if properties is None else tuple(properties)
        self.options = Options(labels, memory_gb, skip_damaged, size, *text, asked)

    def read(self) -> Splits:
        """Read and split; every :class:`InputError` about the data is raised here."""
        return self.split(self.parts(), "scikit-learn digits" if self.path is None else self.path)

    def parts(self, data: Any = None) -> dict[str, Part]:
        """What there is before the split: of the path, of data in memory, or the digits."""
        if self.path is not None:
            parts = read_path(self.path, self.options)
        else:
            parts = read_digits(self.options) if data is None else parts_from(data, self.options)
        for name, path in self.other.items():
            if path is not None:
                other = read_path(path, self.options)
                parts[name] = other.get(name, other["train"])
        return with_label_file(parts, self.options)

    def split(self, parts: dict[str, Part], source: str) -> Splits:
        """The parts that a reader found, cut into training, validation and test."""
        text = all(is_text(part) for part in parts.values())
        if self.options.stream is not None:
            if not text:
                raise InputError(f"stream={self.options.stream} was given and {source} is no text: leave it out")
            parts = cut_stream(parts, self.validation, self.test)
        n = len(parts["train"])
        n_test = 0 if "test" in parts else _count(self.test, n)
        n_validation = 0 if "validation" in parts else _count(self.validation, n)
        if n - n_test - n_validation < 1:
            raise InputError(
                f"{source} has {n} training examples, of which {n_validation} are for validation and {n_test} "
                "for test: "
                "expected some to be left; set validation or test to 0, or give more data"
            )
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        # sorted, so that streaming reads the file in its order
        cuts = [rows.sort().values for rows in order.split([n_test, n_validation, n - n_test - n_validation])]
        if text:
            names = ("train", "validation", "test")
            pieces = {name: part_at(parts["train"], rows) for name, rows in zip(names, reversed(cuts), strict=True)}
            found, spec = tokenised(pieces | {k: v for k, v in parts.items() if k != "train"}, self.options)
            self._check(spec, source)
            return Splits(found["train"], found["validation"], found["test"], spec, source)
        whole, spec = examples_of(parts, None, self.options.properties)
        self._check(spec, source)
        found = {
            name: whole["train"].subset(rows) for name, rows in zip(("test", "validation", "train"), cuts, strict=True)
        }
        found |= {name: part for name, part in whole.items() if name != "train"}
        low, high = _range(parts, cuts[2], spec.dtype)
        spec = spec.replaced(low=low, high=high)
        if spec.properties is not None and (y := parts["train"].y) is not None:
            known = Properties.fitted(spec.properties.names, torch.from_numpy(y)[cuts[2]])
            spec = spec.replaced(properties=known)
        for examples in found.values():
            examples.spec = spec
        return Splits(found["train"], found["validation"], found["test"], spec, source)

    def _check(self, spec: DataSpec, source: str) -> None:
        if self.options.properties and spec.properties is None:
            asked = ", ".join(self.options.properties)
            raise InputError(f"properties {asked} were asked for and {source} holds none: give columns of them, or y")


def read_data(data: Any, **settings: Any) -> Splits:
    """Anything that holds data, split.

    Args:
        data: None for scikit-learn's digits, a path, a numpy array or tensor ``(N, *shape)``, a list of texts, a pair
            ``(x, y)``, a mapping of splits (``{"train": x, "test": (x, y)}``, or ``x_train``, ``y_train``, ...), a
            map-style torch dataset or a mapping of them, a Hugging Face dataset of text, a :class:`Source`, or
            :class:`Splits` (returned as they are, like a Source without regard to the other settings).
        settings: those of :class:`Source` but the path, by name.

    Example:
        >>> splits = read_data((torch.rand(10, 2), ["a", "b"] * 5), test=0)
        >>> len(splits.train), len(splits.test), splits.spec.classes
        (9, 0, ['a', 'b'])
        >>> splits = read_data(["a cat", "a dog", "a bird"], tokens="characters", test=0)
        >>> splits.spec.text(splits.train.batch(torch.tensor([0, 1]))[0])
        ['a cat', 'a dog']
    """
    if isinstance(data, Splits):
        return data
    if isinstance(data, Source):
        return data.read()
    source = Source(str(data) if _is_path(data) else None, **settings)
    if source.path is not None or data is None:
        return source.read()
    return source.split(source.parts(data), f"{type(data).__name__} in memory")


def read_examples(
    data: Any, classes: list[str] | None = None, vocabulary: Vocabulary | None = None, **settings: Any
) -> Examples:
    """Data in one piece, to evaluate or encode: the test part where they come with one, otherwise everything.

    Args:
        data: as for :func:`read_data`; None is the digits. With a vocabulary, an array of whole numbers is tokens.
        classes: the names that a model knows, so that labels mean the same as in training; unknown ones are refused.
        vocabulary: that of a model, so that text is read into its tokens; without, it is fitted on the data.
        settings: those of :class:`Source` but the path, by name.

    Example:
        >>> len(read_examples(None))
        1797
    """
    if isinstance(data, Examples):
        return data
    if isinstance(data, Splits):
        return data.test
    source = data if isinstance(data, Source) else Source(str(data) if _is_path(data) else None, **settings)
    parts = source.parts(None if source is data or _is_path(data) else data)
    name = "test" if "test" in parts else "train"
    if is_text(parts[name]):
        return tokenised({name: parts[name]}, replace(source.options, vocabulary=vocabulary), classes)[0][name]
    whole, spec = examples_of({name: parts[name]}, classes, source.options.properties)
    low, high = _range({name: parts[name]}, None, spec.dtype)
    tokens = vocabulary if len(spec.shape) == 1 and spec.is_discrete and low >= 0 else None
    if tokens is not None and high >= tokens.size:
        raise InputError(f"tokens up to {high:g} were given, the model's vocabulary has {tokens.size}: give its own")
    whole[name].spec = spec.replaced(low=low, high=high, vocabulary=tokens)
    return whole[name]


def examples_of(
    parts: dict[str, Part], classes: list[str] | None = None, properties: tuple[str, ...] | None = None
) -> tuple[dict[str, Examples], DataSpec]:
    """Examples with common classes for each part; the range in their spec is not yet known."""
    names = next((part.names for part in parts.values() if part.names), None)
    labels, known, numbers = encode_conditions([part.y for part in parts.values()], names, classes, properties)
    if mixed := [name for name, part in parts.items() if is_text(part)]:
        raise InputError(f"the {mixed[0]} part is text, others are not: expected the same; convert one of them")
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
    spec = DataSpec(shape, dtype, classes=known, properties=numbers)
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
