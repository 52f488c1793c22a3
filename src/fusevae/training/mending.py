"""What a training does about what it finds: a latent that has collapsed, a step that is too large.

Each action is an event among the records, with its reason. What is done depends on figures that all processes share and
stands in the state of the training, so that a resumed one goes on with it. The bound that is reported stays the true
one: an action changes what is climbed, never what is claimed. ``Training(mend=False)`` leaves all as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusevae.evaluation.collapse import COLLAPSED

FROM, LATEST = 0.1, 0.6  # of the training: a collapse before may pass by itself, one after leaves no time
FREE, RISE = 0.1, 0.25  # of the training: without any cost of the latent, and until the cost is whole again
TIMES = 2  # warm-ups in a training; the second leaves FLOOR nats free to its end
FLOOR = 1.0  # nats
DEAD = 0.1  # nats of KL below which a latent is brought to life; one that holds little may have little to hold
NEAR = 0.005  # of the bound: a model whose latent lives is preferred to a collapsed one within this of it
FAR = 1.0  # of a constant model's nats, below it and the start: who is so far off has taken too large a step
SMALLER, STEPS = 0.1, 10  # the step after; steps that a mean is of, at least


class Mending:
    """The actions of a training.

    Attributes:
        warm: where each new warm-up began, as a part of the training.
        floor: nats that no training should fall to: a constant model's, or those that it begins with, and as many again
            as the first has; None where neither is known.
        mean: of what is climbed, over the last steps.
    """

    def __init__(self) -> None:
        self.warm: list[float] = []
        self.floor: float | None = None
        self.mean = 0.0

    def begin(self, start: float, constant: float) -> None:
        """Note what is climbed before the first step, and what a constant model has."""
        if math.isfinite(start):
            self.mean, self.floor = start, min(start, constant) - FAR * abs(constant)

    def state(self) -> dict[str, Any]:
        return {"warm": self.warm, "floor": self.floor, "mean": self.mean}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.warm, self.floor, self.mean = list(state.get("warm", ())), state.get("floor"), state.get("mean", 0.0)

    def after(self, means: Mapping[str, Any], progress: float) -> str | None:
        """What is done about figures of held-out data, in words; None for nothing."""
        dead = "codes" not in means and means.get("kl", DEAD) < DEAD
        if not dead or not FROM <= progress <= LATEST or len(self.warm) >= TIMES:
            return None
        if self.warm and progress < self.warm[-1] + RISE:
            return None
        self.warm = [*self.warm, progress]
        return (
            f"the latent had collapsed (its KL was {max(0.0, means['kl']):.2f} nats): its cost is taken away, and "
            f"whole again from {100 * (progress + RISE):.0f} % of the training on"
            + (f", with {FLOOR:g} nats free" if len(self.warm) == TIMES else "")
        )

    def relief(self, kl: Tensor, progress: float) -> Tensor | None:
        r"""The part of the KL ``(*sample, *batch)`` that costs nothing for now: :math:`(1 - w)\,\mathrm{KL}`, with w
        from 0 to 1 over a warm-up, and of the second one at least what is under the free nats; None where all is
        paid."""
        if not self.warm:
            return None
        weight = min(1.0, max(0.0, (progress - self.warm[-1] - FREE) / (RISE - FREE)))
        free = kl * (1 - weight)
        return free if len(self.warm) < TIMES else free.maximum(kl.clamp(max=FLOOR))

    def too_far(self, means: Mapping[str, Any], steps: int, note: bool = False) -> str | None:
        """Why the means of the last ``steps`` say that these were too large; None where they don't. With ``note`` they
        count for those to come: of fewer than STEPS a mean is of those before, too."""
        # an ELBO may be low while its KL costs nothing, an objective where its KL costs much
        value = max((means[name] for name in ("objective", "elbo", "log_bound") if name in means), default=math.nan)
        if self.floor is None or not math.isfinite(value):
            return None  # updates that aren't finite are left out, and looked after
        value = self.mean + min(1.0, steps / STEPS) * (value - self.mean)
        if note:
            self.mean = value
        if value >= self.floor:
            return None
        return f"what is climbed fell to {value:.5g} nats, far below its start and a constant model ({self.floor:.5g})"


def alive(means: Mapping[str, Any]) -> bool:
    """Whether the figures of held-out data are of a latent that hasn't collapsed, or of none that could."""
    return "codes" in means or not means.get("kl", COLLAPSED) < COLLAPSED


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


def fallen(score: float, values: Mapping[str, Any]) -> str | None:
    """What is kept, in words, where what validation examples have fell since by more than NEAR of it."""
    best = values["best"]
    if best - score <= NEAR * abs(best):
        return None
    return (
        f"kept is the state of step {values['kept']:,}: from there on the training examples were learned by heart, and "
        f"those held out fell from {best:.5g} to {score:.5g}. More examples help, or a smaller model, "
        "training.weight_decay, fewer training.epochs"
    )
