"""A plain convolutional net from a vector to an image of any size, as generators have it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditional import flattened
from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.nets.conv import sizes
from fusevae.nets.mlp import Embedding, as_shape


class ConvGenerator(Described, nn.Module):
    """Vector to an image: one linear layer, then transposed convolutions that double the image (DCGAN, Radford et al.
    2016), each normalised per example and group of channels (Wu & He 2018): what one example becomes does not depend
    on the others of its batch. For a residual net take :class:`ConvDecoder`.

    Args:
        inputs: size of the latent vector.
        outputs: ``(channels, height, width)`` of an image.
        channels: width at each size, from the smallest image; the image is doubled after each.
        classes: number of labels, or :class:`Conditions`, if the net is conditioned on one.
        groups: of channels that are normalised together, of equal size (fewer where ``channels`` are no multiple), a
            single one where each would be one number; 0 for no normalisation.
        bounded: whether a tanh keeps the values between -1 and 1.

    Example:
        >>> import torch
        >>> ConvGenerator(8, (3, 13, 9), channels=(8, 4), groups=4)(torch.zeros(5, 8)).shape
        torch.Size([5, 3, 13, 9])
    """

    def __init__(
        self,
        inputs: int,
        outputs: tuple[int, ...],
        channels: tuple[int, ...] = (128, 64, 32),
        classes: int | Conditions = 0,
        groups: int = 8,
        bounded: bool = True,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.classes, self.bounded = as_shape(inputs), as_shape(outputs), classes, bounded
        self.sizes = sizes(outputs[1], outputs[2], len(channels))[::-1]
        self.smallest = (channels[0], *self.sizes[0])
        self.stem = nn.Linear(inputs, math.prod(self.smallest))
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(c, d, 4, stride=2, padding=1)
            for c, d in zip(channels, [*channels[1:], outputs[0]], strict=True)
        )
        self.norms = nn.ModuleList(
            nn.GroupNorm(_together(groups, c, h * w), c) if groups else nn.Identity()
            for c, (h, w) in zip(channels, self.sizes, strict=False)
        )
        self.labels = nn.ModuleList(Embedding(classes, c) for c in channels) if classes else None

    def forward(self, z: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, *outputs)`` for latents ``(*batch, inputs)``."""
        batch = z.shape[:-1]
        h = self.stem(z.reshape(-1, *self.inputs)).view(-1, *self.smallest)
        label = flattened(label, batch)
        for i, ((height, width), double) in enumerate(zip(self.sizes[1:], self.doublings, strict=True)):
            h = self.norms[i](h)
            if self.labels is not None:
                h = h + self.labels[i](label)[..., None, None]
            h = double(F.leaky_relu(h, 0.2))[..., :height, :width]
        return (torch.tanh(h) if self.bounded else h).reshape(*batch, *self.outputs)


def _together(groups: int, channels: int, places: int) -> int:
    """In how many groups channels are normalised: of one number nothing would be left."""
    groups = math.gcd(groups, channels)
    return groups if channels * places > groups else 1
