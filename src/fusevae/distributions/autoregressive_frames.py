"""Sequences of vectors one after the other: what comes next given those before it, and whether one is the last."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.mlp import Embedding

BOUNDS = (-6.0, 3.0)  # of the logarithm of a deviation
WAVES = 4  # by which a place is told, each as sine and cosine


class AutoregressiveFrames(Conditional):
    r"""A prior over sequences of latents of any length, with an exact density:

    .. math:: p(z, m) = \Big[\prod_{t \le m} \sum_k \pi_k(h_t) \prod_d \mathcal N(z_{dt}; \mu_{kd}(h_t),
        \sigma_{kd}^2(h_t))\Big]\; s(h_{m+1}) \prod_{t < m} (1 - s(h_{t+1}))

    with :math:`h_t` the state of a recurrent net (GRU, Cho et al. 2014) that has read :math:`z_1 \dots z_{t-1}` and
    what is known of the whole, and s the probability that a sequence is at its end. The longest ends for sure. As in
    all sequences of frames, what follows the end is 0, and changes nothing.

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

    space = "frames"
    has_mean = False

    def __init__(
        self,
        width: int,
        longest: int,
        hidden: int = 256,
        components: int = 8,
        classes: int | Conditions = 0,
        layers: int = 1,
    ) -> None:
        super().__init__()
        if min(width, longest, hidden, components, layers) < 1:
            raise InputError(
                f"width={width}, longest={longest}, hidden={hidden}, components={components} and layers={layers} were "
                "given: expected at least 1 of each"
            )
        self.width, self.longest, self.components, self.classes = width, longest, components, classes
        self.label = Embedding(classes, hidden, std=1.0) if classes else None
        self.inputs = nn.Linear(width + 1 + 2 * WAVES, hidden)
        self.net = nn.GRU(hidden, hidden, layers, batch_first=True)
        self.between = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, components * (2 * width + 1) + 1)
        self.head.weight.data.mul_(0.1)
        # components start apart, and an end is as likely as makes half of the longest usual
        self.head.bias.data.copy_(0.3 * torch.randn_like(self.head.bias))
        self.head.bias.data[-1] = -math.log(max(1.0, longest / 2 - 1) if longest > 2 else 1.0)

    def forward(self, *given: Tensor | None) -> Distribution:
        told = self.label(given[0] if given else None) if self.label is not None else None
        return _Sequence(self, told)

    def read(self, z: Tensor, first: int, told: Tensor | None, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs after each of the vectors ``(n, steps, width)`` that stand ``first``, ``first + 1``, ... (0 is the
        start, a vector of zeros), and the state then."""
        place = torch.arange(first, first + z.shape[1], device=z.device).to(z.dtype)[:, None]
        angles = math.pi * place / self.longest * 2 ** torch.arange(WAVES, device=z.device)
        when = torch.cat([(place == 0).to(z.dtype), angles.sin(), angles.cos()], -1).expand(len(z), -1, -1)
        h = self.inputs(torch.cat([z, when], -1))
        if told is not None:
            h = h + told[:, None]
        h, state = self.net(F.silu(h), state)
        return self.head(h + F.silu(self.between(h))).float(), state

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(1, 2, hidden=4, components=2), ()),
            (cls(1, 2, hidden=4, components=2, classes=2), (torch.tensor([0, 1, 1]),)),
        ]


class _Sequence(Distribution):
    arg_constraints = {}

    def __init__(self, owner: AutoregressiveFrames, told: Tensor | None) -> None:
        self.owner, self.told = owner, told
        batch = torch.Size() if told is None else told.shape[:-1]
        super().__init__(batch, torch.Size((owner.width, owner.longest)), validate_args=False)

    def _parts(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-weights ``(..., k)``, means and log-deviations ``(..., k, d)``, logits of an end ``(...)``."""
        k, d = self.owner.components, self.owner.width
        weights, means, raw, end = out.split([k, k * d, k * d, 1], -1)
        return (
            weights.log_softmax(-1),
            means.unflatten(-1, (k, d)),
            smooth_bound(raw, *BOUNDS).unflatten(-1, (k, d)),
            end[..., 0],
        )

    def log_prob(self, value: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(value.shape[:-2], self.batch_shape)
        z = value.expand(*lead, *value.shape[-2:]).reshape(-1, *value.shape[-2:]).transpose(1, 2)
        z = z[:, : self.owner.longest + 1]
        told = None if self.told is None else self.told.expand(*lead, -1).reshape(len(z), -1)
        n, steps = extent(z.transpose(1, 2)), z.shape[1]
        out, _ = self.owner.read(F.pad(z, (0, 0, 1, 0)), 0, told, None)
        weights, means, logs, _ = self._parts(out[:, :-1])
        each = -0.5 * ((z[:, :, None] - means) * (-logs).exp()).square() - logs - 0.5 * math.log(2 * math.pi)
        vectors = torch.logsumexp(weights + each.sum(-1), -1)
        end = self._parts(out[:, 1:])[3]
        place = torch.arange(1, steps + 1, device=z.device)
        last = (place == n[:, None]) & (place < self.owner.longest)
        ends = torch.where(last, F.logsigmoid(end), torch.where(place < n[:, None], F.logsigmoid(-end), 0.0))
        total = (vectors * within(n, steps)[:, 0] + ends).sum(-1)
        return total.masked_fill((n < 1) | (n > self.owner.longest), -torch.inf).view(lead)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        lead = torch.Size(sample_shape) + self.batch_shape
        owner, device = self.owner, self.owner.head.weight.device
        rows = lead.numel()
        told = None if self.told is None else self.told.expand(*lead, -1).reshape(rows, -1)
        z, state = torch.zeros(rows, 1, owner.width, device=device), None
        going = torch.ones(rows, dtype=torch.bool, device=device)
        found = []
        for t in range(owner.longest):
            out, state = owner.read(z, t, told, state)
            weights, means, logs, end = self._parts(out[:, 0])
            if t:
                going = going & (torch.rand(lead, device=device).flatten() >= end.sigmoid())
            which = noise.choose(weights.view(*lead, -1)).reshape(rows, 1, 1).expand(-1, 1, owner.width)
            drawn = torch.randn((*lead, owner.width), device=device).view(rows, owner.width)
            vector = means.gather(1, which)[:, 0] + logs.gather(1, which)[:, 0].exp() * drawn
            z = vector[:, None]
            found.append(vector * going[:, None])
        return torch.stack(found, -1).view(*lead, owner.width, owner.longest)
