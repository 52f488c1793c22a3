"""Residual multilayer perceptron that knows the time, and the embedding of a time and of what is given beside it.

Every net for diffusion and flow matching keeps one narrow contract, ``net(x_t, t, *conditions)``: noisy events
``(n, *shape)``, times ``(n,)`` from 0 (data) to 1 (noise), a latent vector ``(n, context)`` where there is one, and
labels ``(n,)`` or None; it returns ``(n, *shape)``, each row a function of its own row alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.nets.mlp import TOLD, Embedding, as_shape

FASTEST = 1000.0  # radians of the fastest wave of a time's embedding, from time 0 to time 1


class TimeEmbedding(nn.Module):
    """A vector from a time (sines and cosines, Vaswani et al. 2017), a latent vector and a label."""

    rates: Tensor

    def __init__(self, width: int, classes: int | Conditions = 0, context: int = 0) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.register_buffer("rates", torch.logspace(0, math.log10(FASTEST), half), persistent=False)
        self.first, self.last = nn.Linear(2 * half, width), nn.Linear(width, width)
        self.given = nn.Linear(context, width) if context else None
        self.label = Embedding(classes, width, TOLD) if classes else None

    def forward(self, t: Tensor, *given: Tensor | None) -> Tensor:
        """``(n, width)`` for times ``(n,)``, the latent (where the net has a context) and the label."""
        rest = list(given)
        angle = t[:, None] * self.rates
        h = self.first(torch.cat([angle.sin(), angle.cos()], -1))
        if self.given is not None:
            h = h + self.given(rest.pop(0))
        if self.label is not None:
            h = h + self.label(rest[0] if rest else None)
        return F.silu(self.last(F.silu(h)))


class TimeMLP(Described, nn.Module):
    """Residual layers for noisy vectors (or small events of any shape, flattened), each moved by the time's embedding.

    Its last layer starts at zero: as the ``v`` of :class:`Diffusion` that is the standard normal.

    Args:
        shape: of one event; the output has the same.
        hidden: width of the layers.
        blocks: residual blocks, of two layers each.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one.
        context: width of the latent vector that it is given, as the net of a decoder; 0 as that of a prior.

    Example:
        >>> import torch
        >>> TimeMLP(3)(torch.randn(5, 3), torch.rand(5)).abs().max().item()
        0.0
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        hidden: int = 256,
        blocks: int = 3,
        classes: int | Conditions = 0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.outputs, self.classes, self.context = as_shape(shape), classes, context
        dims = math.prod(self.outputs)
        self.time = TimeEmbedding(hidden, classes, context)
        self.stem = nn.Linear(dims, hidden)
        self.blocks = nn.ModuleList(_Block(hidden, blocks) for _ in range(blocks))
        self.head = nn.Linear(hidden, dims)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, t: Tensor, *given: Tensor | None) -> Tensor:
        """``(n, *shape)`` for noisy events ``(n, *shape)`` at times ``(n,)``."""
        e = self.time(t, *given)
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = block(h, e)
        return self.head(F.silu(h)).view(x.shape)


class _Block(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.time, self.last = (nn.Linear(width, width) for _ in range(3))
        self.last.weight.data /= math.sqrt(blocks)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        return h + self.last(F.silu(self.first(self.norm(h)) + self.time(e)))
