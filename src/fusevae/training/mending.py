"""What a training does about what it finds: a latent that has collapsed, a step that is too large, a
critic that has won, no headway.

Each action is an event among the records, with its reason. What is done depends on figures that all processes share and
stands in the state of the training, so that a resumed one goes on with it. The bound that is reported stays the true
one: an action changes what is climbed, never what is claimed. ``Training(mend=False)`` leaves all as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.distributions.gaussian import Gaussian
from fusevae.models.flat import Flat
from fusevae.nets.outset import set_apart
from fusevae.nets.quantizer import VectorQuantizer
from fusevae.training.checkpoint import State

FROM, LATEST = 0.1, 0.6  # of the training: a collapse before may pass by itself, one after leaves no time
FREE, RISE = 0.1, 0.25  # of the training: without any cost of the latent, and until the cost is whole again
FREELY = 0.25  # of a constant model's nats, the most that costs nothing: without an end to it posteriors run away
TIMES = 2  # warm-ups in a training; the second leaves FLOOR nats free to its end
FLOOR = 1.0  # nats
DEAD = 0.1  # nats of KL below which a latent is brought to life; one that holds little may have little to hold
SETTLED = 0.3  # of a training: a collapse or an explosion before may pass by itself, and isn't said
WASTE = 50  # times what posteriors that are all alike tell, in cost: those before SETTLED are done for
NEAR = 0.005  # of the bound: a model whose latent lives is preferred to a collapsed one within this of it
MUCH, LOWER = 0.25, 0.05  # of what a training is ahead of a constant model; of all, where that is more
AHEAD = 0.1  # of a constant model's nats, above it: whose latent is dead there has a decoder that does without
FAR = 1.0  # of a constant model's nats, below it and the start: who is so far off has taken too large a step
WON = 0.1  # of the loss of a critic that can't tell, under which one has won
LOOKS = 2  # means of the records in a row that say that a critic has won, before it rests
RESTS, AGAIN = 4, 2  # of so many steps a critic then moves at one; how often that is done
MANY = 0.05  # of the codes of a codebook that died, from which on it is said
CHURN = 1  # times that the codes of a codebook died, on the average, from which on the dead are left
LAST = 0.8  # of the training: a critic that has won after this is left alone
SMALLER, STEPS = 0.1, 10  # the step after; steps that a mean is of, at least
HEADWAY = 0.2, 0.4  # of the training: who is then under a constant model, no nearer since FROM, took too large a step
ENOUGH = 150  # steps of a training in which that can be told


class Mending:
    """The actions of a training.

    Attributes:
        warm: where each new warm-up began, as a part of the training.
        floor: nats that no training should fall to: a constant model's, or those that it begins with, and as many again
            as the first has; None where neither is known.
        mean: of what is climbed, over the last steps.
        constant: nats of a constant model.
        held: those of it on validation examples; None where there are none.
        earlier: the mean at FROM of the training.
        seen: the score of held-out examples there.
        stood: how far where it began anew for want of headway, the last time.
        rests: how often each player that has won was made to rest.
        wins: looks in a row at which one had won.
        codebooks: of the model, by name, which revive their dead codes by themselves.
        told: how many had been revived in each when that was said.
    """

    def __init__(self) -> None:
        self.warm: list[float] = []
        self.floor: float | None = None
        self.mean = 0.0
        self.constant: float | None = None
        self.held: float | None = None
        self.stood: float | None = None
        self.earlier: float | None = None
        self.seen: float | None = None
        self.rests: dict[str, int] = {}
        self.wins = 0
        self.codebooks: dict[str, VectorQuantizer] = {}
        self.told: dict[str, int] = {}

    def begin(self, start: float, constant: float, held: float | None = None) -> None:
        """Note what is climbed before the first step, and what a constant model has, also on validation examples."""
        if math.isfinite(start):
            self.mean, self.floor = start, min(start, constant) - FAR * abs(constant)
            self.constant, self.held = constant, held

    def state(self) -> dict[str, Any]:
        mine = {"warm": self.warm, "floor": self.floor, "mean": self.mean}
        mine |= {
            "constant": self.constant,
            "constant_held": self.held,
            "stood": self.stood,
            "earlier": self.earlier,
            "seen": self.seen,
        }
        revived = {name: int(codebook.revived) for name, codebook in self.codebooks.items()}
        left = [name for name, codebook in self.codebooks.items() if codebook.rests]
        return mine | {"rests": self.rests, "wins": self.wins, "revived": revived, "told": self.told, "left": left}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.warm, self.floor, self.mean = list(state.get("warm", ())), state.get("floor"), state.get("mean", 0.0)
        self.constant, self.earlier, self.seen = (state.get(key) for key in ("constant", "earlier", "seen"))
        self.held, self.stood = state.get("constant_held"), state.get("stood")
        self.rests, self.wins = dict(state.get("rests", {})), state.get("wins", 0)
        self.told = dict(state.get("told", {}))
        for name, count in state.get("revived", {}).items():
            if name in self.codebooks:
                self.codebooks[name].revived = count
                self.codebooks[name].rests = name in state.get("left", ())

    def anew(self) -> dict[str, Any]:
        """The state of a training that begins once more."""
        none: dict[str, Any] = {"revived": dict.fromkeys(self.codebooks, 0), "told": {}, "left": []}
        none |= {"warm": [], "rests": {}, "wins": 0, "mean": self.constant, "earlier": None, "seen": None}
        return self.state() | none

    def after(
        self, means: Mapping[str, Any], progress: float, lives: bool = True, told: float | None = None
    ) -> str | None:
        """What is done about figures of held-out data, in words; None for nothing. ``lives`` is whether the best state
        is one whose latent lives: where it isn't after a warm-up, though it is far ahead of a constant model, the
        decoder does without. ``told`` is what latents tell that the newest diagnosis found to be all alike, in nats:
        those that cost no more than WASTE times that may have begun to come alive."""
        wasted = told is not None and (progress >= SETTLED or means.get("kl", 0.0) > WASTE * told)
        dead = "codes" not in means and (means.get("kl", DEAD) < DEAD or wasted)
        if not dead or not FROM <= progress <= LATEST or len(self.warm) >= TIMES:
            return None
        ahead = self.constant is not None and means.get("elbo", -math.inf) > self.constant + AHEAD * abs(self.constant)
        if self.warm and (progress < self.warm[-1] + RISE or (ahead and not lives)):
            return None
        if self.earlier is None:  # whoever is no better when the cost is whole again took too large steps all along
            self.earlier, self.seen = self.mean, means.get("elbo")
        self.warm = [*self.warm, progress]
        return (
            f"the latent had collapsed (its KL was {max(0.0, means['kl']):.2f} nats"
            + (", alike for all examples" if told is not None else "")
            + f"): its cost is taken away, and whole again from {100 * (progress + RISE):.0f} % of the training on"
            + (f", with {FLOOR:g} nats free" if len(self.warm) == TIMES else "")
        )

    def relief(self, kl: Tensor, progress: float) -> Tensor | None:
        r"""The part of the KL ``(*sample, *batch)`` that costs nothing for now: :math:`(1 - w)\,\mathrm{KL}`, with w
        from 0 to 1 over a warm-up, at most a part of a constant model's nats, and of the second one at least what is
        under the free nats; None where all is paid.

        Of 8 x 8 digits and ten latents the KL went to 443 nats of 108 without an end, and the training went back."""
        if not self.warm:
            return None
        weight = min(1.0, max(0.0, (progress - self.warm[-1] - FREE) / (RISE - FREE)))
        most = math.inf if self.constant is None else max(FLOOR, FREELY * abs(self.constant))
        free = (kl * (1 - weight)).clamp(max=most)
        return free if len(self.warm) < TIMES else free.maximum(kl.clamp(max=FLOOR))

    def moves(self, player: str, step: int) -> bool:
        """Whether a player's weights move at a step."""
        return not step % RESTS ** self.rests.get(player, 0)

    def count(self, loop: Any, means: Mapping[str, Any]) -> None:
        """Say how many codes of a codebook were dead and started anew: first, and when the dead are left because there
        were as many as codes. What is started anew and dies again only makes the codes hard to foresee."""
        for name, codebook in self.codebooks.items():
            revived, before, rested = int(codebook.revived), self.told.get(name, 0), codebook.rests
            codebook.rests = rested or revived >= CHURN * codebook.levels
            if codebook.rests == rested and (before or revived < MANY * codebook.levels):
                continue
            self.told = self.told | {name: revived}
            places = [codes for key, codes in means.items() if key.rpartition("/")[2] == "codes"]
            used = "".join(f", and {c['used']} are in use" for each in places for c in each.values())
            loop.tell(
                "mended",
                f"codes of a codebook of {codebook.levels:,} had died, {revived:,} so far: each was started anew where "
                f"the codebook serves the data worst{used}"
                + (". They die again: from now on the dead are left, fewer codes would do" if codebook.rests else ""),
            )

    def look(self, loop: Any, means: Mapping[str, Any]) -> None:
        """Make a critic rest that has won for a while (by the means of the records of a
        :class:`fusevae.training.loop.Loop`): the model moves as before, and has time to learn what it is told."""
        self.count(loop, means)
        progress = loop.step / loop.total
        for name, player in loop.game.players.items():
            chance = None if player.mending is None else player.chance(progress)
            loss = means.get(f"{loop.figures.prefix(name)}loss_value")
            if chance is None or loss is None:
                continue
            self.wins, rests = self.wins + 1 if loss < WON * chance else 0, self.rests.get(name, 0)
            if self.wins >= LOOKS and rests < AGAIN and progress <= LAST:
                self.wins, self.rests = 0, self.rests | {name: rests + 1}
                loop.tell(
                    "mended",
                    f"the {name} had won (its loss was {loss:.2g}, that of one who can't tell is {chance:.2g}), so it "
                    f"taught the model little: it moves at one step of {RESTS ** (rests + 1)} from now on",
                )

    def rise(self, best: float) -> None:
        """Raise the floor under a training that is far ahead of a constant model, by the ``best`` of held-out examples
        as by training ones: it isn't to fall below that any more."""
        if self.floor is None or self.constant is None or self.held is None:
            return
        if best > self.held + AHEAD * abs(self.held) and self.mean > self.constant + AHEAD * abs(self.constant):
            self.floor = max(self.floor, self.constant - NEAR * abs(self.constant))

    @property
    def risen(self) -> bool:
        """Whether the training has been far ahead of a constant model."""
        if self.floor is None or self.constant is None:
            return False
        return self.floor >= self.constant - NEAR * abs(self.constant)

    @property
    def least(self) -> float:
        """What is climbed has fallen where it is under this: by much of what it is ahead of a constant model, and more
        than means of a few batches may be apart."""
        ahead = 0.0 if self.constant is None else self.mean - self.constant
        return self.mean - max(MUCH * ahead, LOWER * abs(self.mean))

    def climbed(self, means: Mapping[str, Any], steps: int) -> float:
        """The mean of what is climbed with that of the last ``steps``: of fewer than STEPS it is of those before,
        too."""
        # an ELBO may be low while its KL costs nothing, an objective where its KL costs much
        value = max((means[name] for name in ("objective", "elbo", "log_bound") if name in means), default=math.nan)
        return self.mean + min(1.0, steps / STEPS) * (value - self.mean)

    def too_far(self, means: Mapping[str, Any], steps: int) -> str | None:
        """Why the means of the last ``steps``, which count for those to come, say that these were too large; None where
        they don't."""
        value = self.climbed(means, steps)
        if self.floor is None or not math.isfinite(value):
            return None  # updates that aren't finite are left out, and looked after
        self.mean = value
        if value >= self.floor:
            return None
        under = "under a constant model, from far above" if self.risen else "far below its start and a constant model"
        return f"what is climbed fell to {value:.5g} nats, {under} ({self.floor:.5g})"

    def doubtful(self, means: Mapping[str, Any], steps: int) -> bool:
        """Whether what is climbed has fallen to the floor since the last look, ``steps`` ago, or, far ahead of a
        constant model, by much of what it is ahead: a state that was broken a few steps ago is none to go back to."""
        value = self.climbed(means, steps)
        if self.floor is None or not math.isfinite(value):
            return False
        return value < (max(self.floor, self.least) if self.risen else self.floor)

    def no_headway(self, progress: float, score: float | None = None) -> str | None:
        """Why its steps were too large from the start, at HEADWAY of the training; None where they weren't. A net that
        such steps drove where it has no gradient stays there, however small they become.

        Training examples may be under a constant model by what makes learning hard on purpose (words left out, dropout)
        or since that model has seen them: where the last ``score`` of held-out ones is above what it has there, or
        comes nearer, there was headway. Nor were steps too large where smaller ones came less far."""
        if self.constant is None or progress < FROM or (self.warm and progress < self.warm[-1] + RISE):
            return None  # what is done about a latent takes time, and costs
        if self.earlier is None:
            self.earlier, self.seen = self.mean, score
            return None
        margin = NEAR * abs(self.constant)
        if progress < HEADWAY[0] or self.mean > min(self.constant - margin, self.earlier + margin):
            return None
        ahead = (
            score is not None
            and self.held is not None
            and score > min(self.held, (score if self.seen is None else self.seen) + margin)
        )
        if ahead or (self.stood is not None and self.mean < self.stood - margin):
            return None
        self.stood = self.mean
        far = f"{self.mean:.5g} nats, under a constant model ({self.constant:.5g})"
        return f"after {100 * progress:.0f} % of the training what is climbed stands at {far}"


def beginning(loop: Any) -> State:
    """The state of a training before its first step, from its first weights, when its optimizers have just been
    read."""
    tensors = {k: torch.zeros_like(v) for k, v in loop.state().tensors.items() if k.startswith("optimizer/")}
    tensors |= loop.first | {f"first/{k}": v for k, v in loop.first.items()}
    tensors |= {k.replace("game/", "average/", 1): v for k, v in loop.first.items() if k.startswith("game/")}
    none = dict.fromkeys(("step", "looked", "diagnosed", "validated", "stale"), 0)
    return State(tensors, {**loop.values, **loop.mending.anew(), **none})


def separable(player: Any) -> Gaussian | None:
    """The posterior of a player that climbs the ELBO itself, if it is one whose means can be set apart: in a hierarchy
    other levels may tell what one doesn't, and under a larger weight of the KL posteriors are to be alike."""
    objective = getattr(player, "objective", None)
    if objective is None or not objective.plain:
        return None
    found = [m.posterior for m in player.artifact.distribution.modules() if isinstance(m, Flat)]
    return found[0] if found and isinstance(found[0], Gaussian) else None


def apart(loop: Any, player: Any, batch: Any) -> str:
    """Set the posteriors of a player's latents, which are all alike, apart by a batch of examples, and say so: an
    encoder that hardly tells these apart learns less of them in a step than its posterior learns to be the prior."""
    model, game, posterior = player.artifact.distribution, loop.game, separable(player)
    if posterior is None or loop.processes > 1:  # whose weights would differ by a rounding
        return ""
    with noise.keyed(loop.seed, "apart", device=loop.device):
        means = model.eval().trace(player.artifact.view(batch.x), batch.label).terms[0].q.mean
    game.train()
    if means.dim() != 2 or not set_apart(posterior.net, means):
        return ""
    loop.average.anew()
    for optimizer in loop.optimizers.values():  # on spots of light the next gradients were 100 times as large
        optimizer.anew()
    return f". The means of its posteriors, which differed by {means.std(0).mean():.2g}, are set apart by 1"


def held(loop: Any) -> State:
    """The state to go back to: the last good one; but where a training failed that had just gone back to that, smaller
    steps alone don't mend it, and it goes on with the best weights, as if they were its first."""
    good: State = loop.good
    if not (loop.best and loop.values["rollbacks"] and loop.values.get("rate_since") == good.values["step"]):
        return good
    found = {k: torch.zeros_like(v) for k, v in loop.state().tensors.items() if k.startswith("optimizer/")}
    for name, value in loop.best.items():
        found |= {k: value for group in ("game", "buffer", "average") if (k := f"{group}/{name}") in good.tensors}
    return State(good.tensors | found, good.values)


def better(score: float, lives: bool, best: float | None, best_lives: bool) -> bool:
    """Whether a state is to be kept in place of the best one: the higher score, and near it the one whose latent
    lives.

    Example:
        >>> better(-100.4, True, -100.0, False), better(-99.6, False, -100.0, True), better(-90.0, False, -100.0, True)
        (True, False, True)
    """
    if best is None or math.isnan(best) or lives == best_lives:
        return best is None or not score <= best
    margin = NEAR * abs(best)
    return score > best - margin if lives else score > best + margin


def fallen(score: float, values: Mapping[str, Any], climbed: float, climbs: bool = False) -> str | None:
    """What is kept, in words, where what validation examples have fell since by more than NEAR of it; ``climbed`` is
    what training examples have in the end, and whether it fell, too, tells too large a step from overfitting; so does a
    training that went back and ``climbs`` still."""
    best = values["best"]
    if best - score <= NEAR * abs(best):
        return None
    if climbs or climbed < values.get("climbed", climbed):
        return (
            f"kept is the state of step {values['kept']:,}: what came after is worse, of held-out examples "
            f"({score:.5g} after {best:.5g}) as of training ones. A smaller training.learning_rate may help"
        )
    return (
        f"kept is the state of step {values['kept']:,}: from there on the training examples were learned by heart, and "
        f"those held out fell from {best:.5g} to {score:.5g}. More examples help, or a smaller model, "
        "training.weight_decay, fewer training.epochs"
    )
