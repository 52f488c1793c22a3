"""The models that know nothing but each dimension's or token's own distribution: what every other has to beat."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusevae.core.vocabulary import counted

LEVELS = 1024  # of whole numbers, at most, that are counted


class Marginals:
    r""":math:`\log p(x) = \sum_d \log p_d(x_d)`: a constant distribution of independent dimensions.

    Whole numbers from ``low`` to ``high`` have the counts of the examples, half a count more each; reals a Gaussian
    with their mean and deviation (1 where they are constant, as ``Standardise`` has it).

    Args:
        x: examples ``(n, *shape)``.
        levels: (low, high) where the values are whole numbers, None for reals.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0], [1.0]])
        >>> Marginals(x, (0, 1)).log_prob(x).exp()
        tensor([0.3750, 0.6250, 0.6250], dtype=torch.float64)
    """

    def __init__(self, x: Tensor, levels: tuple[float, float] | None) -> None:
        flat = x.flatten(1).double()
        self.levels = levels if levels is not None and levels[1] - levels[0] < LEVELS else None
        if self.levels is not None:
            counts = flat.new_full((flat.shape[1], round(self.levels[1] - self.levels[0]) + 1), 0.5)
            counts.scatter_add_(1, self._index(flat), torch.ones_like(flat.T))
            self.table = (counts / counts.sum(1, keepdim=True)).log()
        else:
            self.mean, std = flat.mean(0), flat.std(0, correction=0)
            self.std = torch.where((flat == flat[0]).all(0) | (std == 0), 1.0, std)

    def log_prob(self, x: Tensor) -> Tensor:
        """Nats of examples ``(n, *shape)``, ``(n,)`` float64."""
        flat = x.flatten(1).double()
        if self.levels is not None:
            return self.table.to(flat.device).gather(1, self._index(flat)).sum(0)
        mean, std = self.mean.to(flat.device), self.std.to(flat.device)
        return (-0.5 * ((flat - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)).sum(1)

    def _index(self, flat: Tensor) -> Tensor:
        assert self.levels is not None
        low, high = self.levels
        return (flat.clamp(low, high) - low).round().long().T


class Unigram:
    r""":math:`\log p(x) = \sum_t \log p(x_t)` of token sequences: each token, the end included, is drawn by itself.

    The probabilities are the counts of the tokens that count, half a count more each.

    Args:
        x: sequences ``(n, length)``.
        size: of the vocabulary.

    Example:
        >>> import torch
        >>> Unigram(torch.tensor([[2, 0, 0]]), 3).log_prob(torch.tensor([[2, 0], [0, 2]])).exp()
        tensor([0.1837, 0.4286], dtype=torch.float64)
    """

    def __init__(self, x: Tensor, size: int) -> None:
        counts = torch.bincount(x[counted(x)], minlength=size).double() + 0.5
        self.table = (counts / counts.sum()).log()

    def log_prob(self, x: Tensor) -> Tensor:
        """Nats of sequences ``(n, length)``, ``(n,)`` float64."""
        return self.table.to(x.device)[x].masked_fill(~counted(x), 0.0).sum(1)
