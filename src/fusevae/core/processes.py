"""What a computation has to know of the processes beside it; nothing where there is only one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def world() -> tuple[int, int]:
    """``(rank, number of processes)``; ``(0, 1)`` outside torchrun."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a detached ``value`` over the processes, each of which holds an equal part of the batch."""
    if world()[1] == 1:
        return value
    return sum_over_processes(value) / world()[1]


def sum_over_processes(value: Tensor) -> Tensor:
    """The sum of a detached ``value`` over the processes."""
    if world()[1] > 1:
        value = value.clone()
        with torch.no_grad():
            dist.all_reduce(value)
    return value
