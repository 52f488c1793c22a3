"""What sequences of vectors are drawn by one after the other: a recurrent net that reads them, and when they end."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from fusevae.core.conditional import Conditional
from fusevae.core.conditions import Conditions
from fusevae.core.frames import extent, within
from fusevae.nets.mlp import Embedding

WAVES = 4  # by which a place is told, each as sine and cosine


class Stepwise(Conditional):
    r"""A distribution over sequences of vectors of any length, each given those before it:

    .. math:: p(z, m) = \Big[\prod_{t \le m} p(z_t \mid h_t)\Big]\; s(h_{m+1}) \prod_{t < m} (1 - s(h_{t+1}))

    with :math:`h_t` the state of a recurrent net (GRU, Cho et al. 2014) that has read :math:`z_1 \dots z_{t-1}` and
    what is known of the whole, and s the probability that a sequence is at its end. The longest ends for sure. As in
    all sequences of frames, what follows the end is 0, and changes nothing.

    Args:
        width: numbers of a vector.
        longest: vectors, at most.
        inputs: numbers that the net reads of a vector.
        outputs: numbers that it gives for the next one.
        hidden: numbers of the state.
        classes: number of labels, or :class:`Conditions`, if it is given one.
        layers: of the recurrent net.

    Attributes:
        numbers: that a vector is drawn by.
    """

    numbers: int
    space = "frames"
    has_mean = False

    def __init__(
        self,
        width: int,
        longest: int,
        inputs: int,
        outputs: int,
        hidden: int,
        classes: int | Conditions,
        layers: int = 1,
    ) -> None:
        super().__init__()
        self.width, self.longest, self.classes = width, longest, classes
        self.label = Embedding(classes, hidden, std=1.0) if classes else None
        self.inputs = nn.Linear(inputs + 1 + 2 * WAVES, hidden)
        self.net = nn.GRU(hidden, hidden, layers, batch_first=True)
        self.between = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, outputs + 1)
        self.head.weight.data.mul_(0.1)
        # an end is as likely as makes half of the longest usual
        self.head.bias.data[-1] = -math.log(max(1.0, longest / 2 - 1) if longest > 2 else 1.0)

    def forward(self, *given: Tensor | None) -> Distribution:
        return Steps(self, self.label(given[0] if given else None) if self.label is not None else None)

    def read(self, z: Tensor, first: int, told: Tensor | None, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs after each of the vectors ``(n, steps, width)`` that stand ``first``, ``first + 1``, ... (0 is the
        start, a vector of zeros), the last of them the logit of an end, and the state then."""
        z = self.seen(z)
        place = torch.arange(first, first + z.shape[1], device=z.device).to(z.dtype)[:, None]
        angles = math.pi * place / self.longest * 2 ** torch.arange(WAVES, device=z.device)
        when = torch.cat([(place == 0).to(z.dtype), angles.sin(), angles.cos()], -1).expand(len(z), -1, -1)
        h = self.inputs(torch.cat([z, when], -1))
        if told is not None:
            h = h + told[:, None]
        h, state = self.net(F.silu(h), state)
        return self.head(h + F.silu(self.between(h))).float(), state

    def seen(self, z: Tensor) -> Tensor:
        """What the net reads of vectors ``(n, steps, width)``: ``(n, steps, inputs)``."""
        return z

    @abstractmethod
    def scores(self, out: Tensor, z: Tensor) -> Tensor:
        """The log-probabilities ``(n,)`` of vectors ``(n, width)``, given the outputs ``(n, outputs)`` before each."""

    @abstractmethod
    def draw(self, out: Tensor, uniform: Tensor) -> Tensor:
        """Vectors ``(n, width)`` given the outputs before each, and :attr:`numbers` in [0, 1) for each."""


class Steps(Distribution):
    """Sequences ``(width, longest)``."""

    arg_constraints = {}

    def __init__(self, owner: Stepwise, told: Tensor | None) -> None:
        self.owner, self.told = owner, told
        batch = torch.Size() if told is None else told.shape[:-1]
        super().__init__(batch, torch.Size((owner.width, owner.longest)), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(value.shape[:-2], self.batch_shape)
        z = value.expand(*lead, *value.shape[-2:]).reshape(-1, *value.shape[-2:]).transpose(1, 2)
        told = None if self.told is None else self.told.expand(*lead, -1).reshape(len(z), -1)
        n = extent(z.transpose(1, 2))
        z = z[:, : min(self.owner.longest + 1, int(n.max()) if len(n) else 0)]  # zeros after all ends are none
        steps = z.shape[1]
        out, _ = self.owner.read(F.pad(z, (0, 0, 1, 0)), 0, told, None)
        there = within(n, steps)[:, 0] > 0
        scores = self.owner.scores(out[:, :-1][there][:, :-1], z[there])
        vectors = scores.new_zeros(there.shape).masked_scatter(there, scores)
        end = out[:, 1:, -1]
        place = torch.arange(1, steps + 1, device=z.device)
        last = (place == n[:, None]) & (place < self.owner.longest)
        ends = torch.where(last, F.logsigmoid(end), torch.where(place < n[:, None], F.logsigmoid(-end), 0.0))
        total = (vectors + ends).sum(-1)
        return total.masked_fill((n < 1) | (n > self.owner.longest), -torch.inf).view(lead)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        lead = torch.Size(sample_shape) + self.batch_shape
        owner, device = self.owner, self.owner.head.weight.device
        rows = torch.arange(lead.numel(), device=device)
        told = None if self.told is None else self.told.expand(*lead, -1).reshape(len(rows), -1)
        # numbers for each step, whenever a sequence ends: what is drawn afterwards doesn't depend on it
        uniform = torch.rand((*lead, owner.longest, 1 + owner.numbers), device=device)
        uniform = uniform.view(len(rows), owner.longest, -1)
        found = torch.zeros(len(rows), owner.width, owner.longest, device=device)
        z, state, going = found[:, :, 0], None, torch.ones_like(rows, dtype=torch.bool)
        look = 16 if device.type == "cuda" else 1  # to look is to wait for the device
        for t in range(owner.longest):
            out, state = owner.read(z[:, None], t, told, state)
            if t:
                going = going & (uniform[:, t, 0] >= out[:, 0, -1].sigmoid())
            z = owner.draw(out[:, 0, :-1], uniform[:, t, 1:])
            found[rows, :, t] = z * going[:, None]
            if t % look == look - 1:
                left = going.nonzero()[:, 0]
                if not len(left):
                    break
                if len(left) <= len(rows) / 2:  # go on with those that have no end yet
                    rows, z, uniform, going, state = rows[left], z[left], uniform[left], going[left], state[:, left]
                    told = told if told is None else told[left]
        return found.view(*lead, owner.width, owner.longest)
