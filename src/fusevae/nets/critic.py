"""A convolutional critic of images: DCGAN-like or residual, of whole images or of patches."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.nets.conv import ResidualBlock, sizes
from fusevae.nets.mlp import Embedding, as_shape

SLOPE = 0.2  # of the leaky rectifier (Radford et al. 2016)


class ConvCritic(Described, nn.Module):
    r"""Image to a number, large for what is taken for data: at each stage a halving, then residual blocks, if any.

    A label is judged by projection: :math:`w^\top h + e(label)^\top h` with h the last features (Miyato & Koyama 2018).
    There is no normalisation over the batch, so that an example is judged alike whatever stands beside it. For vectors
    take ``MLP(inputs, 1, activation="leaky_relu")``.

    Args:
        inputs: ``(channels, height, width)`` of an image.
        channels: width of each stage; the image is halved before each.
        blocks: residual blocks a stage; 0 is DCGAN's plain stack (Radford et al. 2016).
        classes: number of labels, or :class:`Conditions`, if it is conditioned on one.
        spectral: whether each layer's largest singular value is kept at 1 (Miyato et al. 2018).
        patches: whether each position of the last stage has a number of its own, which judges the patch that it sees
            (PatchGAN, Isola et al. 2017), instead of one for the image.
        inner: the stage whose output :meth:`judge` gives as features; -1 is the last.

    Example:
        >>> import torch
        >>> critic = ConvCritic((3, 13, 9), channels=(4, 8))
        >>> critic(torch.zeros(5, 3, 13, 9)).shape, critic.judge(torch.zeros(5, 3, 13, 9))[1].shape
        (torch.Size([5, 1]), torch.Size([5, 96]))
        >>> ConvCritic((3, 13, 9), channels=(4, 8), patches=True)(torch.zeros(5, 3, 13, 9)).shape
        torch.Size([5, 1, 4, 3])
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        channels: tuple[int, ...] = (32, 64, 128),
        blocks: int = 0,
        classes: int | Conditions = 0,
        spectral: bool = False,
        patches: bool = False,
        inner: int = -1,
    ) -> None:
        super().__init__()
        if not -len(channels) <= inner < len(channels):
            raise InputError(f"inner is {inner} but there are {len(channels)} stages: expected -1 for the last, say")
        self.inputs, self.classes = as_shape(inputs), classes
        self.patches, self.inner = patches, inner % len(channels)
        self.halvings = nn.ModuleList(
            nn.Conv2d(c, d, 4, stride=2, padding=1) for c, d in zip([inputs[0], *channels], channels, strict=False)
        )
        total = blocks * len(channels)
        self.stages = nn.ModuleList(nn.ModuleList(ResidualBlock(c, total) for _ in range(blocks)) for c in channels)
        height, width = sizes(inputs[1], inputs[2], len(channels))[-1]
        size = channels[-1] * (1 if patches else height * width)
        self.head: nn.Module = nn.Conv2d(size, 1, 1) if patches else nn.Linear(size, 1)
        self.label = Embedding(classes, size) if classes else None
        if spectral:
            for layer in [m for m in self.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]:
                parametrizations.spectral_norm(layer)

    def judge(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` gives, and the features ``(batch, n)`` of the inner stage."""
        h = x
        for i, (halve, blocks) in enumerate(zip(self.halvings, self.stages, strict=True)):
            # a row more at an odd end, so that sizes are rounded up as elsewhere
            h = F.leaky_relu(halve(F.pad(h, (0, h.shape[-1] % 2, 0, h.shape[-2] % 2))), SLOPE)
            for block in cast(nn.ModuleList, blocks):
                h = block(h, None)
            if i == self.inner:
                features = h.flatten(1)
        h = h if self.patches else h.flatten(1)
        out = self.head(h)
        if self.label is not None:
            e = self.label(label)
            out = out + ((e[..., None, None] if self.patches else e) * h).sum(1, keepdim=True)
        return out, features

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(batch, 1)``, or ``(batch, 1, height, width)`` of patches, for images ``(batch, *inputs)``."""
        return self.judge(x, label)[0]
