"""Image transformer: pixels, or the codes of a grid, as tokens in raster order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, batch_of, flattened
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.distributions.categorical import on_grid, shares
from fusevae.distributions.pixel_cnn import in_parts
from fusevae.nets.mlp import Embedding
from fusevae.nets.outset import thinned
from fusevae.nets.places import Places
from fusevae.nets.transformer import Transformer


class ImageTransformer(Conditional):
    r""":math:`p(x \mid given) = \prod_t p(x_t \mid x_{<t}, given)`, each value one of ``levels``, over the values t in
    raster order, the channels of a pixel one after the other, exact (Parmar et al. 2018; Chen et al. 2020).

    A likelihood of images, a prior over a grid of codes, or a decoder. Every value sees all before it, so it is dear
    for large images, and as a decoder it may ignore the latent.

    Args:
        shape: ``(channels, height, width)``.
        levels: number of values, evenly spaced; 2 for binary images.
        low: the smallest value.
        high: the largest; ``low + levels - 1`` by default, so that x are integers.
        width: of the transformer.
        heads: of its attention.
        layers: number of its blocks.
        dropout: of what each block adds, and of the attention.
        context: width of a vector that is given (a latent), added to every token; 0 for none.
        classes: number of labels, or :class:`Conditions`, added to every token; 0 for none.
        marginal: whether the net tells only how a value differs from how often each is at its place, which is taken
            from the training examples: it starts as a constant model, of which a large image has much to learn.
        by_place: whether a label says something to each place, too (:class:`fusevae.nets.places.Places`).

    Example:
        >>> import torch
        >>> p = ImageTransformer((1, 4, 4), width=8, heads=2, layers=1, context=2)
        >>> p(torch.zeros(5, 2)).log_prob(torch.ones(5, 1, 4, 4)).shape
        torch.Size([5])
    """

    discrete = True
    has_mean = False
    alone: Tensor | None

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int = 2,
        low: float = 0.0,
        high: float | None = None,
        width: int = 128,
        heads: int = 4,
        layers: int = 4,
        dropout: float = 0.0,
        context: int = 0,
        classes: int | Conditions = 0,
        marginal: bool = False,
        by_place: bool = False,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise InputError(f"ImageTransformer was given shape={tuple(shape)}: expected (channels, height, width)")
        if levels < 2:
            raise InputError(f"levels is {levels}, expected at least 2")
        self.shape, self.levels, self.context, self.classes = tuple(shape), levels, context, classes
        self.low, self.high = float(low), float(low + levels - 1 if high is None else high)
        self.spacing = (self.high - self.low) / (levels - 1)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.token = nn.Embedding(levels, width)
        nn.init.normal_(self.token.weight, std=0.02)
        # where the value to be predicted is: its row, its column and its channel
        self.places = nn.ParameterList(0.02 * torch.randn(size, width) for size in (*shape[1:], shape[0]))
        self.given = nn.Linear(context, width, bias=False) if context else None
        self.label = Embedding(classes, width) if classes else None
        self.told = Places(classes, width, (shape[1], shape[2])) if classes and by_place else None
        self.net = Transformer(width, heads, layers, dropout=dropout)
        self.head = nn.Linear(width, levels)
        self.register_buffer("alone", torch.zeros(math.prod(shape), levels) if marginal else None)

    def forward(self, *given: Tensor | None) -> Distribution:
        rest = list(given)
        vector = rest.pop(0) if self.context else None
        return _ImageTransformer(self, vector, rest[0] if rest and self.classes else None)

    def condition(self, vector: Tensor | None, label: Tensor | None) -> Tensor:
        """What is added to every token: the place of each and what is given, ``(n or 1, length, width)``."""
        row, column, channel = self.places
        place = row[:, None, None] + column[:, None] + channel  # (height, width, channels, numbers)
        total = place.flatten(0, 2)[None]
        if self.given is not None:
            total = total + self.given(vector)[:, None]
        if self.label is not None:
            total = total + self.label(label)[..., None, :]
        if self.told is not None:
            total = total + self.told(label).flatten(2).mT.repeat_interleave(self.shape[0], 1)
        return total

    def logits(self, h: Tensor, at: int | None = None) -> Tensor:
        """``(n, length, levels)`` of outputs of the net ``(n, length, width)``, or of ``(n, width)`` of one place."""
        found: Tensor = self.head(h).float()
        if self.alone is None:
            return found
        return found + (self.alone if at is None else self.alone[at])

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """The frequencies at each place, once."""
        if self.alone is None or bool(self.alone.any()):
            return
        found = shares(thinned(examples().float()), self.levels, self.low, self.high)  # (channels, levels, ...)
        self.alone.copy_(found.movedim((0, 1), (-2, -1)).reshape(self.alone.shape))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        small: dict[str, Any] = {"width": 4, "heads": 1, "layers": 1}
        return [
            (cls((1, 2, 2), context=2, **small), (torch.randn(3, 2),)),
            (cls((1, 2, 2), classes=2, by_place=True, **small), (torch.tensor([0, 1, -1]),)),
            (cls((2, 1, 2), levels=3, low=-1.0, high=1.0, marginal=True, **small), ()),
        ]


class _ImageTransformer(Distribution):
    arg_constraints = {}

    def __init__(self, owner: ImageTransformer, vector: Tensor | None, label: Tensor | None) -> None:
        self.owner, self.vector, self.label = owner, vector, label
        super().__init__(batch_of((vector, label)), torch.Size(owner.shape), validate_args=False)

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        return on_grid(self.owner.low, self.owner.high, self.owner.spacing, 3)

    def _flat(self, lead: torch.Size) -> list[Tensor | None]:
        return [flattened(given, lead) for given in (self.vector, self.label)]

    def log_prob(self, value: Tensor) -> Tensor:
        owner, shape = self.owner, self.event_shape
        lead = torch.broadcast_shapes(value.shape[:-3], self.batch_shape)
        index = ((value - owner.low) / owner.spacing).round().long()
        tokens = index.movedim(-3, -1).flatten(-3).expand(*lead, -1).reshape(-1, shape.numel())
        given = self._flat(lead)
        if torch.is_grad_enabled():
            return self._log_prob(tokens, given).view(lead)
        return in_parts(self._log_prob, tokens, given, 4 * shape.numel() * owner.net.width).view(lead)

    def _log_prob(self, tokens: Tensor, given: list[Tensor | None]) -> Tensor:
        owner = self.owner
        start = owner.start.expand(len(tokens), 1, -1)
        before = torch.cat([start, owner.token(tokens[:, :-1])], 1)
        logits = owner.logits(owner.net(before + owner.condition(*given)))
        return logits.log_softmax(-1).gather(-1, tokens[..., None]).flatten(1).sum(1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        owner = self.owner
        n = math.prod(torch.Size(sample_shape) + self.batch_shape)
        kept = owner.net.keep(n, self.event_shape.numel())
        return self.step(sample_shape, lambda inputs: owner.net(inputs[:, -1:], kept))

    def step(self, sample_shape: Any, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Samples token by token; ``run`` gives the net's outputs, the last of them that of the newest token, for all
        inputs so far."""
        owner, (channels, height, width) = self.owner, self.event_shape
        lead = torch.Size(sample_shape) + self.batch_shape
        n, length = math.prod(lead), self.event_shape.numel()
        with torch.no_grad():
            condition = owner.condition(*self._flat(lead))
            inputs = condition.expand(n, -1, -1).clone()
            inputs[:, 0] += owner.start
            tokens = torch.empty(n, length, dtype=torch.long, device=inputs.device)
            for t in range(length):
                logits = owner.logits(run(inputs[:, : t + 1])[:, -1], t)
                tokens[:, t] = noise.choose(logits.view(*lead, -1)).flatten()
                if t + 1 < length:
                    inputs[:, t + 1] += F.embedding(tokens[:, t], owner.token.weight)
            x = owner.low + owner.spacing * tokens.view(n, height, width, channels).movedim(-1, 1)
        return x.reshape(*lead, *self.event_shape)
