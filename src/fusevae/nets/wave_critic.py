"""Critics of sound: of its samples folded at several periods, and of its spectra at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.description import Described
from fusevae.core.frames import extent, within
from fusevae.nets.critic import SLOPE
from fusevae.nets.spectral import stft


class Heard(NamedTuple):
    """What one critic says of clips: ``scores`` ``(n, numbers, places)``, features of its inner layers alike, and which
    places of each there are ``(n, 1, places)``; beyond them everything is 0."""

    scores: Tensor
    features: list[Tensor]
    there: list[Tensor]


class WaveCritic(Described, nn.Module):
    r"""Several critics, each of patches of what it sees of a clip:

    * of samples folded to rows of a ``period``, by convolutions along the columns (multi-period, Kong et al. 2020);
    * of log magnitudes at a ``window``, by convolutions over time, frequencies as channels (multi-resolution, Jang et
      al. 2021, who also convolve over frequency, at many times the cost).

    Nothing depends on zeros after the end of a clip.

    Args:
        periods: in samples; best without common factors.
        windows: in samples, each frame a quarter from the next.
        channels: of the layers over folded samples; the last is that of all layers over spectra.

    Example:
        >>> critic = WaveCritic((2, 3), (64,), (4, 8))
        >>> x = torch.randn(2, 300)
        >>> critic(x).shape, torch.allclose(critic(x), critic(F.pad(x, (0, 99))), atol=1e-5)
        (torch.Size([2, 3]), True)
    """

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7),
        windows: Sequence[int] = (512, 256, 128),
        channels: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        self.periods, self.windows, self.channels = tuple(periods), tuple(windows), tuple(channels)
        ends, last = list(zip([1, *channels], channels, strict=False)), channels[-1]
        self.folded = nn.ModuleList(
            nn.ModuleList([*(nn.Conv1d(a, b, 5, 3, 2) for a, b in ends), nn.Conv1d(last, 1, 3, 1, 1)]) for _ in periods
        )
        inputs = [[w // 2 + 1, *(last for _ in channels[1:])] for w in windows]
        self.spectra = nn.ModuleList(
            nn.ModuleList([*(nn.Conv1d(a, last, 3, 1, 1) for a in each), nn.Conv1d(last, 1, 3, 1, 1)])
            for each in inputs
        )

    def judge(self, x: Tensor) -> list[Heard]:
        """What each critic says of clips ``(n, samples)``."""
        n = extent(x[:, None]).clamp(min=1)
        found = []
        for period, layers in zip(self.periods, self.folded, strict=True):
            rows = F.pad(x, (0, -x.shape[-1] % period)).view(len(x), -1, period).transpose(1, 2)
            found.append(heard(rows[:, :, None], (n + period - 1) // period, layers, 3))
        for window, layers in zip(self.windows, self.spectra, strict=True):
            with torch.autocast(x.device.type, enabled=False):
                magnitude = stft(x, window, window // 4).abs() * (2 / window)
            logs = ((magnitude + 1e-4).log() + 6) / 2
            found.append(heard(logs[:, None], n // (window // 4) + 1, layers, 1))
        return found

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """The mean of each critic's scores ``(n, critics)``; large for what is taken for real."""
        return torch.stack([mean_where(one.scores, one.there[-1]) for one in self.judge(x)], 1)


def heard(x: Tensor, n: Tensor, layers: nn.Module, stride: int) -> Heard:
    """Convolutions over each row of clips ``(batch, rows, channels, places)`` of ``n`` places, of which every
    ``stride``-th stays."""
    batch, rows = x.shape[:2]
    features, masks = [], []
    there = within(n, x.shape[-1])
    h = (x * there[:, None]).flatten(0, 1)
    *inner, last = list(layers.children())
    for layer in inner:
        n = (n + stride - 1) // stride
        h = F.leaky_relu(layer(h), SLOPE)
        there = within(n, h.shape[-1])
        h = h * there.repeat_interleave(rows, 0)
        features.append(h.view(batch, -1, h.shape[-1]))
        masks.append(there)
    return Heard(last(h).view(batch, rows, -1) * there, features, masks)


def mean_where(x: Tensor, there: Tensor) -> Tensor:
    """The mean of ``(n, numbers, places)`` over the places there are ``(n, 1, places)``: ``(n,)``."""
    return (x * there).flatten(1).sum(1) / (there.flatten(1).sum(1) * x.shape[1])
