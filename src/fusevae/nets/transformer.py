"""A transformer over vectors in sequence: causal, or looking both ways."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.nets.attention import attention
from fusevae.nets.dropout import dropout

Turn = tuple[Tensor, Tensor]


class Kept:
    """The keys and values of the positions that a transformer has seen: the next position attends to them without
    computing them again.

    Args:
        layers: of the transformer.
        shape: ``(n, heads, length, size)`` of one layer's keys: room for ``length`` positions.
        like: a tensor of the dtype and the device wanted.
        turn: the angles of all these positions, as of :func:`turn`.
    """

    def __init__(self, layers: int, shape: tuple[int, ...], like: Tensor, turn: Turn) -> None:
        self.keys = [like.new_empty(shape) for _ in range(layers)]
        self.values = [like.new_empty(shape) for _ in range(layers)]
        self.memory: dict[int, tuple[Tensor, Tensor]] = {}  # a layer's keys and values of what is not a position
        self.laid: dict[nn.Module, Tensor] = {}  # weights of layers as one token at a time reads them fastest
        self.turn, self.length = turn, 0

    def add(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's keys and values of the newest positions, and give those of all so far."""
        keys, values, new = self.keys[layer], self.values[layer], key.shape[2]
        keys.narrow(2, self.length, new).copy_(key)
        values.narrow(2, self.length, new).copy_(value)
        return keys.narrow(2, 0, self.length + new), values.narrow(2, 0, self.length + new)

    def choose(self, rows: Tensor) -> None:
        """Go on with these sequences ``(n,)`` in place of those kept: some twice (a beam search), others not."""
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]
        self.memory = {layer: (key[rows], value[rows]) for layer, (key, value) in self.memory.items()}


def by_columns(weight: Tensor) -> Tensor:
    """The same weight ``(outputs, inputs)`` with its columns one after the other in memory: for a layer that widens, a
    product with a few vectors then takes half of the time on a CPU."""
    return weight.detach().t().contiguous().t() if weight.device.type == "cpu" else weight.detach()


def turn(frequency: Tensor, length: int) -> Turn:
    """Cosines and sines of the angles of positions, ``(length, 2 * frequencies)``, as :func:`rotate` takes them."""
    angle = torch.arange(length, device=frequency.device)[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of the last dimension of ``x``, ``(..., length, size)``, which are ``size / 2`` apart, by an angle
    (a, b) -> (a cos - b sin, b cos + a sin)."""
    a, b = x.chunk(2, -1)
    return torch.addcmul(x * cos.to(x.dtype), torch.cat([b, a], -1), sin.to(x.dtype))


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
        turn: Turn,
        kept: Kept | None,
        number: int,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        x = x + self._drop(self.join(self._attend(self.first_norm(x), turn, kept, number, mask)))
        if memory is not None:
            x = x + self._drop(self.merge(self._remember(self.cross_norm(x), memory, kept, number)))
        return x + self._drop(self.narrow(F.gelu(_linear(self.widen, self.second_norm(x), kept))))

    def _attend(self, x: Tensor, turn: Turn, kept: Kept | None, number: int, mask: Tensor | None) -> Tensor:
        parts = _linear(self.project, x, kept).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        (query, key), value = rotate(parts[:2], *turn), parts[2]
        new = query.shape[2]
        if kept is not None:
            key, value = kept.add(number, key, value)
            key, value = key.to(query.dtype), value.to(query.dtype)
            if 1 < new < key.shape[2]:
                mask = torch.ones(new, key.shape[2], dtype=torch.bool, device=x.device).tril(key.shape[2] - new)
        causal = self.causal and mask is None and new > 1
        return self._mix(query, key, value, mask, causal)

    def _remember(self, x: Tensor, memory: Tensor, kept: Kept | None, number: int) -> Tensor:
        query = self.ask(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if kept is not None and number in kept.memory:
            key, value = kept.memory[number]
        else:
            key, value = self.tell(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
            if kept is not None:
                kept.memory[number] = key, value
        return self._mix(query, key, value, None, False)

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        out = attention(query, key, value, mask, self.dropout if self.training else 0.0, causal)
        return out.transpose(1, 2).flatten(2)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


def _linear(layer: nn.Linear, x: Tensor, kept: Kept | None) -> Tensor:
    return layer(x) if kept is None else F.linear(x, kept.laid[layer], layer.bias)


class Transformer(Described, nn.Module):
    r"""Pre-norm blocks of attention and a perceptron (Vaswani et al. 2017; Radford et al. 2019), positions by rotary
    embeddings (Su et al. 2021): a query and a key meet at an angle that depends on their distance alone.

    It knows nothing of tokens: what embeds them, and what reads the outputs, is the distribution's.

    Args:
        width: of the vectors, a multiple of ``2 * heads``.
        heads: of the attention.
        layers: number of blocks; without any it gives its inputs back.
        hidden: width of the perceptrons; four times ``width`` by default.
        dropout: of what each block adds, and of the attention.
        causal: whether an output depends on its own input and those before it alone.
        cross: whether the blocks attend to a memory, too.
        turns: whether it is told positions; else what it makes of vectors doesn't depend on how far apart they stand.

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
        turns: bool = True,
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise InputError(f"the width is {width} for {heads} heads, expected a multiple of {2 * heads}")
        self.width, self.heads, self.layers, self.causal, self.cross = width, heads, layers, causal, cross
        scale = 1 / math.sqrt(2 * max(1, layers))
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden or 4 * width, dropout, scale, causal, cross) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if layers else nn.Identity()
        size = width // heads
        frequency = 10_000.0 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("frequency", frequency if turns else 0 * frequency, persistent=False)

    def keep(self, n: int, length: int) -> Kept:
        """Room for the keys and values of ``n`` sequences of ``length`` positions."""
        shape = (n, self.heads, length, self.width // self.heads)
        kept = Kept(self.layers, shape, self.frequency, turn(self.frequency, length))
        for block in self.blocks:
            assert isinstance(block, Block)
            kept.laid |= {layer: by_columns(layer.weight) for layer in (block.project, block.widen)}
        return kept

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
        if kept is None:
            angles = turn(self.frequency, x.shape[1])
        else:
            cos, sin = (table.narrow(0, kept.length, x.shape[1]) for table in kept.turn)
            angles = cos, sin
        mask = counted[:, None, None] if counted is not None else None
        for number, block in enumerate(self.blocks):
            if added is not None:
                x = x + added[:, number, None]
            x = block(x, angles, kept, number, mask, memory)
        if kept is not None:
            kept.length += x.shape[1]
        return self.norm(x)
