"""Batches: which examples a step sees, here and in every process."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.noise import Rows
from fusevae.core.processes import world
from fusevae.core.vocabulary import END
from fusevae.data.examples import Examples, InMemory, Streamed, Subset
from fusevae.training.players import Batch
from fusevae.training.settings import Training

POOL = 50  # batches in which examples of like length are looked for


class Batches:
    """This process's part of the batches of a training; an epoch's order depends on seed and epoch alone.

    Where examples are of different lengths, those of a batch are alike, so that little is filled up: an epoch's order
    is sorted within pools of :data:`POOL` batches, and the batches are then shuffled. Where labels are known of fewer
    than ``settings.labelled`` of the examples, those take that part of each batch, in turns of their own.

    Attributes:
        per_epoch: steps in an epoch.
        total: steps in the training.
        size: of the global batch.
        rows: of it that are here.
    """

    def __init__(self, examples: Examples, settings: Training, seed: int) -> None:
        rank, processes = world()
        self.examples, self.seed, self.accumulate = examples, seed, settings.accumulate
        self.size = min(settings.batch_size, len(examples))
        self.size -= self.size % processes
        self.per_epoch = max(1, len(examples) // self.size)
        self.total = max(1, round(settings.epochs * self.per_epoch))
        self.known: Tensor | None = None  # the rows that are drawn more often
        self.often = math.ceil(settings.labelled * self.size)
        if self.often:
            known = known_of(examples)
            if 0 < int(known.sum()) < settings.labelled * len(examples):
                self.known, self.others = known.nonzero()[:, 0], (~known).nonzero()[:, 0]
        here = self.size // processes
        self.rows = Rows(rank * here, (rank + 1) * here, self.size)

    def since(self, step: int) -> Iterator[Batch]:
        """The batches from ``step`` on."""
        ours = (whole[self.rows.start : self.rows.stop] for whole in self._indices(step))
        found = (Batch(*raw) for raw in self.examples.batches(ours))
        lengths = self.examples.lengths
        if lengths is None or self.rows.here == self.size:
            return found
        # as long as the other processes' parts, so that what is drawn for each token is the same
        longest = (int(lengths[whole].max()) for whole in self._indices(step))
        return (
            batch._replace(x=F.pad(batch.x, (0, n - batch.x.shape[1]), value=END))
            for batch, n in zip(found, longest, strict=True)
        )

    def _indices(self, step: int) -> Iterator[Tensor]:
        """The global batches from ``step`` on."""
        epoch = -1
        for at in range(step, self.total):
            if at // self.per_epoch != epoch:
                epoch = at // self.per_epoch
                order = self._order(epoch)
            start = at % self.per_epoch * self.size
            yield order[start : start + self.size]

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(noise.key(self.seed, "order", epoch))
        if self.known is not None:
            order = self._mixed(self.known, generator)
        else:
            order = torch.randperm(len(self.examples), generator=generator)
        lengths = self.examples.lengths
        if lengths is None:
            return order
        order = order[: self.per_epoch * self.size]  # what fills no batch is left out before it is sorted, by chance
        pools = order.split(POOL * self.size)
        order = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools])
        return order.view(-1, self.size)[torch.randperm(self.per_epoch, generator=generator)].flatten()

    def _mixed(self, known: Tensor, generator: torch.Generator) -> Tensor:
        """An epoch's order in which each batch holds as many rows of known labels as it should, anywhere in it."""
        n, rest = self.per_epoch * self.often, self.per_epoch * (self.size - self.often)

        def drawn(rows: Tensor, n: int) -> Tensor:
            turns = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-n // len(rows)))]
            return torch.cat([*turns, rows[:0]])[:n].view(self.per_epoch, -1)

        whole = torch.cat([drawn(known, n), drawn(self.others, rest)], 1)
        places = torch.rand(whole.shape, generator=generator).argsort(1)
        return whole.gather(1, places).flatten()

    def parts(self, batch: Batch) -> list[tuple[Batch, Rows]]:
        """A batch in as many parts as gradients are accumulated over, each with its place in the global batch."""
        if self.accumulate == 1:
            return [(batch, self.rows)]
        found, start = [], self.rows.start
        for index in torch.arange(self.rows.here).tensor_split(self.accumulate):
            if len(index):
                part = Batch(*(t[index] if t is not None else None for t in batch))  # type: ignore[arg-type]
                found.append((part, Rows(start, start + len(index), self.size)))
                start += len(index)
        return found


def known_of(examples: Examples) -> Tensor:
    """Of which examples all conditions are known, ``(N,)`` bool; the examples are read only where nothing else says.

    Example:
        >>> known_of(InMemory(torch.zeros(3, 2), torch.tensor([0.0, float("nan"), 1.0])))
        tensor([ True, False,  True])
    """
    if isinstance(examples, Subset):
        return known_of(examples.whole)[examples.indices]
    y = examples.y if isinstance(examples, InMemory) else examples.labels if isinstance(examples, Streamed) else None
    if y is None and not isinstance(examples, InMemory):
        parts = [part for _, part in examples.batches(torch.arange(len(examples)).split(1000))]
        y = torch.cat(parts) if parts and parts[0] is not None else None  # type: ignore[arg-type]
    if y is None or examples.spec.conditions is None:
        return torch.zeros(len(examples), dtype=torch.bool)
    return ~examples.spec.conditions.numbers(y).isnan().any(-1)
