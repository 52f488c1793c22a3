"""What a computation has to know of the processes beside it; nothing where there is only one."""

from __future__ import annotations

import time

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


def leave() -> None:
    """Leave the processes beside this one, where there are any: nothing can be gathered from them any more.

    Gloo's threads let go of the tensors of a collective a moment after it is done, and ask Python for that; one that
    asks while the interpreter ends aborts the process, and torchrun then stops all the others. They get that moment.
    """
    if world()[1] > 1:
        dist.destroy_process_group()
        time.sleep(0.2)
