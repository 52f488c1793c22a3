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


class Change(NamedTuple):
    """What changes among the values of a state, and why in words."""

    values: dict[str, Any]
    says: str


def back(values: Mapping[str, Any], smaller: float, step: int) -> dict[str, Any]:
    """What a training that failed goes on with from ``step``: what is best so far, and ``smaller`` of its rate; or,
    where it had grown to that, what it grew from, and then that is no return of those after which it gives up."""
    scale, grown = values["rate_scale"], values.get("rate_grown", False)
    found = {"rate_scale": scale * (HALF if grown else smaller), "rate_limit": HALF * scale, "rate_since": step}
    found |= {"rate_grown": False, "rate_least": None, "rollbacks": values["rollbacks"] + (not grown)}
    return found | {name: values[name] for name in BEST if name in values}


def fell(values: Mapping[str, Any], mean: float) -> str | None:
    """Why steps that grew lead down: what is climbed has a ``mean`` under the least that it was to have."""
    least = values.get("rate_least")
    if not values.get("rate_grown") or least is None or not mean < least:
        return None
    return f"what is climbed fell to {mean:.5g} nats since its steps grew"


def grown(values: Mapping[str, Any], step: int, total: int, least: float) -> Change | None:
    """What changes after a step of ``total``; None for nothing. What is climbed isn't to fall under ``least``.

    Example:
        >>> values = {"rate_scale": 1.0, "rollbacks": 0}
        >>> values |= back(values, 0.1, step=0)
        >>> grown(values, 4, 100, -50.0) is None, grown(values, 5, 100, -50.0).values["rate_scale"]
        (True, 0.2)
    """
    scale = values["rate_scale"]
    limit = values.get("rate_limit", scale)
    if scale >= limit or step - values.get("rate_since", 0) < STRETCH * total:
        return None
    now = {"rate_scale": min(2 * scale, limit), "rate_grown": True, "rate_since": step, "rate_least": least}
    return Change(now, f"its steps were small enough: they grow again, to {now['rate_scale']:g} of the learning rate")
