"""How large the steps of a training are that has gone back because they were too large, and when they grow again.

What failed once may have been one bad stretch: a rate that was taken back twice, to a twentieth, and never grew again
left a training far behind. All of it stands in the values of a state, so that a resumed training goes on with it, and
rests on figures that all processes share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

STRETCH = 0.05  # of the training, without trouble, after which its steps are twice as large
HALF = 0.5  # of what failed: as large as they grow
BEST = "best", "lives", "kept", "climbed"  # of the values, with which nothing was wrong
LOWER = 0.005  # of what is climbed, by which it may be lower after a stretch with larger steps


class Change(NamedTuple):
    """What changes among the values of a state, and why in words."""

    values: dict[str, Any]
    says: str


def back(values: Mapping[str, Any], smaller: float, step: int) -> dict[str, Any]:
    """What a training that failed goes on with from ``step``: what is best so far, and ``smaller`` of its rate; or,
    where it had grown to that, what it grew from, and then that is no return of those after which it gives up."""
    scale, grown = values["rate_scale"], values.get("rate_grown", False)
    found = {"rate_scale": scale * (HALF if grown else smaller), "rate_limit": HALF * scale, "rate_since": step}
    found |= {"rate_grown": False, "rate_mean": None, "rollbacks": values["rollbacks"] + (not grown)}
    return found | {name: values[name] for name in BEST if name in values}


def grown(values: Mapping[str, Any], step: int, total: int, mean: float) -> Change | None:
    """What changes after a step of ``total``; None for nothing. ``mean`` is what is climbed.

    Example:
        >>> values = {"rate_scale": 1.0, "rollbacks": 0}
        >>> values |= back(values, 0.1, step=0)
        >>> grown(values, 4, 100, -50.0) is None, grown(values, 5, 100, -50.0).values["rate_scale"]
        (True, 0.2)
    """
    scale = values["rate_scale"]
    limit, before = values.get("rate_limit", scale), values.get("rate_mean")
    if step - values.get("rate_since", 0) < STRETCH * total:
        return None
    now = {"rate_since": step, "rate_mean": mean}
    if values.get("rate_grown") and before is not None and mean < before - LOWER * abs(before):
        says = f"what is climbed fell from {before:.5g} to {mean:.5g} nats since its steps grew"
        now |= {"rate_scale": HALF * scale, "rate_limit": HALF * scale, "rate_grown": False}
        return Change(now, f"{says}: they are half as large again, {HALF * scale:g} of the learning rate, and stay so")
    if scale >= limit:
        return None
    now |= {"rate_scale": min(2 * scale, limit), "rate_grown": True}
    return Change(now, f"its steps were small enough: they grow again, to {now['rate_scale']:g} of the learning rate")
