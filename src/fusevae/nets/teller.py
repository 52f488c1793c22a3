"""What was known beside an example, told from it: the conditions' log-likelihood given a net's outputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions, Label, Number
from fusevae.core.description import Described

NARROWEST = 0.3  # deviations of a column: who knows its few examples by heart isn't to weigh what is farther off more


class Teller(Described, nn.Module):
    r""":math:`-\log r(c \mid x)` of conditions c: of each column of classes a cross entropy, of each number that of a
    Gaussian around what the net gives, in deviations of the column, of one learned width (0.3 at least). What isn't
    known costs nothing, and texts are not told.

    Args:
        net: from x to :meth:`outputs` numbers.
        classes: number of labels, or :class:`Conditions`.

    Example:
        >>> from fusevae import MLP
        >>> Teller(MLP(6, 3), 3)(torch.zeros(5, 6), torch.tensor([0, 1, 2, -1, 0])).shape
        torch.Size([5])
    """

    def __init__(self, net: nn.Module, classes: int | Conditions) -> None:
        super().__init__()
        self.net, self.classes = net, classes
        self.widths = nn.Parameter(torch.zeros(1 if isinstance(classes, int) else len(classes)))

    @staticmethod
    def outputs(classes: int | Conditions) -> int:
        """How many numbers the net is to give."""
        if isinstance(classes, int):
            return classes
        sizes = (len(c.classes) if isinstance(c, Label) else isinstance(c, Number) for c in classes.columns)
        return sum(sizes)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """``(n,)`` nats for examples ``(n, *shape)`` and their conditions ``(n,)`` or ``(n, columns)``."""
        out = self.net(x).float()
        if isinstance(self.classes, int):
            return F.cross_entropy(out, label, ignore_index=-1, reduction="none")
        total, at = out.new_zeros(len(out)), 0
        numbers = label[:, None].float() if label.dim() == 1 else label
        for i, column in enumerate(self.classes.columns):
            if not isinstance(column, Label | Number):
                continue
            known = numbers[:, i].isfinite() & (numbers[:, i] >= 0 if isinstance(column, Label) else True)
            wanted = torch.where(known, numbers[:, i], 0.0)
            if isinstance(column, Label):
                n = len(column.classes)
                each = F.cross_entropy(out[:, at : at + n], wanted.long(), reduction="none")
            else:
                n, width = 1, self.widths[i].clamp(min=math.log(NARROWEST))
                each = 0.5 * ((out[:, at] - (wanted - column.mean) / column.scale) / width.exp()).square() + width
            total, at = total + torch.where(known, each, 0.0), at + n
        return total
