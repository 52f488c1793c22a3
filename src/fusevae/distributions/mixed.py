"""Mixed: rows of a table, each column with a family of its own; cells may be missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, parameters
from fusevae.core.generation import current
from fusevae.core.levels import BoundOnly
from fusevae.distributions.gaussian import smooth_bound, smooth_unbound
from fusevae.nets.cells import Cells, Classes, Real
from fusevae.nets.mlp import MLP, Constant
from fusevae.nets.outset import start_at
from fusevae.nets.regression import Expected

LOGISTIC = math.pi / math.sqrt(3)  # deviation of a logistic of scale 1
BOUNDS = (-5.0, 3.0)  # of the logarithm of a scale, on the scale of heights


class Mixed(Conditional):
    r""":math:`p(x \mid given) = \prod_{d \text{ there}} p_d(x_d \mid given)`: a density over the columns of reals times
    a probability of the others.

    * classes: a categorical;
    * reals: a mixture of Gaussians over the heights :math:`t_d(x_d)` of :class:`Cells`, times the slope of t;
    * whole numbers: a mixture of logistics over the heights, its mass between :math:`t_d(x_d \pm 1/2)`;
    * each spike of a column has a probability of its own beside these.

    A missing cell (NaN) contributes nothing, so that the value is that of the cells that are there. Which cells of a
    sample are missing is drawn from a model of its own, by the columns in their order, each given those before it: it
    is trained beside (by the surrogate), adds nothing to the likelihood, and no gradient of it reaches what is given.

    Where nothing is to be drawn (``Generation(temperature=0)``) a sample is a typical row without gaps: the likeliest
    option of each column, and the number at the mean height.

    Args:
        net: gives :meth:`outputs` numbers.
        cells: what the columns hold.
        components: of each mixture.
        gaps: gives a logit for each of the columns ``gappy``, of whether its cell is missing.
        gappy: columns with missing cells.

    Example:
        >>> cells = Cells([Classes(2), Real()])
        >>> p = Mixed(Constant(Mixed.outputs(cells, 1)), cells, components=1)()
        >>> p.log_prob(torch.tensor([[0.0, torch.nan], [torch.nan, torch.nan]])).exp().detach()
        tensor([0.5000, 1.0000])
    """

    has_mean = False
    mixed = True

    def __init__(
        self,
        net: nn.Module,
        cells: Cells,
        components: int = 3,
        gaps: nn.Module | None = None,
        gappy: list[int] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.cells, self.components, self.gaps = net, cells, components, gaps
        self.gappy = list(gappy or ())
        self.links = nn.Parameter(torch.zeros(len(self.gappy), len(self.gappy))) if gaps is not None else None
        reals = len(cells.numbers) - int(cells.whole.sum())
        self.discrete = not reals

    @staticmethod
    def outputs(cells: Cells, components: int = 3) -> int:
        """How many numbers the net gives."""
        return cells.total + 3 * components * len(cells.numbers)

    @property
    def numbers(self) -> int:
        """How many numbers stand in memory for a row."""
        return self.outputs(self.cells, self.components)

    def forward(self, *given: Tensor | None) -> Row:
        out = parameters(self.net, given)
        gaps = None
        if self.gaps is not None:
            gaps = parameters(self.gaps, [g if g is None or not g.is_floating_point() else g.detach() for g in given])
        return Row(self, out, gaps)

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Functions of the cells, where they have none yet; and outputs at which each column has the distribution that
        it has in the examples."""
        if not self.cells.fitted:
            self.cells.fit(examples())
        for net, outputs in ((self.net, self._start), (self.gaps, self._rates)):
            if isinstance(net, Constant) and not bool(net.value.any()):
                net.value.copy_(outputs(examples()))
            elif net is not None:
                start_at(net, examples, outputs)

    def _rates(self, x: Tensor) -> Tensor:
        return torch.logit(x[:, self.gappy].isnan().float().mean(0), eps=1e-4)

    def _start(self, x: Tensor) -> Tensor:
        cells, k = self.cells, self.components
        counts = sum((cells.features(part)[:, : cells.total].sum(0) for part in x.split(1000)), torch.zeros(()))
        logits = torch.log(counts + 0.5)
        logits = (
            logits
            - torch.zeros_like(cells.sizes.float()).index_add_(0, cells.column_of, counts + 0.5).log()[cells.column_of]
        )
        middles, widths = (v.to(x) for v in self._mixture_start())
        raw = smooth_unbound(widths.log(), *BOUNDS)
        mixture = [v.expand(k, len(cells.numbers)).flatten() for v in (torch.zeros_like(raw), middles, raw)]
        return torch.cat([logits.to(x), *mixture])

    def _mixture_start(self) -> tuple[Tensor, Tensor]:
        """Means and scales of the components ``(k, numbers)``, or of any number ``(k, 1)``, so that their mixture is
        about standard normal."""
        means, scales = spread(self.components, 1.0)
        return means[:, None], scales[:, None]

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        def example(columns: list[Any], k: int = 2) -> tuple[Self, tuple[Any, ...]]:
            cells = Cells(columns, knots=6)
            return cls(MLP(2, cls.outputs(cells, k), hidden=(4,)), cells, k), (torch.randn(3, 2),)

        return [example([Classes(3), Classes(2)]), example([Real(), Real()])]


class Row(BoundOnly):
    """The distribution of one row; ``out`` has shape ``(*batch, outputs)``, and is about what is ``expected``."""

    def __init__(self, owner: Mixed, out: Tensor, gaps: Tensor | None, expected: Expected | None = None) -> None:
        cells, k = owner.cells, owner.components
        self.owner, self.cells, self.gaps = owner, cells, gaps
        logits, rest = out[..., : cells.total], out[..., cells.total :]
        self.logits = by_column(logits if expected is None else logits + expected.logits, cells)
        mixture = rest.unflatten(-1, (3, k, -1)) if len(cells.numbers) else rest.reshape(*rest.shape[:-1], 3, k, 0)
        weights, means, raw = mixture.unbind(-3)  # (*batch, k, numbers)
        self.means: Tensor = means
        self.log_scales = smooth_bound(raw, *BOUNDS)
        if expected is not None:  # the mixture is of what is left of a number, by each component that expects it
            of = torch.arange(k, device=out.device) % expected.mean.shape[-2]
            mean, log_scale = expected.mean[..., of, :], expected.log_scale[..., of, :]
            self.means, self.log_scales = mean + log_scale.exp() * means, log_scale + self.log_scales
            weights = weights + expected.log_weight[..., of, :] - of.bincount()[of].log()[:, None]
        self.weights: Tensor = weights.log_softmax(-2)
        super().__init__(out.shape[:-1], torch.Size([len(cells.columns)]), validate_args=False)

    @property
    def whole(self) -> Row:
        """The same without missing cells."""
        found = self.__class__.__new__(self.__class__)
        found.__dict__.update(self.__dict__)
        found.gaps = None
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        return self.by_cell(value).sum(-1)

    log_bound = log_prob

    def by_cell(self, value: Tensor) -> Tensor:
        """log p of each cell ``(*batch, columns)``; 0 where one is missing."""
        cells = self.cells
        there = ~value.isnan()
        x = value.nan_to_num(0.0)
        option = cells.chosen(x)
        shape = torch.broadcast_shapes(x.shape[:-1], self.batch_shape)
        logits = self.logits.expand(*shape, -1)
        log_p = logits.gather(-1, (cells.starts + option).expand(*shape, -1))
        log_p = torch.where((x == option) | cells.loose, log_p, -torch.inf)
        if len(cells.numbers):
            any_of_them = logits[..., cells.starts[cells.numbers]] + self._mixture(x[..., cells.numbers])
            spike = option[..., cells.numbers] > 0
            here = log_p[..., cells.numbers]
            both = torch.logaddexp(here, any_of_them)
            both = torch.where(spike, torch.where(cells.whole, both, here), any_of_them)
            log_p = log_p.index_copy(-1, cells.numbers, both)
        return torch.where(there, log_p, 0.0)

    def surrogate(self, value: Tensor, untaught: Tensor | None = None) -> Tensor:
        """With the gradient of which cells are missing for its own parameters, and without that of the cells
        ``untaught``."""
        each = self.by_cell(value)
        found = (each if untaught is None else torch.where(untaught, each.detach(), each)).sum(-1)
        if self.gaps is None:
            return found
        missing = value[..., self.owner.gappy].isnan().to(found.dtype)
        logits = self.gaps + missing @ self._links()
        logits, missing = torch.broadcast_tensors(logits, missing)
        aside = -F.binary_cross_entropy_with_logits(logits, missing, reduction="none").sum(-1)
        return found + aside - aside.detach()

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        cells, shape = self.cells, torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            if current().temperature == 0:
                return self.typical().expand(*shape, -1)
            option = drawn(self.logits, cells, torch.rand(*shape, len(cells.columns), device=self.logits.device))
            x = self._row(option, self._numbers(torch.Size(sample_shape)))
            return x if self.gaps is None else self.with_gaps(x)

    def typical(self) -> Tensor:
        """The likeliest options, and numbers at their mean heights."""
        cells, index = self.cells, self.cells.column_of.expand_as(self.logits)
        zeros = self.logits.new_zeros(*self.batch_shape, len(cells.columns))
        most = zeros.scatter_reduce(-1, index, self.logits, "amax", include_self=False).gather(-1, index)
        place = torch.arange(cells.total, device=index.device) - cells.starts[cells.column_of]
        place = torch.where(self.logits == most, place, cells.total).to(zeros.dtype)
        option = zeros.scatter_reduce(-1, index, place, "amin", include_self=False).long()
        return self._row(option, cells.values((self.weights.exp() * self.means).sum(-2)))

    def _row(self, option: Tensor, numbers: Tensor) -> Tensor:
        """Rows of options ``(*batch, columns)``, and of numbers where these are "any"."""
        cells, x = self.cells, option.to(self.logits.dtype)
        if len(cells.numbers):
            chosen = option[..., cells.numbers]
            spikes = cells.spikes.T.gather(0, (chosen - 1).clamp(min=0).reshape(-1, len(cells.numbers))).view_as(chosen)
            numbers = torch.where(cells.whole, torch.maximum(numbers.round(), cells.least), numbers)
            x = x.index_copy(-1, cells.numbers, torch.where(chosen > 0, spikes, numbers))
        return x

    def _mixture(self, x: Tensor) -> Tensor:
        """Log-density, or log-probability, of numbers ``(*batch, numbers)`` that are no spikes."""
        cells, mean, log_scale = self.cells, self.means, self.log_scales
        y, slope = cells.heights(x)
        apart = (y[..., None, :] - mean) * torch.exp(-log_scale)
        density = -0.5 * apart.square() - log_scale - 0.5 * math.log(2 * math.pi) + slope.log()[..., None, :]
        if bool(cells.whole.any()):
            inverse = torch.exp(-log_scale)
            low, high = (cells.heights(x + side)[0][..., None, :] for side in (-0.5, 0.5))
            upper, width = (high - mean) * inverse, (high - low) * inverse
            lower = upper - width
            # log(sigmoid(u) - sigmoid(l)) = -softplus(-u) - softplus(l) + log(1 - exp(l - u)), exact in the tails
            mass = -F.softplus(-upper) - F.softplus(lower) + torch.log(-torch.expm1(-width.clamp(min=1e-9)))
            mass = torch.where((x <= cells.least)[..., None, :], -F.softplus(-upper), mass)
            mass = torch.where((x < cells.least)[..., None, :], -torch.inf, mass)
            density = torch.where(cells.whole, mass, density)
        return torch.logsumexp(self.weights + density, -2)

    def _numbers(self, sample_shape: torch.Size) -> Tensor:
        cells = self.cells
        k = noise.choose(self.weights, sample_shape, dim=-2)[..., None, :]
        mean, scale = (
            v.expand(*sample_shape, *v.shape).gather(-2, k)[..., 0, :] for v in (self.means, self.log_scales.exp())
        )
        uniform = torch.rand(mean.shape, device=mean.device).clamp_(1e-7, 1 - 1e-7)
        standard = torch.where(cells.whole, torch.logit(uniform), torch.special.ndtri(uniform))
        return cells.values(mean + scale * standard)

    def _links(self) -> Tensor:
        """What each gap adds to the logits of those after it: ``(from, to)``."""
        assert self.owner.links is not None
        return self.owner.links.triu(1)

    def with_gaps(self, x: Tensor) -> Tensor:
        """Whole rows with cells missing as it is drawn."""
        assert self.gaps is not None
        links, missing = self._links(), x.new_zeros(*x.shape[:-1], len(self.owner.gappy))
        uniform = torch.rand(missing.shape, device=x.device)
        for j in range(len(self.owner.gappy)):
            chance = torch.sigmoid(self.gaps[..., j] + missing @ links[:, j])
            missing[..., j] = (uniform[..., j] < chance).to(x.dtype)
        gone = torch.zeros_like(x).index_copy_(-1, torch.tensor(self.owner.gappy, device=x.device), missing)
        return torch.where(gone > 0, torch.nan, x)


def spread(k: int, part: float) -> tuple[Tensor, Tensor]:
    """Means and scales of ``k`` components whose mixture has mean 0 and variance 1: means at ``part`` of the quantiles
    of a normal; the less, the more their mixture is one.

    Example:
        >>> spread(2, 0.5)
        (tensor([-0.3372,  0.3372]), tensor([0.9414, 0.9414]))
    """
    means = part * torch.special.ndtri((torch.arange(k) + 0.5) / k)
    return means, (1 - means.square().mean()).sqrt().expand(k)


def by_column(logits: Tensor, cells: Cells) -> Tensor:
    """Logits ``(*batch, options)`` as log-probabilities of the options of each column."""
    index = cells.column_of.expand_as(logits)
    zeros = logits.new_zeros(*logits.shape[:-1], len(cells.columns))
    most = zeros.scatter_reduce(-1, index, logits.detach(), "amax", include_self=False)
    total = zeros.scatter_add(-1, index, torch.exp(logits - most.gather(-1, index)))
    return logits - (most + total.log()).gather(-1, index)


def drawn(log_p: Tensor, cells: Cells, uniform: Tensor) -> Tensor:
    """An option of each column, ``(*sample, *batch, columns)``, by uniform numbers of that shape."""
    reached = log_p.double().exp().cumsum(-1)
    before = F.pad(reached, (1, 0))[..., cells.starts]
    last = reached[..., cells.starts + cells.sizes - 1]
    level = before + uniform.double() * (last - before)
    below = (reached <= level[..., cells.column_of]).long()
    found = torch.zeros(uniform.shape, dtype=torch.long, device=uniform.device)
    found = found.scatter_add(-1, cells.column_of.expand_as(below), below)
    return torch.minimum(found, cells.sizes - 1)
