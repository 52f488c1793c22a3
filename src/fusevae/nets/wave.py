"""Nets between sound and a sequence of vectors: ConvNeXt blocks over frames of spectra, and back by an inverse STFT."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditional import flattened
from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.frames import ended, extent, within
from fusevae.nets.frames import ConvNeXt
from fusevae.nets.mlp import TOLD, Embedding
from fusevae.nets.spectral import istft, stft

LEAST = 1e-5  # magnitude, in units of full scale
CENTRE, SPREAD = -7.0, 3.0  # of log magnitudes, about
KERNEL = 7  # places that a block sees
LOUDEST = 7.0  # log magnitude of a frame of the head, at most


class Blocks(nn.Module):
    """ConvNeXt blocks over time, their dilations 1, 2, 4, 1, 2, ..., each told of a label."""

    def __init__(self, width: int, blocks: int, classes: int | Conditions) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvNeXt(width, blocks, KERNEL, dilation=2 ** (i % 3)) for i in range(blocks))
        self.label = Embedding(classes, width, TOLD) if classes else None

    @property
    def reach(self) -> int:
        """Places to either side that a place depends on."""
        return sum(2 ** (i % 3) * (KERNEL // 2) for i in range(len(self.blocks)))

    def forward(self, h: Tensor, n: Tensor, label: Tensor | None) -> Tensor:
        there = within(n, h.shape[-1]).to(h.dtype)
        given = self.label(label) if self.label is not None else None
        given = given if given is None or given.dim() == 2 else given.expand(len(h), -1)
        h = h * there
        for block in self.blocks:
            h = block(h, there, given)
        return h


class WaveEncoder(Described, nn.Module):
    r"""Sound to a sequence of vectors, one for every ``hop * stride`` samples begun: log magnitudes of a short-time
    Fourier transform, ConvNeXt blocks over its frames, every ``stride`` of them made one, more blocks.

    What a vector sees is limited, so windows of a long recording give what the whole would, away from their ends; no
    zeros after the end of a clip change anything.

    Args:
        outputs: numbers of a vector.
        window: samples of a frame of the transform.
        hop: samples from one to the next, at most a quarter of the window.
        stride: frames for each vector.
        width: channels.
        blocks: over frames, and over vectors.
        classes: number of labels, or :class:`Conditions`, if the net is given one.

    Example:
        >>> net = WaveEncoder(3, window=16, hop=4, stride=2, width=8, blocks=(1, 1))
        >>> net(torch.randn(2, 50)).shape
        torch.Size([2, 3, 7])
    """

    def __init__(
        self,
        outputs: int,
        window: int = 256,
        hop: int = 64,
        stride: int = 4,
        width: int = 128,
        blocks: tuple[int, int] = (2, 4),
        classes: int | Conditions = 0,
    ) -> None:
        super().__init__()
        check_frames(window, hop, stride)
        self.outputs, self.classes = (outputs,), classes
        self.window, self.hop, self.stride = window, hop, stride
        self.stem = nn.Conv1d(window // 2 + 1, width, 3, padding=1)
        self.fine, self.coarse = (Blocks(width, n, classes) for n in blocks)
        self.fold = nn.Conv1d(width, width, stride, stride=stride)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)

    @property
    def samples(self) -> int:
        """For each vector."""
        return self.hop * self.stride

    @property
    def reach(self) -> int:
        """Vectors to either side whose samples a vector depends on."""
        frames = self.fine.reach + 1 + self.window // (2 * self.hop)
        return self.coarse.reach + -(-frames // self.stride) + 1

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, outputs, vectors)`` for clips ``(*batch, samples)``; zeros after the end."""
        batch = x.shape[:-1]
        x, label = x.reshape(-1, x.shape[-1]), flattened(label, batch)
        x = F.pad(x, (0, -x.shape[-1] % self.samples))
        n = (extent(x[:, None]).clamp(min=1) + self.samples - 1) // self.samples
        with torch.autocast(x.device.type, enabled=False):
            magnitude = stft(x, self.window, self.hop)[..., :-1].abs() * (2 / self.window)
        h = (magnitude.clamp(min=LEAST).log() - CENTRE) / SPREAD * within(n * self.stride, magnitude.shape[-1])
        h = self.fold(self.fine(self.stem(h), n * self.stride, label))
        h = self.coarse(h, n, label)
        out = self.head(self.norm(h.transpose(1, 2))).transpose(1, 2) * within(n, h.shape[-1])
        return out.view(*batch, *out.shape[1:])


class WaveDecoder(Described, nn.Module):
    r"""A sequence of vectors to sound: ConvNeXt blocks over the vectors, ``stride`` frames made of each, more blocks,
    and for each frame the log magnitude and the phase of a spectrum, whose inverse short-time Fourier transform is the
    sound (as in Siuzdak 2023, Vocos).

    Args:
        inputs: numbers of a vector.
        window: samples of a frame of the transform.
        hop: samples from one to the next, at most a quarter of the window.
        stride: frames for each vector.
        width: channels.
        blocks: over vectors, and over frames.
        classes: number of labels, or :class:`Conditions`, if the net is given one.

    Example:
        >>> net = WaveDecoder(3, window=16, hop=4, stride=2, width=8, blocks=(1, 1))
        >>> net(torch.randn(2, 3, 7)).shape
        torch.Size([2, 56])
    """

    def __init__(
        self,
        inputs: int,
        window: int = 256,
        hop: int = 64,
        stride: int = 4,
        width: int = 128,
        blocks: tuple[int, int] = (4, 2),
        classes: int | Conditions = 0,
    ) -> None:
        super().__init__()
        check_frames(window, hop, stride)
        self.inputs, self.classes = (inputs,), classes
        self.window, self.hop, self.stride = window, hop, stride
        self.stem = nn.Conv1d(inputs, width, 3, padding=1)
        self.coarse, self.fine = (Blocks(width, n, classes) for n in blocks)
        self.unfold = nn.ConvTranspose1d(width, width, stride, stride=stride)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, window + 2)
        self.head.weight.data.mul_(0.5)

    @property
    def samples(self) -> int:
        """For each vector."""
        return self.hop * self.stride

    @property
    def reach(self) -> int:
        """Vectors to either side that the samples of a vector depend on."""
        frames = self.fine.reach + self.window // (2 * self.hop)
        return self.coarse.reach + 1 + -(-frames // self.stride) + 1

    def forward(self, z: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, vectors * hop * stride)`` for vectors ``(*batch, inputs, vectors)``; zeros after the end."""
        batch = z.shape[:-2]
        z, label = z.reshape(-1, *z.shape[-2:]), flattened(label, batch)
        n = extent(z).clamp(min=1)
        h = self.unfold(self.coarse(self.stem(z), n, label))
        h = self.fine(h, n * self.stride, label)
        x = self.sound(self.head(self.norm(h.transpose(1, 2))).transpose(1, 2), n * self.stride)
        return ended(x, n * self.samples).view(*batch, -1)

    def sound(self, h: Tensor, n: Tensor) -> Tensor:
        r"""The inverse transform of :math:`e^{m + i \varphi}`, ``(batch, frames * hop)``, for log magnitudes m and
        phases :math:`\varphi`, one after the other ``(batch, window + 2, frames)``, of ``n`` ``(batch,)`` frames."""
        with torch.autocast(h.device.type, enabled=False):
            logs, phase = h.float().chunk(2, 1)
            magnitude = logs.clamp(max=LOUDEST).exp()
            spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
            return istft(spectrum, self.window, self.hop, h.shape[-1] * self.hop, n)


def check_frames(window: int, hop: int, stride: int) -> None:
    """Refuse a transform that has no inverse."""
    if window < 4 or window % 4 or not 1 <= hop <= window // 4 or stride < 1:
        raise InputError(
            f"window={window}, hop={hop} and stride={stride} were given: expected a window that 4 divides, a hop of at "
            "most a quarter of it, and a stride of at least 1: 256, 64 and 4, say"
        )
