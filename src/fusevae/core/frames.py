"""Sequences of numbers of any length, in batches: a sequence ends with its last frame that isn't zero, and whatever
follows is ignored."""

from __future__ import annotations

import torch
from torch import Tensor

#: stands for 0 in the last sample of a clip: what is less than half a step of 24 bits is none of any file's values
MARK = 2.0**-30


def extent(x: Tensor) -> Tensor:
    """How many frames of each sequence ``(..., d, frames)`` there are: up to the last that isn't 0 in all its numbers.

    Example:
        >>> extent(torch.tensor([[[1.0, 0.0, 2.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]]))
        tensor([3, 0])
    """
    there = (x != 0).any(-2)
    place = torch.arange(1, x.shape[-1] + 1, device=x.device)
    return (there * place).amax(-1)


def within(n: Tensor, frames: int) -> Tensor:
    """Which of so many ``frames`` are among the first ``n`` ``(...)``, as 0 and 1: ``(..., 1, frames)``.

    Example:
        >>> within(torch.tensor([2]), 3)
        tensor([[[1., 1., 0.]]])
    """
    return (torch.arange(frames, device=n.device) < n[..., None, None]).float()


def ended(x: Tensor, n: Tensor) -> Tensor:
    """Clips ``(..., samples)`` cut to their first ``n`` samples ``(...)``, so that :func:`extent` finds these.

    Example:
        >>> ended(torch.tensor([[1.0, 0.0, 3.0]]), torch.tensor([2])).tolist() == [[1.0, MARK, 0.0]]
        True
    """
    x = x * within(n, x.shape[-1])[..., 0, :]
    last = (n - 1).clamp(min=0)[..., None]
    end = x.gather(-1, last)
    return x.scatter(-1, last, torch.where(end == 0, MARK, end))
