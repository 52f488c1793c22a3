"""Which rows are near each other: whether samples are copies, and whether they lie where real rows do."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fusevae.evaluation.distances import copies, neighbourhoods
from fusevae.evaluation.intervals import interval, interval_of_part, spread
from fusevae.evaluation.quality import part_above

NEAREST = 2000  # samples whose nearest rows are sought
COPIED, AMONG = 1000, 10_000  # samples that may be copies, and training rows that they may be copies of


class Neighbours:
    """Real rows ``(n, columns)`` among which samples are looked for; NaN is a missing cell.

    The distance of two rows is a sum over columns: of numbers their difference in parts of the range of the held-out
    rows, of classes 1 where they differ, and 1 where a cell is missing in one of the two (Gower 1971; of a number more
    than half a range outside a little more).

    Args:
        held: that no model was trained on.
        train: that the models were trained on, in no order.
        used: the columns that are looked at.
        classed: of these, which are of classes.
    """

    def __init__(self, held: np.ndarray, train: np.ndarray, used: Sequence[int], classed: Sequence[bool]) -> None:
        self.held, self.train, self.used, self.classed = held, train, used, classed
        ends = [held[:, i][~np.isnan(held[:, i])] for i in used]
        self.ranges = [(float(x.min()), float(np.ptp(x)) or 1.0) if len(x) else (0.0, 1.0) for x in ends]
        self.gaps = np.isnan(held).any(0) | np.isnan(train).any(0)

    def copied(self, made: np.ndarray) -> tuple[float, tuple[float, float]]:
        """The part of rows that are nearer to training rows than to as many held-out ones, equally near ones by half;
        and how well training rows are told from held-out ones by the nearest of these: an AUC, with its standard
        error."""
        n = min(len(self.train), len(self.held))
        seen, fresh = (self.apart(made[:NEAREST], rows[:n]) for rows in (self.train, self.held))
        ours, theirs = seen.amin(1), fresh.amin(1)
        nearer = ((ours < theirs) + 0.5 * (ours == theirs)).double().mean().item()
        return nearer, area(-seen.amin(0).numpy(), -fresh.amin(0).numpy())

    def copies(self, made: np.ndarray) -> float:
        """The part of rows that are copies of training rows."""
        ours, fresh = (self.apart(made[:COPIED], x).amin(1) for x in (self.train[:AMONG], self.held[:COPIED]))
        return copies(ours, fresh, *self._usual).double().mean().item()

    @functools.cached_property
    def _usual(self) -> tuple[Tensor, Tensor]:
        """How near held-out rows are to training rows, and to others of their own."""
        theirs = self.apart(self.held[:COPIED], self.train[:AMONG]).amin(1)
        within = self._within[:COPIED, :COPIED].clone()
        return theirs, within.fill_diagonal_(math.inf).amin(1)

    def among(self, made: np.ndarray) -> tuple[dict[str, float], dict[str, list[float]]]:
        """Precision, recall and coverage, and the interval of each."""
        n = min(len(made), len(self.held), NEAREST)
        across = self.apart(self.held[:n], made[:n])
        near = torch.cat([self._within[:n, :n], across], 1), torch.cat([across.T, self.apart(made[:n], made[:n])], 1)
        table = torch.cat(near)

        def figures(a: Tensor, b: Tensor) -> dict[str, float]:
            found = neighbourhoods(a, b, apart=lambda i, j: iter([table[i.long()][:, j.long()]]))
            return {name: found[name] for name in ("precision", "recall", "coverage")}

        real, drawn = torch.arange(2 * n).split(n)
        whole = figures(real, drawn)
        errors = spread(figures, real, drawn, whole).error
        beside = {name: interval(whole[name], error, n) for name, error in errors.items()}
        return whole, {name: interval_of_part(value, n, beside.get(name, ())) for name, value in whole.items()}

    @functools.cached_property
    def _within(self) -> Tensor:
        """Distances of held-out rows from each other."""
        return self.apart(self.held[:NEAREST], self.held[:NEAREST])

    def apart(self, a: np.ndarray, b: np.ndarray) -> Tensor:
        """Distances of rows ``(n, columns)`` from rows ``(m, columns)``: ``(n, m)``."""
        gaps = self.gaps | np.isnan(a).any(0) | np.isnan(b).any(0)
        (numbers, classes), (others, theirs) = (self._placed(x, gaps) for x in (a, b))
        return torch.cdist(numbers, others, p=1) + torch.cdist(classes, theirs, p=0)

    def _placed(self, rows: np.ndarray, gaps: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rows as points: of numbers, sums of differences are their distances, and of classes how many differ.

        A number x, in parts of the range, of a column with gaps is at (x, 1 - x) / 2, and a missing one where it is 1
        from each that is at most half a range outside."""
        numbers, classes = list[np.ndarray](), [np.zeros(len(rows))]
        for i, classed, (low, span) in zip(self.used, self.classed, self.ranges, strict=True):
            x = rows[:, i]
            if classed:
                classes.append(np.nan_to_num(x, nan=-1e300))
            else:
                x = (x - low) / span
                numbers += [np.where(np.isnan(x), -0.25, half) for half in (x / 2, (1 - x) / 2)] if gaps[i] else [x]
        a, b = (torch.from_numpy(np.stack(each, 1)) for each in (numbers or [np.zeros(len(rows))], classes))
        return a, b


def area(high: np.ndarray, low: np.ndarray) -> tuple[float, float]:
    """The probability that one of ``high`` is above one of ``low``, and its standard error (DeLong et al. 1988)."""
    a, b = torch.from_numpy(np.ascontiguousarray(high)), torch.from_numpy(np.ascontiguousarray(low))
    wins, losses = 1 - part_above(a, b), part_above(b, a)
    error = math.sqrt(wins.var().item() / len(a) + losses.var().item() / len(b))
    return wins.mean().item(), error
