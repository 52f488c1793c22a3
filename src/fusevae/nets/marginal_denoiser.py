"""What each dimension of noisy data says by itself: where a diffusion starts, in place of the standard normal."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described

WIDE = 0.01  # of the histogram: the standard normal, for values that no training example had
VALUES = 1_000_000  # that the histograms are taken from, and
LEAST = 4  # of those of a bin
ROOT = math.sqrt(0.5)
FAR = 30.0  # where what the standard normal says is no number any more


class MarginalDenoiser(Described, nn.Module):
    r"""A net for the v of a diffusion that tells only how it differs from what each dimension says by itself, where
    dimensions are independent histograms: bins from :math:`l_k` to :math:`u_k` of shares :math:`\pi_k`. The training
    values of one, in order, are cut in two where that makes them likeliest, and so on until there are K bins or a cut
    says less than it costs; a hundredth is the standard normal.

    With :math:`z = \alpha x + \sigma \epsilon`, :math:`\alpha^2 + \sigma^2 = 1`,
    :math:`a_k = (\alpha l_k - z) / \sigma` and :math:`b_k` likewise, what is noise in z, given a bin, is a normal cut
    off at its ends, so that exactly

    .. math:: E[\epsilon \mid z] = \frac{\sum_k c_k\, (\varphi(b_k) - \varphi(a_k))}{\sum_k c_k\,
        (\Phi(b_k) - \Phi(a_k))},\quad c_k = \frac{\pi_k}{u_k - l_k},\quad
        E[\alpha \epsilon - \sigma x \mid z] = \frac{E[\epsilon \mid z] - \sigma z}{\alpha}.

    So a net that starts at zero starts as a constant model of the data, not as the standard normal (as Karras et al.
    2022 let it tell the difference from a normal of the data's scale). Integers that are dequantized are bins
    themselves, which normals of their scale would describe worse by 0.18 nats each. Until :meth:`start_from` it adds
    nothing.

    Args:
        net: of the contract of :mod:`fusevae.nets.time_mlp`, which this keeps, too.
        shape: of one event.
        low: the noise level (:math:`\log \sigma^2 / \alpha^2`) at time 0, as the schedule has it.
        high: that at time 1.
        bins: K.

    Example:
        >>> from fusevae.nets.time_mlp import TimeMLP
        >>> net = MarginalDenoiser(TimeMLP(1, hidden=4), (1,), -8.0, 8.0, bins=2)
        >>> net.start_from(lambda: torch.tensor([-1.0, 1.0]).repeat(4)[:, None])
        >>> z, t = torch.tensor([[0.9]]), torch.tensor([0.5])  # as much noise as data
        >>> round((0.5**0.5 * (z - net(z, t))).item(), 2)  # what it takes the value for
        0.85
    """

    weight: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, net: nn.Module, shape: tuple[int, ...], low: float, high: float, bins: int = 16) -> None:
        super().__init__()
        self.net, self.low, self.high = net, low, high
        self.register_buffer("weight", torch.zeros(bins, *shape))  # all that is left is the standard normal
        self.register_buffer("left", torch.full((bins, *shape), -1.0))
        self.register_buffer("right", torch.ones(bins, *shape))

    @property
    def classes(self) -> int | Conditions:
        found: int | Conditions = getattr(self.net, "classes", 0)
        return found

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take the bins from training examples ``(n, *shape)``, once."""
        if bool(self.weight.any()):
            return
        x = examples()
        x = x[:: -(-x.numel() // VALUES)].flatten(1).double().sort(0).values
        found = _bins(x, len(self.weight), math.sqrt(12) * math.exp(self.low / 2))
        for buffer, values in zip((self.weight, self.left, self.right), found, strict=True):
            buffer.copy_(values.view_as(buffer))
        self.weight.mul_(1 - WIDE)

    def forward(self, x: Tensor, t: Tensor, *given: Tensor | None) -> Tensor:
        """``(n, *shape)`` for noisy events ``(n, *shape)`` at times ``(n,)``."""
        level = (self.low + (self.high - self.low) * t).view(-1, *(1 for _ in x.shape[1:]))
        return self.net(x, t, *given) + self.alone(x, level)

    def alone(self, z: Tensor, level: Tensor) -> Tensor:
        """What each dimension says by itself; of small differences, so that it is computed in float64."""
        value, level = z.double(), level.double()
        alpha, sigma = torch.sigmoid(-level).sqrt(), torch.sigmoid(level).sqrt()
        total = WIDE * alpha * _normal(value.clamp(-FAR, FAR))
        noise = sigma * value * total
        for share, left, right in zip(self.weight, self.left, self.right, strict=True):  # for large images
            middle = (alpha * (0.5 * (left + right)) - value) / sigma
            half = alpha * (0.5 * (right - left)) / sigma
            height, near = share / (right - left), middle.abs() - half  # at the nearer end no difference of ones
            total = total + height * 0.5 * (torch.erfc(near * ROOT) - torch.erfc((near + 2 * half) * ROOT))
            noise = noise + height * (_normal(middle + half) - _normal(middle - half))
        return ((noise / total - sigma * value) / alpha).to(z.dtype)


def _normal(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square()) * (ROOT / math.sqrt(math.pi))


def _bins(x: Tensor, bins: int, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Shares, left and right ends ``(bins, dimensions)`` of bins of sorted values ``(n, dimensions)``, at least
    ``least`` wide; where a cut gains less than it costs, a bin of share 0."""
    n = len(x)
    at = torch.arange(1, n)[:, None].expand(-1, x.shape[1])
    cuts = torch.tensor([[0], [n]]).expand(-1, x.shape[1])

    def ends(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How many, and where evenly spread values of which these are would begin and end."""
        count = b - a
        first, last = x.gather(0, a.clamp(max=n - 1)), x.gather(0, (b - 1).clamp(min=0))
        half = 0.5 * ((last - first) * (count + 1) / (count - 1).clamp(min=1)).clamp(min=least)
        return count, 0.5 * (first + last) - half, 0.5 * (first + last) + half

    def nats(a: Tensor, b: Tensor) -> Tensor:
        count, left, right = ends(a, b)
        return count * (count.clamp(min=1).log() - (right - left).log())

    for _ in range(bins - 1):
        after = torch.searchsorted(cuts.T.contiguous(), at.T.contiguous(), right=True).T.clamp(max=len(cuts) - 1)
        a, b = cuts.gather(0, after - 1), cuts.gather(0, after)
        gain = (nats(a, at) + nats(at, b) - nats(a, b)).where((at - a >= LEAST) & (b - at >= LEAST), -math.inf)
        best, where = gain.max(0)
        cuts = torch.cat([cuts, torch.where(best > 2 * math.log(n), where + 1, n)[None]]).sort(0).values
    count, left, right = ends(cuts[:-1], cuts[1:])
    return count / n, left, right
