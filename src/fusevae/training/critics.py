"""The players of objectives with a critic: the critic, those who move at once with it, an extractor of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.artifact import Artifact
from fusevae.core.levels import bounds_as
from fusevae.models.preprocessed import inside
from fusevae.objectives.objective import Opposed, Simultaneous
from fusevae.training.mending import SETTLED
from fusevae.training.players import Batch, Losses, MaximumLikelihood, Player, figures


class Opponent(Player):
    """The player of an objective's opponent, a net that tells two kinds of latents or examples apart."""

    def __init__(self, artifact: Artifact, objective: Opposed) -> None:
        super().__init__()
        self.artifact, self.objective, self.name = artifact, objective, objective.role

    @property
    def judged(self) -> bool:  # type: ignore[override]
        """A critic that moves is no measure, but beside a likelihood."""
        return self.artifact.distribution.has_latents

    def own(self) -> Sequence[nn.Module]:
        return [self.objective.opponent]

    def moves(self, step: int, progress: float) -> bool:
        return self.mending is None or self.mending.moves(self.name, step)

    def chance(self, progress: float) -> float | None:
        return self.objective.chance(progress)

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            trace = self.artifact.distribution.trace(self.artifact.view(batch.x), batch.label)
        loss = self.objective.opponent_loss(trace).mean()
        return loss, {"loss_value": loss.detach()}

    def diagnose(self, batch: Batch) -> dict[str, Any]:
        trace = self.artifact.distribution.trace(self.artifact.view(batch.x), batch.label)
        return self.objective.diagnose(trace)

    def warnings(self, diagnosis: dict[str, Any], progress: float) -> dict[str, str]:
        return self.objective.warnings(diagnosis) if progress >= SETTLED else {}


class Together(MaximumLikelihood):
    """The first of several players that move at once, from one shared forward."""

    objective: Simultaneous

    def __init__(self, artifact: Artifact, objective: Simultaneous, unlabelled: float = 0.0) -> None:
        super().__init__(artifact, objective, unlabelled)
        self.name, *others = objective.roles
        self.partners = tuple(others)

    def own(self) -> Sequence[nn.Module]:
        return owned(self.name, self.artifact, self.objective)

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self.losses(batch, progress)[self.name]

    def losses(self, batch: Batch, progress: float) -> Losses:
        x, label = self.artifact.view(batch.x), self._forget_some(batch.label)
        trace = self.artifact.distribution.trace(x, label)
        with bounds_as("surrogate"):
            losses = {name: value.mean() for name, value in self.objective.losses(trace, progress).items()}
        found = {name: (loss, {"loss_value": loss.detach()}) for name, loss in losses.items()}
        found[self.name][1].update({k: v.detach() for k, v in figures(trace).items()})
        return found


class Partner(Player):
    """A player whose loss comes from another's forward."""

    judged = False

    def __init__(self, name: str, artifact: Artifact, objective: Simultaneous) -> None:
        super().__init__()
        self.name, self.artifact, self.objective = name, artifact, objective

    def own(self) -> Sequence[nn.Module]:
        return owned(self.name, self.artifact, self.objective)

    def spared(self) -> Sequence[nn.Module]:
        return self.artifact.distribution.inference() if self.name == "decoder" else []

    def moves(self, step: int, progress: float) -> bool:
        return False

    def chance(self, progress: float) -> float | None:
        return self.objective.chance(progress) if self.name == self.objective.role else None

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError(f"{self.name} moves with the first player of its game")

    def diagnose(self, batch: Batch) -> dict[str, Any]:
        if self.name != self.objective.role:
            return {}
        return Opponent.diagnose(self, batch)  # type: ignore[arg-type]

    def warnings(self, diagnosis: dict[str, Any], progress: float) -> dict[str, str]:
        return self.objective.warnings(diagnosis) if progress >= SETTLED else {}


class Extractor(Player):
    """Learns to classify the data, in the first part of a training, for features that measure."""

    name = "extractor"
    part = 0.2

    def __init__(self, artifact: Artifact, net: nn.Module) -> None:
        super().__init__()
        self.artifact, self.net = artifact, net

    def own(self) -> Sequence[nn.Module]:
        return [self.net]

    def moves(self, step: int, progress: float) -> bool:
        return progress < self.part

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.label is not None
        logits = self.net(inside(self.artifact.distribution, self.artifact.view(batch.x))[0]).float()
        loss = F.cross_entropy(logits, batch.label)
        return loss, {"loss_value": loss.detach(), "accuracy": (logits.argmax(-1) == batch.label).float().mean()}


def owned(role: str, artifact: Artifact, objective: Simultaneous) -> list[nn.Module]:
    """The modules of a role of an objective; of the decoder, with those of the encoder."""
    if role == objective.role:
        return [objective.opponent]
    model = artifact.distribution
    return model.inference() if role == "encoder" else [model]
