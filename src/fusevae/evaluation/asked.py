"""Whether samples have what was asked for: the conditions that they were made with, told from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.conditions import Label
from fusevae.core.spec import DataSpec
from fusevae.data.examples import Examples
from fusevae.evaluation.intervals import INSIDE, interval_of_part
from fusevae.evaluation.results import SAMPLES, Result, figure
from fusevae.evaluation.samples import sample
from fusevae.evaluation.variety import corrected

MOST = 5000  # real examples that a teller is trained on
FEW = 50  # held-out examples under which what tells conditions is tried on all real ones, in turns
TURNS = 5  # parts of these, each told by what learned from the others
HALF, PLAIN = 0.5, 0.2  # of what real examples have beyond chance, and how much of what could be that is at least


class AsAsked(Result):
    """How far samples have what was asked for in one column: of classes how often they are taken for theirs, of numbers
    how what was got goes with what was asked.

    Attributes:
        n: samples whose condition was asked for, and that it can be told of.
        of: how many samples and real ones that is from and where the figure of these is, where they are few.
        intervals: where the figures are with 95 % confidence (Wilson 1927; Bonett & Wright 2000).
        accuracy: the part that is taken for the class that was asked for.
        real_accuracy: the same of real examples that were held out.
        chance: the part of the commonest class.
        rank_correlation: of what was asked and what was got (Spearman 1904).
        real_rank_correlation: of what real examples have and what is told of them; None where it is computed exactly.
        error: the mean absolute difference.
        by_chance: that of the same samples to what was asked of others.
        correlation: of what was asked and what was got (Pearson).
    """

    section = SAMPLES
    n: int
    intervals: dict[str, list[float]]
    accuracy: float | None = figure(
        "taken for the class",
        better="high",
        form=".1%",
        interval="intervals",
        real="real_accuracy",
        hint="{of}",
        default=None,
    )
    real_accuracy: float | None = None
    chance: float | None = None
    rank_correlation: float | None = figure(
        "rank correlation",
        better="high",
        form=".3f",
        interval="intervals",
        real="real_rank_correlation",
        hint="{of}",
        default=None,
    )
    real_rank_correlation: float | None = None
    of: str = ""
    error: float | None = figure("mean error", better="low", form=".3g", default=None)
    by_chance: float | None = figure("mean error by chance", form=".3g", default=None)
    correlation: float | None = figure("correlation", better="high", form=".3f", default=None)

    @property
    def score(self) -> float:
        """What is to be high, whichever kind of column it is."""
        return (self.accuracy if self.accuracy is not None else self.rank_correlation) or 0.0

    @property
    def real(self) -> float:
        """The same of real examples; 1 where a number is computed."""
        best = self.real_accuracy if self.accuracy is not None else self.real_rank_correlation
        return 1.0 if best is None else best

    def beside(self, real: AsAsked, few: bool) -> AsAsked:
        """The same with the figure of real examples; how many it is of is said where they are ``few``."""
        ends = next(iter(real.intervals.values()))
        said = " to ".join(f"{end:.0%}" if real.accuracy is not None else f"{end:.2f}" for end in ends)
        of = f"of {self.n} samples; real examples {said}, of {real.n}, each told by what learned from others"
        return replace(
            self, real_accuracy=real.accuracy, real_rank_correlation=real.rank_correlation, of=of if few else ""
        )

    @property
    def ignored(self) -> bool:
        """Whether samples surely have less than half of what real examples have beyond chance, where these have
        enough."""
        chance = self.chance or 0.0
        name = "accuracy" if self.accuracy is not None else "rank_correlation"
        most = max((self.score, *self.intervals.get(name, ())))
        return self.real - chance > PLAIN * (1 - chance) and most - chance < HALF * (self.real - chance)


def of_classes(got: np.ndarray, wanted: np.ndarray, real: float | None = None) -> AsAsked:
    """Classes that were told and asked for, ``(n,)``; NaN for one that isn't known.

    Example:
        >>> of_classes(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0]), real=0.9).accuracy
        0.6666666666666666
    """
    got, wanted = _known(got, wanted)
    accuracy = float((got == wanted).mean())
    return AsAsked(
        n=len(got),
        accuracy=accuracy,
        real_accuracy=real,
        chance=float(np.unique(wanted, return_counts=True)[1].max() / len(wanted)),
        intervals={"accuracy": interval_of_part(accuracy, len(got))},
    )


def of_numbers(got: np.ndarray, wanted: np.ndarray, real: float | None = None) -> AsAsked:
    """Numbers that were got and asked for, ``(n,)``, at least two that are known; what was asked of others is what was
    asked of the next ones.

    Example:
        >>> found = of_numbers(np.arange(9.0) ** 3, np.arange(9.0))
        >>> found.rank_correlation, found.correlation < 0.95
        (1.0, True)
    """
    got, wanted = _known(got, wanted)
    rank = _correlation(_ranks(got), _ranks(wanted))
    return AsAsked(
        n=len(got),
        rank_correlation=rank,
        real_rank_correlation=real,
        error=float(abs(got - wanted).mean()),
        by_chance=float(abs(got - np.roll(wanted, 1)).mean()),
        correlation=_correlation(got, wanted),
        intervals={"rank_correlation": _around(rank, len(got))},
    )


class Teller:
    """Tells the conditions of examples: computed where the kind of data knows how (``Schema.measured``), else by what
    learned it from real examples, a random forest on numbers, logistic or ridge regression on the words of texts (with
    the pairs of them, TF-IDF).

    Args:
        train: real examples with their conditions.
        most: of them, evenly over all.
        seed: of what draws while it learns.
    """

    def __init__(self, train: Examples, most: int = MOST, seed: int = 0) -> None:
        self.spec = train.spec
        x, label = train.batch(train.evenly(most))
        self.judges: dict[int, Any] = {}
        self.measured: set[str] = set()
        self.learned: tuple[Any, np.ndarray] | None = None
        columns = self.spec.conditions
        if columns is None or label is None:
            return
        known, seen = columns.numbers(label).numpy(), self.spec.schema.seen(x)
        self.learned = seen, known
        self.measured = set(self.spec.schema.measured(x[:1], columns.names))
        for i, column in enumerate(columns.columns):
            rows = np.isfinite(known[:, i])
            if column.name not in self.measured and len(np.unique(known[rows, i])) > 1:
                judge = _judge(isinstance(column, Label), not isinstance(seen, np.ndarray), seed)
                self.judges[i] = judge.fit(_of(seen, np.flatnonzero(rows)), known[rows, i])

    def told(self, x: Tensor, spec: DataSpec | None = None) -> dict[str, np.ndarray]:
        """What examples are taken for, by column: ``(n,)``, classes by their places, NaN for what can't be told. Those
        of a model whose tokens are others have its ``spec``."""
        spec = spec or self.spec
        assert self.spec.conditions is not None
        names = self.spec.conditions.names
        found = spec.schema.measured(x, [name for name in names if name in self.measured])
        seen = spec.schema.seen(x) if self.judges else None
        return {**found, **{names[i]: judge.predict(seen) for i, judge in self.judges.items()}}

    @property
    def classes(self) -> list[tuple[str, Sequence[str]]]:
        """The columns of classes that it tells, and their names."""
        columns = self.spec.conditions.columns if self.spec.conditions is not None else ()
        return [(c.name, c.classes) for i, c in enumerate(columns) if i in self.judges and isinstance(c, Label)]

    def shares(self, made: Tensor, held: Examples, spec: DataSpec | None = None) -> dict[str, list[float]]:
        """The parts of samples and of held-out examples that are of each class, corrected for what it mistakes of
        these (:func:`fusevae.evaluation.variety.corrected`)."""
        columns = self.spec.conditions
        x, label = held.batch(held.evenly(MOST))
        ours, theirs = self.told(made, spec), self.told(x)
        found: dict[str, list[float]] = {}
        known = None if columns is None or label is None else columns.numbers(label).numpy()
        for column, names in self.classes:
            told = true = theirs[column]
            if columns is not None and known is not None:
                there = np.isfinite(known[:, columns.names.index(column)])
                told, true = told[there], known[there, columns.names.index(column)]
            found |= corrected(ours[column], told, true, [f"{column} {name}" for name in names])
        return found

    def as_asked(self, made: Tensor, asked: Tensor, held: Examples, spec: DataSpec | None = None) -> dict[str, AsAsked]:
        """How far samples have what was asked for, by column, beside as many held-out examples; where these are few,
        beside all real examples, of which each fifth is told by what learned from the others."""
        columns = self.spec.conditions
        if columns is None:
            return {}
        got, real = self.told(made, spec), {}
        if self.judges:
            x, label = held.batch(held.evenly(len(made)))
            assert label is not None
            known = columns.numbers(label).numpy()
            real = self._in_turns(x, known) if len(held) < FEW else self._compared(self.told(x), known)
        found = self._compared(got, columns.numbers(asked).numpy())
        few = len(held) < FEW
        return {name: one.beside(real[name], few) if name in real else one for name, one in found.items()}

    def _compared(self, told: Mapping[str, np.ndarray], known: np.ndarray) -> dict[str, AsAsked]:
        """What is told of examples beside what they have, by column."""
        assert self.spec.conditions is not None
        found = {}
        for i, column in enumerate(self.spec.conditions.columns):
            if column.name in told and np.isfinite(told[column.name] + known[:, i]).sum() > 2:
                compare = of_classes if isinstance(column, Label) else of_numbers
                found[column.name] = compare(told[column.name], known[:, i])
        return found

    def _in_turns(self, x: Tensor, known: np.ndarray) -> dict[str, AsAsked]:
        """What is told of the few ``x`` and of what the judges learned from, by others that learned from the rest
        (Stone 1974)."""
        from sklearn.base import clone

        assert self.spec.conditions is not None and self.learned is not None
        seen, more = self.learned[0], self.spec.schema.seen(x)
        whole = np.concatenate([seen, more]) if isinstance(seen, np.ndarray) else [*seen, *more]
        known, told = np.concatenate([self.learned[1], known]), {}
        for i, judge in self.judges.items():
            told[self.spec.conditions.names[i]] = got = np.full(len(known), np.nan)
            rows = np.flatnonzero(np.isfinite(known[:, i]))
            rows = rows[np.random.default_rng(0).permutation(len(rows))]
            for part in np.array_split(rows, min(TURNS, len(rows))):
                others = np.setdiff1d(rows, part)
                if len(np.unique(known[others, i])) > 1:
                    got[part] = clone(judge).fit(_of(whole, others), known[others, i]).predict(_of(whole, part))
        return self._compared(told, known)


def as_asked(
    artifact: Artifact, train: Examples, held: Examples, n: int = 300, seed: int = 0, most: int = MOST
) -> dict[str, AsAsked]:
    """How far ``n`` samples have the conditions of held-out examples, by column; empty for a model that is
    given none.

    Args:
        artifact: the model.
        train: real examples, which a teller learns from.
        held: others, whose conditions are asked for.
        n: samples, at most as many as are held out; of fewer than :data:`FEW` conditions twice that, in turns.
        seed: of the samples, which are draws.
        most: examples of the training that a teller learns from.
    """
    _, asked = held.batch(held.evenly(n))
    if asked is None or not artifact.is_conditional or not len(held):
        return {}
    if len(asked) < min(n, FEW):
        asked = asked[torch.arange(min(n, 2 * FEW)) % len(asked)]
    made = sample(artifact, len(asked), asked, seed)
    return Teller(train, most, seed).as_asked(made, asked, held, artifact.data)


def remark(name: str, found: AsAsked, guided: str | None) -> str:
    """What a user is told of a condition that is ignored, with what may mend it: the setting of a model that draws with
    guidance, too."""
    return f"the condition {name} is hardly followed: {evidence(name, found)}; {mending(guided)}"


def evidence(name: str, found: AsAsked) -> str:
    """By what it is seen that a condition is ignored."""
    if found.accuracy is not None:
        says = (
            f"samples are taken for the {name} that they were asked for in {found.score:.0%} of {found.n}, real "
            f"examples in {found.real:.0%}"
        )
        says += "" if found.chance is None else f", {found.chance:.0%} would be by chance"
    else:
        says = f"what samples have of {name} goes with what was asked by a rank correlation of {found.score:.2f}"
        says += f", of real examples {found.real:.2f}"
    return says


def mending(guided: str | None) -> str:
    """What may mend it."""
    mend = "train longer (more epochs, or a larger --budget)"
    if guided:
        return f"{mend}, or draw samples with more guidance (--set {guided}=3)"
    return (
        f"{mend}, or take a recipe that gives it to every layer and to the prior (conditional=true) or has no latents"
    )


def _judge(classes: bool, texts: bool, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    if not texts:
        forest = RandomForestClassifier if classes else RandomForestRegressor
        return forest(random_state=seed, min_samples_leaf=1 if classes else 3)
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000) if classes else Ridge())


def _of(seen: Any, rows: np.ndarray) -> Any:
    """Some of what a judge sees, an array or texts."""
    return seen[rows] if isinstance(seen, np.ndarray) else [seen[i] for i in rows]


def _known(got: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    whole = np.isfinite(got) & np.isfinite(wanted)
    return got[whole].astype(np.float64), wanted[whole].astype(np.float64)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Their mean where values are equal."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    spread = a.std() * b.std()
    return float(np.clip(((a - a.mean()) * (b - b.mean())).mean() / spread, -1, 1)) if spread else 0.0


def _around(rank: float, n: int) -> list[float]:
    """By Fisher's transform, with the standard error of ranks."""
    from scipy.special import ndtri

    reach = float(ndtri(INSIDE)) * math.sqrt((1 + rank**2 / 2) / max(1, n - 3))
    middle = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rank)))
    return [math.tanh(middle - reach), math.tanh(middle + reach)]
