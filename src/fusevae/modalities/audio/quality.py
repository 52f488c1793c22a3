"""What is heard of sound: distances of spectra, and features that judge clips."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.core.vocabulary import joined
from fusevae.data.examples import Examples
from fusevae.evaluation.blocks import BLOCK, as_examples
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.results import RECONSTRUCTIONS, Result, figure
from fusevae.modalities.audio.schema import rate_of
from fusevae.modalities.audio.views import LogMel
from fusevae.nets.sequence_encoder import shares
from fusevae.nets.spectral import stft

NEPER = 20 / math.log(10)  # dB of a factor e
WINDOWS = (0.128, 0.064, 0.032, 0.016)  # seconds
PARTS, BROAD = 3, 10  # parts of a clip, in each of which its spectrum is averaged, and bands of these averages


class SoundReconstruction(Result):
    """How near clips are to themselves after encoding and decoding.

    Attributes:
        n: clips.
        kind: whether means of p(x | z) or samples were compared.
        mel: mean absolute difference of log-mel bands in dB, over the frames of the longer of both.
        spectral: the multi-resolution distance :func:`spectral_distance`.
        seconds: mean absolute difference of the lengths.
    """

    section = RECONSTRUCTIONS
    n: int = figure("reconstructed", form=lambda n: f"{n:,} clips")
    kind: str = figure("reconstructed as")
    mel: float = figure("log-mel distance", "dB", "low", form=".2f")
    spectral: float = figure("spectral distance", better="low", form=".3f", hint="log magnitudes, 4 windows")
    seconds: float = figure("difference of lengths", "s", "low", form=".3f")


def usual_view(rate: int, rounds: int = 32) -> LogMel:
    """Log-mel frames as usual for a rate: windows of about 32 ms, a quarter of that apart; bands by the rate.

    Example:
        >>> view = usual_view(8000)
        >>> view.window, view.hop, view.bands
        (256, 64, 40)
    """
    window = max(16, 2 ** round(math.log2(0.032 * rate)))
    return LogMel(
        rate, window, window // 4, min(window // 4, 40 if rate <= 8000 else 64 if rate <= 16000 else 80), rounds
    )


def mel_distance(x: Tensor, y: Tensor, rate: int) -> Tensor:
    """Mean absolute difference of the log-mel bands of pairs of clips ``(n, samples)`` in dB, ``(n,)``, over the frames
    of the longer one; what is missing of the other is silence, and nothing counts that lies 80 dB below full scale."""
    view = usual_view(rate)
    a, b = (view(clip) for clip in joined([x, y]).split(len(x)))
    n = torch.maximum(extent(a), extent(b))
    floor = math.log(1e-4)
    a, b = (torch.where((clip != 0).any(-2, keepdim=True), clip, floor).clamp(min=floor) for clip in (a, b))
    each = (a - b).abs().mean(-2, keepdim=True) * within(n, a.shape[-1])
    return NEPER * each.flatten(1).sum(1) / n.clamp(min=1)


def spectral_distance(x: Tensor, y: Tensor, rate: int) -> Tensor:
    r"""The multi-resolution distance of pairs of clips ``(n, samples)``, ``(n,)``:

    .. math:: \frac{1}{R} \sum_r \frac{\lVert\, |X_r| - |Y_r| \,\rVert}{\lVert X_r \rVert}
        + \overline{\lvert \log |X_r| - \log |Y_r| \rvert}

    of magnitudes at windows of 128 to 16 ms, a quarter apart, what is less than 1e-4 of a sine at full scale apart
    (Yamamoto et al. 2020)."""
    a, b = joined([x, y]).split(len(x))
    samples = torch.maximum(extent(a[:, None]), extent(b[:, None]))
    total = torch.zeros(len(x))
    for seconds in WINDOWS:
        window = max(8, 2 ** round(math.log2(seconds * rate)))
        first, second = (stft(clip, window, window // 4).abs() * (4 / window) for clip in (a, b))
        mask = within(samples // (window // 4) + 1, first.shape[-1])
        apart = ((first - second) * mask).flatten(1).norm(dim=1) / (first * mask).flatten(1).norm(dim=1).clamp(min=1e-6)
        logs = (first.clamp(min=1e-4).log() - second.clamp(min=1e-4).log()).abs().mean(-2, keepdim=True) * mask
        total += apart + logs.flatten(1).sum(1) / mask.flatten(1).sum(1).clamp(min=1)
    return total / len(WINDOWS)


def detail_of_sound(x: Tensor, rate: int) -> Tensor:
    """The mean square difference of neighbouring bands and frames of the log-mel frames of clips ``(n, samples)``,
    ``(n,)``; what lies 80 dB below full scale is silence."""
    found = []
    for part in x.split(BLOCK):
        y = usual_view(rate)(part)
        n = extent(y)
        y = y.clamp(min=math.log(1e-4))
        there = within(n, y.shape[-1])
        across, along = (y.diff(dim=-2) * there).square(), (y.diff(dim=-1) * there[..., 1:]).square()
        found.append((across.mean(-2).sum(-1) + along.mean(-2).sum(-1)) / n.clamp(min=1))
    return torch.cat(found).double()


def treble(x: Tensor, rate: int) -> Tensor:
    """Decibels by which the upper three quarters of the mel bands of clips ``(n, samples)`` lie above the lowest
    quarter, ``(n,)``: means over the bands of the long-term average spectrum, the mean power over the frames, in which
    silence and pauses don't count. A muffled clip has little, whatever band it lacks."""
    found = []
    for part in x.split(BLOCK):
        y = usual_view(rate)(part)
        n = extent(y)
        power = ((2 * y).exp() * within(n, y.shape[-1])).sum(-1) / n[:, None].clamp(min=1)
        level = NEPER / 2 * power.clamp(min=1e-8).log()
        low, *high = level.tensor_split(4, -1)
        found.append(torch.cat(high, -1).mean(-1) - low.mean(-1))
    return torch.cat(found).double()


def sound_reconstruction(artifact: Artifact, data: Examples, seed: int = 0) -> SoundReconstruction:
    """How near clips are to themselves after encoding and decoding."""
    examples, rate = as_examples(artifact, data), rate_of(artifact.data)
    if not len(examples):
        raise InputError("there are no examples to reconstruct: give data with at least one")
    again = reconstruct(artifact, examples, seed=seed)
    found: list[Tensor] = []
    indices = torch.arange(len(examples)).split(BLOCK)
    for index, (x, _) in zip(indices, examples.batches(iter(indices)), strict=True):
        y = again[index]
        lengths = (extent(x[:, None]) - extent(y[:, None])).abs() / rate
        found.append(torch.stack([mel_distance(x, y, rate), spectral_distance(x, y, rate), lengths]))
    mel, spectral, seconds = torch.cat(found, 1).double().mean(1).tolist()
    kind = "mean" if artifact.distribution.has_mean else "sample"
    return SoundReconstruction(n=len(examples), kind=kind, mel=mel, spectral=spectral, seconds=seconds)


class Statistics(nn.Module):
    """Features of clips without a training: means of ten broad log-mel bands in each third, their deviations, and the
    logarithm of the length; each with mean 0 and variance 1 over training examples.

    Args:
        train: the training examples.
    """

    about = "statistics of log-mel bands"
    mean: Tensor
    scale: Tensor

    def __init__(self, train: Examples) -> None:
        super().__init__()
        self.view = usual_view(rate_of(train.spec))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        indices = train.evenly(2000).split(BLOCK)
        x = torch.cat([self.features(x) for x, _ in train.batches(iter(indices))])
        self.mean, self.scale = x.mean(0), x.std(0, correction=0).clamp(min=1e-3)

    def features(self, x: Tensor) -> Tensor:
        """``(n, features)`` of clips ``(n, samples)``."""
        y = self.view(x)
        n = extent(y)
        y = F.adaptive_avg_pool1d(y.transpose(1, 2), BROAD).transpose(1, 2)
        there = within(n, y.shape[-1])
        parts = (shares(there[:, 0] > 0, PARTS) @ y.transpose(1, 2)).flatten(1)
        mean = y.sum(-1, keepdim=True) / n[:, None, None]
        deviation = (((y - mean) * there).square().sum(-1) / n[:, None]).sqrt()
        return (torch.cat([parts, deviation, n[:, None].float().log()], 1) - self.mean) / self.scale
