"""Is it good? Each way in which a generative model fails, in a line with its evidence and what mends it.

What judges samples says what its figures show (:meth:`fusevae.evaluation.judge.SampleQuality.failings`); nothing is
said that could be chance: an interval of 95 % has to be beyond what real examples have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

from fusevae.evaluation.collapse import warnings
from fusevae.evaluation.scores import Likelihood

FEWEST = 10  # examples that latents are to tell apart
FEW = 200  # real examples under which a figure of samples says little
PART = 0.8  # of what real examples have: under this something is lacking
COPIES = 0.1  # of the samples, that are nearer to training examples than all but a hundredth of held-out ones
SURE = 1.96  # standard errors of a mean, which are no chance
UNJUDGED = "fusevae evaluate RUN --samples does it"
ALIKE = 0.05  # variance of what a critic judges, as a part of the data's, under which it is all alike
LATE, EARLY = 0.1, 100  # of all that was learned: more in the last quarter is far from the end; steps that are few
GAP = 0.1  # of what a model has gained over a constant one, that training examples may be likelier than held-out ones


@dataclass(frozen=True)
class Failing:
    """One way in which a model fails.

    Attributes:
        name: of it, a word or two.
        evidence: the figures that it is seen by.
        remedy: what mends it; empty where nothing is to be done.

    Example:
        >>> print(Failing("copying", "31 % of the samples are copies", "give more data"))
        copying: 31 % of the samples are copies; give more data
    """

    name: str
    evidence: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence}" + (f"; {self.remedy}" if self.remedy else "")


def lacking(interval: Sequence[float] | None, real: float | None, part: float = PART) -> bool:
    """Whether a figure, which is in that interval, is surely under a part of what real examples have.

    Example:
        >>> lacking([0.3, 0.5], 0.8), lacking([0.3, 0.7], 0.8), lacking(None, 0.8)
        (True, False, False)
    """
    return interval is not None and real is not None and max(interval) < part * real


def further(failings: Sequence[Failing], more: Sequence[Failing]) -> list[Failing]:
    """Those of ``more`` that are of no kind that has been named."""
    return [each for each in more if each.name not in {known.name for known in failings}]


class Neighbours(Protocol):
    """Figures of neighbourhoods, with their intervals."""

    precision: float
    recall: float
    coverage: float
    intervals: dict[str, list[float]]


def of_neighbours(found: Neighbours, real: Neighbours) -> list[Failing]:
    """What :func:`fusevae.evaluation.distances.neighbourhoods` show of samples, beside what real examples have."""
    failings, inside = [], found.intervals.get
    if lacking(inside("precision"), real.precision):
        says = f"{found.precision:.0%} of the samples lie among real examples, {real.precision:.0%} of others do"
        remedy = "train longer, or take a decoder or prior that can do more"
        failings.append(Failing("unlike the data", says, remedy))
    if lacking(inside("coverage"), real.coverage) and lacking(inside("recall"), real.recall):
        says = f"samples reach {found.recall:.0%} of the real examples, others {real.recall:.0%}"
        failings.append(Failing("not covering the data", says, "look for classes that are never drawn; train longer"))
    return failings


def of_training(records: Iterable[Mapping[str, Any]], final: Likelihood | None = None) -> list[Failing]:
    """What the records of a training say: what was wrong at the last look at held-out examples, and whether these are
    much less likely than training examples; whether what a critic judged was all alike; of one that has its ``final``
    figures whether it was far from its end.

    The ``final`` figures, of other held-out examples, have to say the same, beyond ``SURE`` times their standard error:
    the mean over a few, or over many of which one lies far off, says little.

    Example:
        >>> seen = {"train": {"elbo": -50.0}, "validation": {"elbo": -80.0}, "diagnosis": {"constant_model": -90.0}}
        >>> [failing.name for failing in of_training([seen])]
        ['overfitted']
    """
    records = list(records)
    diagnosis = _known(next((r["diagnosis"] for r in reversed(records) if "diagnosis" in r), {}))
    constant = diagnosis.get("constant_model")
    found = _too_short(records, constant) if final is not None else []
    found += [Failing(name, text) for name, text in warnings(diagnosis, finished=True).items()]
    told = diagnosis.get("mutual_information") if len(diagnosis.get("units", ())) == 1 else None  # of the top level
    several = diagnosis.get("examples", 0) > FEWEST  # of n it is log n at most
    if told is not None and several and told < math.log(2) and "collapsed" not in {f.name for f in found}:
        evidence = f"I(x; z) is {told:.2f} nats, less than one answer of yes or no: examples are hardly told apart"
        found.append(Failing("latents say little", evidence, "objective.free_bits=0.1, or a weaker decoder"))
    beside = (part for r in reversed(records) for key, part in r.items() if key.endswith("diagnosis"))
    variance = next((part["variance"] for part in beside if part.get("variance") is not None), math.inf)
    if variance < ALIKE:  # of what the critic of a game judges
        evidence = f"what the critic judges varies {variance:.3f} times as much as real examples do"
        found.append(Failing("all alike", evidence, "train longer, or with a smaller training.learning_rate"))
    again, error = -math.inf, 0.0
    if final is not None:
        again = final.log_likelihood.value if final.elbo is None else final.elbo
        error = final.log_likelihood.stderr or 0.0
    for name in ("elbo", "log_bound"):
        seen, held = _of_what_is_kept(records, name)
        if None in (seen, held, constant) or not held > constant:
            continue
        if seen - max(held, again) > max(GAP * (held - constant), SURE * error):
            evidence = f"training examples have {seen:.5g} nats, held-out ones {held:.5g} (a constant {constant:.5g})"
            found.append(Failing("overfitted", evidence, "give more data, or a narrower net, or training.patience"))
            break
    return found


def _too_short(records: Sequence[Mapping[str, Any]], constant: float | None) -> list[Failing]:
    """Whether held-out examples gained much from the last look before the last quarter on, of all they have gained
    since the first look, or beside a constant model where that is more; whether training ones did where held-out ones
    were looked at too seldom to tell."""
    for name, (part, whose) in product(("elbo", "log_bound"), (("validation", "held-out"), ("train", "training"))):
        looks = [(r["step"], r[part].get(name)) for r in records if part in r and "step" in r]
        known = [(step, value) for step, value in looks if value is not None]
        if not known or known[0][0] == known[-1][0]:
            continue
        (first, begun), end = known[0], known[-1][0]
        since = max(step for step, _ in known if step <= max(first, 0.75 * end))
        if 3 * since < end and end >= EARLY:
            continue
        best, kept = max(value for step, value in known if step <= since), max(value for _, value in known)
        at_none = constant is not None and constant < kept and (begun < constant or part == "train")
        gained, whole = kept - best, kept - (constant if at_none else begun)
        if not gained > LATE * whole > 0:
            return []
        evidence = (
            f"from step {since:,} to its end at step {end:,} {whose} examples gained {gained:,.3g} nats, "
            f"{min(1.0, gained / whole):.0%} of all that was learned"
        )
        return [Failing("too short", evidence, "train longer (--budget, training.epochs)")]
    return []


def _of_what_is_kept(records: Sequence[Mapping[str, Any]], name: str) -> tuple[Any, Any]:
    """A figure of training and of held-out examples at the state that a training left: the last one, or the best where
    held-out figures fell since; None where there is none."""
    best = any(record.get("event") == "kept" for record in records)
    now = seen = held = None
    for record in records:
        now = record.get("train", {}).get(name, now)
        value = record.get("validation", {}).get(name)
        if value is not None and (held is None or not best or value > held):
            seen, held = now, value
    return seen, held


def _known(diagnosis: Mapping[str, Any]) -> dict[str, Any]:
    """A diagnosis from its record, in which what is not finite is None, or which an earlier version wrote with less."""
    found = {k: math.nan if v is None and k in ("elbo", "kl", "log_bound") else v for k, v in diagnosis.items()}
    codes = diagnosis.get("codes", {}).values()
    whole = {"kl", "largest_kl", "codes"} <= found.keys() and all("places" in c and c["perplexity"] for c in codes)
    return found if whole else {k: v for k, v in found.items() if k != "units"}


def verdict(
    failings: Sequence[Failing], n: int | None = None, unjudged: str = "", likelihood: bool = True
) -> list[str]:
    """Lines for a user: each failing, or that nothing was found; how much so few examples can tell, and what to do
    where samples were not judged, of a model with a likelihood or without one.

    Example:
        >>> verdict([], 60)
        ['nothing wrong was found', '60 real examples tell large faults only: hold out 200 or more']
        >>> verdict([], unjudged="see above")
        ['nothing wrong was found of the training and of the likelihood', 'samples were not judged: see above']
        >>> verdict([], unjudged="see above", likelihood=False)[0]
        'nothing wrong was found of the training'
    """
    seen = " of the training" + likelihood * " and of the likelihood" if unjudged else ""
    good = f"nothing wrong was found{seen}"
    lines = [str(each) for each in failings] or [good]
    if n is not None and n < FEW:
        lines.append(f"{n:,} real examples tell large faults only: hold out {FEW} or more")
    return [*lines, *([f"samples were not judged: {unjudged}"] if unjudged else [])]
