"""What came of a tuning: whether its best settings are better than the recipe's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from fusevae.core.durations import clock
from fusevae.evaluation.intervals import interval
from fusevae.evaluation.results import Result, figure

LITTLE = "there was too little time for trials"
WORTH_MORE = "they are far from their end: each doubling of the time brings them {:.2g} nats, which a search would cost"
SHORTER = "it is better beyond chance than a longer training, which learned by heart"


class Tuned(Result):
    """What came of a tuning.

    Attributes:
        settings: the best ones, as ``--set`` takes them; none where the defaults are kept.
        trials: how many were trained to their end, and how many were given up on the way.
        pruned: those.
        gain: nats by which the best is better than the defaults on validation examples that no trial was judged by,
            each trained for the same time.
        interval: where that is with 95 % confidence.
        kept: ``tuned`` or ``defaults``: whose settings ``best`` has.
        says: why, in words.
        epochs: of ``best``, where it is better for being shorter than there was time for.
    """

    section = "Tuning"
    trials: int = figure("trials", form=",")
    pruned: int = figure("given up on the way", form=",")
    settings: list[str]
    gain: float | None = figure("better than the defaults", "nats per example", form="+.3f", interval="interval")
    interval: list[float] | None = None
    kept: str = figure("kept")
    says: str = figure("since")
    epochs: float | None = figure("epochs, more are no better", form=".3g", default=None)


def better(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the figure of one training is higher, or the other has none.

    Example:
        >>> better({"value": 0.0}, {"value": None}), better({"value": None}, {"value": 0.0})
        (True, False)
    """
    mine, theirs = one["value"], other["value"]
    return mine is not None and (theirs is None or mine > theirs)


def chosen(
    settings: list[str], ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None, trials: int, pruned: int
) -> Tuned:
    """The best settings, none where they are the recipe's own, or the defaults.

    Args:
        settings: as ``--set`` takes them.
        ours: their training: its figure, ``value``, and log-likelihoods of examples, ``apart``, where there are such.
        theirs: that of the defaults.
        trials: that came to their end.
        pruned: that were given up.

    Example:
        >>> found = chosen(["a=1"], {"apart": [2.0, 3.0, 4.0]}, {"apart": [1.0, 2.0, 3.1]}, 2, 0)
        >>> found.kept, round(found.gain, 2)
        ('tuned', 0.97)
    """

    def found(kept: str, says: str, gain: float | None = None, sides: list[float] | None = None) -> Tuned:
        mine = settings if kept == "tuned" else []
        return Tuned(trials=trials, pruned=pruned, settings=mine, gain=gain, interval=sides, kept=kept, says=says)

    if not settings or ours is None or theirs is None:
        return found("defaults", "no trial was better than that of the defaults" if trials else LITTLE)
    if "apart" not in ours:
        says = "the figure of samples is {}; it has no pair, no interval"
        best = better(ours, theirs)
        return found("tuned" if best else "defaults", says.format("better" if best else "no better"))
    apart = torch.tensor(ours["apart"], dtype=torch.float64) - torch.tensor(theirs["apart"], dtype=torch.float64)
    gain, n = apart.mean().item(), len(apart)
    sides = interval(gain, apart.std().item() / math.sqrt(n), n)
    if sides[0] > 0:
        return found("tuned", "it is better beyond chance", gain, sides)
    return found("defaults", f"{' '.join(settings)} is not better beyond chance", gain, sides)


def plan(seconds: float, each: float, searched: float, longer: float, search: Iterable[str]) -> str:
    """What a tuning will do, in a line."""
    if not searched:
        return f"plan for {clock(seconds)}: too little for trials of {clock(each)}: the defaults are trained"
    trials = f"about {searched / each:.0f} trials of {clock(each)} over {', '.join(search)}"
    pair = f"then the best and the defaults for {clock(longer)} each"
    return f"plan for {clock(seconds)}: {trials}, {pair}; what is kept of the two goes on for the rest"
