"""What each dimension of noisy data says by itself: where a diffusion starts, in place of the standard normal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described

WIDE = 0.01  # of the mixture: the standard normal, for values that no training example had


class MarginalDenoiser(Described, nn.Module):
    r"""A net for the v of a diffusion that tells only how it differs from what each dimension says by itself, where
    dimensions are independent mixtures of normals: of the training values of one, in order, each of K equal groups is
    a component :math:`\mathcal N(m_k, s_k^2)`, and a hundredth is the standard normal.

    With :math:`z = \alpha x + \sigma \epsilon`, :math:`\alpha^2 + \sigma^2 = 1` and
    :math:`w_k \propto \pi_k\, \mathcal N(z; \alpha m_k, \alpha^2 s_k^2 + \sigma^2)`, that is exactly

    .. math:: E[\alpha \epsilon - \sigma x \mid z] = \sigma \sum_k w_k
        \frac{\alpha (1 - s_k^2)\, z - m_k}{\alpha^2 s_k^2 + \sigma^2}.

    So a net that starts at zero starts as a constant model of the data, not as the standard normal (as Karras et al.
    2022 let it tell the difference from a normal of the data's scale). Until :meth:`start_from` it adds nothing.

    Args:
        net: of the contract of :mod:`fusevae.nets.time_mlp`, which this keeps, too.
        shape: of one event.
        low: the noise level (:math:`\log \sigma^2 / \alpha^2`) at time 0, as the schedule has it.
        high: that at time 1.
        groups: K.

    Example:
        >>> from fusevae.nets.time_mlp import TimeMLP
        >>> net = MarginalDenoiser(TimeMLP(1, hidden=4), (1,), -8.0, 8.0, groups=2)
        >>> net.start_from(lambda: torch.tensor([-1.0, -1.0, 1.0, 1.0])[:, None])
        >>> z, t = torch.tensor([[0.9]]), torch.tensor([0.5])  # as much noise as data
        >>> round((0.5**0.5 * (z - net(z, t))).item(), 2)  # what it takes the value for
        0.85
    """

    center: Tensor
    deviation: Tensor

    def __init__(self, net: nn.Module, shape: tuple[int, ...], low: float, high: float, groups: int = 8) -> None:
        super().__init__()
        self.net, self.low, self.high, self.fitted = net, low, high, False
        self.register_buffer("center", torch.zeros(groups, *shape))
        self.register_buffer("deviation", torch.ones(groups, *shape))

    @property
    def classes(self) -> int | Conditions:
        found: int | Conditions = getattr(self.net, "classes", 0)
        return found

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take the groups from training examples ``(n, *shape)``, once."""
        if self.fitted:
            return
        x = examples().float().sort(0).values
        cuts = torch.linspace(0, len(x), len(self.center) + 1).round().long().tolist()
        for k, (a, b) in enumerate(itertools.pairwise(cuts)):
            part = x[min(a, len(x) - 1) : max(b, a + 1)]
            self.center[k] = part.mean(0)
            self.deviation[k] = part.std(0, correction=0).clamp(min=math.exp(self.low / 2))
        self.fitted = True

    def forward(self, x: Tensor, t: Tensor, *given: Tensor | None) -> Tensor:
        """``(n, *shape)`` for noisy events ``(n, *shape)`` at times ``(n,)``."""
        level = (self.low + (self.high - self.low) * t).view(-1, *(1 for _ in x.shape[1:]))
        return self.net(x, t, *given) + self.alone(x, level)

    def alone(self, z: Tensor, level: Tensor) -> Tensor:
        """What each dimension says by itself."""
        alpha2, sigma2 = torch.sigmoid(-level), torch.sigmoid(level)
        alpha = alpha2.sqrt()
        top = -0.5 * z.square() + math.log(WIDE)  # of the standard normal, whose v is 0
        total, found = torch.ones_like(z), torch.zeros_like(z)
        for center, deviation in zip(self.center, self.deviation, strict=True):  # one after another: of large images
            variance = alpha2 * deviation.square() + sigma2
            height = -0.5 * ((z - alpha * center).square() / variance + variance.log())
            height = height + math.log((1 - WIDE) / len(self.center))
            most = torch.maximum(top, height)
            before, weight = (top - most).exp(), (height - most).exp()
            v = (alpha * (1 - deviation.square()) * z - center) / variance
            total, found, top = total * before + weight, found * before + weight * v, most
        return sigma2.sqrt() * found / total

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self.fitted = True
