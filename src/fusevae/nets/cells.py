"""Cells of a table: the options of each column, the height of numbers; and a net that is told of gaps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.description import Described
from fusevae.core.tails import drawn_in, let_out

HIGHEST = 8.0  # of what a net is given: a cell far outside of all others
EDGE = 20.0  # of heights, beyond which they grow as a logarithm
LEAST = 1e-6  # deviation of a column whose function is straight
GAP = 0.9  # of a stretch between two knots, which is no chance


class Classes(Described):
    """A column of ``n`` classes, by their codes 0, 1, ...; of one alone, nothing is to be learned."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.spikes: list[float] = []

    @property
    def options(self) -> int:
        return self.n


class Real(Described):
    """A column of reals; each of ``spikes`` is a value that comes again and again (0, say), with a probability of its
    own."""

    def __init__(self, spikes: Sequence[float] = ()) -> None:
        self.spikes = sorted(map(float, spikes))

    @property
    def options(self) -> int:
        return 1 + len(self.spikes)


class Whole(Real):
    """A column of whole numbers, from ``least`` on where there is a least one."""

    def __init__(self, spikes: Sequence[float] = (), least: float | None = None) -> None:
        super().__init__(spikes)
        self.least = least


class Cells(Described, nn.Module):
    r"""Rows ``(*batch, columns)`` of a table, NaN where a cell is missing.

    Every column has options: its classes, or for numbers first "any" and then its spikes. Numbers have a height
    :math:`y = t(x)` too, by a function that is piecewise linear and rising, under which the training cells are about
    standard normal: a mixture that lives there fits skewed and long-tailed columns. Its slope is the log-determinant's.

    Args:
        columns: what each holds.
        knots: of the functions, at most.

    Example:
        >>> cells = Cells([Classes(3), Real([0.0])])
        >>> cells.chosen(torch.tensor([[2.0, 0.0], [1.0, 0.5]]))
        tensor([[2, 1],
                [1, 0]])
        >>> cells.features(torch.tensor([[2.0, torch.nan]]))  # three classes, "any", a spike, a height
        tensor([[0., 0., 1., 0., 0., 0.]])
    """

    at: Tensor
    heights_at: Tensor
    sizes: Tensor
    starts: Tensor
    column_of: Tensor
    spikes: Tensor
    spiked: Tensor
    loose: Tensor  # columns whose values are not codes, or don't count
    numbers: Tensor
    whole: Tensor
    least: Tensor

    def __init__(self, columns: list[Classes | Real | Whole], knots: int = 64) -> None:
        super().__init__()
        self.columns, self.fitted = list(columns), False
        sizes = [column.options for column in columns]
        numbers = [i for i, column in enumerate(columns) if not isinstance(column, Classes)]
        each = [columns[i] for i in numbers]
        widest = max((len(c.spikes) for c in each), default=0)
        spikes = [[*c.spikes, *[torch.inf] * (widest - len(c.spikes) + 1)] for c in each]
        least = [c.least if isinstance(c, Whole) and c.least is not None else -torch.inf for c in each]

        def keep(name: str, values: object, dtype: torch.dtype = torch.long) -> None:
            self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)

        keep("sizes", sizes)
        keep("starts", [0, *itertools.accumulate(sizes)][:-1])
        keep("column_of", [i for i, n in enumerate(sizes) for _ in range(n)])
        keep("loose", [not isinstance(c, Classes) or c.n == 1 for c in columns], torch.bool)
        keep("numbers", numbers)
        keep("whole", [isinstance(c, Whole) for c in each], torch.bool)
        keep("least", least, torch.float32)
        self.register_buffer("spikes", torch.tensor(spikes).view(len(each), widest + 1), persistent=False)
        line = torch.linspace(-3.0, 3.0, max(2, knots)).repeat(len(each), 1)
        self.register_buffer("at", line.clone())
        self.register_buffer("heights_at", line.clone())

    @property
    def total(self) -> int:
        """Options of all columns."""
        return len(self.column_of)

    @property
    def width(self) -> int:
        """How many numbers :meth:`features` gives for a row."""
        return self.total + len(self.numbers)

    def chosen(self, x: Tensor) -> Tensor:
        """The option of each cell ``(*batch, columns)``; 0 where it is missing."""
        x = x.nan_to_num(0.0)
        option = torch.minimum(x.round().clamp(min=0), self.sizes - 1).long()
        if len(self.numbers):
            values = self._by_column(x[..., self.numbers])
            index = torch.searchsorted(self.spikes, values).clamp(max=self.spikes.shape[1] - 1)
            hit = torch.where(self.spikes.gather(1, index) == values, index + 1, 0)
            option[..., self.numbers] = self._by_row(hit, x.shape[:-1])
        return option

    def heights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The heights of numbers ``(*batch, numbers)`` and the slopes there."""
        values = self._by_column(x)
        i = torch.searchsorted(self.at, values).clamp(1, self.at.shape[1] - 1)
        (a, b), (low, high) = ((grid.gather(1, i - 1), grid.gather(1, i)) for grid in (self.at, self.heights_at))
        slope = (high - low) / (b - a)
        y, part = drawn_in(low + (values - a) * slope, EDGE)
        return self._by_row(y, x.shape[:-1]), self._by_row(slope * part, x.shape[:-1])

    def values(self, y: Tensor) -> Tensor:
        """The numbers of heights ``(*batch, numbers)``."""
        heights = let_out(self._by_column(y), EDGE)
        i = torch.searchsorted(self.heights_at, heights).clamp(1, self.at.shape[1] - 1)
        (a, b), (low, high) = ((grid.gather(1, i - 1), grid.gather(1, i)) for grid in (self.at, self.heights_at))
        return self._by_row(a + (heights - low) * (b - a) / (high - low), y.shape[:-1])

    def features(self, x: Tensor) -> Tensor:
        """What a net is given: a 1 for the option of each cell that is there, and the heights of numbers."""
        there = (~x.isnan()).to(x.dtype)
        options = x.new_zeros(*x.shape[:-1], self.total).scatter_(-1, self.starts + self.chosen(x), there)
        heights = self.heights(x[..., self.numbers].nan_to_num(0.0))[0]
        return torch.cat([options, heights.clamp(-HIGHEST, HIGHEST) * there[..., self.numbers]], -1)

    @torch.no_grad()
    def fit(self, x: Tensor, straight: bool = False) -> None:
        """Take the functions from training rows ``(n, columns)``: quantiles to those of a normal; ``straight``: mean
        and deviation to its own."""
        for row, column in enumerate(self.numbers.tolist()):
            cells = x[:, column].double()
            if straight:
                heights = torch.linspace(-3.0, 3.0, self.at.shape[1], dtype=torch.float64)
                at = cells.nanmean() + heights * max(float((cells - cells.nanmean()).square().nanmean().sqrt()), LEAST)
            else:
                at, heights = knots_of(cells[~cells.isnan()], self.at.shape[1], bool(self.whole[row]))
            self.at[row], self.heights_at[row] = at.to(self.at), heights.to(self.at)
        self.fitted = True

    def _by_column(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[:-1].numel(), len(self.numbers)).T.contiguous()

    def _by_row(self, columns: Tensor, batch: Sequence[int]) -> Tensor:
        return columns.T.reshape(*batch, -1)

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self.fitted = True


def knots_of(cells: Tensor, n: int, whole: bool) -> tuple[Tensor, Tensor]:
    """``n`` points ``(x, y)`` of a rising function that makes ``cells`` ``(m,)`` about standard normal.

    As many points as the square root of the cells, so that it doesn't follow every one of them. Whole numbers have
    theirs half-way between two, where the distribution function of the cells is exact.

    Example:
        >>> at, heights = knots_of(torch.arange(1000.0), 4, False)
        >>> at.tolist(), [round(h, 2) for h in heights.tolist()]
        ([0.0, 333.0, 667.0, 999.0], [-3.29, -0.43, 0.43, 3.29])
    """
    if not len(cells):
        return (torch.linspace(-3.0, 3.0, n, dtype=torch.float64),) * 2
    values, counts = cells.unique(return_counts=True)
    below = counts.cumsum(0).double()
    least = 0.5 / len(cells)
    if whole:
        values = torch.cat([values[:1] - 0.5, values + 0.5])
        part = torch.cat([below.new_zeros(1), below]) / len(cells)
    else:
        part = (below - counts / 2) / len(cells)
    part = part.clamp(least, 1 - least)
    few = max(2, min(n, len(values), max(8, round(len(cells) ** 0.5))))
    places = _evenly(part, few)
    if len(beside := _beside_gaps(values, places)):
        places = torch.cat([_evenly(part, min(few, n - len(beside))), beside]).unique()
    at, heights = values[places], torch.special.ndtri(part[places])
    rising = torch.cat([at.new_ones(1).bool(), at.float().diff() > 0])  # float32 tells them apart
    at, heights = at[rising], heights[rising]
    heights = heights + 1e-6 * torch.arange(len(heights))  # clamped ends may be the same
    if len(at) == 1:
        at, heights = at + torch.tensor([0.0, 1.0]).to(at), heights + torch.tensor([0.0, 1.0]).to(at)
    more = torch.arange(1, n - len(at) + 1, dtype=at.dtype)  # the last line goes on
    return (
        torch.cat([at, at[-1] + more * (at[-1] - at[-2])]),
        torch.cat([heights, heights[-1] + more * (heights[-1] - heights[-2])]),
    )


def _evenly(part: Tensor, n: int) -> Tensor:
    """The places of ``n`` parts that are as far from each other."""
    wanted = torch.linspace(float(part[0]), float(part[-1]), n, dtype=part.dtype)
    return torch.searchsorted(part, wanted).clamp(max=len(part) - 1).unique()


def _beside_gaps(values: Tensor, places: Tensor) -> Tensor:
    """The places at both sides of a gap that is nearly all of the first stretch between two places, or of the last: one
    cell of 1e12 doesn't take their scale from the others of its stretch."""
    found = []
    for start, end in {(int(places[0]), int(places[1])), (int(places[-2]), int(places[-1]))} if len(places) > 1 else ():
        steps = values[start : end + 1].diff()
        if len(steps) > 1 and steps.max() > GAP * steps.sum():
            found += [start + int(steps.argmax()) + side for side in (0, 1)]
    return torch.tensor(found, dtype=torch.long)


class CellEncoder(Described, nn.Module):
    """A net of the :meth:`Cells.features` of rows: it is told which cells are missing.

    Args:
        cells: of the table.
        net: takes so many numbers as the cells have features.
        hidden: in training, of this part of the rows some of the cells are kept from the net (any part of them, so that
            it learns to do without); the likelihood is over all of them.
    """

    def __init__(self, cells: Cells, net: nn.Module, hidden: float = 0.1) -> None:
        super().__init__()
        self.cells, self.net, self.hidden = cells, net, hidden

    @property
    def outputs(self) -> tuple[int, ...]:
        """As of the net."""
        found: tuple[int, ...] = self.net.outputs  # type: ignore[assignment]
        return found

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        if self.training and self.hidden:
            part = noise.uniform((len(x), 2), x.device)
            some = torch.where(part[:, :1] < self.hidden, part[:, 1:], 0.0)
            x = torch.where(noise.uniform(x.shape, x.device) < some, torch.nan, x)
        found: Tensor = self.net(self.cells.features(x), label)
        return found
