"""A recurrent net over vectors in sequence, with the contract of the causal transformer."""

from __future__ import annotations

from torch import Tensor, nn

from fusevae.core.description import Described
from fusevae.nets.dropout import dropout


class States:
    """What the layers of a recurrent net carry from the positions so far to the next."""

    def __init__(self, layers: int) -> None:
        self.of: list[tuple[Tensor, Tensor] | None] = [None] * layers
        self.laid: dict[nn.Module, Tensor] = {}
        self.length = 0

    def choose(self, rows: Tensor) -> None:
        """Go on with these sequences ``(n,)`` in place of those kept: some twice (a beam search), others not."""
        self.of = [None if s is None else (s[0][:, rows], s[1][:, rows]) for s in self.of]


class LSTM(Described, nn.Module):
    r"""Layers of long short-term memory (Hochreiter & Schmidhuber 1997), each position given those before it.

    Args:
        width: of the vectors and of the layers.
        layers: number of them.
        dropout: between them, and of the outputs.

    Example:
        >>> import torch
        >>> net, x = LSTM(8).eval(), torch.randn(3, 5, 8)
        >>> kept = net.keep(3, 5)
        >>> torch.allclose(net(x), torch.cat([net(x[:, :2], kept), net(x[:, 2:], kept)], 1), atol=1e-6)
        True
    """

    cross = False
    causal = True

    def __init__(self, width: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.layers, self.dropout = width, layers, dropout
        self.cells = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(layers))

    def keep(self, n: int, length: int) -> States:
        """The states before the first position."""
        return States(self.layers)

    def forward(
        self, x: Tensor, kept: States | None = None, added: Tensor | None = None, memory: Tensor | None = None
    ) -> Tensor:
        """``(n, length, width)`` for ``x`` of that shape; with ``kept``, for the positions that follow. ``added`` of
        shape ``(n, layers, width)`` is added to what each layer is given; there is no ``memory`` to attend to."""
        for number, cell in enumerate(self.cells):
            if added is not None:
                x = x + added[:, number, None]
            x, state = cell(x, None if kept is None else kept.of[number])
            if kept is not None:
                kept.of[number] = state
            x = dropout(x, self.dropout, self.training)
        if kept is not None:
            kept.length += x.shape[1]
        return x
