"""AnyOrder: rows of a table, column after column in any order, so that any columns can be given."""

from __future__ import annotations

import itertools
import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import batch_of, flattened
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.generation import current
from fusevae.core.levels import BoundOnly
from fusevae.distributions.mixed import LOGISTIC, Mixed, Row, spread
from fusevae.nets.cells import HIGHEST, Cells, Classes, Real
from fusevae.nets.mlp import Embedding
from fusevae.nets.outset import start_at
from fusevae.nets.regression import Expected, Regression
from fusevae.nets.transformer import Transformer

NEAR = 0.5  # of a normal's quantiles, between the components that begin at the same one of a regression
APART = 0.5  # of the rows of a batch have their columns without gaps first
WAVES = (0.5, 1.0, 2.0, 4.0, 8.0)  # of heights, as the net is given them


class AnyOrder(Mixed):
    r""":math:`p(x \mid given) = \frac1K \sum_{k \le K} \prod_i p_\theta(x_{\sigma_k(i)} \mid x_{\sigma_k(1)}, \dots,
    x_{\sigma_k(i-1)}, given)`, exact: each column by its family of :class:`Mixed` given those before it in an order, of
    which ``orders`` are fixed: that of the table, its reverse, and others.

    One causal transformer serves all orders: each token tells it the value of a column and which column is next
    (Pannatier et al. 2024). In training every row has an order of its own, drawn anew among all; the average of
    log-likelihoods over orders is a bound on the likelihood of their mixture (Uria et al. 2014; Hoogeboom et al. 2022).

    Given any of the columns the others are drawn by :meth:`completed`: those that are given stand first, so that this
    is the exact conditional of the model in that order. What the given columns themselves have as a probability may
    differ a little between orders, as a trained net is only about consistent.

    A missing cell contributes nothing and is never seen: it stands after those that are there. Which cells of a sample
    are missing is drawn given the columns that never have gaps, trained beside, as in :class:`Mixed`. These stand first
    in the fixed orders, and what is missing isn't drawn, so that a sample has the distribution of the examples where
    they tell what is missing (missing at random; Rubin 1976).

    Args:
        net: a causal ``Transformer(..., turns=False)``.
        cells: what the columns hold.
        components: of each mixture.
        orders: K.
        classes: number of labels, or :class:`Conditions`, given beside the table; 0 for none.
        gaps: gives a logit for each of the columns ``gappy`` from rows whose cells in these are missing.
        gappy: columns with missing cells.
        regression: what is expected of each column, where the net is to tell only how it differs from that.

    Example:
        >>> p = AnyOrder(Transformer(8, heads=2, layers=1, turns=False), Cells([Classes(2), Classes(3)]))()
        >>> rows = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0))
        >>> round(p.log_prob(rows).exp().sum().item(), 5)
        1.0
        >>> p.completed(torch.tensor([[1.0, torch.nan]]))[0, 0].item()
        1.0
    """

    order_of: Tensor
    back: Tensor
    net: Transformer

    def __init__(
        self,
        net: Transformer,
        cells: Cells,
        components: int = 3,
        orders: int = 2,
        classes: int | Conditions = 0,
        gaps: nn.Module | None = None,
        gappy: list[int] | None = None,
        regression: Regression | None = None,
    ) -> None:
        super().__init__(net, cells, components, gaps, gappy)
        if not net.causal or orders < 1:
            raise InputError(f"AnyOrder was given causal={net.causal} and orders={orders}: expected true, 1 or more")
        d, width, n = len(cells.columns), net.width, len(cells.numbers)
        self.mixed = bool(self.gappy) or not all(type(c) is Real and not c.spikes for c in cells.columns)
        self.orders, self.classes, self.regression = orders, classes, regression
        fixed = [torch.arange(d), torch.arange(d).flip(0)]
        fixed += [torch.randperm(d, generator=torch.Generator().manual_seed(i)) for i in range(2, orders)]
        whole_first = [order[torch.isin(order, torch.tensor(self.gappy)).argsort(stable=True)] for order in fixed]
        self.register_buffer("order_of", torch.stack(whole_first[:orders]), persistent=False)
        self.first, self.next = nn.Parameter(torch.randn(width)), nn.Embedding(d, width)
        self.option = nn.Embedding(cells.total, width)
        self.label = Embedding(classes, width, std=1.0) if classes else None  # as large as what else is told
        self.wave = nn.Parameter(torch.randn(n, 2 * len(WAVES) + 1, width) / len(WAVES)) if n else None
        self.last = nn.Linear(width, self.outputs(cells, components))
        nn.init.zeros_(self.last.bias)  # so that it is seen to be untouched
        self.rows = self._rows_of_outputs()
        back = torch.tensor(list(itertools.chain(*self.rows))).argsort()
        self.register_buffer("back", back, persistent=False)

    @property
    def numbers(self) -> int:
        factors = 0 if self.regression is None else self.regression.used * len(self.regression.of) ** 2
        return max(super().numbers, len(self.cells.columns) * self.net.width, factors)

    def forward(self, *given: Tensor | None) -> Ordered:  # type: ignore[override]
        return Ordered(self, given[0] if given and self.classes else None)

    @torch.no_grad()
    def start_from(self, examples: Any) -> None:
        """Functions of the cells, and each column at the distribution that it has on the whole, whatever is given."""
        if not self.cells.fitted:
            self.cells.fit(examples())
        if self.regression is not None and not self.regression.fitted:
            self.regression.fit(examples())
        start_at(self, examples, self._start, lambda x: x.new_zeros(self.last.out_features))
        if self.gaps is not None:
            start_at(self.gaps, examples, self._rates)

    def _mixture_start(self) -> tuple[Tensor, Tensor]:
        """About a regression nearly what it expects, but that its components differ."""
        if self.regression is None:
            return super()._mixture_start()
        used, k = self.regression.used, self.components
        of = torch.arange(k) % used
        each = [spread(int((of == i).sum()), NEAR) for i in range(used)]
        both = torch.stack([torch.stack(each[i])[:, j // used] for j, i in enumerate(of.tolist())], 1)
        means, scales = both[..., None]
        return means, torch.where(self.cells.whole, scales / LOGISTIC, scales)

    def tokens(self, x: Tensor) -> Tensor:
        """What the net is told of each cell: ``(n, columns, width)`` of rows ``(n, columns)``."""
        cells = self.cells
        found: Tensor = self.option(cells.starts + cells.chosen(x))
        if self.wave is None:
            return found
        height = cells.heights(x[:, cells.numbers].nan_to_num(0.0))[0].clamp(-HIGHEST, HIGHEST)[..., None]
        angle = height * torch.tensor(WAVES, device=x.device)
        waves = torch.cat([height, angle.sin(), angle.cos()], -1)  # (n, numbers, waves)
        told = torch.bmm(waves.transpose(0, 1), self.wave).transpose(0, 1)
        return found.index_add(1, cells.numbers, told.to(found.dtype))

    def begin(self, n: int, label: Tensor | None) -> Tensor:
        """What stands before the first column: ``(n, width)``."""
        return self.first.expand(n, -1) if self.label is None else self.first + self.label(label).expand(n, -1)

    def parameters_of(self, x: Tensor, order: Tensor, label: Tensor | None) -> Tensor:
        """Outputs ``(n, outputs)`` for rows ``(n, columns)``, those of each column given what stands before it in the
        order ``(n, columns)``."""
        width = (-1, -1, self.net.width)
        told = self.tokens(x).gather(1, order[:, :-1, None].expand(*width))
        h = self.net(torch.cat([self.begin(len(x), label)[:, None], told], 1) + self.next(order))
        h = h.gather(1, order.argsort(1)[..., None].expand(*width))
        weight, bias = self.last.weight, self.last.bias
        each = [F.linear(h[:, c], weight[rows], bias[rows]) for c, rows in enumerate(self.rows)]
        return torch.cat(each, 1)[:, self.back].float()

    def _rows_of_outputs(self) -> list[list[int]]:
        """Which of the outputs are of each column."""
        cells, n = self.cells, len(self.cells.numbers)
        place = {c: i for i, c in enumerate(cells.numbers.tolist())}
        options = [list(range(s, s + k)) for s, k in zip(cells.starts.tolist(), cells.sizes.tolist(), strict=True)]
        mixtures = range(cells.total, cells.total + 3 * self.components * n, n or 1)
        return [o + ([j + place[c] for j in mixtures] if c in place else []) for c, o in enumerate(options)]

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        def example(columns: list[Any]) -> tuple[Self, tuple[Any, ...]]:
            net = Transformer(4, heads=1, layers=1, turns=False)
            return cls(net, Cells(columns, knots=6), 2), ()

        return [example([Classes(3), Classes(2)]), example([Real(), Real()])]


class Ordered(BoundOnly):
    """The distribution of rows, given a label or nothing."""

    def __init__(self, owner: AnyOrder, label: Tensor | None, gaps: bool = True) -> None:
        self.owner, self.label, self.gaps = owner, label, gaps and owner.gaps is not None
        super().__init__(batch_of([label]), torch.Size([len(owner.cells.columns)]), validate_args=False)

    @property
    def whole(self) -> Ordered:
        """The same without missing cells."""
        return Ordered(self.owner, self.label, gaps=False)

    def log_prob(self, value: Tensor) -> Tensor:
        x, label, lead = self._flat(value)
        each = [self._in_order(x, k.expand(len(x), -1), label) for k in self.owner.order_of.argsort(-1)]
        return (torch.logsumexp(torch.stack(each), 0) - math.log(len(each))).view(lead)

    log_bound = log_prob

    def surrogate(self, value: Tensor) -> Tensor:
        """In an order drawn for each row among all, or (half of the time) among those in which the columns without gaps
        stand first; with the gradient of which cells are missing.

        In the others a row with gaps would teach what begins a row more often than one without. So what columns without
        gaps tell of each other has its gradient from the first kind alone, which all rows have alike."""
        x, label, lead = self._flat(value)
        rank = noise.uniform(x.shape, x.device)
        if not self.owner.gappy:
            return self._in_order(x, rank, label).view(lead)
        gappy = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
        gappy[self.owner.gappy] = True
        apart = noise.uniform((len(x), 1), x.device) < APART
        first = rank.masked_fill(x.isnan() | ~gappy, torch.inf).amin(1, keepdim=True)
        untaught = ~apart & ~gappy & (rank < first)
        return self._in_order(x, rank + (apart & gappy), label, self.gaps, untaught).view(lead)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        lead = torch.Size(sample_shape) + self.batch_shape
        d = self.event_shape[0]
        with torch.no_grad():
            return self.row(torch.full((*lead, d), torch.nan, device=self.owner.last.weight.device))

    def row(self, x: Tensor) -> Tensor:
        """Rows ``(*batch, columns)`` as the data have them, some of whose cells are missing: ``x`` with draws of what
        is NaN there. Those of the columns with gaps come last, if they are there."""
        if not self.gaps or current().temperature == 0:
            return self.completed(x)
        free, gappy = x.isnan(), torch.zeros_like(x, dtype=torch.bool)
        gappy[..., self.owner.gappy] = True
        x = self.completed(x, free & ~gappy)
        out = x.new_zeros(*x.shape[:-1], self.owner.last.out_features)
        there = ~self._rows(out, x).with_gaps(x.nan_to_num(0.0)).isnan()
        return self.completed(x, free & gappy & there)

    @torch.no_grad()
    def completed(self, x: Tensor, free: Tensor | None = None, shuffled: bool = False) -> Tensor:
        r"""Draws from :math:`p(x_{free} \mid x_{given})`: rows ``(*batch, columns)`` with what is free drawn.

        Args:
            x: what is given, NaN elsewhere.
            free: what is to be drawn; all NaN by default. What is neither given nor free stays missing.
            shuffled: what is given stands in an order of its own for each row, instead of the table's: a mean over
                draws is over orders too.
        """
        owner, d = self.owner, self.event_shape[0]
        free = x.isnan() if free is None else free
        lead, free = x.shape[:-1], free.reshape(-1, d)
        x = x.reshape(-1, d).masked_fill(free, torch.nan)
        label = flattened(self.label, (len(x) // self.batch_shape.numel(), *self.batch_shape))
        rank = owner.order_of.argsort(-1)
        which = (torch.rand(lead, device=x.device) * len(rank)).long().flatten()
        # what is given stands first
        first = torch.rand(x.shape, device=x.device) if shuffled else torch.arange(d, device=x.device)
        order = torch.where(x.isnan(), rank[which] + torch.where(free, d, 2 * d), first).argsort(1)
        kept, told = owner.net.keep(len(x), d), owner.begin(len(x), label)
        for column in order[:, : int((free | ~x.isnan()).sum(1).max()) if len(x) else 0].unbind(1):
            h = owner.net((told + owner.next(column))[:, None], kept)[:, 0]
            at = column[:, None]
            if bool(free.gather(1, at).any()):
                expected = self._expected(x, order)
                if expected is not None:
                    expected = Expected(*(each.unflatten(0, lead) for each in expected))
                row = Row(owner, owner.last(h).float().view(*lead, -1), None, expected)
                drawn = row.sample().view(-1, d).gather(1, at)
                x = x.scatter(1, at, torch.where(free.gather(1, at), drawn, x.gather(1, at)))
            told = owner.tokens(x).gather(1, at[..., None].expand(-1, -1, owner.net.width))[:, 0]
        return x.view(*lead, d)

    def _in_order(
        self, x: Tensor, rank: Tensor, label: Tensor | None, aside: bool = False, untaught: Tensor | None = None
    ) -> Tensor:
        order = (rank + x.isnan() * 2 * x.shape[1]).argsort(1)
        p = self._rows(self.owner.parameters_of(x, order, label), x, aside, self._expected(x, order))
        return p.surrogate(x, untaught) if aside else p.log_prob(x)

    def _expected(self, x: Tensor, order: Tensor) -> Expected | None:
        return None if self.owner.regression is None else self.owner.regression(x, order)

    def _rows(self, out: Tensor, x: Tensor, gaps: bool = True, expected: Expected | None = None) -> Row:
        owner = self.owner
        if not gaps or owner.gaps is None:
            return Row(owner, out, None, expected)
        seen = x.index_fill(-1, torch.tensor(owner.gappy, device=x.device), torch.nan)
        return Row(owner, out, owner.gaps(seen).float(), expected)

    def _flat(self, value: Tensor) -> tuple[Tensor, Tensor | None, torch.Size]:
        lead = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        x = value.to(torch.float32).expand(*lead, -1).reshape(-1, value.shape[-1])
        return x, flattened(self.label, lead), lead
