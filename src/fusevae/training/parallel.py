"""Several processes: one wrapper of the game (DDP or FSDP2), and figures gathered from all of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from fusevae.core.errors import PeerLost
from fusevae.core.processes import world
from fusevae.training.notices import ASIDE
from fusevae.training.players import Game
from fusevae.training.settings import Training


def wrap(game: Game, settings: Training, device: torch.device) -> nn.Module:
    """The game as it is, or under DDP or FSDP2 where there are several processes."""
    if world()[1] == 1:
        return game
    if settings.parallel == "fsdp":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        fully_shard(game, mesh=init_device_mesh(device.type, (world()[1],)), reshard_after_forward=False)
        return game
    several = len(game.players) > 1 or any(getattr(part, "every", 1) > 1 for part in game.modules())
    ids = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # the name of the setting changes in torch 2.13; 2.6 has this one
        return DistributedDataParallel(game, ids, broadcast_buffers=False, find_unused_parameters=several)


@contextmanager
def together(folder: Path | None) -> Iterator[None]:
    """Inside, a process beside this one that ends (killed, say) is told in a line that says how to go on."""
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        backend = isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL"))
        if world()[1] == 1 or not backend:
            raise
        mend = "begin it anew" if folder is None else f"go on with fusevae train --resume {folder}"
        lost = PeerLost(f"another of the {world()[1]} processes was lost: {mend}, under torchrun as before")
        print(f"error: {lost}", file=ASIDE)
        raise lost from error


def gather_sums(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sums over the processes, some of which may have had no block."""
    found: list[Any] = [None] * world()[1]
    torch.distributed.all_gather_object(found, {k: v.cpu() for k, v in sums.items()})
    keys = next(f for f in found if f)
    return {k: sum(f[k] for f in found if f) for k in keys}
