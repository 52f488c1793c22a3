"""How far sound is from other sound, by spectra at several resolutions: what a waveform model is trained by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.description import Described
from fusevae.core.frames import extent, within
from fusevae.nets.spectral import mel_filters, stft

FLOOR = 1e-4  # of a magnitude: what is softer counts little


class SpectralDistance(Described, nn.Module):
    r"""With :math:`A_r` and :math:`B_r` the magnitudes of a clip and of what stands for it at a window of the r-th
    length, and M bands on the mel scale,

    .. math:: d = w\, \frac{n}{f} \frac1R \sum_r \overline{|\log(M A_r + \epsilon) - \log(M B_r + \epsilon)|}
        + \frac{\sum |A_r - B_r|}{\sum A_r}

    where n / f is the length of the clip in seconds, over which both are compared: zeros after its end change
    nothing. It stands where a VAE has -log p(x | z), but is none: nothing says what exp(-d) integrates to.

    Args:
        rate: of the sound in Hz.
        weight: w, for each second.
        windows: in seconds; frames are a quarter of a window apart.
        bands: on the mel scale, at most.

    Example:
        >>> x = torch.randn(2, 900)
        >>> SpectralDistance(8000)(x, x)
        tensor([0., 0.])
    """

    def __init__(
        self,
        rate: int,
        weight: float = 500.0,
        windows: Sequence[float] = (0.128, 0.064, 0.032, 0.016, 0.008),
        bands: int = 64,
    ) -> None:
        super().__init__()
        self.rate, self.weight, self.windows, self.bands = rate, weight, tuple(windows), bands

    def forward(self, made: Tensor, x: Tensor) -> Tensor:
        """``(*batch,)`` for clips ``x`` ``(*batch, samples)`` and what was made for them ``(*sample, *batch, any)``."""
        lead = made.shape[:-1]
        x = x.expand(*lead, -1).reshape(-1, x.shape[-1]).float()
        made = aligned(made.reshape(-1, made.shape[-1]).float(), x)
        n = extent(x[:, None]).clamp(min=1)
        total = torch.zeros(len(x), device=x.device)
        with torch.autocast(x.device.type, enabled=False):
            for seconds in self.windows:
                total = total + self._at(made, x, n, max(16, 4 * round(seconds * self.rate / 4)))
        found = self.weight / len(self.windows) * total * n / self.rate
        return found.view(lead)

    def _at(self, made: Tensor, x: Tensor, n: Tensor, window: int) -> Tensor:
        hop = window // 4
        a, b = (stft(clip, window, hop).abs() * (2 / window) for clip in (x, made))
        there = within(n // hop + 1, a.shape[-1])
        filters = mel_filters(self.rate, window, min(self.bands, window // 4)).to(x.device)
        logs = ((filters @ a + FLOOR).log() - (filters @ b + FLOOR).log()).abs().mean(1, keepdim=True) * there
        part = ((a - b).abs() * there).flatten(1).sum(1) / ((a * there).flatten(1).sum(1) + FLOOR * n)
        return logs.flatten(1).sum(1) / there.flatten(1).sum(1) + part


def aligned(made: Tensor, x: Tensor) -> Tensor:
    """What was made ``(n, any)`` for clips ``x`` ``(n, samples)``, as long as these, each cut where its clip ends."""
    made = F.pad(made, (0, x.shape[-1] - made.shape[-1]))
    return made * within(extent(x[:, None]), x.shape[-1])[:, 0]
