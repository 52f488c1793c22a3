"""Masked multilayer perceptron: output d sees only the inputs before d."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.nets.mlp import ACTIVATIONS, TOLD, ActivationName, Embedding


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are held at zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedMLP(Described, nn.Module):
    """Fully connected layers whose output d is a function of the context and of the inputs 0 to d - 1 (Germain et al.
    2015).

    Args:
        dims: inputs, in their order.
        each: outputs for each input.
        hidden: widths of the hidden layers.
        context: width of a vector that every output may depend on; 0 for none.
        classes: number of labels, or :class:`Conditions`, that every output may depend on; 0 for none.
        activation: between the layers.

    Example:
        >>> import torch
        >>> MaskedMLP(4, 2)(torch.zeros(3, 4)).shape
        torch.Size([3, 4, 2])
    """

    def __init__(
        self,
        dims: int,
        each: int = 1,
        hidden: tuple[int, ...] = (200,),
        context: int = 0,
        classes: int | Conditions = 0,
        activation: ActivationName = "relu",
    ) -> None:
        super().__init__()
        self.dims, self.each, self.context, self.classes = dims, each, context, classes
        # a unit of degree m sees the first m inputs; those of degree 0 carry the context to the first output
        degrees = [torch.arange(1, dims + 1), *(torch.arange(width) % dims for width in hidden)]
        masks = [above[:, None] >= below[None, :] for below, above in zip(degrees, degrees[1:], strict=False)]
        last = torch.arange(dims).repeat_interleave(each)[:, None] >= degrees[-1][None, :]
        self.layers = nn.ModuleList(MaskedLinear(m) for m in [*masks, last])
        self.given = nn.Linear(context, hidden[0], bias=False) if context else None
        self.label = Embedding(classes, hidden[0], TOLD) if classes else None
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, *given: Tensor | None) -> Tensor:
        """``(*batch, dims, each)`` for ``x`` of shape ``(*batch, dims)``, the context (where there is one) and the
        label, which broadcast to it."""
        rest = list(given)
        first, *others = self.layers
        h = first(x)
        if self.given is not None:
            h = h + self.given(rest.pop(0))
        if self.label is not None:
            h = h + self.label(rest[0] if rest else None)
        for layer in others:
            h = layer(self.activation(h))
        return h.unflatten(-1, (self.dims, self.each))
