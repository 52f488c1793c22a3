"""Batches: which examples a step sees, here and in every process."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.noise import Rows
from fusevae.core.processes import world
from fusevae.core.vocabulary import END
from fusevae.data.examples import Examples
from fusevae.training.players import Batch
from fusevae.training.settings import Training

POOL = 50  # batches in which examples of like length are looked for


class Batches:
    """This process's part of the batches of a training; an epoch's order depends on seed and epoch alone.

    Where examples are of different lengths, those of a batch are alike, so that little is filled up: an epoch's order
    is sorted within pools of :data:`POOL` batches, and the batches are then shuffled.

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
        order = torch.randperm(len(self.examples), generator=generator)
        lengths = self.examples.lengths
        if lengths is None:
            return order
        order = order[: self.per_epoch * self.size]  # what fills no batch is left out before it is sorted, by chance
        pools = order.split(POOL * self.size)
        order = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools])
        return order.view(-1, self.size)[torch.randperm(self.per_epoch, generator=generator)].flatten()

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
