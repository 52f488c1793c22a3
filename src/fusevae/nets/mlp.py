"""Multilayer perceptron, and the nets that have no input: a learned constant, an embedding of a label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions, Label, Number
from fusevae.core.description import Described

ActivationName = Literal["relu", "tanh", "silu", "gelu", "elu", "leaky_relu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
}
#: deviation of what a label adds to other features at the start: of 0.02 nets made nearly nothing of it for hundreds of
#: steps (diffusions of digits, 780 steps old, drew the digit asked for in 13 %, of 0.4 in 98 %)
TOLD = 0.5


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """``5`` is ``(5,)``."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


class Embedding(Described, nn.Module):
    """A learned output for each label, and one more for a label that is unknown (``None``, or -1 in a batch).

    With :class:`Conditions` in the place of a number of classes it is a sum over their columns: of numbers a linear map
    of them, standardised, that bends at their knots (Gorishniy et al. 2022), of classes an output for each; every
    column has a learned output of its own for when it is unknown (``None``, or NaN in a batch).

    As a net of its own it makes a prior depend on the label: ``Gaussian(Embedding(10, 64))``.

    Example:
        >>> Embedding(10, 4)(torch.tensor([3, -1])).shape
        torch.Size([2, 4])
        >>> both = Conditions([Label("site", ["a", "b"]), Number("qed", 0.5, 0.2)])
        >>> Embedding(both, 4)(torch.tensor([[1.0, 0.9], [0.0, float("nan")]])).shape
        torch.Size([2, 4])
    """

    moments: Tensor
    between: Tensor

    def __init__(self, classes: int | Conditions, outputs: int | tuple[int, ...], std: float = 0.02) -> None:
        super().__init__()
        self.classes, self.outputs = classes, as_shape(outputs)
        if isinstance(classes, Conditions):
            columns = list(enumerate(classes.columns))
            self.numbers = [i for i, c in columns if isinstance(c, Number)]
            self.labels = [(i, len(c.classes)) for i, c in columns if isinstance(c, Label)]
            moments = [[c.mean, c.scale] for _, c in columns if isinstance(c, Number)]
            self.register_buffer("moments", torch.tensor(moments).view(-1, 2).T.contiguous(), persistent=False)
            knots = [(i, *ends) for i, c in columns if isinstance(c, Number) for ends in itertools.pairwise(c.knots)]
            self.pieces = [int(i) for i, _, _ in knots]  # the column of each piece between two knots
            ends = torch.tensor([ends for _, *ends in knots]).view(-1, 2).T.contiguous()
            self.register_buffer("between", ends, persistent=False)
            rows = 2 * len(self.numbers) + 1 + sum(n + 1 for _, n in self.labels) + len(knots)
        else:
            rows = classes + 1
        self.weight = nn.Parameter(std * torch.randn(rows, math.prod(self.outputs)))

    def forward(self, label: Tensor | None = None) -> Tensor:
        """``(*batch, *outputs)`` for labels ``(*batch,)``, or conditions ``(*batch, columns)``."""
        if isinstance(self.classes, Conditions):
            return self._of_columns(label, len(self.classes)).unflatten(-1, self.outputs)
        if label is None:
            return self.weight[self.classes].view(self.outputs)
        known = torch.where(label < 0, self.classes, label)
        # not weight[known]: the gradient of indexing adds up in any order on a CPU with several threads
        return F.embedding(known, self.weight).unflatten(-1, self.outputs)

    def _of_columns(self, values: Tensor | None, columns: int) -> Tensor:
        """The weights are a row each for a number's slope and for not knowing it, one for the start, those of each
        column of classes, not knowing it the last, and those of the pieces between knots."""
        n = 2 * len(self.numbers)
        if values is None:
            values = self.weight.new_full((columns,), torch.nan)
        mean, scale = self.moments
        numbers = values[..., self.numbers]
        known = numbers.isfinite()
        found = torch.cat([torch.where(known, (numbers - mean) / scale, 0.0), (~known).to(values.dtype)], -1)
        total = found.to(self.weight.dtype) @ self.weight[:n] + self.weight[n]
        first = n + 1
        for i, classes in self.labels:
            at = values[..., i].nan_to_num(classes).long()
            total = total + F.embedding(at, self.weight[first : first + classes + 1])
            first += classes + 1
        if self.pieces:
            low, high = self.between
            through = ((values[..., self.pieces] - low) / (high - low)).clamp(0, 1).nan_to_num(0.0)
            total = total + through.to(self.weight.dtype) @ self.weight[first:]
        return total


class Constant(Described, nn.Module):
    """A learned output that depends on nothing: ``Gaussian(Constant(64))`` is a Gaussian with learned moments."""

    def __init__(self, outputs: int | tuple[int, ...], std: float = 0.0) -> None:
        super().__init__()
        self.outputs = as_shape(outputs)
        self.value = nn.Parameter(std * torch.randn(self.outputs))

    def forward(self, *given: Tensor | None) -> Tensor:
        """``outputs``, whatever is given."""
        return self.value + 0.0  # a result, not the parameter: sharded training frees the latter after forward


def of_label(classes: int | Conditions, outputs: int | tuple[int, ...]) -> Embedding | Constant:
    """The net of a prior that depends on the label, or on nothing where there is none.

    Example:
        >>> of_label(0, 4), of_label(10, 4)
        (Constant(), Embedding())
    """
    return Embedding(classes, outputs) if classes else Constant(outputs)


class Told(Described, nn.Module):
    """What is known beside the data to an output: a learned vector for it, then a layer between two linear ones. What a
    label means is learned sooner than by an :class:`Embedding`, whose numbers start near 0 and each move by themselves.

    Args:
        classes: number of labels, or :class:`Conditions`.
        outputs: shape of the result.
        hidden: width.
        scale: of the last layer's weights at the start, as a part of what is usual.

    Example:
        >>> Told(10, 4)(torch.tensor([3, -1])).shape, Told(10, 4)(None).shape
        (torch.Size([2, 4]), torch.Size([4]))
    """

    def __init__(
        self, classes: int | Conditions, outputs: int | tuple[int, ...], hidden: int = 64, scale: float = 0.1
    ) -> None:
        super().__init__()
        self.classes, self.outputs = classes, as_shape(outputs)
        self.label = Embedding(classes, hidden, std=1.0)
        self.layer, self.head = nn.Linear(hidden, hidden), nn.Linear(hidden, math.prod(self.outputs))
        self.head.weight.data.mul_(scale)

    def forward(self, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, *outputs)`` for labels ``(*batch,)``, or conditions ``(*batch, columns)``."""
        return self.head(F.silu(self.layer(self.label(label)))).unflatten(-1, self.outputs)


class MLP(Described, nn.Module):
    """Fully connected layers between events of any shape.

    Args:
        inputs: shape of one input event; it is flattened.
        outputs: shape of one output event.
        hidden: widths of the hidden layers.
        activation: between the layers.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one; their embedding is added
            to the first hidden layer, with one for "unknown".
        centred: whether it looks at how the inputs differ from their mean over the training examples, as an encoder.

    Example:
        >>> import torch
        >>> MLP((1, 8, 8), 32, hidden=(64,))(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 32])
    """

    data_mean: Tensor | None

    def __init__(
        self,
        inputs: int | tuple[int, ...],
        outputs: int | tuple[int, ...],
        hidden: tuple[int, ...] = (200, 200),
        activation: ActivationName = "tanh",
        classes: int | Conditions = 0,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.classes = as_shape(inputs), as_shape(outputs), classes
        self.register_buffer("data_mean", torch.zeros(self.inputs) if centred else None)
        widths = [math.prod(self.inputs), *hidden, math.prod(self.outputs)]
        layers = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        # less than TOLD: of a decoder the outputs would lie far from where they start, at the mean of the data
        self.label = Embedding(classes, widths[1], 0.2) if classes else None
        self.activation = ACTIVATIONS[activation]

    @property
    def last(self) -> nn.Module:
        """The layer whose outputs are the net's."""
        return self.layers[-1]

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, *outputs)`` for ``x`` of shape ``(*batch, *inputs)`` and labels that broadcast to it."""
        first, *rest = self.layers
        x = x if self.data_mean is None else x - self.data_mean
        h = first(x.flatten(-len(self.inputs)))
        if self.label is not None:
            h = h + self.label(label)
        for layer in rest:
            h = layer(self.activation(h))
        return h.unflatten(-1, self.outputs) if len(self.outputs) > 1 else h
