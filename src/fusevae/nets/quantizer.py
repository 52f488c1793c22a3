"""Quantizers: a feature map to a map of codes, by a learned codebook or by rounding."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.processes import sum_over_processes, world

EVENLY = 0.85  # deviation of Gaussian features whose tanh is about uniform: 1.702 x / 2 (Bowling et al. 2009)
ROUNDS = 20  # of Lloyd's algorithm for the first codebook


class Codes(NamedTuple):
    """What a quantizer makes of features ``(*batch, d, h, w)``.

    Attributes:
        codes: integers ``(*batch, h, w)`` from 0 to ``levels - 1``.
        z: the features that stand for them, ``(*batch, d, h, w)``; exactly :meth:`Quantizer.lookup` of the codes, with
            a gradient that passes straight through to the features.
        commitment: what holds the features near their codes, ``(*batch,)``; None where nothing has to.
    """

    codes: Tensor
    z: Tensor
    commitment: Tensor | None


class Quantizer(Described, nn.Module):
    """From feature maps to codes and back. A vector of groups is a map ``(d, 1, groups)``.

    Attributes:
        levels: number of codes, K.
        features: d, the channels of a feature map.
    """

    levels: int
    features: int

    @abstractmethod
    def forward(self, h: Tensor) -> Codes:
        """The codes of features ``(*batch, d, h, w)``."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """The features ``(*batch, d, h, w)`` that stand for codes ``(*batch, h, w)``."""

    def start(self, h: Tensor) -> None:
        """Take what there is to take from the features ``(n, d, h, w)`` of the first training data."""


class FiniteScalar(Quantizer):
    r"""Finite scalar quantisation: each feature is squeezed into a range and rounded (FSQ, Mentzer et al. 2024).

    .. math:: z_j = \frac{2 i_j}{L_j - 1} - 1, \quad i_j = \mathrm{round}\Big((L_j - 1) \frac{1 + \tanh h_j}{2}\Big)

    and the code is :math:`\sum_j i_j \prod_{k<j} L_k`. There is no codebook that could collapse; the gradient is that
    of tanh.

    Args:
        sides: L, the values of each feature. 5 or more are advised: ``(8, 6, 5)`` gives 240 codes, ``(8, 5, 5, 5)``
            1000.

    Example:
        >>> FiniteScalar((3, 2)).lookup(torch.arange(6).view(1, 1, 6))[0, :, 0].T.tolist()
        [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    """

    sizes: Tensor
    places: Tensor

    def __init__(self, sides: tuple[int, ...] = (8, 6, 5)) -> None:
        super().__init__()
        if not sides or min(sides) < 2:
            raise InputError(f"FiniteScalar was given sides={sides}: expected numbers of at least 2, (8, 6, 5) say")
        self.sides, self.levels, self.features = tuple(sides), math.prod(sides), len(sides)
        column = torch.tensor(sides).view(-1, 1, 1)
        self.register_buffer("sizes", column, persistent=False)
        self.register_buffer("places", column.cumprod(0) // column, persistent=False)

    def forward(self, h: Tensor) -> Codes:
        inside = torch.tanh(h.float())
        index = ((self.sizes - 1) * (inside + 1) / 2).round().nan_to_num(0.0).long()  # nan stays in z
        codes = (index * self.places).sum(-3)
        return Codes(codes, _through(self._values(index), inside), None)

    def lookup(self, codes: Tensor) -> Tensor:
        return self._values(codes.unsqueeze(-3) // self.places % self.sizes)

    def _values(self, index: Tensor) -> Tensor:
        return 2 * index.float() / (self.sizes - 1) - 1


class VectorQuantizer(Quantizer):
    r"""The nearest vector of a codebook, :math:`c = \arg\min_k |h - e_k|^2`, at each place (van den Oord et al. 2017),
    of features h that are scaled to the length :math:`\sqrt d` first (Yu et al. 2022): where the length is free, it
    drifts away from the codebook.

    The gradient passes straight through to the features, which the commitment :math:`\beta \sum |h - e_c|^2` keeps near
    their codes. No gradient moves the codebook: each of its vectors is a running mean of the features given to it. With
    :math:`n_k` the part of a batch's features that got code k at step t, and :math:`\bar h_k` their mean,

    .. math:: N_k \leftarrow \gamma_t N_k + (1 - \gamma_t) n_k, \quad
              e_k \leftarrow e_k + (1 - \gamma_t) \frac{n_k (\bar h_k - e_k)}{N_k}, \quad
              \gamma_t = \min(\gamma, t / (t + 9))

    which is the average of appendix A.1 there, but for its start: an encoder moves fast at first, and a codebook that
    lagged behind would lose all but a few of its codes. It is of the features of all processes, and moves in training
    mode with gradients on, so that neither an evaluation nor another player's look at the model moves it.

    A code that is given less than ``revive`` of an equal share has died. It starts anew, with an equal share, as a
    feature vector of the batch that is drawn in proportion to its squared distance from its code: where the codebook
    serves the features worst, as in k-means++ (Arthur & Vassilvitskii 2007). The first codebook is of k-means on
    features of the training data.

    Args:
        levels: K, the size of the codebook.
        features: d, of each vector.
        commitment: :math:`\beta`.
        decay: :math:`\gamma`.
        revive: as a part of 1 / K; 0 lets the dead rest.
        scaled: whether features are scaled; what is left of them by another quantizer has a length that matters.

    Example:
        >>> found = VectorQuantizer(8, 3)(torch.randn(5, 3, 4, 4))
        >>> found.codes.shape, found.z.shape
        (torch.Size([5, 4, 4]), torch.Size([5, 3, 4, 4]))
    """

    codebook: Tensor
    share: Tensor
    updates: Tensor

    def __init__(
        self,
        levels: int,
        features: int,
        commitment: float = 0.25,
        decay: float = 0.99,
        revive: float = 0.03,
        scaled: bool = True,
    ) -> None:
        super().__init__()
        if levels < 2 or features < 2 or not 0 < decay < 1 or commitment < 0 or not 0 <= revive < 1:
            raise InputError(
                f"VectorQuantizer was given levels={levels}, features={features}, commitment={commitment}, "
                f"decay={decay}, revive={revive}: expected at least 2 levels and features, and parts below 1"
            )
        self.levels, self.features = levels, features
        self.commitment, self.decay, self.revive, self.scaled = commitment, decay, revive, scaled
        self.register_buffer("codebook", torch.randn(levels, features))
        self.register_buffer("share", torch.full((levels,), 1 / levels))  # N
        self.register_buffer("updates", torch.zeros(()))  # t
        self.revived: Tensor | int = 0  # how often a code was started anew; no part of the model
        self.rests = False  # the dead are left from now on, in this training

    def forward(self, h: Tensor) -> Codes:
        h = self._scaled(h)
        flat = h.movedim(-3, -1)  # (*batch, h, w, d)
        codes = self._nearest(flat.detach().reshape(-1, self.features))
        grid = codes.view(flat.shape[:-1])
        z = self.lookup(grid)
        commitment = self.commitment * (h - z).square().sum((-3, -2, -1))
        if self.training and torch.is_grad_enabled():
            self._follow(flat.detach().reshape(-1, self.features), codes)
        return Codes(grid, _through(z, h), commitment)

    def lookup(self, codes: Tensor) -> Tensor:
        return self.codebook[codes].movedim(-1, -3)

    @torch.no_grad()
    def start(self, h: Tensor) -> None:
        from sklearn.cluster import kmeans_plusplus  # its KMeans adds up in an order that depends on the threads

        flat = self._scaled(h).movedim(-3, -1).reshape(-1, self.features)
        if self.updates or len(flat) < self.levels:  # a codebook that was trained already, or too little data for one
            return
        seed = int(torch.randint(2**31 - 1, ()))
        self.codebook.copy_(torch.as_tensor(kmeans_plusplus(flat.cpu().numpy(), self.levels, random_state=seed)[0]))
        for _ in range(ROUNDS):
            total = torch.stack([self._totals(part, self._nearest(part)) for part in flat.split(4096)]).sum(0)
            self.codebook.copy_(torch.where(total[:, -1:] > 0, total[:, :-1] / total[:, -1:], self.codebook))
        self.share.copy_(total[:, -1] / len(flat))

    def _scaled(self, h: Tensor) -> Tensor:
        return math.sqrt(self.features) * F.normalize(h.float(), dim=-3) if self.scaled else h.float()

    def _nearest(self, flat: Tensor) -> Tensor:
        """The codes of vectors ``(n, d)``."""
        with torch.autocast(flat.device.type, enabled=False):  # differences of large numbers
            apart = torch.addmm(self.codebook.square().sum(1), flat, self.codebook.T, alpha=-2)
        return apart.argmin(1)

    def _totals(self, flat: Tensor, codes: Tensor) -> Tensor:
        """The sum of the vectors ``(n, d)`` given to each code, and their number: ``(K, d + 1)``."""
        good = flat.isfinite().all(1)  # an abnormal batch, whose update is left out, must not stay in the codebook
        counted = torch.cat([_finite(flat), torch.ones_like(flat[:, :1])], 1) * good[:, None]
        if flat.device.type == "cpu":
            return counted.new_zeros(self.levels, counted.shape[1]).index_add_(0, codes, counted)
        # a product of matrices adds up in one order, an indexed sum on a GPU doesn't
        given = codes[:, None] == torch.arange(self.levels, device=codes.device)
        with torch.autocast(flat.device.type, enabled=False):
            return given.float().T @ counted

    @torch.no_grad()
    def _follow(self, flat: Tensor, codes: Tensor) -> None:
        """Move the codebook after the features of a batch; no code that ``forward`` has looked up changes by it."""
        total = sum_over_processes(self._totals(flat, codes))
        count = total[:, -1:]
        mean, part = total[:, :-1] / count.clamp(min=1), count[:, 0] / count.sum().clamp(min=1)
        apart = (flat - self.codebook[codes]).square().sum(1)
        self.updates += 1
        weight = torch.clamp(9 / (self.updates + 9), min=1 - self.decay)
        share = self.share + weight * (part - self.share)
        codebook = self.codebook + (weight * part / share.clamp(min=1e-12))[:, None] * (mean - self.codebook)
        if self.revive and not self.rests:
            equal = share.sum() / self.levels
            dead = share < self.revive * equal
            codebook = torch.where(dead[:, None], self._worst_served(flat, apart), codebook)
            share = torch.where(dead, equal, share)
            self.revived = self.revived + dead.sum()
        self.codebook.copy_(codebook)
        self.share.copy_(share)

    def _worst_served(self, flat: Tensor, apart: Tensor) -> Tensor:
        """K vectors ``(K, d)`` drawn from those of all processes, with probabilities in proportion to ``apart``."""
        rank, processes = world()
        apart = _finite(apart).double() + 1e-30  # any of them where all are served exactly
        ends = apart.cumsum(0)
        totals = torch.zeros(processes, dtype=torch.float64, device=flat.device)
        totals[rank] = ends[-1]
        edges = torch.cat([totals[:1] * 0, sum_over_processes(totals).cumsum(0)])
        # the generators are keyed alike in every process, so that all draw the same
        at = torch.rand(self.levels, dtype=torch.float64, device=flat.device) * edges[-1]
        here = (at >= edges[rank]) & (at < edges[rank + 1])
        index = torch.searchsorted(ends, at - edges[rank], right=True).clamp(max=len(flat) - 1)
        return sum_over_processes(torch.where(here[:, None], _finite(flat[index]), 0.0))


def checked(codes: Tensor, levels: int, least: int = 0) -> Tensor:
    """The same codes, or :class:`InputError` where one is below ``least`` (0, or what stands for none) or too large."""
    if codes.numel() and not least <= int(codes.min()) <= int(codes.max()) < levels:
        raise InputError(
            f"codes from {int(codes.min())} to {int(codes.max())} were given, expected 0 to {levels - 1}: "
            "give the array named codes of encode"
        )
    return codes


def _finite(x: Tensor) -> Tensor:
    return x.nan_to_num(0.0, 0.0, 0.0)


def _through(z: Tensor, h: Tensor) -> Tensor:
    """Exactly ``z``, with the gradient of ``h``."""
    return z.detach() + (h - h.detach())
