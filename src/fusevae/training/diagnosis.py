"""Which tensor went wrong first, found by replaying a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusevae.training.players import Batch, Game


def first_bad_tensor(game: Game, name: str, batch: Batch, progress: float) -> str:
    """Replay one player's loss and gradients, and name the first tensor that is not finite, in plain words."""
    found: list[str] = []

    def hook(path: str) -> Any:
        def check(module: nn.Module, inputs: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not bool(output.isfinite().all()):
                given = next((x for x in inputs if isinstance(x, Tensor)), None)
                size = f", largest input {given.abs().max().item():.3g}" if given is not None else ""
                found.append(f"the output of {path} ({type(module).__name__}) is not finite{size}")

        return check

    if batch.x.is_floating_point() and not bool(batch.x.isfinite().all()):
        return "the batch itself is not finite"
    for path, parameter in game.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"the parameter {path} is not finite"
    handles = [m.register_forward_hook(hook(p)) for p, m in game.named_modules() if p]
    try:
        loss, metrics = game(name, batch, progress)[name]
        if found:
            return found[0]
        for key, value in {**metrics, "loss": loss}.items():
            if not bool(value.isfinite().all()):
                return f"{key} is not finite"
        own = game.own(name)
        gradients = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    norms = {p: g.norm().item() for p, g in zip(own, gradients, strict=True) if g is not None}
    for path, norm in norms.items():
        if norm != norm or norm == float("inf"):
            return f"the gradient of {path} is not finite"
    largest = max(norms, key=lambda p: norms[p])
    return f"the gradient norm is far above its running mean, most of it in {largest} ({norms[largest]:.3g})"
