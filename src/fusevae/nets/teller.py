"""What was known beside an example, told from it: the conditions' log-likelihood given a net's outputs."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions, Label
from fusevae.core.description import Described


class Teller(Described, nn.Module):
    r""":math:`-\log r(c \mid x)` of conditions c: a cross entropy for each column of classes. What isn't known costs
    nothing. Numbers are not told: what a number says of an example, latents follow by themselves (lines of an angle,
    cells of a size, 60 s of a core: asked and found went together by a rank correlation of .98).

    Args:
        net: from x to :meth:`outputs` numbers.
        classes: number of labels, or :class:`Conditions`.

    Example:
        >>> import torch
        >>> from fusevae import MLP
        >>> Teller(MLP(6, 3), 3)(torch.zeros(5, 6), torch.tensor([0, 1, 2, -1, 0])).shape
        torch.Size([5])
    """

    def __init__(self, net: nn.Module, classes: int | Conditions) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    @staticmethod
    def outputs(classes: int | Conditions) -> int:
        """How many numbers the net is to give."""
        return sum(n for _, n in _columns(classes))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """``(n,)`` nats for examples ``(n, *shape)`` and their conditions ``(n,)`` or ``(n, columns)``."""
        out, numbers = self.net(x).float(), label[:, None] if label.dim() == 1 else label
        total, at = out.new_zeros(len(out)), 0
        for i, n in _columns(self.classes):
            wanted = numbers[:, i].nan_to_num(nan=-1.0).long()
            total = total + F.cross_entropy(out[:, at : at + n], wanted, ignore_index=-1, reduction="none")
            at += n
        return total


def _columns(classes: int | Conditions) -> list[tuple[int, int]]:
    """The columns of classes and how many each has."""
    if isinstance(classes, int):
        return [(0, classes)]
    return [(i, len(c.classes)) for i, c in enumerate(classes.columns) if isinstance(c, Label)]
