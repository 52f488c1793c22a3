"""What is known beside an image, said to each place of it."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditions import Conditions
from fusevae.nets.mlp import Told

MOST = 8  # places along a side that are told each by itself; of more, those between are told what lies between
TOLD = 0.3  # of the usual deviation of a layer's weights, at the start


class Places(nn.Module):
    """A learned map ``(channels, height, width)`` for each label. Nets that are told a label alike at every place are
    long in finding where what it means is to be: with a hundred classes, 13 images each, they made nothing of it.

    Args:
        classes: number of labels, or :class:`Conditions`.
        channels: of the map.
        size: height and width of the map.
    """

    def __init__(self, classes: int | Conditions, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        coarse = tuple(math.ceil(n / math.ceil(n / MOST)) for n in size)
        self.told = Told(classes, (channels, *coarse), scale=TOLD)

    def forward(self, label: Tensor | None = None) -> Tensor:
        """``(n, channels, height, width)`` for labels ``(n,)``, or conditions ``(n, columns)``; one for None."""
        found = self.told(label)
        found = found if found.dim() == 4 else found[None]
        if found.shape[-2:] == self.size:
            return found
        return F.interpolate(found, size=self.size, mode="bilinear", align_corners=False)
