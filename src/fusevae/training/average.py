"""The exponential average of the weights, which evaluation uses."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fusevae.training.optimizer import like, local, whole


class Average:
    """A second copy of the game whose weights follow those in training: w <- w + (1 - decay) (v - w).

    The decay rises to its value over the first updates, so that the start is forgotten. Evaluation and the artifact
    use it.
    With a decay of 0 the copy is made only when it is asked for.
    """

    def __init__(self, game: nn.Module, decay: float) -> None:
        self.decay = decay
        self.game = copy.deepcopy(game).eval().requires_grad_(False)
        self.averages: list[Tensor] = []
        self.followed: list[Tensor] = []

    def follow(self, game: nn.Module) -> None:
        """Average the parameters of ``game`` (which by now may be sharded) from here on."""
        self.source = game
        self.followed = [p.detach() for p in game.parameters()]
        sharded = any(whole(p) is not p for p in self.followed)
        ours = list(self.game.parameters())
        self.averages = [p.clone() for p in self.followed] if sharded else [p.detach() for p in ours]
        self.pairs = local(self.averages), local(self.followed)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """One update after optimizer step number ``step`` (from 0)."""
        if self.decay:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(*self.pairs, 1 - decay)

    @torch.no_grad()
    def anew(self) -> None:
        """Begin once more, from the present parameters."""
        torch._foreach_copy_(*self.pairs)

    @torch.no_grad()
    def ready(self) -> nn.Module:
        """The game with averaged weights and present buffers, in evaluation mode."""
        values = self.averages if self.decay else self.followed
        for ours, value in zip(self.game.parameters(), values, strict=True):
            if ours.data_ptr() != value.data_ptr():
                ours.copy_(whole(value))
        for buffer, value in zip(self.game.buffers(), self.source.buffers(), strict=True):
            buffer.copy_(value)
        return self.game

    def state(self) -> dict[str, Tensor]:
        names = [n for n, _ in self.source.named_parameters()]
        return {n: whole(v) for n, v in zip(names, self.averages, strict=True)} if self.decay else {}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        if self.decay:
            for (name, _), value in zip(self.source.named_parameters(), self.averages, strict=True):
                value.copy_(like(state[name], value))
