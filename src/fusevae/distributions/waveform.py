"""Sound that a net makes of latents: a decoder without a density."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core.conditional import Conditional, parameters
from fusevae.core.errors import SlotError
from fusevae.core.levels import BoundOnly, Level
from fusevae.nets.wave import WaveDecoder


class Waveform(Conditional):
    r"""x = net(z, conditions), a point: samples of sound have no useful likelihood each (a shift that nobody hears
    changes all of them), so none is claimed. It stands in :class:`fusevae.Measured`, where a distance trains it.

    Args:
        net: from a sequence of latents to samples.

    Example:
        >>> net = WaveDecoder(3, window=16, hop=4, stride=2, width=8, blocks=(1, 1))
        >>> Waveform(net)(torch.randn(2, 3, 7)).mean.shape
        torch.Size([2, 56])
    """

    level = Level.SAMPLES

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *given: Tensor | None) -> Distribution:
        return _Made(parameters(self.net, given))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        net = WaveDecoder(2, window=8, hop=2, stride=2, width=4, blocks=(1, 1))
        return [(cls(net), (torch.randn(3, 2, 4),))]


class _Made(BoundOnly):
    has_rsample = True

    def __init__(self, x: Tensor) -> None:
        self.x = x
        super().__init__(x.shape[:-1], x.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.x

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.x.expand(self._extended_shape(torch.Size(sample_shape)))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.rsample(sample_shape).detach()

    def log_bound(self, value: Tensor) -> Tensor:
        raise SlotError(
            "Waveform only samples, no bound on its likelihood is known: take Frames as decoder (the recipe mel-vae), "
            "or a Measured around it, which is trained by a distance"
        )
