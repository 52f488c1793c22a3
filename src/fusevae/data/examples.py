"""Examples: data by index, in memory or streamed."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.conditions import Conditions
from fusevae.core.description import describe
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data.arrays import as_tensor, byte_range, extremes, fixed_range, observed_range, spec_of
from fusevae.data.conditions import USUAL, Asked, as_column, encode, fitted
from fusevae.data.parts import Part

Batch = tuple[Tensor, Tensor | None]
CHANNELS = (1, 3, 4)  # of a picture
LOOKED_AT = 10_000  # examples by which data are told from other data


class Examples(ABC):
    """A finite set of examples, read by index.

    Attributes:
        spec: what one example is.
        lengths: tokens of each example ``(N,)`` where these differ, else None; batches of like ones waste little.
        ids: a word for each example where it has one (the name of its file), else None.
        own: words of each example that no model makes, by column: the identifiers of a table.
    """

    spec: DataSpec
    lengths: Tensor | None = None
    ids: Sequence[str] | None = None
    own: Mapping[str, Sequence[str]] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """Raw examples ``(n, *shape)`` in their own dtype and what is known beside them or None (labels ``(n,)`` int64,
        or :class:`fusevae.core.conditions.Conditions` ``(n, columns)``), at indices ``(n,)``."""

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        """A batch for each batch of indices, in that order; may read ahead."""
        for indices in index_batches:
            yield self.batch(indices)

    def subset(self, indices: Tensor) -> Examples:
        """The examples at ``indices``, sharing the storage of these."""
        return Subset(self, indices)

    def rows(self) -> Tensor:
        """Where each example stands in what was read, counted from 0: ``(N,)``."""
        return torch.arange(len(self))

    def spread(self, n: int) -> Examples:
        """At most ``n`` examples, evenly over all: a file that is sorted by class shows each class."""
        return self if len(self) <= n else self.subset(self.evenly(n))

    def evenly(self, n: int) -> Tensor:
        """The indices of at most ``n`` examples, evenly over all."""
        n = min(n, len(self))
        return torch.arange(n) * len(self) // max(1, n)

    def beside(self) -> dict[str, Any]:
        """What tells the examples apart where it is written, as columns: ``row``, the ``file``, the conditions."""
        found: dict[str, Any] = {"row": self.rows().numpy()}
        if self.ids is not None:
            found["file"] = np.array(self.ids)
        if self.spec.conditions is not None and len(self):
            parts = [y for _, y in self.batches(torch.arange(len(self)).split(1000))]
            if parts[0] is not None:
                found |= self.spec.conditions.values(torch.cat(parts))  # type: ignore[arg-type]
        return found


class Subset(Examples):
    """Some examples of others, in the order of ``indices``; nothing is copied."""

    def __init__(self, whole: Examples, indices: Tensor) -> None:
        self.whole, self.indices, self.spec = whole, indices.long(), whole.spec
        self.lengths = None if whole.lengths is None else whole.lengths[self.indices]
        self.ids = None if whole.ids is None else [whole.ids[i] for i in self.indices.tolist()]
        self.own = {name: [words[i] for i in self.indices.tolist()] for name, words in whole.own.items()}

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Tensor) -> Batch:
        return self.whole.batch(self.indices[indices])

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        return self.whole.batches(self.indices[indices] for indices in index_batches)

    def rows(self) -> Tensor:
        return self.whole.rows()[self.indices]


class InMemory(Examples):
    """Examples in one tensor, kept as it came.

    Args:
        x: ``(N, *shape)`` of any dtype.
        y: labels ``(N,)`` int64 or None.
        spec: of the data; by default from ``x``.

    Example:
        >>> examples = InMemory(torch.arange(6).view(3, 2))
        >>> examples.batch(torch.tensor([2, 0]))
        (tensor([[4, 5],
                [0, 1]]), None)
    """

    def __init__(self, x: Tensor, y: Tensor | None = None, spec: DataSpec | None = None) -> None:
        if y is not None and len(y) != len(x):
            raise InputError(f"{len(x)} examples came with {len(y)} labels: expected one for each")
        if spec is None:
            columns = {} if y is None else {USUAL: as_column(y, len(x), "the labels")}
            conditions = fitted({"train": columns}, {}, Asked())
            spec, y = spec_of(x, conditions), encode(conditions, columns, {})
        self.x, self.y, self.spec = x, y, spec

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor) -> Batch:
        return self.x.index_select(0, indices), None if self.y is None else self.y.index_select(0, indices)


class Streamed(Examples):
    """Examples read when they are wanted from a map-style dataset; only the batches under way are in memory.

    Args:
        dataset: has a length and items ``x`` or ``(x, label)``: tensors, numpy arrays or PIL images of one shape.
        spec: of the data. Without it, one pass over the dataset finds range and classes and checks every item.
        workers: threads that read ahead, each a batch. With 0 (default) the items are read by the thread that
            asks; keep that for a dataset that isn't thread-safe or draws from torch's global generator.
        labels: int64 ``(N,)``, where the items hold none or are not to be asked.

    Example:
        >>> rows = Streamed([(np.array([0, 1]), "b"), (np.array([2, 3]), "a")])
        >>> rows.batch(torch.tensor([1])), rows.spec.classes
        ((tensor([[2, 3]]), tensor([0])), ['a', 'b'])
    """

    def __init__(
        self, dataset: Any, spec: DataSpec | None = None, workers: int = 0, labels: Tensor | None = None
    ) -> None:
        check_dataset(dataset)
        if spec is None:
            scan = Scan(dataset)
            columns = {} if scan.labels is None else {USUAL: scan.labels}
            conditions = fitted({"train": columns}, scan.names, Asked())
            if labels is None:
                labels = encode(conditions, columns, scan.names)
            spec = scan.spec(conditions)
        if labels is not None and len(labels) != len(dataset):
            raise InputError(f"{len(dataset)} examples came with {len(labels)} labels: expected one for each")
        self.dataset, self.spec, self.workers, self.labels = dataset, spec, workers, labels

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Tensor) -> Batch:
        items = [split_item(self.dataset[i], f"item {i}") for i in indices.tolist()]
        if not items:
            return torch.empty((0, *self.spec.shape), dtype=getattr(torch, self.spec.dtype)), self._labels(indices, [])
        for i, (x, _) in zip(indices.tolist(), items, strict=True):
            if x.shape != self.spec.shape:
                raise InputError(
                    f"item {i} has shape {tuple(x.shape)}, expected {self.spec.shape}: make all items alike"
                )
        return torch.stack([x for x, _ in items]), self._labels(indices, [label for _, label in items])

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        if not self.workers:
            yield from super().batches(index_batches)
            return
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.workers)
        try:
            for indices in index_batches:
                waiting.append(pool.submit(self.batch, indices))
                if len(waiting) > self.workers:  # one batch more than is being read, however far the indices go
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _labels(self, indices: Tensor, found: list[Any]) -> Tensor | None:
        if self.labels is not None:
            return self.labels[indices]
        if self.spec.conditions is None or any(label is None for label in found):
            return None
        return self.spec.conditions.given(found, len(found))


class Scan:
    """One pass over a map-style dataset: labels, the extremes of each item, and every check.

    Attributes:
        labels: of all items as int64, text or numbers, or None.
        names: what integer labels stand for where the dataset says so (``dataset.classes``).
        ends: smallest and largest value of each item ``(N, 2)``.
    """

    def __init__(self, dataset: Any, name: str = "the dataset") -> None:
        check_dataset(dataset)
        labels, ends = [], []
        for i in range(len(dataset)):
            x, label = split_item(dataset[i], f"item {i} of {name}")
            if not i:
                self.shape, self.dtype = tuple(x.shape), x.dtype
            if tuple(x.shape) != self.shape or x.dtype != self.dtype:
                raise InputError(
                    f"item {i} of {name} is {x.dtype} of shape {tuple(x.shape)}, item 0 is {self.dtype} of "
                    f"shape {self.shape}: "
                    "expected items of one shape and dtype; resize or convert them in the dataset"
                )
            if x.is_floating_point() and not x.isfinite().all():
                raise InputError(f"item {i} of {name} has NaN or infinite values: mend or drop it")
            labels.append(label)
            ends.append(extremes(x[None])[0] if fixed_range(x[:0]) is None else torch.tensor([0.0, float(x.max())]))
        self.ends = torch.stack(ends)
        without = [i for i, label in enumerate(labels) if label is None]
        if 0 < len(without) < len(labels):
            raise InputError(
                f"item {without[0]} of {name} has no label, others have: expected (x, label) for all or none"
            )
        self.labels = None if without else as_column(labels, len(labels), f"{name}'s labels")
        names = getattr(dataset, "classes", None)
        ok = isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(v, str) for v in names)
        self.names = {USUAL: list(names)} if ok and self.labels is not None and names else {}

    def spec(self, conditions: Conditions | None) -> DataSpec:
        """The :class:`DataSpec` of all items."""
        return DataSpec(self.shape, str(self.dtype).removeprefix("torch."), *self.range(self.ends), conditions)

    def range(self, ends: Tensor) -> tuple[float, float]:
        """The range of items that have these extremes."""
        if self.dtype == torch.bool:
            return 0.0, 1.0
        if self.dtype == torch.uint8:
            return byte_range(float(self.ends[:, 1].max()))
        return observed_range(ends, self.dtype.is_floating_point)


def check_dataset(dataset: Any) -> None:
    """Raise :class:`InputError` unless ``dataset`` has a length, is not empty and has items by index."""
    from torch.utils.data import IterableDataset

    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise InputError(
            f"{kind} can only be iterated: expected a map-style dataset with __len__ and __getitem__, because batches "
            "are drawn by index; write it to an array, a folder or parquet first"
        )
    if not len(dataset):
        raise InputError(f"{kind} is empty: expected at least one example")
    try:
        dataset[0]
    except LookupError as error:
        raise InputError(f"a {kind} has no item 0 ({error}): expected examples by number, or an array") from None


def split_item(item: Any, name: str) -> tuple[Tensor, Any]:
    """A dataset's item as ``(x, label)``; the label is None where there is none."""
    pair = isinstance(item, (tuple, list))
    if pair and len(item) not in (1, 2):
        raise InputError(f"{name} is a {type(item).__name__} of {len(item)}: expected x or (x, label)")
    x, label = (item[0], item[1] if len(item) == 2 else None) if pair else (item, None)
    if hasattr(x, "convert") and hasattr(x, "getbands"):  # a PIL image
        x = _values(x, name)
        x = x[None] if x.ndim == 2 else x.transpose(2, 0, 1)
    if not isinstance(x, (Tensor, np.ndarray)):
        raise InputError(
            f"{name} is a {type(x).__name__}: expected a tensor, numpy array or PIL image, or (x, label) of these"
        )
    if isinstance(x, np.ndarray) and x.ndim == 3 and x.shape[2] in CHANNELS and x.shape[0] not in CHANNELS:
        x = x.transpose(2, 0, 1)  # as images have it that are no tensors
    tensor = as_tensor(x, name)
    tensor = tensor[None] if tensor.dim() == 2 else tensor
    if tensor.dim() not in (1, 3):
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}: expected (features,), (height, width) or (channels, "
            "height, width)"
        )
    if isinstance(label, Tensor | np.ndarray) and math.prod(label.shape) != 1:
        raise InputError(f"{name} has a label of shape {tuple(label.shape)}: expected one value; take the argmax, say")
    label = label.item() if isinstance(label, (Tensor, np.ndarray, np.generic)) else label
    return tensor, label


def _values(image: Any, name: str) -> np.ndarray:
    """The values of an image of Pillow: deep ones as they are, others in 8 bits, grey or RGB."""
    if image.mode[0] in "IF":
        return np.asarray(image)
    may = "A" in image.getbands() or "transparency" in image.info
    if may and image.convert("RGBA").getextrema()[3][0] < 255:
        raise InputError(
            f"{name} is transparent: lay it on a background in the dataset, or give the files by their path"
        )
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def kind_of(x: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of one example of a tensor or a dataset."""
    example = split_item(x[0], "item 0")[0] if not isinstance(x, Tensor) else x[0]
    return tuple(example.shape), str(example.dtype).removeprefix("torch.")


def dataset_parts(data: Any, name: str) -> dict[str, Part]:
    """The splits of a map-style dataset, or of a mapping of them, each looked through once."""
    if isinstance(data, Mapping):
        if "train" not in data or not set(data) <= {"train", "validation", "test"}:
            raise InputError(
                f"a mapping of datasets has keys {', '.join(map(str, data))}: expected train, and validation or test"
            )
        return {split: _scanned(dataset, f"the {split} dataset") for split, dataset in data.items()}
    return {"train": _scanned(data, name)}


def _scanned(dataset: Any, name: str) -> Part:
    scan = Scan(dataset, name)
    known = scan.range(scan.ends) if scan.dtype in (torch.uint8, torch.bool) else None
    columns = {} if scan.labels is None else {USUAL: scan.labels}
    return Part(dataset, columns, scan.names, range=known, ends=scan.ends, total=len(dataset))


def data_fingerprint(examples: Examples) -> str:
    """A hash of what examples are, how many, and the contents of at most 10,000 of them, evenly spread."""
    about = {key: value for key, value in describe(examples.spec).items() if value is not None}
    digest = hashlib.blake2b(f"{len(examples)} {json.dumps(about)}".encode(), digest_size=12)
    for batch in examples.batches(iter(examples.evenly(LOOKED_AT).split(500))):
        for part in (part for part in batch if part is not None):
            digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()
