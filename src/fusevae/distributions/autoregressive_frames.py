"""Sequences of vectors one after the other: what comes next given those before it, and whether one is the last."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.distributions.gaussian import smooth_bound
from fusevae.distributions.stepwise import Stepwise

BOUNDS = (-6.0, 3.0)  # of the logarithm of a deviation


class AutoregressiveFrames(Stepwise):
    r"""A prior over sequences of latents of any length, with an exact density: that of :class:`Stepwise`, with

    .. math:: p(z_t \mid h_t) = \sum_k \pi_k(h_t) \prod_d \mathcal N(z_{dt}; \mu_{kd}(h_t), \sigma_{kd}^2(h_t))

    Args:
        width: d, numbers of a vector.
        longest: vectors, at most.
        hidden: numbers of the state.
        components: of the mixture.
        classes: number of labels, or :class:`Conditions`, if it is given one.
        layers: of the recurrent net.

    Example:
        >>> p = AutoregressiveFrames(3, 8, hidden=8, components=2)()
        >>> z = p.sample((4,))
        >>> z.shape, p.log_prob(z).shape
        (torch.Size([4, 3, 8]), torch.Size([4]))
    """

    def __init__(
        self,
        width: int,
        longest: int,
        hidden: int = 256,
        components: int = 8,
        classes: int | Conditions = 0,
        layers: int = 1,
    ) -> None:
        if min(width, longest, hidden, components, layers) < 1:
            raise InputError(
                f"width={width}, longest={longest}, hidden={hidden}, components={components} and layers={layers} were "
                "given: expected at least 1 of each"
            )
        super().__init__(width, longest, width, components * (2 * width + 1), hidden, classes, layers)
        self.components, self.numbers = components, 1 + width
        bias = self.head.bias.data
        bias[:-1] = 0.3 * torch.randn_like(bias)[:-1]  # components start apart

    def scores(self, out: Tensor, z: Tensor) -> Tensor:
        weights, means, logs = self._parts(out)
        each = -0.5 * ((z[:, None] - means) * (-logs).exp()).square() - logs - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(weights + each.sum(-1), -1)

    def draw(self, out: Tensor, uniform: Tensor) -> Tensor:
        weights, means, logs = self._parts(out)
        which = noise.inverse(weights, uniform[:, 0]).view(-1, 1, 1).expand(-1, 1, self.width)
        drawn = torch.special.ndtri(uniform[:, 1:].clamp(1e-7, 1 - 1e-7))
        return means.gather(1, which)[:, 0] + logs.gather(1, which)[:, 0].exp() * drawn

    def _parts(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights ``(n, k)``, means and log-deviations ``(n, k, d)``."""
        k, d = self.components, self.width
        weights, means, raw = out.split([k, k * d, k * d], -1)
        return weights.log_softmax(-1), means.unflatten(-1, (k, d)), smooth_bound(raw, *BOUNDS).unflatten(-1, (k, d))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(1, 2, hidden=4, components=2), ()),
            (cls(1, 2, hidden=4, components=2, classes=2), (torch.tensor([0, 1, 1]),)),
        ]
