"""A transformer over vectors in sequence: causal, or looking both ways."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.description import Described
from fusevae.core.errors import InputError


class Kept:
    """The keys and values of the positions that a transformer has seen: the next position attends to them without
    computing them again.

    Args:
        layers: of the transformer.
        shape: ``(n, heads, length, size)`` of one layer's keys: room for ``length`` positions.
        like: a tensor of the dtype and the device wanted.
    """

    def __init__(self, layers: int, shape: tuple[int, ...], like: Tensor) -> None:
        self.keys = [like.new_zeros(shape) for _ in range(layers)]
        self.values = [like.new_zeros(shape) for _ in range(layers)]
        self.length = 0

    def add(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's keys and values of the newest positions, and give those of all so far."""
        stop = self.length + key.shape[2]
        self.keys[layer][:, :, self.length : stop], self.values[layer][:, :, self.length : stop] = key, value
        return self.keys[layer][:, :, :stop], self.values[layer][:, :, :stop]

    def choose(self, rows: Tensor) -> None:
        """Go on with these sequences ``(n,)`` in place of those kept: some twice, others not (a beam search)."""
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of the last dimension of ``x``, ``(..., length, size)``, by the angle of a cosine and a sine,
    ``(length, size / 2)``."""
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))`` (Xiong et al. 2020: the norm stands first); between the two
    attention to a memory, where there is one."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, scale: float, causal: bool, cross: bool
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        scaled = [self.join, self.narrow]
        if cross:
            self.cross_norm = nn.LayerNorm(width)
            self.ask, self.tell, self.merge = (
                nn.Linear(width, width),
                nn.Linear(width, 2 * width),
                nn.Linear(width, width),
            )
            scaled.append(self.merge)
        for layer in scaled:
            layer.weight.data *= scale

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor],
        kept: Kept | None,
        number: int,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        x = x + self._drop(self.join(self._attend(self.first_norm(x), turn, kept, number, mask)))
        if memory is not None:
            x = x + self._drop(self.merge(self._remember(self.cross_norm(x), memory)))
        return x + self._drop(self.narrow(F.gelu(self.widen(self.second_norm(x)))))

    def _attend(
        self, x: Tensor, turn: tuple[Tensor, Tensor], kept: Kept | None, number: int, mask: Tensor | None
    ) -> Tensor:
        query, key, value = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = rotate(query, *turn), rotate(key, *turn)
        new = query.shape[2]
        if kept is not None:
            key, value = kept.add(number, key, value)
            key, value = key.to(query.dtype), value.to(query.dtype)
            if 1 < new < key.shape[2]:
                mask = torch.ones(new, key.shape[2], dtype=torch.bool, device=x.device).tril(key.shape[2] - new)
        causal = self.causal and mask is None and new > 1
        return self._mix(query, key, value, mask, causal)

    def _remember(self, x: Tensor, memory: Tensor) -> Tensor:
        query = self.ask(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.tell(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self._mix(query, key, value, None, False)

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)
        return out.transpose(1, 2).flatten(2)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Transformer(Described, nn.Module):
    r"""Pre-norm blocks of attention and a perceptron (Vaswani et al. 2017; Radford et al. 2019), positions by rotary
    embeddings (Su et al. 2021): a query and a key meet at an angle that depends on their distance alone.

    It knows nothing of tokens: what embeds them, and what reads the outputs, is the distribution's.

    Args:
        width: of the vectors, a multiple of ``2 * heads``.
        heads: of the attention.
        layers: number of blocks.
        hidden: width of the perceptrons; four times ``width`` by default.
        dropout: of what each block adds, and of the attention.
        causal: whether an output depends on its own input and those before it alone.
        cross: whether the blocks attend to a memory, too.

    Example:
        >>> import torch
        >>> net, x = Transformer(8, heads=2, layers=2).eval(), torch.randn(3, 5, 8)
        >>> kept = net.keep(3, 5)
        >>> steps = torch.cat([net(x[:, :3], kept), net(x[:, 3:4], kept), net(x[:, 4:], kept)], 1)
        >>> torch.allclose(net(x), steps, atol=1e-5)
        True
    """

    frequency: Tensor

    def __init__(
        self,
        width: int,
        heads: int = 4,
        layers: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
        causal: bool = True,
        cross: bool = False,
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise InputError(f"the width is {width} for {heads} heads, expected a multiple of {2 * heads}")
        self.width, self.heads, self.layers, self.causal, self.cross = width, heads, layers, causal, cross
        scale = 1 / math.sqrt(2 * layers)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden or 4 * width, dropout, scale, causal, cross) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        size = width // heads
        self.register_buffer("frequency", 10_000.0 ** (-torch.arange(0, size, 2) / size), persistent=False)

    def keep(self, n: int, length: int) -> Kept:
        """Room for the keys and values of ``n`` sequences of ``length`` positions."""
        return Kept(self.layers, (n, self.heads, length, self.width // self.heads), self.norm.weight)

    def forward(
        self,
        x: Tensor,
        kept: Kept | None = None,
        added: Tensor | None = None,
        memory: Tensor | None = None,
        counted: Tensor | None = None,
    ) -> Tensor:
        """``(n, length, width)`` for ``x`` of that shape; with ``kept``, for the positions that follow those kept.

        Args:
            x: vectors in sequence.
            kept: as of :meth:`keep`.
            added: to every position before each block, ``(n, layers, width)``.
            memory: what the blocks of a net with ``cross`` attend to, ``(n, places, width)``.
            counted: which positions are attended to, ``(n, length)``, in a net that looks both ways.
        """
        start = kept.length if kept is not None else 0
        place = torch.arange(start, start + x.shape[1], device=x.device)
        angle = place[:, None] * self.frequency
        turn = angle.cos(), angle.sin()
        mask = counted[:, None, None] if counted is not None else None
        for number, block in enumerate(self.blocks):
            if added is not None:
                x = x + added[:, number, None]
            x = block(x, turn, kept, number, mask, memory)
        if kept is not None:
            kept.length += x.shape[1]
        return self.norm(x)
