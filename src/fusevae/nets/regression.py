"""Each column of a table regressed on those before it, in any order: what few rows can tell for sure."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fusevae.core.clusters import FOLDS, MOST, NUMBERS, STRENGTHS, clusters, stacked
from fusevae.core.covariance import gaussian
from fusevae.core.description import Described
from fusevae.nets.cells import Cells, Classes

CLASSES = 20  # of a column that takes part, at most
FAR = 100.0  # times the distance of the quartiles: of a normal, the range of 1,000 values is about 5
REACH = 8.0  # of what is added to a logit


Part = tuple[float, int, float]  # the share of a mixture, its components, and how far they are drawn to one


class Expected(NamedTuple):
    """What columns are expected to be: by each component the logarithm of its weight, heights and the logarithms of
    their deviations ``(n, components, numbers)``; and what is added to the logits of options ``(n, options)``."""

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor
    logits: Tensor


class Regression(Described, nn.Module):
    r"""A mixture over the heights of numbers and the indicators of classes (of :class:`Cells`) of training rows, and
    for each column what each of its components expects of it given those before it in an order,

    .. math:: E_c = \mu_c + \Sigma_{cS} \Sigma_{SS}^{-1} (f_S - \mu_S), \qquad V_c = \Sigma_{cc} - \Sigma_{cS}
        \Sigma_{SS}^{-1} \Sigma_{Sc}, \qquad w \propto \pi\, \mathcal N(f_S; \mu_S, \Sigma_{SS}),

    all of them from one factor :math:`L L^\top` of each covariance in that order. Without gaps cross-validation
    chooses, on the training rows, how far the covariances of a number of components are drawn to one
    (:func:`clusters`), the shares of mixtures of several numbers (:func:`stacked`), and whether the heights are
    straight lines or follow the quantiles: rows of several groups are no Gaussian in either, and quantiles of few rows
    are mostly chance. Classes are independent of the rest within a
    component, so that each of those before multiplies w by its probability there. With gaps, or where held-out rows are
    likelier so, it is one Gaussian of numbers and indicators, its covariance drawn to independence by as much as the
    number of rows asks for (:func:`gaussian`), and of classes the linear discriminant (Fisher 1936) of :math:`E_c`.
    Until :meth:`fit`, nothing depends on anything.

    Args:
        cells: what the columns hold; its functions become straight where they are to.
        components: of the mixture, at most.

    Example:
        >>> from fusevae.nets.cells import Real
        >>> regression, x = Regression(Cells([Real(), Real()])), torch.randn(4000, 1).expand(-1, 2)
        >>> regression.fit(x + 0.1 * torch.randn(4000, 2))
        >>> found = regression(torch.tensor([[1.0, 1.0]]), torch.tensor([[1, 0]]))
        >>> found.mean[:, 0].round(decimals=1) + 0.0  # of the second column nothing is known before it
        tensor([[1., 0.]])
    """

    places: Tensor
    of: Tensor
    center: Tensor
    scale: Tensor
    weights: Tensor
    means: Tensor
    covariance: Tensor
    log_shares: Tensor

    def __init__(self, cells: Cells, components: int = 1) -> None:
        super().__init__()
        self.cells, self.components, self.fitted, numbers = cells, components, False, cells.numbers.tolist()
        places, of, self.classes = list[int](), list[int](), list[tuple[int, int, int]]()
        for c, (column, start) in enumerate(zip(cells.columns, cells.starts.tolist(), strict=True)):
            if not isinstance(column, Classes):
                of, places = [*of, c], [*places, cells.total + numbers.index(c)]
            elif 1 < column.n <= CLASSES:
                self.classes.append((len(of), start, column.n))
                of, places = [*of, *[c] * column.n], [*places, *range(start, start + column.n)]
        self.register_buffer("places", torch.tensor(places, dtype=torch.long), persistent=False)
        self.register_buffer("of", torch.tensor(of, dtype=torch.long), persistent=False)
        self.heights = [i for i, place in enumerate(places) if place >= cells.total]
        d = len(of)
        self.register_buffer("center", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.register_buffer("weights", torch.eye(components)[0].clone())
        self.register_buffer("means", torch.zeros(components, d))
        self.register_buffer("covariance", torch.eye(d).repeat(components, 1, 1))
        self.register_buffer("log_shares", torch.zeros(components, cells.total))

    @property
    def used(self) -> int:
        """How many components there are."""
        return int((self.weights > 0).sum())

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the mixture from training rows ``(n, columns)``, of which cells may be missing."""
        parts = None
        if self.components > 1 and self.heights and not bool(x.isnan().any()):
            parts, straight = self._chosen(x)
            self.cells.fit(x, straight)
        self._take(self._apart(x), parts)
        self.fitted = True

    def _apart(self, x: Tensor) -> Tensor:
        """Rows with each whole number somewhere between its half-way points, as its mass is: no component is of one
        number that comes again and again."""
        whole = self.cells.numbers[self.cells.whole]
        noise = torch.rand(len(x), len(whole), generator=torch.Generator().manual_seed(0)) - 0.5
        return x.index_add(1, whole, noise.to(x))

    def _take(self, x: Tensor, parts: list[Part] | None) -> None:
        """The mixtures of rows, for the functions of the cells as they are; without any one Gaussian of indicators,
        too."""
        f = self.cells.features(x)[:, self.places].double().masked_fill(x[:, self.of].isnan(), torch.nan)
        center = f.nanmean(0).nan_to_num(0.0)
        scale = (f - center).square().nanmean(0).sqrt().nan_to_num(0.0)
        scale = torch.where(scale > 1e-6, scale, 1.0)
        f = (f - center) / scale
        self.weights.zero_()[0] = 1.0
        self.log_shares.zero_()
        self.means.zero_()
        self.covariance.copy_(torch.eye(len(center)))
        if parts is None:
            mean, covariance = gaussian(f)
            self.means[0], self.covariance[0] = mean.to(self.means), covariance.to(self.covariance)
        h, first = torch.tensor(self.heights, device=x.device), 0
        options = torch.tensor([o for _, start, n in self.classes for o in range(start, start + n)], dtype=torch.long)
        for share, k, strength in parts or ():
            found = clusters(f[:, h], k, strength, classes=self._indicators(x))
            at = torch.arange(first, first := first + k)
            self.weights[at] = share * found.log_weights.exp().to(self.weights)
            self.means[at[:, None], h] = found.means.to(self.means)
            self.covariance[at[:, None, None], h[:, None], h] = found.covariances.to(self.covariance)
            self.log_shares[at[:, None], options] = found.log_shares.to(self.log_shares)
        self.center.copy_(center)
        self.scale.copy_(scale)

    def forward(self, x: Tensor, order: Tensor) -> Expected:
        """For rows ``(n, columns)``, each column given those before it in the order ``(n, columns)``."""
        orders, which = order.unique(dim=0, return_inverse=True)
        at = orders.argsort(1)[:, self.of].argsort(dim=1, stable=True)  # features, as they come
        k = self.used
        factor = torch.linalg.cholesky(self.covariance[:k, at[:, :, None], at[:, None, :]])  # (k, orders, d, d)
        same = self.of[at]
        own = factor * (same[:, :, None] == same[:, None, :])  # what a column's own features add
        back, h, cells = at.argsort(1), self.heights, self.cells
        f = (self._features(x) - self.means[:k, None]).masked_fill(x[:, self.of].isnan(), 0.0)
        z, added = _solved(factor, own, f.gather(2, at[which].expand(k, -1, -1)), which)
        back_of = back[which].expand(k, -1, -1)
        expected = self.means[:k, None] + f - added.gather(2, back_of)
        deviation = own.square().sum(-1).sqrt().gather(2, back.expand(k, -1, -1))[:, which]
        mean = self.center[h] + self.scale[h] * expected[..., h]
        logits = x.new_zeros(len(x), cells.total)
        for i, start, n in self.classes:
            part = torch.arange(i, i + n, device=x.device)
            rows = own[0].gather(1, back[:, part, None].expand(-1, -1, own.shape[-1]))
            told = (expected[0] - self.means[0])[:, part]
            logits[:, start : start + n] = self._discriminant(part, told, (rows @ rows.mT)[which])
        each = -0.5 * z.square() - factor.diagonal(dim1=-2, dim2=-1).log()[:, which]
        each = each + self._of_classes(x).gather(2, at[which].expand(k, -1, -1))
        each = (each.cumsum(-1) - each).gather(2, back_of)  # by those before it: this is a column's first feature
        log_weight = (self.weights[:k, None, None].log() + each).log_softmax(0)
        for i, start, n in self.classes:
            shares = self.log_shares[:k, None, start : start + n]
            usual = (self.weights[:k, None, None].log() + shares).logsumexp(0)
            logits[:, start : start + n] += (log_weight[..., i, None] + shares).logsumexp(0) - usual
        log_scale = (self.scale[h] * deviation[..., h]).log().movedim(0, 1)
        return Expected(log_weight[..., h].movedim(0, 1), mean.movedim(0, 1), log_scale, logits)

    def _indicators(self, x: Tensor) -> list[Tensor]:
        """The classes of rows ``(n, columns)``: ``(n, options)`` of each column of them."""
        found = self.cells.features(x).double()
        return [found[:, start : start + n] for _, start, n in self.classes]

    def _of_classes(self, x: Tensor) -> Tensor:
        """Log-likelihoods of the components by the class of each column ``(components, n, features)``, at the first of
        its features."""
        found, option = x.new_zeros(self.used, len(x), len(self.of)), self.cells.chosen(x)
        for i, start, _ in self.classes:
            found[..., i] = self.log_shares[: self.used, start + option[:, self.of[i]]]
        return found

    def _chosen(self, x: Tensor) -> tuple[list[Part] | None, bool]:
        """The mixtures, and whether straight lines are the functions of the cells, that held-out fifths of training
        rows have the greatest density by; no mixtures where they have it by one Gaussian of numbers and indicators."""
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:MOST].to(x.device)]
        apart = self._apart(x)
        fold = torch.arange(len(x), device=x.device) % FOLDS
        held = (fold == torch.arange(FOLDS, device=x.device)[:, None]).double()
        classes = self._indicators(x)
        told = torch.cat([held.new_zeros(len(x), 0), *classes], 1)
        tried = list[tuple[float, bool, list[Part] | None]]()
        for line in (False, True)[: 1 + near(x[:, self.cells.numbers])]:
            found = []
            for there in (held == 0).unbind():
                self.cells.fit(x[there], straight=line)
                y, slope = self.cells.heights(apart[:, self.cells.numbers])
                center, scale = y[there].mean(0), y[there].std(0).clamp(min=1e-6)
                found.append(((y - center) / scale, (slope / scale).double().log().sum(-1)))
            y, slope = torch.stack([y for y, _ in found]).double(), torch.stack([s for _, s in found])
            best = list[tuple[float, int, float, Tensor]]()
            for k in NUMBERS:
                each = [
                    ((clusters(y, k, strength, 1 - held, classes).log_prob(y, told) + slope) * held).sum(0)
                    for strength in (STRENGTHS if k > 1 else STRENGTHS[:1])
                ]
                best.append(max((float(p.sum()), k, strength, p) for p, strength in zip(each, STRENGTHS, strict=False)))
            log_p = torch.stack([p for *_, p in best])
            shares = stacked(log_p, NUMBERS, self.components)
            parts = [(share, *best[i][1:3]) for i, share in shares.items()]
            log_w = log_p.new_tensor([*shares.values()]).log()
            tried.append((float((log_w[:, None] + log_p[[*shares]]).logsumexp(0).sum()), line, parts))
        if self.classes:
            tried.append((sum(self._alone(x, apart, there) for there in (held == 0).unbind()), False, None))
        _, straight, chosen = max(tried, key=lambda one: one[0])
        return chosen, straight

    def _alone(self, x: Tensor, apart: Tensor, there: Tensor) -> float:
        """The log-density of the other rows by one Gaussian of those that are there."""
        cells, held = self.cells, apart[~there]
        cells.fit(x[there])
        self._take(apart[there], None)
        found = self(held, torch.arange(held.shape[1], device=x.device).expand(len(held), -1))
        y, slope = cells.heights(held[:, cells.numbers])
        log_scale = found.log_scale[:, 0]
        z = (y - found.mean[:, 0]) * torch.exp(-log_scale)
        log_p = -0.5 * z.square() - log_scale - 0.5 * math.log(2 * math.pi) + slope.log()
        total = float(log_p.double().sum())
        for (i, start, n), column in zip(self.classes, self._indicators(x[there]), strict=True):
            logits = (column.sum(0) + 0.5).log() + found.logits[:, start : start + n]
            total += float(logits.log_softmax(-1).gather(1, cells.chosen(held)[:, self.of[i], None]).sum())
        return total

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        covariance = state.get(f"{prefix}covariance")
        if covariance is not None and covariance.dim() == 2:  # of earlier versions
            state[f"{prefix}weights"] = torch.eye(self.components)[0].clone()
            state[f"{prefix}means"] = torch.zeros_like(self.means)
            state[f"{prefix}covariance"] = covariance.repeat(self.components, 1, 1)
        state.setdefault(f"{prefix}log_shares", torch.zeros_like(self.log_shares))
        super()._load_from_state_dict(state, prefix, *rest)
        self.fitted = True

    def _discriminant(self, part: Tensor, expected: Tensor, left: Tensor) -> Tensor:
        r"""What is added to the logits of a column's classes: with D of one over their parts in the training rows and C
        the covariance of what is expected of their indicators, the discriminant of normals of one covariance about
        :math:`C D`, which is :math:`D (1 - C D)^{-1} (e - C D / 2)` for a row and its class each."""
        unit = self.scale[part]
        told = (self.covariance[0, part[:, None], part] - left) * unit[:, None] * unit
        over = 1 / (self.center[part] + unit * self.means[0, part]).clamp(min=1e-3)
        centers = told * over
        sides = torch.cat([(expected * unit)[..., None], centers], -1)
        found = over[:, None] * torch.linalg.solve(torch.eye(len(part), device=left.device) - centers, sides)
        return (found[..., 0] - 0.5 * found[..., 1:].diagonal(dim1=-2, dim2=-1)).clamp(-REACH, REACH)

    def _features(self, x: Tensor) -> Tensor:
        return (self.cells.features(x)[:, self.places] - self.center) / self.scale


def near(x: Tensor) -> bool:
    """Whether no number of rows ``(n, columns)`` lies so far from all others that a straight line, which one value
    turns, would have no scale left for them: half of each column lies within 1 / FAR of its range."""
    low, high = x.double().quantile(x.new_tensor([0.25, 0.75]).double(), dim=0)
    return bool((x.max(0).values - x.min(0).values <= FAR * (high - low)).all())


def _solved(factor: Tensor, own: Tensor, f: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """The z of L z = f, and what the columns' own parts of L make of it, ``(k, n, d)`` for rows f whose orders are
    ``which`` of those of L ``(k, orders, d, d)``. Rows of one order are solved together: where draws of a row's columns
    have but a few orders, copies of L for each row would take all the time."""
    if 4 * factor.shape[1] > len(which):
        z = torch.linalg.solve_triangular(factor[:, which], f[..., None], upper=False)
        return z[..., 0], (own[:, which] @ z)[..., 0]
    z, added = torch.empty_like(f), torch.empty_like(f)
    for order in range(factor.shape[1]):
        rows = which == order
        z[:, rows] = torch.linalg.solve_triangular(factor[:, order], f[:, rows].mT, upper=False).mT
        added[:, rows] = z[:, rows] @ own[:, order].mT
    return z, added
