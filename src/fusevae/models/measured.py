"""Measured: a VAE whose decoder has no density, trained by a distance where others have a likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn

from fusevae.core.conditional import Conditional
from fusevae.core.levels import Level
from fusevae.core.trace import Trace
from fusevae.distributions.autoregressive_frames import AutoregressiveFrames
from fusevae.distributions.frame_wise import FrameWise
from fusevae.distributions.waveform import Waveform
from fusevae.models.flat import Flat
from fusevae.models.latents import Latents
from fusevae.models.vae import VAE
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder, WaveEncoder


class Measured(VAE):
    r"""A VAE in whose objective :math:`-d(x, x'')` stands where another has :math:`\log p(x \mid z)`, with x'' the mean
    of its decoder:

    .. math:: -d(x, g(z)) - \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    It would be a bound for :math:`p(x \mid z) \propto e^{-d(x, g(z))}` if the integral of the right side were known and
    the same for every z. It isn't, so the model promises samples and no bound.

    Args:
        latents: as of a VAE.
        decoder: what makes x'' of latents; a level of samples is enough.
        distance: a net from x'' and x to a distance for each example.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 64)
        >>> Measured.examples()[0][0].trace(x).elbo.shape
        torch.Size([2])
    """

    least = Level.SAMPLES

    def __init__(self, latents: Latents, decoder: Conditional, distance: nn.Module) -> None:
        super().__init__(latents, decoder)
        self.level, self.distance = Level.SAMPLES, distance

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        trace = super().trace(x, *conditions, samples=samples)
        trace.distance = self.distance(trace.likelihood.mean, x)
        return trace

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        sizes: dict[str, Any] = {"window": 8, "hop": 2, "stride": 4, "width": 4}
        prior = AutoregressiveFrames(2, 12, hidden=4, components=2)
        latents = Flat(prior, FrameWise(WaveEncoder(4, **sizes, blocks=(1, 1))))
        decoder = Waveform(WaveDecoder(2, **sizes, blocks=(1, 1)))
        return [(cls(latents, decoder, SpectralDistance(1000, 1.0, (0.016, 0.032))), ())]
