"""Which model to take: for likelihood, samples, latents and speed; by how much, and how surely. From the figures alone.

Two trainings of one recipe differ by their seeds, whatever the number of examples; so what is beyond chance over the
examples but as small as what another seed changes is no difference (``SEEDS``, ``rows.NEAR``, ``FASTER``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from fusevae.evaluation.compare import Difference
from fusevae.evaluation.of_model import ModelResult
from fusevae.evaluation.results import RECONSTRUCTIONS, SAMPLES, Figure, Result
from fusevae.evaluation.rows import surely

SEEDS = 0.1  # of the standard deviation of log p(x) over the examples: what another seed may change its mean by
FASTER = 2.0  # times: less is told apart by no timing on a machine that does other things, too
COLLAPSED = 0.1  # nats of KL under which latents say nothing


class Advice(Result):
    """What to take for one purpose.

    Attributes:
        purpose: ``likelihood``, ``samples``, ``latents`` or ``speed``.
        take: the best, then those that can't be told from it.
        says: why, in words.
        figure: by which, its key in a model's result; empty where nothing was to be compared.
        over: what the likelihoods are over.
        sure: whether the first is told apart from all others.
    """

    purpose: str
    take: list[str]
    says: str
    figure: str = ""
    over: str = ""
    sure: bool = False
    order: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        where = f" ({self.over})" if self.over else ""
        return f"for {self.purpose}{where}: {self.says}"


def advice(models: Mapping[str, ModelResult], differences: Sequence[Difference], n: int) -> list[Advice]:
    """What to take, purpose by purpose; where there is nothing to say of one, it is left out.

    Args:
        models: by name.
        differences: in log p(x), of those whose likelihoods are over the same.
        n: examples of these likelihoods.
    """
    found = _likelihoods(models, differences, n)
    judged = {name: m for name, m in models.items() if m.quality is not None}
    failing = {name: [f.name for f in m.quality.failings()] for name, m in judged.items()}  # type: ignore[union-attr]
    copying = [name for name, failings in failing.items() if "copying" in failings]
    fair = {name: m for name, m in judged.items() if name not in copying} or judged
    more = f"; left out, since they copy training data: {_and(copying)}" if copying and len(fair) < len(judged) else ""
    samples = _told("samples", fair, SAMPLES, more)
    for one in samples:
        one.says += _flawed("; yet not good: ", [name for name in one.take if failing[name]], failing)
    found += samples
    latent = {name: m for name, m in models.items() if m.latents is not None}
    found += _told("latents", _alive(latent), RECONSTRUCTIONS, _collapsed(latent))
    return found + _speeds(judged, failing, samples)


def order(found: Iterable[Advice], models: Iterable[str]) -> list[str]:
    """Models by what is known of likelihoods and samples, the best first: those that are the best at something, then by
    their mean places.

    Example:
        >>> one = Advice(purpose="samples", take=["b"], says="", order=["b", "c", "a"])
        >>> two = Advice(purpose="likelihood", take=["a"], says="", order=["a", "c"])
        >>> order([one, two], ["a", "b", "c", "d"])
        ['b', 'a', 'c', 'd']
    """
    names, ranks = list(models), [a.order for a in found if a.purpose in ("samples", "likelihood") and len(a.order) > 1]

    def place(name: str) -> tuple[bool, float]:
        places = [each.index(name) / (len(each) - 1) for each in ranks if name in each]
        return not any(each[0] == name for each in ranks), sum(places) / len(places) if places else 1.0

    return sorted(names, key=place)


def would_change(models: Mapping[str, ModelResult], n: int) -> list[str]:
    """What more time may change: the models whose curve still rises by more than another seed changes."""
    found = []
    for name, m in models.items():
        gained = m.training.gained if m.training is not None else None
        if gained is not None and m.log_likelihood is not None and gained > _seeds(m, n):
            found.append(f"{name} still gained {_nats(gained)} nats in the last quarter of its training")
    return [f"more time may change this: {'; '.join(found)}"] if found else []


# ---------------------------------------------------------------- likelihood


def _likelihoods(models: Mapping[str, ModelResult], differences: Sequence[Difference], n: int) -> list[Advice]:
    groups: dict[str, list[str]] = {}
    for name, m in models.items():
        if m.log_likelihood is not None and math.isfinite(m.log_likelihood.value):
            groups.setdefault(m.over, []).append(name)
    found = []
    for over, names in groups.items():
        if len(names) == 1:
            says = f"{names[0]} is the only one that has one over this"
            found.append(Advice(purpose="likelihood", take=names, says=says, over=over, order=names))
            continue
        value = {name: models[name].log_likelihood.value for name in names}  # type: ignore[union-attr]
        best, *others = sorted(names, key=lambda name: -value[name])
        apart = {name: _apart(differences, best, name) for name in others}
        limit = {name: max(_seeds(models[best], n), _seeds(models[name], n)) for name in others}
        equal = [name for name in others if not (apart[name] and apart[name][1][0] > limit[name])]  # type: ignore[index]
        kind = {models[name].log_likelihood.kind for name in (best, *others)}  # type: ignore[union-attr]
        more = "; what is a bound may be better than it looks" if len(kind) > 1 else ""
        gap = {name: _gap(apart[name], limit[name]) for name in others}
        says = _sentence(best, equal, others, gap, f"{value[best]:,.2f} nats")
        found.append(
            Advice(
                purpose="likelihood",
                take=[best, *equal],
                says=says + more,
                figure="log_likelihood.value",
                over=over,
                sure=not equal,
                order=[best, *others],
            )
        )
    return found


def _seeds(m: ModelResult, n: int) -> float:
    """Nats that another seed may change the mean by."""
    error = m.log_likelihood.stderr if m.log_likelihood is not None else None
    return SEEDS * (error or 0.0) * math.sqrt(n)


def _apart(differences: Sequence[Difference], a: str, b: str) -> tuple[float, list[float]] | None:
    """By how much a is likelier than b, and where that is with 95 % confidence."""
    for d in differences:
        if (d.model, d.minus) == (a, b):
            return d.value, d.interval
        if (d.model, d.minus) == (b, a):
            return -d.value, [-end for end in reversed(d.interval)]
    return None


def _gap(apart: tuple[float, list[float]] | None, limit: float) -> str:
    if apart is None:
        return "no difference is known"
    value, (low, high) = apart
    small = f"; another seed may change {limit:.2g}" if low <= limit and low > 0 else ""
    return f"{_nats(value)} nats more than {{}}, 95 % between {_nats(low)} and {_nats(high)}{small}"


def _nats(value: float) -> str:
    """Three digits, of thousands all.

    Example:
        >>> _nats(0.12345), _nats(1754.2)
        ('0.123', '1,754')
    """
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


# ---------------------------------------------------------------- samples and latents


def _told(purpose: str, models: Mapping[str, ModelResult], section: str, more: str = "") -> list[Advice]:
    """By the figures of a section that decide, one after the other among those that the ones before can't tell
    apart."""
    each = {name: _deciding(m, section) for name, m in models.items()}
    keys = sorted({(f.decides, key) for known in each.values() for key, f in known.items()})
    if not models:
        return []
    if len(models) == 1:
        (name,) = models
        says = f"{name} is the only one that {'is left' if more else 'has any'}{more}"
        return [Advice(purpose=purpose, take=[name], says=says, order=[name])]
    left, ranks, says, decided = list(models), list(models), "", ""
    for _, key in keys:
        known = {name: each[name][key] for name in left if key in each[name]}
        if len(known) < 2:
            continue
        sign = -1 if next(iter(known.values())).better == "high" else 1
        best, *others = sorted(known, key=lambda name: sign * known[name].value)
        equal = [name for name in others if not surely(known[best], known[name])]
        if not decided:
            every = {name: each[name][key].value for name in models if key in each[name]}
            ranks = sorted(every, key=lambda name: sign * every[name])
        first = known[best]
        beside = {name: f"{{}} has {known[name].cell}" for name in others}
        says = _sentence(best, equal, others, beside, f"{first.cell} ({first.name})")
        decided, left = key, [best, *equal]
        if len(left) == 1:
            break
    if not decided:
        says = f"no figure that has an interval tells {_and(list(models))} apart{more}"
        return [Advice(purpose=purpose, take=list(models), says=says)]
    return [Advice(purpose=purpose, take=left, says=says + more, figure=decided, sure=len(left) == 1, order=ranks)]


def _deciding(m: ModelResult, section: str) -> dict[str, Figure]:
    """The figures that decide and that have an interval, by their keys."""
    return {
        f.key: f
        for f in m.figures()
        if f.of == section and f.decides and not f.aside and f.value is not None and f.interval is not None
    }


def _alive(models: Mapping[str, ModelResult]) -> dict[str, ModelResult]:
    return {name: m for name, m in models.items() if name not in _dead(models)}


def _dead(models: Mapping[str, ModelResult]) -> list[str]:
    """Those whose latents say nothing; codes have no active units, but a KL."""
    told = {name: m.latents for name, m in models.items() if m.latents is not None}
    return [n for n, z in told.items() if (z.dims and z.active == 0) or (z.kl is not None and z.kl < COLLAPSED)]


def _collapsed(models: Mapping[str, ModelResult]) -> str:
    dead = _dead(models)
    return f"; collapsed, and so left out: {_and(dead)}" if dead else ""


# ---------------------------------------------------------------- speed, words


def _flawed(word: str, names: Sequence[str], failing: Mapping[str, Sequence[str]]) -> str:
    return word + _and([f"{name} ({', '.join(failing[name])})" for name in names]) if names else ""


def _speeds(
    models: Mapping[str, ModelResult], failing: Mapping[str, Sequence[str]], samples: Sequence[Advice]
) -> list[Advice]:
    """The fastest of those whose samples don't fail; of two at least, and what is worse at samples is said."""
    seconds = {n: m.quality.seconds_per_sample for n, m in models.items() if m.quality is not None}
    known = {name: s for name, s in seconds.items() if s}
    if len(known) < 2:
        return []
    sound = [name for name in known if not failing[name]]
    out = [name for name in known if failing[name]] if len(sound) > 1 else []
    best, *others = sorted((name for name in known if name not in out), key=lambda name: known[name])
    equal = [name for name in others if known[name] < FASTER * known[best]]
    slower = {name: f"{{}} takes {known[name] / known[best]:.2g} times as long" for name in others}
    says = _sentence(best, equal, others, slower, f"{1000 * known[best]:.3g} ms a sample")
    worse = [n for n in (best, *equal) if any(n in one.order and n not in one.take for one in samples)]
    if worse and not equal:
        says = f"{best} is the fastest{says.removeprefix(f'take {best}')}"
    says += f"; but the samples of {_and(worse)} are worse" if worse else ""
    says += _flawed("; left out, since their samples fail: ", out, failing)
    key = "quality.seconds_per_sample"
    return [Advice(purpose="speed", take=[best, *equal], says=says, figure=key, sure=not equal, order=[best, *others])]


def _sentence(best: str, equal: list[str], others: list[str], gap: Mapping[str, str], value: str) -> str:
    """The best, with those that are equal to it, and the next that is not."""
    rest = [name for name in others if name not in equal]
    if not equal:
        return f"take {best}: {value}, {gap[rest[0]].format(rest[0])}"
    says = f"{_and([best, *equal])} can't be told apart: {best} has {value}, {gap[equal[0]].format(equal[0])}"
    return says + (f"; better than {_and(rest)}" if rest else "")


def _and(names: Sequence[str]) -> str:
    """Names in words.

    Example:
        >>> _and(["a"]), _and(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
