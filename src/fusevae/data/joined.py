"""Several sets of examples as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusevae.data.examples import Batch, Examples


class Joined(Examples):
    """Several sets of examples one after the other, each with a name."""

    def __init__(self, parts: Sequence[tuple[str, Examples]]) -> None:
        self.names, self.parts = [name for name, _ in parts], [part for _, part in parts]
        self.spec = self.parts[0].spec
        self.ends = torch.tensor([len(part) for part in self.parts]).cumsum(0)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def part_of(self, indices: Tensor) -> Tensor:
        """The number of the set that each is of."""
        return torch.bucketize(indices, self.ends, right=True)

    def within(self, index: int) -> tuple[str, int, str]:
        """The set that an example is of, its row there, and its file, if it has one."""
        which = int(self.part_of(torch.tensor([index])))
        part, at = self.parts[which], index - (int(self.ends[which - 1]) if which else 0)
        return self.names[which], int(part.rows()[at]), "" if part.ids is None else part.ids[at]

    def batch(self, indices: Tensor) -> Batch:
        which = self.part_of(indices)
        starts = torch.cat([torch.zeros(1, dtype=torch.long), self.ends[:-1]])
        found: dict[int, Batch] = {
            k: self.parts[k].batch(indices[which == k] - starts[k]) for k in which.unique().tolist()
        }
        (first, label), order = next(iter(found.values())), torch.arange(len(indices))
        if len(found) == 1:
            return first, label
        width = max(x.shape[1] for x, _ in found.values())
        x = first.new_zeros((len(indices), width, *first.shape[2:]))
        for k, (some, _) in found.items():
            x[order[which == k], : some.shape[1]] = some
        labels = [label for _, label in found.values()]
        if any(each is None for each in labels):
            return x, None
        y = torch.cat(labels)  # type: ignore[arg-type]
        places = torch.cat([order[which == k] for k in found])
        return x, torch.empty_like(y).index_copy(0, places, y)
