"""Views of sound: log-mel frames, of which a likelihood can be had; excerpts of long clips."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.frames import ended, extent, within
from fusevae.core.spec import DataSpec
from fusevae.core.steps import View
from fusevae.modalities.audio.schema import rate_of
from fusevae.nets.spectral import ROUNDS, from_mel, griffin_lim, mel_filters, n_frames, stft

LEAST = 1e-5  # magnitude of a band, in units of full scale: silence of 16 bits lies above it
AT_ONCE = 2**22  # samples that are transformed at once
STEP = 32  # frames: clips of as many, rounded up, are made sound together
TAPS = 4  # samples to either side that make one at another pace


class LogMel(View):
    r"""Sound as log-mel frames, :math:`y_{bt} = \log \max(\sum_f M_{bf} |X_{ft}|, 10^{-5})` with X the short-time
    Fourier transform of :func:`fusevae.nets.spectral.stft`, whose magnitudes are divided by the sum of the window: a
    sine at full scale has magnitude 1/2.

    Clips ``(n, samples)`` become ``(n, bands, frames)``, frames of zeros where a clip has none any more. On the way
    back magnitudes are the least-squares ones and phases are made up by Griffin-Lim, so that no view of a view is
    exact, and the sound that comes of frames is rougher than they are.

    Args:
        rate: of the sound in Hz.
        window: samples of a frame.
        hop: samples from one to the next.
        bands: on the mel scale.
        rounds: of Griffin-Lim.

    Example:
        >>> from fusevae.modalities.audio.schema import SoundSchema
        >>> view = LogMel(8000, 256, 64, 40)
        >>> view.spec(DataSpec((4000,), low=-1, schema=SoundSchema(8000))).shape
        (40, 63)
        >>> view(torch.randn(2, 640)).shape, view.restore(view(torch.randn(2, 640))).shape
        (torch.Size([2, 40, 11]), torch.Size([2, 672]))
    """

    def __init__(self, rate: int, window: int, hop: int, bands: int, rounds: int = ROUNDS) -> None:
        super().__init__()
        if window < 4 or window % 4 or not 1 <= hop <= window // 4 or not 1 <= bands <= window // 2:
            raise InputError(
                f"LogMel was given window={window}, hop={hop}, bands={bands}: expected a window that 4 divides, a hop "
                "of at most a quarter of it, and at most half as many bands"
            )
        self.rate, self.window, self.hop, self.bands, self.rounds = rate, window, hop, bands, rounds

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # the data are the same whatever a model computes in
            return torch.cat([self._frames(part.float()) for part in x.split(max(1, AT_ONCE // x.shape[-1]))])

    def _frames(self, x: Tensor) -> Tensor:
        magnitude = stft(x, self.window, self.hop).abs() * (2 / self.window)  # a Hann window sums to half its length
        found = (mel_filters(self.rate, self.window, self.bands).to(x.device) @ magnitude).clamp(min=LEAST).log()
        samples = extent(x[..., None, :])
        return found * within(samples // self.hop + 1, found.shape[-1])

    def spec(self, data: DataSpec) -> DataSpec:
        if rate_of(data) != self.rate:
            raise InputError(f"LogMel is for sound at {self.rate} Hz, these data have {rate_of(data)}: set its rate")
        frames = n_frames(data.shape[0], self.hop)
        return data.replaced(shape=(self.bands, frames), low=math.log(LEAST), high=0.0)

    @torch.no_grad()
    def restore(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, *x.shape[-2:])
        frames, most = extent(flat), x.shape[-1] * self.hop - self.hop // 2
        sound = flat.new_zeros(len(flat), most)
        size = (frames.clamp(min=1) + STEP - 1) // STEP * STEP  # so that a clip's sound depends on no other's length
        for n in size.unique().tolist():
            for rows in (size == n).nonzero()[:, 0].split(max(1, AT_ONCE // (self.window * n))):
                part = flat[rows, :, :n]
                part = self._sound(F.pad(part, (0, n - part.shape[-1])))[:, :most]
                sound[rows, : part.shape[-1]] = part
        return sound.view(*x.shape[:-2], -1)

    def _sound(self, y: Tensor) -> Tensor:
        frames, there = extent(y), y.shape[-1]
        samples = (frames * self.hop - self.hop // 2).clamp(min=1)  # a clip of as many frames, in the middle
        bands = y.exp() * within(frames, there) * (self.window / 2)
        sound = griffin_lim(
            from_mel(bands, self.rate, self.window),
            self.window,
            self.hop,
            there * self.hop - self.hop // 2,
            self.rounds,
        )
        return ended(sound, samples)

    @property
    def label(self) -> str:
        ms = 1000 / self.rate
        return f"log-mel frames ({self.bands} bands, {self.window * ms:g} ms every {self.hop * ms:g} ms)"


class Excerpt(View):
    """In training a part of each clip, wherever in it, of at most so many seconds; otherwise the whole.

    Args:
        seconds: at most.
        rate: of the sound in Hz.

    Example:
        >>> Excerpt(0.1, 8000)(torch.randn(2, 900)).shape
        torch.Size([2, 800])
    """

    def __init__(self, seconds: float, rate: int) -> None:
        super().__init__()
        if not seconds * rate >= 1:
            raise InputError(f"Excerpt was given seconds={seconds} of rate={rate}: expected at least a sample")
        self.seconds, self.rate = seconds, rate

    def forward(self, x: Tensor) -> Tensor:
        samples = round(self.seconds * self.rate)
        if not self.training or x.shape[-1] <= samples:
            return x
        n = extent(x[:, None])
        room = (n - samples).clamp(min=0)
        first = (noise.uniform((len(x),), x.device) * (room + 1)).long()
        at = first[:, None] + torch.arange(samples, device=x.device)
        return ended(x.gather(1, at), n.clamp(max=samples))

    def spec(self, data: DataSpec) -> DataSpec:
        return data

    def restore(self, x: Tensor) -> Tensor:
        return x


class Varied(View):
    r"""In training each clip at another pace and level, so that voices and loudness are more than those of the data:

    .. math:: y_t = a \sum_k w(t v - k)\, x_k, \quad v = V^u, \quad a = 10^{L u' / 20}

    with u, u' uniform on (-1, 1) for each clip and w a sinc within a Hann window. Pitch and formants go with the pace.
    Otherwise clips are as they are.

    Args:
        pace: V, at least 1.
        decibels: L.

    Example:
        >>> x = Varied(1.1, 6.0)(torch.randn(2, 900))
        >>> x.shape, (extent(x[:, None]) > 800).all().item()
        (torch.Size([2, 990]), True)
    """

    def __init__(self, pace: float = 1.15, decibels: float = 6.0) -> None:
        super().__init__()
        if not (pace >= 1 and decibels >= 0):
            raise InputError(f"Varied was given pace={pace}, decibels={decibels}: expected at least 1 and 0")
        self.pace, self.decibels = pace, decibels

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        first, second = (2 * noise.uniform((len(x), 1), x.device) - 1 for _ in range(2))
        pace, level = self.pace**first, 10 ** (self.decibels / 20 * second)
        n = (extent(x[:, None])[:, None] / pace).floor().clamp(min=1)
        place = torch.arange(math.ceil(round(x.shape[-1] * self.pace, 6)), device=x.device) * pace
        begin, made = place.floor(), torch.zeros_like(place)
        padded = F.pad(x, (TAPS, TAPS + made.shape[-1]))
        for k in range(1 - TAPS, TAPS + 1):
            away = place - begin - k
            weight = torch.sinc(away) * (math.pi / 2 / TAPS * away).cos().square()
            made += weight * padded.gather(1, (begin.long() + (k + TAPS)).clamp(max=padded.shape[-1] - 1))
        return ended(level * made, n[:, 0].long())

    def spec(self, data: DataSpec) -> DataSpec:
        return data

    def restore(self, x: Tensor) -> Tensor:
        return x
