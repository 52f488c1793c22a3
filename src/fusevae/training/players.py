"""Players: training is a game, each player a set of parameters with a loss and an optimizer.

A VAE is a game of one, a GAN of two, a VAE-GAN of three. The loop knows nothing but players.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditions import forgotten
from fusevae.core.levels import Level, bounds_as, log_bound
from fusevae.core.trace import Trace
from fusevae.data.modality import Baseline
from fusevae.evaluation.collapse import beside, diagnose, warnings
from fusevae.nets.dropout import ForeignDropout, is_foreign
from fusevae.objectives.objective import Objective, Opposed
from fusevae.training.mending import SETTLED, Mending

#: a loss and figures to log, by player
Losses = dict[str, tuple[Tensor, dict[str, Tensor]]]


class Batch(NamedTuple):
    """Raw examples ``(batch, *shape)`` and their labels ``(batch,)``, if there are any."""

    x: Tensor
    label: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on a device; the copy goes on beside the host's work."""
        if device.type == "cpu":
            return self
        return Batch(*(t.pin_memory().to(device, non_blocking=True) if t is not None else None for t in self))  # type: ignore[arg-type]


class Player(nn.Module):
    """One player's loss. It may hold the nets of others, but a gradient reaches only :meth:`own` parameters.

    Attributes:
        judged: whether its figures on held-out data are of interest.
        partners: names of the players that move at once with this one, from its forward.
        mending: what the training does about what it finds; None for nothing.
    """

    name: str
    judged: bool = True
    partners: tuple[str, ...] = ()
    mending: Mending | None = None

    @abstractmethod
    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a mean over the batch, and detached means to log by name (numbers, or vectors of a fixed size)."""

    def losses(self, batch: Batch, progress: float) -> Losses:
        """What :meth:`forward` gives, by player: its own first, then those of its partners."""
        return {self.name: self(batch, progress)}

    @abstractmethod
    def own(self) -> Sequence[nn.Module]:
        """The modules whose parameters and buffers are this player's."""

    def spared(self) -> Sequence[nn.Module]:
        """Modules inside :meth:`own` that are another's."""
        return []

    def moves(self, step: int, progress: float) -> bool:
        """Whether the player moves at a step."""
        return True

    def chance(self, progress: float) -> float | None:
        """The loss of a player that tells nothing from nothing; None of one that is no critic."""
        return None

    @property
    def kept(self) -> bool:
        """Whether the state with the highest score is the one to keep."""
        return False

    def score(self, means: Mapping[str, Any]) -> float:
        """What is to be high, from the figures of held-out data."""
        return -float(means["loss"])

    def diagnose(self, batch: Batch) -> dict[str, Any]:
        """What held-out examples say of the state of the training, beside the figures of the loss."""
        return {}

    def warnings(self, diagnosis: dict[str, Any], progress: float) -> dict[str, str]:
        """What is wrong, by a short name, each with its remedy."""
        return {}


class Game(nn.Module):
    """The players in the order of their moves; one call computes one player's loss (and those of its partners), so that
    one wrapper (DDP, FSDP2) holds for every game.

    What belongs to nobody who moves stays as it is: its parameters are constants of the losses, and its buffers (batch
    statistics, spectral norms) are put back.
    """

    def __init__(self, players: Sequence[Player]) -> None:
        super().__init__()
        self.players = cast(dict[str, Player], nn.ModuleDict({p.name: p for p in players}))
        self.foreign = is_foreign(self.modules())
        self.others: dict[tuple[str, ...], tuple[list[nn.Parameter], list[Tensor]]] = {}  # by who moves

    def forward(self, name: str, batch: Batch, progress: float, alone: str | None = None) -> Losses:
        """The losses of a player and its partners; or of ``alone``, one of them, as if only it moved."""
        rows = noise.part() if self.foreign else None
        with ForeignDropout(rows) if rows is not None else nullcontext():
            if not self.training or len(self.players) == 1:
                return self.players[name].losses(batch, progress)
            movers = (alone,) if alone else (name, *self.players[name].partners)
            with self.only(movers):
                losses = self.players[name].losses(batch, progress)
            return {who: losses[who] for who in movers}

    def leader(self, name: str) -> str:
        """Whose forward gives a player its loss: its own, or that of the one with which it moves."""
        return next((who for who, player in self.players.items() if name in player.partners), name)

    @contextmanager
    def only(self, movers: tuple[str, ...]) -> Iterator[None]:
        """Hold what is not of the players who move."""
        if movers not in self.others:
            mine = {id(t) for who in movers for t in self._of(who)}
            held = [p for p in self.parameters() if id(p) not in mine and p.requires_grad]
            self.others[movers] = held, [b for b in self.buffers() if id(b) not in mine]
        parameters, buffers = self.others[movers]
        before = [b.clone() for b in buffers]
        for p in parameters:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in parameters:
                p.requires_grad_(True)
            for b, value in zip(buffers, before, strict=True):
                b.data.copy_(value)  # not noticed by autograd, for which batch statistics belong to the graph

    def own(self, name: str) -> dict[str, nn.Parameter]:
        """The parameters that a player moves, by their name in the game."""
        mine = {id(t) for t in self._of(name)}
        return {n: p for n, p in self.named_parameters() if id(p) in mine and p.requires_grad}

    def _of(self, name: str) -> list[Tensor]:
        """A player's parameters and buffers."""
        player = self.players[name]
        spared = {id(t) for module in player.spared() for t in (*module.parameters(), *module.buffers())}
        mine = (t for module in player.own() for t in (*module.parameters(), *module.buffers()))
        return [t for t in mine if id(t) not in spared]

    def _apply(self, fn: Any, recurse: bool = True) -> Game:
        self.others = {}  # the buffers are other tensors now
        return super()._apply(fn, recurse)


class MaximumLikelihood(Player):
    """The player of a model that is trained by a bound on its likelihood: the six steps of a VAE."""

    name = "model"

    def __init__(
        self,
        artifact: Artifact,
        objective: Objective,
        unlabelled: float = 0.0,
        encoder_steps: int = 0,
        encoder_part: float = 0.0,
    ) -> None:
        super().__init__()
        self.artifact, self.objective, self.unlabelled = artifact, objective, unlabelled
        self.encoder_steps, self.encoder_part = encoder_steps, encoder_part
        self.baseline: Baseline | None = None

    @property
    def judged(self) -> bool:  # type: ignore[override]
        """A critic that moves is no measure."""
        return self.artifact.distribution.has_latents or not isinstance(self.objective, Opposed)

    @property
    def kept(self) -> bool:
        return not isinstance(self.objective, Opposed)

    def start(self, batch: Batch) -> float:
        """What is climbed, before the first step."""
        return -self(batch, 0.0)[0].item()

    def score(self, means: Mapping[str, Any]) -> float:
        """The ELBO where that is climbed in the end, whatever is free on the way; else the objective, but against a
        critic, which moves."""
        bound = self.objective.plain or isinstance(self.objective, Opposed)
        return float(means["elbo"]) if bound and "elbo" in means else super().score(means)

    def own(self) -> Sequence[nn.Module]:
        return [self.artifact.distribution]

    def moves(self, step: int, progress: float) -> bool:
        if isinstance(self.objective, Opposed) and (step + 1) % self.objective.opponent_steps:
            return False
        return progress >= self.encoder_part or step % (self.encoder_steps + 1) == self.encoder_steps

    def diagnose(self, batch: Batch) -> dict[str, Any]:
        model, x = self.artifact.distribution, self.artifact.view(batch.x)
        constant = self.baseline.log_prob(x) if self.baseline is not None else None
        if model.has_latents:
            return diagnose(model, x, batch.label, constant)
        if model.level >= Level.BOUND and not isinstance(self.objective, Opposed):
            return beside("log_bound", log_bound(model(batch.label), x), constant)
        return {}

    def warnings(self, diagnosis: dict[str, Any], progress: float) -> dict[str, str]:
        return warnings(diagnosis, progress >= 1) if progress >= SETTLED else {}

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        model = self.artifact.distribution
        x = self.artifact.view(batch.x)  # step 1: preprocess (invertible steps are part of the model)
        label = self._forget_some(batch.label)
        if not model.has_latents and isinstance(self.objective, Opposed):
            loss = -self.objective(model.trace(x, label), progress).mean()
            return loss, {"objective": -loss.detach()}
        if not model.has_latents:
            with bounds_as("surrogate"):
                value = log_bound(model(label), x)
            name = "log_bound" if model.level >= Level.BOUND else "surrogate"
            return -value.mean(), {name: value.detach().mean()}
        samples = (self.objective.samples,) if self.objective.samples else ()
        trace = model.trace(x, label, samples=samples)  # steps 2 to 4: encode, reparameterise, decode
        with bounds_as("surrogate"):
            value = self.objective(trace, progress)  # step 5: reconstruction and KL
        loss = sum(trace.auxiliary.values(), -value).mean()
        if self.training and self.mending is not None:
            free = self.mending.relief(trace.kl, progress)
            if free is not None:
                loss = loss - self.objective.cost(progress) * free.mean()
        with torch.no_grad():
            metrics = {"objective": -loss} | figures(trace)
        return loss, metrics  # step 6, backpropagation, is the loop's

    def _forget_some(self, label: Tensor | None) -> Tensor | None:
        if label is None or not (self.training and self.unlabelled and self.artifact.is_conditional):
            return label
        hidden = noise.uniform(label.shape, label.device) < self.unlabelled
        if label.dim() > 1:  # half of the time all columns of an example at once, since samples are drawn without any
            rest = self.unlabelled / (2 - self.unlabelled)  # of the others, so that each is hidden as often as asked
            hidden = noise.uniform(label.shape, label.device) < rest
            hidden |= self.unlabelled / 2 > noise.uniform(label.shape[:1], label.device)[:, None]
        if (known := self.artifact.data.conditions) is not None and known.text is not None:
            known.texts(hidden).fill_(False)  # what is said is always known
        return torch.where(hidden, forgotten(label), label)


class EncoderFirst(MaximumLikelihood):
    """Moves the posterior alone, in the steps in which the whole model doesn't move: where the decoder learns faster
    than the posterior follows, the latent is ignored before it means anything (He et al. 2019)."""

    name = "encoder"
    judged = False

    def own(self) -> Sequence[nn.Module]:
        return self.artifact.distribution.inference()

    def moves(self, step: int, progress: float) -> bool:
        return not super().moves(step, progress)

    def diagnose(self, batch: Batch) -> dict[str, Any]:
        return {}


def figures(trace: Trace) -> dict[str, Tensor]:
    """What a trace says in nats, means over the batch by name."""
    found = {"reconstruction": trace.reconstruction.mean()}
    found |= {name: term.mean() for name, term in trace.auxiliary.items()}
    for name, kl in trace.kl_per_dimension().items():
        found[f"kl/{name}"] = kl.flatten(0, -2).mean(0)
    return found | {f"codes/{name}": share for name, share in trace.code_shares().items()}
