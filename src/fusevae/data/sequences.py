"""Sequences as examples, of tokens or of sound: each of its own length, or windows of one long text."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.vocabulary import END
from fusevae.data.examples import Batch, Examples


class Sequences(Examples):
    """Sequences one after the other in one tensor: tokens, each with its end, or the samples of clips.

    A batch is as long as the longest of its sequences; shorter ones are filled with ends, which are zeros.

    Args:
        tokens: all of them, with their ends, ``(total,)`` int32; samples are float32.
        lengths: of each sequence with its end, ``(N,)``.
        y: labels ``(N,)`` int64 or None.
        spec: of the data.

    Example:
        >>> found = Sequences(torch.tensor([5, 0, 3, 4, 0]), torch.tensor([2, 3]), None, DataSpec((3,), "int64", 0, 5))
        >>> found.batch(torch.tensor([0, 1]))[0]
        tensor([[5, 0, 0],
                [3, 4, 0]])
    """

    lengths: Tensor

    def __init__(self, tokens: Tensor, lengths: Tensor, y: Tensor | None, spec: DataSpec) -> None:
        self.tokens, self.lengths, self.y, self.spec = tokens, lengths.long(), y, spec
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.kept: list[int] | None = None  # where each stood in what was read

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self) -> Tensor:
        return super().rows() if self.kept is None else torch.tensor(self.kept)

    def batch(self, indices: Tensor) -> Batch:
        n = self.lengths[indices]
        steps = torch.arange(int(n.max()) if len(n) else 1)
        at = (self.starts[indices, None] + steps).clamp_(max=max(0, len(self.tokens) - 1))
        x = self.tokens[at].to(getattr(torch, self.spec.dtype)).masked_fill_(steps >= n[:, None], END)
        return x, None if self.y is None else self.y[indices]


class Windows(Examples):
    """Windows of one long text, without an end; what is left at the end of the text and fills no window is left out.

    Args:
        tokens: of the text, ``(total,)`` int32.
        length: of a window.
        stride: from the start of a window to that of the next.
        spec: of the data.

    Example:
        >>> found = Windows(torch.arange(2, 9), length=4, stride=3, spec=DataSpec((4,), "int64", 0, 8))
        >>> found.batch(torch.tensor([1, 0]))[0]
        tensor([[5, 6, 7, 8],
                [2, 3, 4, 5]])
    """

    def __init__(self, tokens: Tensor, length: int, stride: int, spec: DataSpec) -> None:
        if length < 1 or stride < 1:
            raise InputError(f"windows of {length} tokens, {stride} apart, were asked for: expected 1 or more")
        self.tokens, self.length, self.stride, self.spec = tokens, length, stride, spec

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - self.length) // self.stride + 1)

    def batch(self, indices: Tensor) -> Batch:
        return self.tokens[indices[:, None] * self.stride + torch.arange(self.length)].long(), None
