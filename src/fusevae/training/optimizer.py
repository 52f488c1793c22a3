"""One player's optimizer: fused AdamW with clipping and the skipping of abnormal updates, without a synchronisation."""

from __future__ import annotations

import math
import sys
from collections.abc import Container
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from fusevae.core.processes import sum_over_processes
from fusevae.training.settings import Training

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

WARM = 20  # updates before the running mean of the gradient norm is trusted
PERIOD = 64  # updates between two readings of the norms, at most


class Moments(NamedTuple):
    """What AdamW keeps of one parameter: the running means of its gradient and of the square, and its updates."""

    first: Tensor
    second: Tensor
    step: Tensor


class GuardedAdamW:
    """AdamW (Loshchilov & Hutter 2019) that leaves out an update whose gradient is abnormal or not finite.

    The norm of each update stays on the device, where it is held against two thresholds: the fused kernel reads the
    outcome (``found_inf``, made for mixed precision) and leaves weights and moments as they are. Clipping is the
    kernel's ``grad_scale``, so it costs only the norm. Now and then (:meth:`read`) the norms come to the host, which
    follows their running mean and sets the thresholds for the updates to come.

    Attributes:
        stats: as of the last reading: the running mean of the (clipped) norm, updates made and skipped, skipped in a
            row, and the sum of norms.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], settings: Training, device: torch.device) -> None:
        self.parameters, self.settings = parameters, settings
        self.moments = {
            n: Moments(torch.zeros_like(p), torch.zeros_like(p), torch.zeros((), device=device))
            for n, p in parameters.items()
        }
        self.decayed = {n for n, p in parameters.items() if settings.weight_decay and decays(n, p)}
        self.sharded = any(is_shard(p) for p in parameters.values())
        self.stats = dict.fromkeys(("mean", "made", "skipped", "in_a_row", "norms"), 0.0)
        self.norms = torch.zeros(PERIOD, device=device)
        self.unread = 0
        self.none, self.one = torch.zeros((), device=device), torch.ones((), device=device)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update the weights from the gradients, unless these are abnormal."""
        moved = {n: p for n, p in self.parameters.items() if p.grad is not None}
        norm = self._norm([p.grad for p in moved.values() if p.grad is not None], self.norms[self.unread])
        found_inf = torch.where(norm < self.limit, self.none, self.one)  # nan and inf are not below anything
        scale = (norm / self.ceiling).clamp_(min=1.0) if self.ceiling < math.inf else None
        for decay, names in self._groups(moved):
            adamw(  # torch.optim.AdamW without the class, which takes as long again on small models
                [moved[n] for n in names],
                [grad for n in names if (grad := moved[n].grad) is not None],
                [self.moments[n].first for n in names],
                [self.moments[n].second for n in names],
                [],
                [self.moments[n].step for n in names],
                fused=True,
                found_inf=found_inf,
                grad_scale=scale,
                lr=rate,
                beta1=self.settings.betas[0],
                beta2=self.settings.betas[1],
                weight_decay=decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )
        self.unread += 1
        if self.unread >= min(PERIOD, max(1, self.stats["made"])):  # often while the mean is young
            self.read()

    def _groups(self, moved: dict[str, nn.Parameter]) -> list[tuple[float, list[str]]]:
        """The names of those that move, by their decay; one group where nothing decays."""
        if not self.decayed:
            return [(0.0, list(moved))]
        groups = {
            self.settings.weight_decay: [n for n in moved if n in self.decayed],
            0.0: [n for n in moved if n not in self.decayed],
        }
        return [(decay, names) for decay, names in groups.items() if names]

    @property
    def limit(self) -> float:
        """The norm from which an update is left out."""
        trusted = self.settings.skip and self.stats["made"] >= WARM and self.stats["mean"]
        return self.settings.skip * self.stats["mean"] if trusted else math.inf

    @property
    def ceiling(self) -> float:
        """The norm that a larger one is scaled down to."""
        return self.settings.clip * self.stats["mean"] or math.inf

    def read(self) -> None:
        """Bring ``stats`` up to date: the only place where the host waits for the device."""
        s, limit, ceiling = self.stats, self.limit, self.ceiling
        for norm in self.norms[: self.unread].tolist():
            if norm < limit:
                norm = min(norm, ceiling)
                s["made"] += 1
                s["mean"] += (norm - s["mean"]) * (max(1 / s["made"], 0.01) if s["mean"] else 1.0)
                s["in_a_row"] = 0.0
            else:
                norm = s["mean"]
                s["skipped"] += 1
                s["in_a_row"] += 1
            s["norms"] += norm
        self.unread = 0

    def anew(self) -> None:
        """Forget moments and norms: those of weights that were changed from outside say nothing of what comes."""
        self.read()
        self.stats |= dict.fromkeys(("mean", "made", "in_a_row"), 0.0)
        for moments in self.moments.values():
            for value in moments:
                value.zero_()

    def newest_was_skipped(self) -> bool:
        """Whether the last update was left out; this changes nothing."""
        if self.unread:
            return not self.norms[self.unread - 1].item() < self.limit
        return self.stats["in_a_row"] > 0

    def zero_grad(self, but: Container[str] = ()) -> None:
        for name, p in self.parameters.items():
            if name not in but:
                p.grad = None

    def _norm(self, grads: list[Tensor], out: Tensor) -> Tensor:
        """The norm of all gradients, written to ``out``."""
        if not self.sharded:
            return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)), out=out)
        total = sum_over_processes(torch.stack(torch._foreach_norm(local(grads))).square().sum()).sqrt()
        return out.copy_(total)

    def state(self) -> dict[str, Tensor]:
        """Moments, statistics and unread norms by name; shards are gathered."""
        found = {f"stats/{k}": torch.tensor(v, dtype=torch.float64) for k, v in self.stats.items()}
        found["norms"] = self.norms[: self.unread].clone()
        for name, moments in self.moments.items():
            found |= {f"{key}/{name}": whole(value) for key, value in moments._asdict().items()}
        return found

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` gave, for the same parameters."""
        self.stats = {key: state[f"stats/{key}"].item() for key in self.stats}
        self.unread = len(state["norms"])
        self.norms[: self.unread] = state["norms"]
        for name, moments in self.moments.items():
            for key, value in moments._asdict().items():
                value.copy_(like(state[f"{key}/{name}"], value))


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay is for a parameter: for the weights of layers. Biases and scales have to be where the data
    are, and pseudo-inputs and learned outputs are no weights."""
    return parameter.ndim > 1 and name.rpartition(".")[2] == "weight"


def is_shard(value: Tensor) -> TypeGuard[DTensor]:
    """Whether a tensor is a part that FSDP2 gave to this process; where it did, it has imported their class (which
    takes a second)."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def local(tensors: list[Tensor]) -> list[Tensor]:
    """This process's parts."""
    return [t.to_local() if is_shard(t) else t for t in tensors]


def whole(value: Tensor) -> Tensor:
    """A tensor gathered from its shards (by every process at once)."""
    return value.full_tensor() if is_shard(value) else value


def like(value: Tensor, model: Tensor) -> Tensor:
    """A copy of a whole tensor, sharded and placed as ``model`` is."""
    if is_shard(model):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)
    return value.to(model.device, copy=True)
