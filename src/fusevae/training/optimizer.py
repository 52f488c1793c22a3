"""One player's optimizer: fused AdamW with clipping and the skipping of abnormal updates, without a synchronisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from fusevae.core.processes import sum_over_processes
from fusevae.training.settings import Training

WARM = 20  # updates before the running mean of the gradient norm is trusted


class GuardedAdamW:
    """AdamW (Loshchilov & Hutter 2019) that leaves out an update whose gradient is abnormal or not finite.

    The decision is a number on the device: the fused kernel reads it (``found_inf``, made for mixed precision) and
    leaves weights and moments as they are. Clipping is the kernel's ``grad_scale``, so it costs only the norm.
    ``stats`` holds, on the device, the running mean of the norm, updates made and skipped, skipped in a row, and the
    sum of norms.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], settings: Training, device: torch.device) -> None:
        self.parameters, self.settings = parameters, settings
        self.adamw = torch.optim.AdamW(
            list(parameters.values()),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.sharded = any(isinstance(p, DTensor) for p in parameters.values())
        self.stats = {name: torch.zeros((), device=device) for name in ("mean", "made", "skipped", "in_a_row", "norms")}
        self.none, self.one = torch.zeros((), device=device), torch.ones((), device=device)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update the weights from the gradients, unless these are abnormal."""
        s, settings = self.stats, self.settings
        mean, made, norm = s["mean"], s["made"], self._norm()
        known = mean > 0  # not before the first update; a mean over the first few says little
        limit = torch.where(known & (made >= WARM), settings.skip * mean, torch.inf) if settings.skip else torch.inf
        bad = torch.where(norm < limit, self.none, self.one)  # nan and inf are not below anything
        scale = None
        if settings.clip:
            scale = (norm / (settings.clip * mean)).clamp_(min=1.0)
            scale = torch.where(known, scale, self.one)
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self._adamw(bad, scale)
        norm = torch.where(bad > 0, mean, norm if scale is None else norm / scale)
        made += self.one - bad
        mean.lerp_(norm, torch.where(known, (1 / made.clamp(min=1)).clamp_(min=0.01), self.one))
        s["skipped"] += bad
        s["in_a_row"].add_(self.one).mul_(bad)
        s["norms"] += norm

    def zero_grad(self) -> None:
        self.adamw.zero_grad(set_to_none=True)

    def _norm(self) -> Tensor:
        grads = [p.grad for p in self.parameters.values() if p.grad is not None]
        if not self.sharded:
            return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        local = [g.to_local() if isinstance(g, DTensor) else g for g in grads]
        return sum_over_processes(torch.stack(torch._foreach_norm(local)).square().sum()).sqrt()

    def _adamw(self, bad: Tensor, scale: Tensor | None) -> None:
        optimizer: Any = self.adamw
        optimizer.found_inf, optimizer.grad_scale = bad, scale
        optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and statistics by name; shards are gathered."""
        found = {f"stats/{k}": v for k, v in self.stats.items()}
        for name, p in self.parameters.items():
            for key, value in self.adamw.state[p].items():
                found[f"{key}/{name}"] = whole(value)
        return found

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave, for the same parameters."""
        for key, value in self.stats.items():
            value.copy_(state[f"stats/{key}"])
        for name, p in self.parameters.items():
            if f"step/{name}" not in state:
                self.adamw.state.pop(p, None)
                continue
            self.adamw.state[p] = {
                "step": state[f"step/{name}"].clone().to(p.device),
                "exp_avg": like(state[f"exp_avg/{name}"], p),
                "exp_avg_sq": like(state[f"exp_avg_sq/{name}"], p),
            }


def whole(value: Tensor) -> Tensor:
    """A tensor gathered from its shards (by every process at once)."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(value: Tensor, model: Tensor) -> Tensor:
    """A copy of a whole tensor, sharded and placed as ``model`` is."""
    if isinstance(model, DTensor):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)
    return value.to(model.device, copy=True)
