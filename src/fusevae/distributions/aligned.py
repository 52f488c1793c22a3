"""Frame-wise latents given a text: each position of it has a number of frames, in order, and frames given that."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditional import Conditional, parameters
from fusevae.core.frames import extent, within
from fusevae.core.levels import BoundOnly, Level
from fusevae.core.speaking import current
from fusevae.distributions.frames import log_count
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.alignment import durations_of, inside, monotonic_search, regulated
from fusevae.nets.frames import ConvNeXt
from fusevae.nets.mlp import Constant

NARROW, WIDE = -4.0, 1.0  # log-scale of the logarithm of a duration


class Aligned(Conditional):
    r"""The distribution of sequences of frames given a text, which marginalises over its alignments a:

    .. math:: p(z \mid c) = \sum_a \prod_i P(d_i \mid c) \prod_t \mathcal N(z_t; \mu_t(c, a), \sigma_t^2(c, a))

    Position i of the text has :math:`d_i \ge 1` frames, in order, whose number is a logistic variable in its logarithm
    (as of :class:`Frames`); so the durations are the alignment. The moments of a frame come of a net over all frames,
    each of which is told the position it belongs to and where in it it lies.

    The sum over alignments isn't computed. It is at least any one of its terms, so that

    .. math:: \log p(z \mid c) \ge \log P(d \mid c) + \log p(z \mid c, d)

    is a bound for every alignment, and the one taken is that of the monotonic search (Kim et al. 2020) by
    :math:`\sum_t \log \mathcal N(z_t; m_{a_t}(c), s_{a_t}^2)`, with moments of each position alone. They are trained,
    as a surrogate beside the bound, to be likely on the path that was found.

    Args:
        net: from what is given to vectors ``(*batch, width, positions)``, zeros after the end: :class:`TextNet`.
        dims: numbers of a frame.
        blocks: of the net over frames.
        longest: frames of a position at most; a sequence in which one would have more has no density.
        diagonal: how far, in parts of the whole, a frame may well lie from its position's place in the text: the search
            takes :math:`\tfrac12 (\Delta / diagonal)^2` nats from each (Tachibana et al. 2017), so that it starts from
            sensible paths while the means say nothing yet; 0 leaves that out. The bound holds for every path.
        scales: of the search: whether each position has its own s, made of the text, or all have one.

    Example:
        >>> p = Aligned(Constant((4, 3), std=1.0), 2, blocks=1)()
        >>> z = p.sample((6,))
        >>> z.shape[:2], p.log_bound(z).shape
        (torch.Size([6, 2]), torch.Size([6]))
    """

    level = Level.BOUND
    space = "frames"
    has_mean = False

    def __init__(
        self,
        net: nn.Module,
        dims: int,
        blocks: int = 3,
        longest: int = 250,
        diagonal: float = 0.0,
        scales: bool = False,
    ) -> None:
        super().__init__()
        width: int = net.outputs[0]  # type: ignore[index,assignment]
        self.net, self.dims, self.longest, self.diagonal = net, dims, longest, diagonal
        self.scales, self.match = scales, nn.Conv1d(width, 2 * dims if scales else dims, 1)
        self.match_scale = None if scales else nn.Parameter(torch.zeros(dims))
        self.wide, self.timing = nn.Conv1d(width, width, 3, padding=1), nn.Conv1d(width, 2, 1)
        self.place = nn.Sequential(nn.Conv1d(2, width, 1), nn.GELU(), nn.Conv1d(width, width, 1))
        self.blocks = nn.ModuleList(ConvNeXt(width, blocks, dilation=2 ** (i % 3)) for i in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2 * dims)
        with torch.no_grad():
            self.timing.bias.copy_(torch.tensor([math.log(8.0), -1.0]))  # type: ignore[union-attr]

    def forward(self, *given: Tensor | None) -> AlignedTo:
        return AlignedTo(self, parameters(self.net, given))

    def frames(self, h: Tensor, path: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-scales ``(n, dims, frames)`` for vectors ``(n, width, positions)`` and paths ``(n, frames)``,
        of which those frames count that are ``there``."""
        mask = there[:, None]
        x = h.gather(2, path[:, None].expand(-1, h.shape[1], -1)) + self.place(inside(path, there))
        x = x * mask
        for block in self.blocks:
            x = block(x, mask)
        mean, raw = self.head(self.norm(x.transpose(1, 2))).transpose(1, 2).float().chunk(2, 1)
        return mean, smooth_bound(raw, -5.0, 3.0)

    def timings(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """The middle and the spread of the logarithm of each duration, ``(n, positions)``."""
        mask = within(extent(h), h.shape[-1])
        place, raw = self.timing(F.gelu(self.wide(h)) * mask).float().unbind(1)
        return place, smooth_bound(raw, NARROW, WIDE).exp()

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(Constant((3, 1), std=1.0), 1, blocks=1, longest=4), ())]


class AlignedTo(BoundOnly):
    """What :class:`Aligned` is given a text."""

    def __init__(self, owner: Aligned, h: Tensor) -> None:
        self.owner, self.h = owner, h
        super().__init__(h.shape[:-2], torch.Size((owner.dims, owner.longest)), validate_args=False)

    def align(self, value: Tensor) -> Tensor:
        """The position of each frame of ``value``, ``(*sample, *batch, frames)``."""
        h, z = self._flat(value)
        return self._search(h, z)[1].view(*value.shape[:-2], -1)

    def log_bound(self, value: Tensor) -> Tensor:
        return self._both(value)[0]

    def surrogate(self, value: Tensor) -> Tensor:
        bound, matched = self._both(value)
        return bound + (matched - matched.detach())

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        lead, owner, how = torch.Size(sample_shape) + self.batch_shape, self.owner, current()
        with torch.no_grad():
            h = self.h.expand(*lead, *self.h.shape[-2:]).reshape(-1, *self.h.shape[-2:])
            place, spread = owner.timings(h)
            counts = within(extent(h), h.shape[-1])[:, 0]
            drawn = torch.rand((*lead, *place.shape[1:]), device=h.device).clamp_(1e-6, 1 - 1e-6).logit().view_as(place)
            logs = (place if how is not None else place + spread * drawn).clamp(-1.0, math.log(owner.longest))
            durations = logs.exp() / how.rate if how is not None else logs.exp().round().clamp(min=1)
            path, n = regulated(durations * counts)
            there = within(n, path.shape[1])[:, 0]
            mean, log_scale = owner.frames(h, path, there)
            # a number for each frame that a text could have: no sample depends on the longest beside it
            most = max(owner.longest, path.shape[1])
            noise = torch.randn((*lead, most, owner.dims), device=h.device).view(len(h), most, owner.dims)
            noise = noise[:, : path.shape[1]].transpose(1, 2)
            z = (mean + log_scale.exp() * noise * (how.temperature if how is not None else 1.0)) * there[:, None]
            return z.view(*lead, *z.shape[1:])

    def _flat(self, value: Tensor) -> tuple[Tensor, Tensor]:
        lead = torch.broadcast_shapes(value.shape[:-2], self.batch_shape)
        h, z = (one.expand(*lead, *one.shape[-2:]).reshape(-1, *one.shape[-2:]) for one in (self.h, value))
        return h, z

    def _search(self, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """How likely each frame is at each position ``(n, positions, frames)`` in nats, and the best path."""
        owner, z = self.owner, z.detach()
        out, one = owner.match(h).float(), owner.match_scale
        mean, raw = out.chunk(2, 1) if one is None else (out, one[:, None].expand_as(out))
        log_scale = smooth_bound(raw, -3.0, 3.0)
        precision = (-2 * log_scale).exp()
        nats = (precision * mean).transpose(1, 2) @ z - 0.5 * precision.transpose(1, 2) @ z.square()
        nats = nats - (0.5 * precision * mean.square() + log_scale + 0.5 * math.log(2 * math.pi)).sum(1)[..., None]
        positions, frames = extent(h), extent(z)
        return nats, monotonic_search(nats - self._off(positions, frames, nats), positions, frames)

    def _off(self, positions: Tensor, frames: Tensor, nats: Tensor) -> Tensor | float:
        """What the search takes from each frame at each position for how far it lies from the diagonal."""
        if not self.owner.diagonal:
            return 0.0
        n, most, longest = nats.shape
        text = (torch.arange(most, device=nats.device) + 0.5)[:, None] / positions.clamp(min=1).view(n, 1, 1)
        sound = (torch.arange(longest, device=nats.device) + 0.5) / frames.clamp(min=1).view(n, 1, 1)
        return 0.5 * ((text - sound) / self.owner.diagonal).square()

    def _both(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The bound, and how likely the frames are by the means of their positions alone."""
        lead, owner = torch.broadcast_shapes(value.shape[:-2], self.batch_shape), self.owner
        h, z = self._flat(value)
        n, positions = extent(z), extent(h)
        there = within(n, z.shape[-1])[:, 0]
        nats, path = self._search(h, z)
        matched = (nats.gather(1, path[:, None])[:, 0] * there).sum(1)
        mean, log_scale = owner.frames(h, path, there)
        each = -0.5 * ((z - mean) / log_scale.exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)
        counts = within(positions, h.shape[-1])[:, 0]
        durations = durations_of(path, there, h.shape[-1]).long()
        timed = torch.where(counts > 0, log_count(durations.clamp(min=1), *owner.timings(h), owner.longest), 0.0)
        bound = (each * there[:, None]).sum((1, 2)) + timed.sum(1)
        bound = bound.masked_fill(n < positions, -torch.inf)  # no position is without a frame
        return bound.view(lead), matched.view(lead)
