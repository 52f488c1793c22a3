"""What the players' losses say, summed between two records without a synchronisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusevae.core.processes import sum_over_processes

MOVES = "moves"


class Figures:
    """Sums of the players' figures by name; those of the first player have no prefix, others ``player/``."""

    def __init__(self, players: Sequence[str], device: torch.device) -> None:
        self.players, self.one = list(players), torch.ones((), device=device)
        self.sums: dict[str, Tensor] = {}

    def prefix(self, player: str) -> str:
        """What stands before the names of a player's figures."""
        return "" if player == self.players[0] else f"{player}/"

    def add(self, player: str, metrics: dict[str, Tensor], weight: float) -> None:
        """Add what a part of the batch gave, with its share of the batch as its weight."""
        if len(self.players) > 1:
            metrics = {f"{self.prefix(player)}{k}": v for k, v in (metrics | {MOVES: self.one}).items()}
        if weight != 1:
            metrics = {k: v * weight for k, v in metrics.items()}
        if metrics.keys() <= self.sums.keys():
            torch._foreach_add_([self.sums[k] for k in metrics], list(metrics.values()))
        else:
            self.sums |= {k: v.detach().clone() for k, v in metrics.items()}

    def means(self, steps: int) -> dict[str, Tensor]:
        """The mean of each figure over the steps at which its player moved, and over the processes."""
        sums = {k: sum_over_processes(v) for k, v in self.sums.items()}
        if len(self.players) == 1:
            return {k: v / steps for k, v in sums.items()}
        found: dict[str, Tensor] = {}
        for player in reversed(self.players):  # the first has no prefix and takes the rest
            mine = {k: v for k, v in sums.items() if k.startswith(self.prefix(player)) and k not in found}
            if mine:
                found |= {k: v / mine[f"{self.prefix(player)}{MOVES}"] for k, v in mine.items()}
        return {k: v for k, v in found.items() if k.rpartition("/")[2] != MOVES}
