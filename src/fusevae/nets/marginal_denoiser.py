"""What each dimension of noisy data says by itself: where a diffusion starts, in place of the standard normal."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described

WIDE = 0.01  # of the mixture: the standard normal, for values that no training example had
VALUES = 1_000_000  # that the mixtures are taken from, and
LEAST = 4  # of those of a component


class MarginalDenoiser(Described, nn.Module):
    r"""A net for the v of a diffusion that tells only how it differs from what each dimension says by itself, where
    dimensions are independent mixtures of normals :math:`\mathcal N(m_k, s_k^2)` of weights :math:`\pi_k`. The training
    values of one, in order, are cut in two where that makes them likeliest, and so on until there are K groups, each a
    component; a hundredth is the standard normal.

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
        >>> net.start_from(lambda: torch.tensor([-1.0, 1.0]).repeat(4)[:, None])
        >>> z, t = torch.tensor([[0.9]]), torch.tensor([0.5])  # as much noise as data
        >>> round((0.5**0.5 * (z - net(z, t))).item(), 2)  # what it takes the value for
        0.85
    """

    weight: Tensor
    center: Tensor
    deviation: Tensor

    def __init__(self, net: nn.Module, shape: tuple[int, ...], low: float, high: float, groups: int = 16) -> None:
        super().__init__()
        self.net, self.low, self.high, self.fitted = net, low, high, False
        self.register_buffer("weight", torch.full((groups, *shape), (1 - WIDE) / groups))
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
        x = examples()
        x = x[:: -(-x.numel() // VALUES)].flatten(1).double().sort(0).values
        found = _groups(x, len(self.center), math.exp(self.low))
        for buffer, values in zip((self.weight, self.center, self.deviation), found, strict=True):
            buffer.copy_(values.view_as(buffer))
        self.weight.mul_(1 - WIDE)
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
        for share, center, deviation in zip(self.weight, self.center, self.deviation, strict=True):  # for large images
            variance = alpha2 * deviation.square() + sigma2
            height = share.log() - 0.5 * ((z - alpha * center).square() / variance + variance.log())
            most = torch.maximum(top, height)
            before, weight = (top - most).exp(), (height - most).exp()
            v = (alpha * (1 - deviation.square()) * z - center) / variance
            total, found, top = total * before + weight, found * before + weight * v, most
        return sigma2.sqrt() * found / total

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self.fitted = True


def _groups(x: Tensor, groups: int, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Shares, means and deviations ``(groups, dimensions)`` of groups of sorted values ``(n, dimensions)`` whose
    variances are at least ``least``; where there is nothing to cut any more, a group of share 0."""
    n = len(x)
    sums, squares = (F.pad(v.cumsum(0), (0, 0, 1, 0)) for v in (x, x.square()))
    at = torch.arange(1, n)[:, None].expand(-1, x.shape[1])
    cuts = torch.tensor([[0], [n]]).expand(-1, x.shape[1])

    def moments(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = (b - a).clamp(min=1)
        mean, square = ((s.gather(0, b) - s.gather(0, a)) / count for s in (sums, squares))
        return b - a, mean, (square - mean.square()).clamp(min=least)

    def nats(a: Tensor, b: Tensor) -> Tensor:
        count, _, variance = moments(a, b)
        return count * (count.clamp(min=1).log() - 0.5 * variance.log())

    for _ in range(groups - 1):
        after = torch.searchsorted(cuts.T.contiguous(), at.T.contiguous(), right=True).T.clamp(max=len(cuts) - 1)
        a, b = cuts.gather(0, after - 1), cuts.gather(0, after)
        gain = (nats(a, at) + nats(at, b) - nats(a, b)).where((at - a >= LEAST) & (b - at >= LEAST), -math.inf)
        best, where = gain.max(0)
        cuts = torch.cat([cuts, torch.where(best > 0, where + 1, n)[None]]).sort(0).values
    count, mean, variance = moments(cuts[:-1], cuts[1:])
    return count / n, mean, variance.sqrt()
