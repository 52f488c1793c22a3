"""Spectra of sound: the short-time Fourier transform and its inverse, mel bands, and phases found for magnitudes."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.core.frames import within

ROUNDS = 32  # of Griffin-Lim
MOMENTUM = 0.99
ALIKE = 0.01  # of the largest singular value: bands are the same below, and their difference says nothing


def n_frames(samples: int, hop: int) -> int:
    """Frames of so many samples: one every ``hop``, the first around the first sample."""
    return samples // hop + 1


@functools.cache
def _hann(window: int, device: torch.device) -> Tensor:
    return torch.hann_window(window, device=device)


def stft(x: Tensor, window: int, hop: int) -> Tensor:
    r"""Short-time Fourier transform :math:`X_{ft} = \sum_n x_{n + th}\, w_n\, e^{-2 \pi i f n / N}` with a Hann window
    of N samples around every h-th, beyond whose ends all is 0: a clip's own frames don't depend on zeros after it.

    Args:
        x: ``(*batch, samples)``.
        window: N, an even number.
        hop: h.

    Returns complex ``(*batch, N / 2 + 1, samples // h + 1)``.

    Example:
        >>> x = torch.randn(2, 500)
        >>> spectrum = stft(x, 64, 16)
        >>> spectrum.shape, torch.allclose(istft(spectrum, 64, 16, 500), x, atol=1e-5)
        (torch.Size([2, 33, 32]), True)
    """
    flat = F.pad(x.reshape(-1, x.shape[-1]), (window // 2, window // 2)).float()
    return torch.view_as_complex(_transform(flat, window, hop)).reshape(*x.shape[:-1], window // 2 + 1, -1)


def _transform(flat: Tensor, window: int, hop: int) -> Tensor:
    hann = _hann(window, flat.device)
    return torch.view_as_real(torch.stft(flat, window, hop, window=hann, center=False, return_complex=True))


def istft(spectrum: Tensor, window: int, hop: int, samples: int, n: Tensor | None = None) -> Tensor:
    r"""The inverse of :func:`stft`: overlapping frames are added and divided by the sum of the squared windows. What
    :func:`stft` gave comes back as it was, for any hop of at most a quarter of the window.

    Args:
        spectrum: complex ``(*batch, window / 2 + 1, frames)``.
        window: as of :func:`stft`.
        hop: the same.
        samples: of the result, at most ``frames * hop``.
        n: how many of the frames each spectrum has ``(*batch,)``, where they are not all: those after are none.

    Returns ``(*batch, samples)``. Source: Griffin & Lim 1984.
    """
    hann, frames = _hann(window, spectrum.device), spectrum.shape[-1]
    flat = spectrum.reshape(-1, *spectrum.shape[-2:])
    there = spectrum.real.new_ones(1, 1, frames) if n is None else within(n.reshape(-1), frames)
    pieces = torch.fft.irfft(flat, n=window, dim=1) * hann[:, None] * there
    size = (1, (frames - 1) * hop + window)
    added = F.fold(pieces, size, (1, window), stride=(1, hop))[:, 0, 0]
    weight = F.fold(hann.square()[:, None] * there, size, (1, window), stride=(1, hop))[:, 0, 0]
    found = (added / weight.clamp(min=1e-8))[:, window // 2 : window // 2 + samples]
    return F.pad(found, (0, samples - found.shape[-1])).reshape(*spectrum.shape[:-2], samples)


def mel(hz: float) -> float:
    """The mel scale, in which equal steps sound equal: :math:`2595 \\log_{10}(1 + f / 700)` (O'Shaughnessy 1987).

    Example:
        >>> round(mel(1000.0))
        1000
    """
    return 2595 * math.log10(1 + hz / 700)


@functools.cache
def mel_filters(rate: int, window: int, bands: int) -> Tensor:
    """Weights ``(bands, window / 2 + 1)`` of triangular bands, evenly spaced on the mel scale from 0 Hz to half the
    rate; each is as high as makes the weights of a band sum to 1. A band narrower than the spectrum's bins is that of
    the nearest one.

    Example:
        >>> filters = mel_filters(8000, 256, 40)
        >>> filters.shape, torch.allclose(filters.sum(1), torch.ones(40))
        (torch.Size([40, 129]), True)
    """
    bins = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
    edges = 700 * (10 ** (torch.linspace(0, mel(rate / 2), bands + 2, dtype=torch.float64) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    found = torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp(min=0)
    nearest = F.one_hot((bins - middle).abs().argmin(1), len(bins))
    found = torch.where(found.sum(1, keepdim=True) > 0, found, nearest)
    return (found / found.sum(1, keepdim=True)).float()


@functools.cache
def _back_from_mel(rate: int, window: int, bands: int) -> Tensor:
    return torch.linalg.pinv(mel_filters(rate, window, bands).double(), rtol=ALIKE).float()


def from_mel(bands: Tensor, rate: int, window: int) -> Tensor:
    """Magnitudes ``(*batch, window / 2 + 1, frames)`` whose mel bands are near ``(*batch, bands, frames)``: the
    least-squares solution, what is below 0 set to 0. What lies within a band can't be known from it; nor is anything
    made of how bands differ that see the same bins, as the lowest do where they are narrower than a bin (of 80 bands,
    windows of 512 and 22,050 Hz the pseudoinverse has numbers of 2e5)."""
    return (_back_from_mel(rate, window, bands.shape[-2]).to(bands) @ bands).clamp(min=0)


def griffin_lim(magnitude: Tensor, window: int, hop: int, samples: int, rounds: int = ROUNDS) -> Tensor:
    """Sound whose spectrum has about these magnitudes, its phases found by going between spectrum and samples (Griffin
    & Lim 1984), with momentum (Perraudin et al. 2013). It starts at phases that are fixed, so the same magnitudes give
    the same sound.

    Args:
        magnitude: ``(*batch, window / 2 + 1, frames)``.
        window: as of :func:`stft`.
        hop: the same.
        samples: of the result.
        rounds: how often.

    Returns ``(*batch, samples)``.
    """
    bins, frames = magnitude.shape[-2:]
    turn = torch.rand(frames, bins, generator=torch.Generator().manual_seed(0)).T.to(magnitude)  # whatever follows
    phase = torch.polar(torch.ones_like(turn), 2 * math.pi * turn)
    before = torch.zeros((), dtype=phase.dtype, device=phase.device)
    for _ in range(rounds):
        again = stft(istft(magnitude * phase, window, hop, samples), window, hop)[..., :frames]
        again = F.pad(again, (0, frames - again.shape[-1]))
        moved = again - MOMENTUM / (1 + MOMENTUM) * before
        phase, before = moved / moved.abs().clamp(min=1e-12), again
    return istft(magnitude * phase, window, hop, samples)
