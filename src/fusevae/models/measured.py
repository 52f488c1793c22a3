"""Measured: a VAE whose decoder has no density, trained by a distance where others have a likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError
from fusevae.core.frames import ended, extent, within
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
        segment: vectors of latents, drawn anywhere in each example, of which alone sound is made in training, as
            critics of sound are trained elsewhere (Kong et al. 2020; Kim et al. 2021): for as much time more examples
            are seen. The distance is taken as many times as a segment is a part of its example; of the latents the
            whole counts. 0 makes all.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 64)
        >>> Measured.examples()[0][0].trace(x).elbo.shape
        torch.Size([2])
    """

    least = Level.SAMPLES

    def __init__(self, latents: Latents, decoder: Conditional, distance: nn.Module, segment: int = 0) -> None:
        super().__init__(latents, decoder)
        if segment < 0 or (segment and not hasattr(getattr(decoder, "net", None), "samples")):
            raise InputError(
                f"segment={segment} was given: expected 0, or vectors of a decoder whose net makes so many samples of "
                "each, Waveform(WaveDecoder(...)), say"
            )
        self.level, self.distance, self.segment = Level.SAMPLES, distance, segment

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        if self.segment and self.training and not samples:
            z, terms, auxiliary = self.latents.infer(x, *conditions)
            part, x, times = self._segments(z, x)
            trace = Trace(x, terms, self.decoder(part, *conditions), 0.0, auxiliary, conditions, z, times=times)
        else:
            trace = super().trace(x, *conditions, samples=samples)
        trace.distance = trace.times * self.distance(trace.likelihood.mean, x)
        return trace

    def _segments(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of latents ``(n, dims, vectors)`` and their clips ``(n, samples)`` a segment each, and how many times that
        is in its whole."""
        each: int = self.decoder.net.samples  # type: ignore[union-attr,assignment]
        vectors, length = extent(z.detach()).clamp(min=1), extent(x[:, None]).clamp(min=1)
        size = min(self.segment, z.shape[-1])
        spare = (vectors - size).clamp(min=0)
        first = (noise.uniform((len(z),), z.device) * (spare + 1)).long()[:, None]
        place = first + torch.arange(size, device=z.device)
        part = z.gather(2, place.clamp(max=z.shape[-1] - 1)[:, None].expand(-1, z.shape[1], -1))
        sound = first * each + torch.arange(size * each, device=x.device)
        left = (length - first[:, 0] * each).clamp(max=size * each)
        heard = ended(x.gather(1, sound.clamp(max=x.shape[-1] - 1)), left)
        return part * within(vectors.clamp(max=size), size), heard, length / left

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        sizes: dict[str, Any] = {"window": 8, "hop": 2, "stride": 4, "width": 4}
        prior = AutoregressiveFrames(2, 12, hidden=4, components=2)
        latents = Flat(prior, FrameWise(WaveEncoder(4, **sizes, blocks=(1, 1))))
        decoder = Waveform(WaveDecoder(2, **sizes, blocks=(1, 1)))
        return [(cls(latents, decoder, SpectralDistance(1000, 1.0, (0.016, 0.032))), ())]
