"""Each column of a table regressed on those before it, in any order: what few rows can tell for sure."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fusevae.core.covariance import gaussian
from fusevae.core.description import Described
from fusevae.nets.cells import Cells, Classes

CLASSES = 20  # of a column that takes part, at most
REACH = 8.0  # of what is added to a logit


class Expected(NamedTuple):
    """What columns are expected to be: heights ``(n, numbers)`` with the logarithms of their deviations, and what is
    added to the logits of options ``(n, options)``."""

    mean: Tensor
    log_scale: Tensor
    logits: Tensor


class Regression(Described, nn.Module):
    r"""The Gaussian of the heights of numbers and of indicators of classes (of :class:`Cells`) with the mean and the
    covariance of training rows, drawn to independence by as much as their number asks for (:func:`gaussian`): for each
    column what the Gaussian expects of it given those before it in an order,

    .. math:: E_c = \Sigma_{cS} \Sigma_{SS}^{-1} f_S, \qquad V_c = \Sigma_{cc} - \Sigma_{cS} \Sigma_{SS}^{-1}
        \Sigma_{Sc},

    all of them from the one factor :math:`L L^\top` of the covariance in that order. Of classes it is the linear
    discriminant (Fisher 1936) of :math:`E_c`. Until :meth:`fit`, nothing depends on anything.

    Args:
        cells: what the columns hold.

    Example:
        >>> from fusevae.nets.cells import Real
        >>> regression, x = Regression(Cells([Real(), Real()])), torch.randn(4000, 1).expand(-1, 2)
        >>> regression.fit(x + 0.1 * torch.randn(4000, 2))
        >>> found = regression(torch.tensor([[1.0, 1.0]]), torch.tensor([[1, 0]]))
        >>> found.mean.round(decimals=1) + 0.0  # of the second column nothing is known before it
        tensor([[1., 0.]])
    """

    places: Tensor
    of: Tensor
    center: Tensor
    scale: Tensor
    covariance: Tensor

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self.cells, self.fitted, numbers = cells, False, cells.numbers.tolist()
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
        self.register_buffer("center", torch.zeros(len(of)))
        self.register_buffer("scale", torch.ones(len(of)))
        self.register_buffer("covariance", torch.eye(len(of)))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and covariance from training rows ``(n, columns)``, of which cells may be missing."""
        f = self.cells.features(x)[:, self.places].double().masked_fill(x[:, self.of].isnan(), torch.nan)
        center = f.nanmean(0).nan_to_num(0.0)
        scale = (f - center).square().nanmean(0).sqrt().nan_to_num(0.0)
        scale = torch.where(scale > 1e-6, scale, 1.0)
        mean, covariance = gaussian((f - center) / scale)
        self.center.copy_(center + scale * mean)
        self.scale.copy_(scale)
        self.covariance.copy_(covariance)
        self.fitted = True

    def forward(self, x: Tensor, order: Tensor) -> Expected:
        """For rows ``(n, columns)``, each column given those before it in the order ``(n, columns)``."""
        orders, which = order.unique(dim=0, return_inverse=True)
        at = orders.argsort(1)[:, self.of].argsort(dim=1, stable=True)  # features, as they come
        factor = torch.linalg.cholesky(self.covariance[at[:, :, None], at[:, None, :]])
        same = self.of[at]
        own = (factor * (same[:, :, None] == same[:, None, :]))[which]  # what a column's own features add
        f, back = self._features(x), at.argsort(1)[which]
        z = torch.linalg.solve_triangular(factor[which], f.gather(1, at[which])[..., None], upper=False)
        expected = f - (own @ z)[..., 0].gather(1, back)
        deviation = own.square().sum(-1).sqrt().gather(1, back)
        h, cells = self.heights, self.cells
        mean = self.center[h] + self.scale[h] * expected[:, h]
        logits = x.new_zeros(len(x), cells.total)
        for i, start, k in self.classes:
            part = torch.arange(i, i + k, device=x.device)
            rows = own.gather(1, back[:, part, None].expand(-1, -1, own.shape[2]))
            logits[:, start : start + k] = self._discriminant(part, expected[:, part], rows @ rows.mT)
        return Expected(mean, (self.scale[h] * deviation[:, h]).log(), logits)

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self.fitted = True

    def _discriminant(self, part: Tensor, expected: Tensor, left: Tensor) -> Tensor:
        r"""What is added to the logits of a column's classes: with D of one over their parts in the training rows and C
        the covariance of what is expected of their indicators, the discriminant of normals of one covariance about
        :math:`C D`, which is :math:`D (1 - C D)^{-1} (e - C D / 2)` for a row and its class each."""
        unit = self.scale[part]
        told = (self.covariance[part[:, None], part] - left) * unit[:, None] * unit
        over = 1 / self.center[part].clamp(min=1e-3)
        centers = told * over
        sides = torch.cat([(expected * unit)[..., None], centers], -1)
        found = over[:, None] * torch.linalg.solve(torch.eye(len(part), device=left.device) - centers, sides)
        return (found[..., 0] - 0.5 * found[..., 1:].diagonal(dim1=-2, dim2=-1)).clamp(-REACH, REACH)

    def _features(self, x: Tensor) -> Tensor:
        f = (self.cells.features(x)[:, self.places] - self.center) / self.scale
        return f.masked_fill(x[:, self.of].isnan(), 0.0)
