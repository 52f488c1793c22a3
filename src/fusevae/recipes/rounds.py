"""A time for everything, shared out: a first round for all candidates, then the better half is trained on, and so on.

A run is trained on, not anew: its learning rate rises again to where the longer schedule has it (a warm restart,
Loshchilov & Hutter 2017), and what was best on validation examples stays kept. One that has stopped by its patience has
learned what it can, and leaves its time to the others.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fusevae.core.durations import clock
from fusevae.recipes.candidates import Cost, say

USED = 0.92  # of the time: the rest is for the page, and for what takes longer than was foreseen
JUDGE, SMALLEST = 0.15, 1 / 64  # most of the time that what judges samples is trained for; least part of its training
EVALUATION = 0.2  # of the time that the evaluation at the end may take; the looks between the rounds half of it
LOOK = 0.25  # of the examples and samples of the evaluation, that a look between two rounds takes
FEWEST = 200  # examples and samples that an evaluation keeps
OVERHEAD = 5.0  # seconds of timing, report and pictures of a training, until some are known
PASSES = 4  # over the held-out examples, with one importance sample each, that are timed, validated and reported beside
LEAST = 1.0  # seconds of a training
MORE, AGAIN = 0.03, 2  # of the time, that each has in a round more than were planned; how many there are of these


class Effort(NamedTuple):
    """How far models are judged: with how many samples, importance samples and held-out examples; and about how long it
    takes, all models together."""

    samples: int
    importance_samples: int
    examples: int
    seconds: float


def effort(costs: Mapping[str, Cost], total: float, samples: int, k: int, examples: int) -> Effort:
    """The most that is evaluated within its part of the time: fewer importance samples first, then fewer examples and
    samples.

    Example:
        >>> effort({"a": Cost(1000.0, 10.0)}, 600, 2000, 100, 10_000)
        Effort(samples=2000, importance_samples=10, examples=10000, seconds=110.0)
    """
    likelihood, made = sum(c.likelihood for c in costs.values()), sum(c.samples for c in costs.values())
    part = 1.0
    few = k
    while likelihood * few / k + made > EVALUATION * total and few > 10:
        few = max(10, few // 2 if few < 40 else few // 10)
    while part > SMALLEST and part * (likelihood * few / k + made) > EVALUATION * total:
        part /= 2
    n, m = (max(min(FEWEST, whole), round(part * whole)) for whole in (samples, examples))
    seconds = likelihood * few / k * m / max(1, examples) + made * n / max(1, samples)
    return Effort(n, few, m, seconds)


def sizes(candidates: int, look: float, total: float) -> list[int]:
    """How many are trained in each round, half of them each time until there are two, as long as looks of so many
    seconds a model are no more than half of an evaluation's part.

    Example:
        >>> sizes(5, 1.0, 600), sizes(5, 8.0, 600), sizes(2, 1.0, 600)
        ([5, 3, 2], [5, 3], [2])
    """
    found, spent = [candidates], 0.0
    while found[-1] > 2 and spent + look * found[-1] <= EVALUATION / 2 * total:
        spent += look * found[-1]
        found.append(-(-found[-1] // 2))
    return found


def planned(
    costs: Mapping[str, Cost], total: float, judge: float, samples: int, k: int, examples: int
) -> dict[str, Any]:
    """How a time is shared out: what judges samples, whose usual training takes ``judge`` seconds, the evaluation, and
    how many are trained in each round."""
    part = 1.0
    while judge * part > JUDGE * total and part > SMALLEST:
        part /= 2
    found = effort(costs, total, samples, k, examples)
    overheads = {name: OVERHEAD + PASSES * cost.once for name, cost in costs.items()}
    look = LOOK * found.seconds / max(1, len(costs)) + (OVERHEAD if len(costs) > 2 else 0.0)
    return {
        "sizes": sizes(len(costs), look, total),
        "judge_part": part,
        "judge_seconds": judge * part,
        "look_seconds": look,
        "overheads": overheads,
        **{"evaluation": found._asdict()},
    }


def affordable(
    costs: Mapping[str, Cost], total: float, spent: float, judge: float, samples: int, k: int, examples: int
) -> dict[str, Any]:
    """The same plan, of as many of the candidates, the first ones, as get longer trainings in the first round than
    what is beside each takes; of two at least.

    Example:
        >>> costs = dict.fromkeys("abcde", Cost(0.1, 0.1))
        >>> [affordable(costs, total, 0.0, 0.0, 100, 10, 100)["sizes"] for total in (40, 300)]
        [[3], [5, 3]]
        >>> slow = dict.fromkeys("abcde", Cost(50.0, 5.0, 5.0))  # a pass over what is held out takes 5 s
        >>> affordable(slow, 240, 0.0, 0.0, 200, 10, 3000)["sizes"]
        [3]
    """
    for n in range(len(costs), 0, -1):
        found = planned(dict(list(costs.items())[:n]), total, judge, samples, k, examples)
        overhead = max(found["overheads"].values())
        if n <= 2 or shared(found, 0, n, USED * total - spent, overhead) >= overhead:
            break
    return found


def shared(plan: Mapping[str, Any], number: int, trainings: int, left: float, overhead: float) -> float:
    """Seconds of each training of a round, of those that are left of the whole: each round has the same."""
    rest: Sequence[int] = plan["sizes"][number:]
    other = beside(plan, number) + plan["look_seconds"] * sum(rest[:-1]) + overhead * sum(rest)
    return (left - other) / len(rest) / max(1, trainings)


def beside(plan: Mapping[str, Any], number: int) -> float:
    """Seconds of the evaluation at the end, and of what judges samples where it is not there yet."""
    return float(plan["evaluation"]["seconds"] + (plan["judge_seconds"] if number == 0 else 0.0))


def lessened(plan: Mapping[str, Any], left: float) -> Effort:
    """How far models are judged at the end, with so many seconds left: less far where calls that were killed have taken
    the time.

    Example:
        >>> lessened({"evaluation": Effort(2000, 100, 10_000, 60.0)._asdict()}, 30.0)
        Effort(samples=1000, importance_samples=50, examples=5000, seconds=60.0)
    """
    found = Effort(**plan["evaluation"])
    part = max(0.0, min(1.0, left / max(1e-6, found.seconds)))
    n, m = (max(min(FEWEST, whole), round(part * whole)) for whole in (found.samples, found.examples))
    return Effort(n, max(min(10, found.importance_samples), round(part * found.importance_samples)), m, found.seconds)


def said(names: Sequence[str], plan: Mapping[str, Any], total: float, spent: float) -> list[str]:
    """The plan in words."""
    lines, left = [f"plan for {clock(total)}, everything included: {', '.join(names)}"], USED * total - spent
    for i, size in enumerate(plan["sizes"]):
        each = shared(plan, 0, plan["sizes"][0], left, foreseen(plan, names)) * plan["sizes"][0] / size
        who = f"the best {size}, trained on" if i else "all" if len(names) > 1 else names[0]
        lines.append(f"  round {i + 1}: {who}, about {clock(max(LEAST, each))}{' each' * (size > 1)}")
    judge, found = plan["judge_seconds"], plan["evaluation"]
    if judge:
        part = f", {plan['judge_part']:.3g} of its usual training" if plan["judge_part"] < 1 else ""
        lines.append(f"  what judges samples: about {clock(judge)}, {judge / total:.0%} of the time{part}")
    lines.append(
        f"  evaluation: about {clock(found['seconds'])}: {found['examples']:,} held-out examples, k = "
        f"{found['importance_samples']}, at most {found['samples']:,} samples of each"
    )
    return lines


def rounds(
    names: Sequence[str],
    kept: dict[str, Any],
    total: float,
    train: Callable[[str, int, float], float | None],
    best: Callable[[int], Sequence[str]],
    save: Callable[[], None],
    settled: Callable[[str], bool],
    spent: Callable[[], float],
    quiet: bool = False,
) -> bool:
    """Train round by round until the time is spent; returns whether it was not stopped on the way. What is left after
    the last planned round, where some have learned what they can, goes to the best of the others.

    Args:
        names: of the candidates.
        kept: what is known of the bench: ``plan``, and ``rounds`` as far as they have come, which this goes on with.
        total: seconds for everything.
        train: a candidate, the round's number and its seconds: trains it, or goes on with it; returns the seconds that
            it took beside its training, None where it was stopped. They are fewer where calls that were killed have
            taken so many that the time would not last.
        best: candidates after a round of so many, the best first.
        save: keeps ``kept``.
        settled: whether a candidate has learned what it can, or can't be trained.
        spent: seconds so far, all calls together.
    """
    begun, plan, beyond = kept.setdefault("rounds", []), kept["plan"], len(kept["plan"]["sizes"])
    overheads: dict[str, float] = kept.setdefault("overheads", {})
    for number in range(beyond + AGAIN):
        if number == len(begun):
            ranked = next((each["best"] for each in reversed(begun) if "best" in each), names)
            open_ = [name for name in ranked if not (number and settled(name))]
            open_ = open_[: plan["sizes"][min(number, beyond - 1)]]
            each = foreseen(plan, open_, overheads)
            if number < beyond:
                seconds, least = shared(plan, number, len(open_), USED * total - spent(), each), LEAST
            else:
                left = USED * total - spent() - beside(plan, number)
                seconds, least = left / max(1, len(open_)) - each, max(each, MORE * total)
            if number and (seconds < least or not open_):
                break
            begun.append({"names": open_, "seconds": max(LEAST, seconds)})
            save()
        this = begun[number]
        if "best" in this:
            continue
        say(f"round {number + 1}: {', '.join(this['names'])}, {clock(this['seconds'])} each", quiet)
        for name in this["names"]:
            open_ = [name for name in this["names"] if kept["done"].get(name, {}).get("round", -1) < number]
            if name not in open_ or (settled(name) and number):
                continue
            left = (total - spent() - beside(plan, number)) / len(open_)
            overhead = train(name, number, max(LEAST, min(this["seconds"], left - foreseen(plan, open_, overheads))))
            if overhead is None:
                return False
            overheads[name] = overhead
            save()
        if number + 1 < beyond:
            this["best"] = list(best(number))
        save()
    return True


def foreseen(
    plan: Mapping[str, Any], names: Sequence[str], known: Mapping[str, float] = types.MappingProxyType({})
) -> float:
    """Seconds that each of some trainings takes beside it, on average: what it took before, else what was planned,
    times what those that are known took of theirs.

    Example:
        >>> plan = {"overheads": {"a": 5.0, "b": 10.0}}
        >>> foreseen(plan, ["a", "b"]), foreseen(plan, ["a", "b"], {"a": 8.0})
        (7.5, 12.0)
    """
    times = sum(known.values()) / sum(plan["overheads"][name] for name in known) if known else 1.0
    return sum(known.get(name, times * plan["overheads"][name]) for name in names) / max(1, len(names))
