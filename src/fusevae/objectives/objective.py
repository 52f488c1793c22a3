"""Objective: a function of the trace of one inference; it never reaches into a model's nets."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.trace import Term, Trace
from fusevae.objectives.beta import Beta, beta_at


class Objective(Described):
    """What is maximised, in nats per example.

    Attributes:
        samples: latents drawn for each example; 0 for one without a sample dimension.
        batch_level: whether an example's value depends on the others in its batch (an estimate over the batch).
        beta: weight of the KL, which may follow a schedule.
        plain: whether it is the ELBO itself in the end, whatever its weight was on the way and what is free.
        needs: about how many updates, and examples, it takes until samples show what the data are; (0, 0) for few.
    """

    samples: int = 0
    batch_level: bool = False
    beta: float | Beta = 1.0
    plain: bool = False
    needs: tuple[int, int] = (0, 0)

    @abstractmethod
    def __call__(self, trace: Trace, progress: float) -> Tensor:
        """The value to maximise, ``(*batch,)``; its gradient trains every part of the model.

        ``progress`` is the part of the training that is done, from 0 to 1, for schedules.
        """

    @abstractmethod
    def is_bound(self, progress: float) -> bool:
        """Whether the value's expectation is at most log p(x)."""

    def cost(self, progress: float) -> float:
        """What every nat of the KL costs at least, which a warm-up may give back."""
        return beta_at(self.beta, progress)


class Opposed(Objective, nn.Module):
    """An objective with an opponent, a net that is trained against the model: a player of its own.

    Attributes:
        opponent: the net; its gradient never reaches the model, nor the model's the net.
        role: the opponent's name as a player.
        opponent_steps: its moves to one of the model.
        extractor: a net that learns to classify the data, whose features measure: a player of its own, too.
    """

    opponent: nn.Module
    role: str = "opponent"
    opponent_steps: int = 1
    extractor: nn.Module | None

    def __init__(self, opponent: nn.Module, extractor: nn.Module | None = None) -> None:
        nn.Module.__init__(self)
        self.opponent, self.extractor = opponent, extractor

    @abstractmethod
    def opponent_loss(self, trace: Trace) -> Tensor:
        """What the opponent minimises, ``(n,)`` for some n, from a trace without gradients."""

    def chance(self, progress: float) -> float | None:
        """The opponent's loss where it can't tell one from the other; None where a low loss is no fault."""
        return None

    def diagnose(self, trace: Trace) -> dict[str, Any]:
        """What held-out examples say of the state of the game."""
        return {}

    def warnings(self, diagnosis: dict[str, Any]) -> dict[str, str]:
        """What is wrong, by a short name, each with its remedy."""
        return {}


class Simultaneous(Opposed):
    """An objective whose players move at once, from one shared forward.

    Attributes:
        roles: the players: ``"model"`` (the whole distribution), or ``"encoder"`` (its inference) and ``"decoder"``
            (the rest of it); then the opponent's ``role``.
    """

    roles: tuple[str, ...]

    @abstractmethod
    def losses(self, trace: Trace, progress: float) -> dict[str, Tensor]:
        """What each role minimises, ``(*batch,)``. They may share anything: of each loss, only the gradient of its own
        player's parameters is taken."""


def with_score(value: Tensor, trace: Trace) -> Tensor:
    r"""``value`` with the gradient that reaches a posterior without a path:
    :math:`\nabla E_q[f] = E_q[\nabla f + f \nabla \log q]` (Williams 1992). The value is unchanged."""
    if (score := trace.score) is None:
        return value
    if score.dim() > value.dim():  # one value of several samples
        score = score.sum(0)
    return value + value.detach() * (score - score.detach())


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """``value``, but with the gradient of ``surrogate``."""
    return value.detach() + surrogate - surrogate.detach()


def log_mean_exp(x: Tensor, dim: int) -> Tensor:
    """The logarithm of the mean of exponentials along ``dim``."""
    return torch.logsumexp(x, dim) - math.log(x.shape[dim])


def one_level_with_path(trace: Trace, objective: Objective) -> Term:
    """The only level of a trace, for an objective that weighs the gradients which pass through its sample."""
    name = type(objective).__name__
    if len(trace.terms) > 1:
        raise InputError(f"{name} is for one level of latents, this model has {len(trace.terms)}: take IWAE")
    if trace.terms[0].q is None or not trace.terms[0].has_path:
        raise InputError(f"{name} needs a posterior with reparameterised samples (Gaussian): take IWAE, or another q")
    return trace.terms[0]


def scale_gradient(z: Tensor, weight: Tensor) -> None:
    """Multiply the gradient that passes through ``z`` of shape ``(*weight.shape, *event)`` to what it was made from."""
    if z.requires_grad:
        z.register_hook(lambda gradient: gradient * weight.view(*weight.shape, *[1] * (z.dim() - weight.dim())))
