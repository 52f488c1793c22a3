"""How good sampled rows of a table are: column by column, pair by pair, and to judges that look at whole rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.conditions import LABELS
from fusevae.data.examples import Examples
from fusevae.evaluation.asked import Teller
from fusevae.evaluation.intervals import interval, interval_of_part, spread
from fusevae.evaluation.judge import Judge, SampleQuality, enough, timed_samples
from fusevae.evaluation.results import SAMPLES, Result, figure, part
from fusevae.evaluation.samples import Kind, kind_used
from fusevae.evaluation.variety import narrow
from fusevae.evaluation.verdict import COPIES, Failing, further, of_neighbours
from fusevae.modalities.tables.agreement import correlation, kolmogorov, variation
from fusevae.modalities.tables.column import CLASSES, FIXED
from fusevae.modalities.tables.neighbours import AMONG, COPIED, NEAREST, Neighbours, area
from fusevae.modalities.tables.schema import TableSchema
from fusevae.modalities.tables.variety import class_shares, widths

BINS = 10  # of a number beside a class
PAIRS = 2000  # of columns that are looked at, evenly over all
SHOWN = 10  # columns and pairs that are named, the worst
JUDGED = 10_000  # rows of each kind that a classifier is given
FOLDS = 3
NEAR = 0.55  # from which on training rows are surely nearer than they should be, where chance is 0.5
FEWER = "give more data, or a smaller model, or stop earlier"
LEVELS = 20  # classes of a column that rows are classified by, at most
MANY, BINNED, FEWER_BINNED = 200, 255, 64  # columns from which on boosted trees see each in fewer bins

#: each column as classes, of real and of other rows
Coded = Sequence[tuple[np.ndarray, np.ndarray]]


class Scores(Result):
    """What two sets of rows are compared by.

    Attributes:
        shape: the mean over columns of 1 less the Kolmogorov-Smirnov statistic of numbers, or the total variation
            distance of classes, where missing is one of them (``sdmetrics``' KSComplement and TVComplement).
        trend: the mean over pairs of columns of 1 less half the difference of correlations of two numbers, or the total
            variation distance of contingency tables, numbers in ten bins of one width (CorrelationSimilarity and
            ContingencySimilarity).
        c2st: 2 - 2 AUC of boosted trees that tell the two apart, cross-validated: 1 where they can't, 0 where they
            always do (the detection score of ``sdmetrics``, by a stronger judge than its logistic one, to which columns
            drawn independently of each other pass for real).
        auc: of boosted trees that learn a class column from these rows, tested on real ones.
        dcr: the part of these rows that are nearer to the training rows than to as many held-out ones: 0.5 for fresh
            draws, 1 for copies; distances are sums of differences, of numbers in parts of their range, of classes 1.
        closest: the part of these rows that are nearer to any of 10,000 training rows than all but a hundredth of
            held-out ones are.
        membership: how well an attacker tells training rows from held-out ones by how near the nearest of these rows
            is (an AUC: 0.5 is chance; GAN-Leaks, Chen et al. 2020).
        precision: the part of these rows that lie among real ones, by the same distances
            (:func:`fusevae.evaluation.distances.neighbourhoods`).
        recall: the part of real rows that lie among these.
        coverage: the part of real rows that have one of these near: recall, less moved by outliers.
        intervals: where each is with 95 % confidence, by its name.
    """

    section = SAMPLES
    intervals: dict[str, list[float]]
    shape: float = figure(
        "Shape", better="high", form=".4f", interval="intervals", hint="columns alone, 1 at best", decides=3
    )
    trend: float | None = figure(
        "Trend", better="high", form=".4f", interval="intervals", hint="pairs, 1 at best", decides=2
    )
    c2st: float = figure(
        "C2ST", better="high", form=".4f", interval="intervals", hint="boosted trees, 1 at best", decides=1
    )
    auc: float | None = figure("AUC after training on these", better="high", form=".4f", interval="intervals")
    dcr: float = figure("nearer to training rows", form=".1%", interval="intervals", hint="fresh 50 %, copies 100 %")
    closest: float | None = figure("nearer than all but 1 %", form=".1%", interval="intervals", default=None)
    membership: float = figure(
        "membership attack", form=".3f", interval="intervals", hint="AUC of telling training rows, chance 0.5"
    )
    precision: float = figure("precision", better="high", form=".3f", interval="intervals")
    recall: float = figure("recall", better="high", form=".3f", interval="intervals")
    coverage: float = figure("coverage", better="high", form=".3f", interval="intervals")


class TableQuality(Scores, SampleQuality):
    """The figures of samples, each beside those of other real rows.

    Attributes:
        real: the same of held-out rows: what a perfect model would have.
        columns: the lowest scores of columns, by name.
        pairs: the lowest scores of pairs of columns.
        of: the class column of ``auc``.
        width: how widely the numbers spread, as a part of what real ones do.
    """

    n: int = figure("judged", form=lambda n: f"{n:,} samples", hint="against as many real rows")
    real: Scores = part(real=True)
    columns: dict[str, float]
    pairs: dict[str, float]
    of: str | None = figure("classes of the AUC", default=None)
    width: float | None = figure(
        "spread of numbers", form=".3f", interval="intervals", hint="as a part of that of real rows", default=None
    )

    def failings(self) -> list[Failing]:
        found = [*(known := super().failings()), *further(known, of_neighbours(self, self.real))]
        sure = {name: min(ends) for name, ends in self.intervals.items() if name in ("dcr", "membership")}
        if any(low > max(NEAR, *self.real.intervals[name]) for name, low in sure.items()):
            says = (
                f"{self.dcr:.0%} of the samples are nearer to training rows than to held-out ones (fresh: 50 %), by "
                f"which training rows are told with an AUC of {self.membership:.2f} (chance: 0.5)"
            )
            found.append(Failing("copying", says, FEWER))
        elif min(self.intervals.get("closest", [0.0])) > COPIES:
            says = f"{self.closest:.0%} of the samples are nearer to training rows than all but 1 % of held-out ones"
            found.append(Failing("copying", says, FEWER))
        says = f"the numbers spread {self.width or 0:.2f} times as widely as in real rows"
        return found + narrow(self.intervals.get("width"), says, "draw samples in place of means, or train longer")


class TableReference(Judge):
    """Real rows that samples are held against, made once for all the models that are compared.

    Args:
        held: rows that no model was trained on; half of them are the reference, the others its floor.
        train: those that the models were trained on.
        n: samples of each model, at most half as many as ``held``.
    """

    def __init__(self, held: Examples, train: Examples, n: int = 10_000) -> None:
        if enough(n, len(held) // 2) < 2:
            raise InputError(f"{len(held)} rows and {n} samples were given: expected at least four, and two")
        schema = held.spec.schema
        assert isinstance(schema, TableSchema)
        self.n, self.schema, self.held, self.trained = enough(n, len(held) // 2), schema, held, train
        generator = torch.Generator().manual_seed(noise.key("reference"))
        half, other = torch.randperm(len(held), generator=generator)[: 2 * self.n].view(2, self.n)
        x, self.label = held.batch(half)
        self.rows = x.double().numpy()
        rows = train.evenly(max(AMONG, self.n))
        self.train = train.batch(rows[torch.randperm(len(rows), generator=generator)])[0].double().numpy()
        self.used = [i for i, c in enumerate(schema.columns) if c.kind not in FIXED]
        self.classed = [schema.columns[i].classes is not None or schema.columns[i].kind == "binary" for i in self.used]
        pairs = list(itertools.combinations(range(len(self.used)), 2))
        self.pairs = pairs[:: -(-len(pairs) // PAIRS)] if pairs else []
        self.bins = BINNED if len(self.used) < MANY else FEWER_BINNED
        self.neighbours_of = Neighbours(self.rows, self.train, self.used, self.classed)
        self.target = self._target()
        self.about = "the columns, their pairs, and boosted trees"
        self.real = self.scores(held.batch(other)[0].double().numpy())

    def judge(self, artifact: Artifact, kind: Kind = "auto", seed: int = 0) -> TableQuality:
        """The figures of one model; one that is given conditions gets those of the real rows."""
        kind = kind_used(artifact, kind)
        label = self.label if artifact.is_conditional else None
        x, seconds = timed_samples(artifact, self.n, label, seed, kind)
        made = x.double().numpy()
        names, coded = [self.schema.columns[i].name for i in self.used], self._coded(self.rows, made)
        columns = dict(zip(names, self.shapes(self.rows, made, coded), strict=True))
        trends = zip(self.pairs, self.trends(self.rows, made, coded), strict=True)
        pairs = {f"{names[i]}, {names[j]}": v for (i, j), v in trends}
        found = vars(self.scores(made))
        if (spreads := widths(self.rows, made, self._which(False))) is not None:
            found["intervals"] = found["intervals"] | {"width": spreads[1]}
        return TableQuality(
            **found,
            n=self.n,
            kind=kind,
            seed=seed,
            seconds_per_sample=seconds,
            features=self.about,
            real=self.real,
            columns=lowest(columns),
            pairs=lowest(pairs),
            of=None if self.target is None else self.schema.columns[self.target].name,
            width=None if spreads is None else spreads[0],
            shares=class_shares(self.schema, self._which(True), self._codes, made, self.rows),
            as_asked=None if label is None else Teller(self.trained).as_asked(x, label, self.held),
        )

    def scores(self, made: np.ndarray) -> Scores:
        """Every figure of rows ``(n, columns)``."""
        coded = self._coded(self.rows, made)

        def both(a: Tensor, b: Tensor) -> dict[str, float]:
            i, j = a.numpy(), b.numpy()
            some = self.rows[i], made[j], [(x[i], y[j]) for x, y in coded]
            found = {"shape": float(np.mean(self.shapes(*some)))}
            trends = self.trends(*some)
            return found | ({"trend": float(np.mean(trends))} if trends else {})

        a, b = torch.arange(len(self.rows)), torch.arange(len(made))
        whole = both(a, b)
        sides = spread(both, a, b, whole)
        intervals = {k: _inside(interval(v, sides.error[k], len(made))) for k, v in whole.items() if k in sides.error}
        told, error = self.told_apart(made)
        c2st = 2 - 2 * max(told, 0.5)
        intervals["c2st"] = _inside([c2st - 2 * 1.96 * error, c2st + 2 * 1.96 * error])
        learned = self.learned(made)
        if learned is not None:
            intervals["auc"] = _inside([learned[0] - 1.96 * learned[1], learned[0] + 1.96 * learned[1]])
        nearer, (members, error) = self.neighbours_of.copied(made)
        intervals["dcr"] = interval_of_part(nearer, min(len(made), NEAREST))
        intervals["membership"] = interval_of_part(members, self.n, interval(members, error, self.n))
        copies = self.neighbours_of.copies(made)
        intervals["closest"] = interval_of_part(copies, min(len(made), COPIED))
        among, inside = self.neighbours_of.among(made)
        return Scores(
            shape=whole["shape"],
            trend=whole.get("trend"),
            c2st=c2st,
            auc=None if learned is None else learned[0],
            dcr=nearer,
            closest=copies,
            membership=members,
            intervals=intervals | inside,
            **among,
        )

    def shapes(self, real: np.ndarray, made: np.ndarray, coded: Coded | None = None) -> list[float]:
        """The score of each column that is used; ``coded`` are these rows as :meth:`_coded` gives them."""
        coded = coded or self._coded(real, made)
        return [
            1 - (variation(*codes) if classed else kolmogorov(real[:, i], made[:, i]))
            for i, classed, codes in zip(self.used, self.classed, coded, strict=True)
        ]

    def trends(self, real: np.ndarray, made: np.ndarray, coded: Coded | None = None) -> list[float]:
        """The score of each pair of columns that is looked at."""
        coded = coded or self._coded(real, made)
        found = []
        for i, j in self.pairs:
            if not (self.classed[i] or self.classed[j]):
                a, b = (correlation(x[:, self.used[i]], x[:, self.used[j]]) for x in (real, made))
                found.append(1 - abs(a - b) / 2)
            else:
                size = 1 + max(int(side.max()) for side in coded[j])
                found.append(1 - variation(*(coded[i][side] * size + coded[j][side] for side in (0, 1))))
        return found

    def told_apart(self, made: np.ndarray) -> tuple[float, float]:
        """The AUC of boosted trees that tell samples from real rows, cross-validated, and its standard error."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        x = np.concatenate([self.rows[:JUDGED], made[:JUDGED]])[:, self.used]
        y = np.repeat([0, 1], [len(self.rows[:JUDGED]), len(made[:JUDGED])])
        folds = StratifiedKFold(min(FOLDS, len(made)), shuffle=True, random_state=0)
        trees = HistGradientBoostingClassifier(random_state=0, max_bins=self.bins)
        found = cross_val_predict(trees, x, y, cv=folds, method="predict_proba")[:, 1]
        return area(found[y == 1], found[y == 0])

    def learned(self, made: np.ndarray) -> tuple[float, float] | None:
        """The AUC on real rows of boosted trees that learned from these, and its standard error; None where there is
        no column to learn, or the rows have one class of it alone."""
        if self.target is None:
            return None
        from sklearn.ensemble import HistGradientBoostingClassifier

        others = [i for i in self.used if i != self.target]
        (x, y), (z, truth) = ((rows[:, others], rows[:, self.target]) for rows in (made, self.rows))
        there, known = ~np.isnan(y), ~np.isnan(truth)
        if len(np.unique(y[there])) < 2 or len(np.unique(truth[known])) < 2:
            return None
        trees = HistGradientBoostingClassifier(random_state=0, max_bins=self.bins).fit(x[there], y[there])
        chances, truth = trees.predict_proba(z[known]), truth[known]
        areas = [
            area(chances[truth == c, k], chances[truth != c, k])
            for k, c in enumerate(trees.classes_)
            if 1 < (truth == c).sum() < len(truth) - 1
        ]
        if not areas:
            return None
        areas = areas[-1:] if len(trees.classes_) == 2 else areas
        return float(np.mean([a for a, _ in areas])), float(np.mean([e for _, e in areas]))

    def _which(self, classed: bool) -> list[int]:
        """The columns of classes, or of numbers."""
        return [i for i, each in zip(self.used, self.classed, strict=True) if each == classed]

    def _coded(self, real: np.ndarray, made: np.ndarray) -> Coded:
        """Each column that is used as classes, those of numbers ten bins."""
        return [self._binned(i, classed, real, made) for i, classed in zip(self.used, self.classed, strict=True)]

    def _binned(self, i: int, classed: bool, real: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if classed:
            a, b = self._codes(i, real, made)
            return a, b
        there = self.rows[:, i][~np.isnan(self.rows[:, i])]
        ends = np.histogram_bin_edges(there, BINS)[1:-1] if len(there) else np.zeros(0)
        a, b = (np.where(np.isnan(x[:, i]), 0, 1 + np.digitize(x[:, i], ends)).astype(np.int64) for x in (real, made))
        return a, b

    def _codes(self, i: int, *rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """The classes of a column from 1 on, 0 where a cell is missing."""
        first = self.schema.columns[i].low or 0.0
        return tuple(np.where(np.isnan(x[:, i]), 0, np.nan_to_num(x[:, i]) - first + 1).astype(np.int64) for x in rows)

    def _target(self) -> int | None:
        """The class column: by its name, else the last one where it has few classes."""
        few = [i for i in self.used if self.schema.columns[i].kind in CLASSES]
        few = [i for i in few if len(self.schema.columns[i].classes or "ab") <= LEVELS]
        named = [i for i in few if self.schema.columns[i].name.lower() in LABELS]
        last = [i for i in few if i == self.used[-1]]
        return next(iter([*named, *last]), None) if len(self.used) > 1 else None


def lowest(scores: dict[str, float]) -> dict[str, float]:
    """The lowest of scores by name, the lowest first."""
    return dict(sorted(scores.items(), key=lambda pair: pair[1])[:SHOWN])


def _inside(ends: Sequence[float]) -> list[float]:
    return [max(0.0, ends[0]), min(1.0, ends[1])]
