"""A classifier of images, whose inner features judge samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.description import Described
from fusevae.nets.conv import ConvEncoder


class Classifier(Described, nn.Module):
    """Images of values between ``low`` and ``high`` to features, and features to the logits of classes.

    Args:
        inputs: ``(channels, height, width)``.
        classes: how many.
        features: how many.
        channels: width of each stage of the convolutions.
        low: the smallest value of a pixel.
        high: the largest.

    Example:
        >>> import torch
        >>> Classifier((1, 8, 8), 10, channels=(4, 8))(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
    """

    about = "features of a classifier of the data's classes"
    scale: Tensor

    def __init__(
        self,
        inputs: tuple[int, ...],
        classes: int,
        features: int = 64,
        channels: tuple[int, ...] = (32, 64),
        low: float = 0.0,
        high: float = 255.0,
    ) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.body = ConvEncoder(inputs, features, channels)
        self.head = nn.Linear(features, classes)
        self.register_buffer("scale", torch.ones(()))  # of the features, set after the training

    def features(self, x: Tensor) -> Tensor:
        """``(batch, features)`` for images ``(batch, *inputs)`` in the data's units; their mean variance is 1 once they
        are measured (:meth:`measure`)."""
        return self._hidden(x) / self.scale

    def measure(self, x: Tensor) -> None:
        """Set the scale of the features, whose size means nothing, by those of images."""
        with torch.no_grad():
            self.scale.copy_(self._hidden(x).var(0).mean().sqrt().clamp(min=1e-6))

    def _hidden(self, x: Tensor) -> Tensor:
        scaled = (x.float() - self.low) / ((self.high - self.low) or 1.0)
        return F.silu(self.body(2 * scaled - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(batch, classes)``."""
        return self.head(self._hidden(x))
