"""Files of sound to codes and back, of any length, by windows that overlap."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.frames import ended
from fusevae.data.array_files import load_arrays, npz_headers
from fusevae.data.rows import write_columns
from fusevae.modalities.audio.decode import CANCELLED, PEAK, RATES, missing, soundfile, undecodable
from fusevae.modalities.audio.schema import rate_of
from fusevae.models.coded import Coded
from fusevae.models.measured import Measured
from fusevae.nets.wave import WaveDecoder, WaveEncoder

SECONDS = 10.0  # of a window, without what it overlaps
BLOCK = 2**16  # samples that are read at once
ARRAYS = ("bits", "shape", "samples", "rate", "levels", "model")
logger = logging.getLogger("fusevae")
FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}


class Codec:
    """The codec inside an artifact: its nets and their sizes.

    Args:
        artifact: of the recipe ``speech-codec``, or one like it.
    """

    def __init__(self, artifact: Artifact) -> None:
        model = artifact.distribution
        assert isinstance(model, Measured) and isinstance(model.latents, Coded)
        encoder, decoder = model.latents.encoder, model.decoder.net
        assert isinstance(encoder, WaveEncoder) and isinstance(decoder, WaveDecoder)
        self.encoder, self.decoder, self.quantizer = encoder, decoder, model.latents.quantizer
        self.rate, self.samples = rate_of(artifact.data), encoder.samples
        self.stages = len(self.quantizer.stages)
        self.device = next(model.parameters()).device
        weights = [stage.codebook.cpu().numpy().tobytes() for stage in self.quantizer.stages]  # type: ignore[operator]
        self.name = hashlib.sha256(b"".join(weights)).hexdigest()[:16]

    @property
    def at_once(self) -> int:
        """Places of a window."""
        return max(1, round(SECONDS * self.rate / self.samples))

    @torch.no_grad()
    def codes(self, blocks: Iterator[Tensor], stages: int) -> tuple[Tensor, int]:
        """The codes ``(stages, places)`` of a recording in blocks of samples, and how many samples it has. In memory
        lie a window and the codes."""
        overlap = self.encoder.reach * self.samples
        step, found = self.at_once * self.samples, []
        held, behind, total = torch.zeros(0), 0, 0  # `behind` of the held samples are done
        for block in blocks:
            held, total = torch.cat([held, block]), total + len(block)
            while len(held) >= behind + step + overlap:
                found.append(self._window(held[: behind + step + overlap], behind, step)[:stages])
                drop = max(0, behind + step - overlap)
                held, behind = held[drop:], behind + step - drop
        if len(held) > behind:
            found.append(self._window(held, behind, len(held) - behind)[:stages])
        return torch.cat(found, 1), total

    def _window(self, x: Tensor, behind: int, step: int) -> Tensor:
        x = ended(x, torch.tensor(len(x)))[None].to(self.device)  # silence at its end is there, too
        found = self.quantizer(self.encoder(x)).codes[0].cpu()
        first, places = behind // self.samples, -(-step // self.samples)
        return found[:, first : first + places].to(torch.int16)

    @torch.no_grad()
    def sound(self, codes: Tensor, samples: int) -> Iterator[Tensor]:
        """The recording that codes ``(stages, places)`` stand for, in parts of samples."""
        overlap, places = self.decoder.reach, codes.shape[1]
        for first in range(0, places, self.at_once):
            last = min(first + self.at_once, places)
            start = max(0, first - overlap)
            part = codes[:, start : min(places, last + overlap)].long()[None].to(self.device)
            x = self.decoder(self.quantizer.lookup(part))[0].cpu()
            x = x[(first - start) * self.samples : (last - start) * self.samples]
            yield x[: max(0, samples - first * self.samples)]


def codec_of(artifact: Artifact) -> Codec | None:
    """The codec in an artifact, if there is one."""
    model = artifact.distribution
    if not (isinstance(model, Measured) and isinstance(model.latents, Coded)):
        return None
    fits = isinstance(model.latents.encoder, WaveEncoder) and isinstance(model.decoder.net, WaveDecoder)
    return Codec(artifact) if fits else None


def compress(artifact: Artifact, path: Path, output: Path, stages: int | None = None) -> dict[str, Any]:
    r"""Write the codes of a file of sound to an ``.npz``: their bits one after the other, :math:`\lceil Q m \log_2 K /
    8 \rceil` bytes for Q codebooks of K codes at m places, and what it takes to read them."""
    codec = codec_of(artifact)
    assert codec is not None
    stages = codec.stages if stages is None else stages
    if not 1 <= stages <= codec.stages:
        raise InputError(f"{stages} codebooks were asked for: this codec has 1 to {codec.stages}")
    codes, samples = codec.codes(_read(path, codec.rate), stages)
    columns = {
        "bits": packed(codes, codec.quantizer.bits),
        "shape": np.array(codes.shape),
        "samples": np.array(samples),
        "rate": np.array(codec.rate),
        "levels": np.array(codec.quantizer.levels),
        "model": np.array(codec.name),
    }
    write_columns(columns, output)
    seconds = samples / codec.rate
    bits = 8 * len(columns["bits"])
    return {"n": 1, "data": str(path), "seconds": seconds, "codebooks": stages, "bits_per_second": bits / seconds}


def decompress(artifact: Artifact, path: Path, output: Path) -> dict[str, Any]:
    """Write the sound that a file of :func:`compress` stands for."""
    codec = codec_of(artifact)
    assert codec is not None
    if path.suffix.lower() != ".npz" or not path.is_file():
        raise InputError(f"{path} is no file of codes: give a .npz that fusevae encode wrote")
    headers = npz_headers(path)
    if set(ARRAYS) - set(headers):
        raise InputError(f"{path} holds {', '.join(headers)}: expected the codes of a recording, from fusevae encode")
    codes, samples = _checked(load_arrays(path, list(ARRAYS), headers), path, codec)
    kind = FORMATS[output.suffix.lower()]
    with soundfile().SoundFile(
        str(output), "w", samplerate=codec.rate, channels=1, format=kind[0], subtype=kind[1]
    ) as file:
        for part in codec.sound(codes, samples):
            file.write(part.clamp(-1, 1 - 2**-15).numpy())
    return {"n": 1, "data": str(path), "seconds": samples / codec.rate}


def packed(codes: Tensor, bits: int) -> np.ndarray:
    """Codes of so many bits each, one after the other, in bytes.

    Example:
        >>> packed(torch.tensor([[1, 3]]), 2).tolist()  # 01 11 and four zeros
        [112]
    """
    places = 2 ** torch.arange(bits - 1, -1, -1)
    flags = (codes.reshape(-1, 1).int() & places) > 0
    return np.packbits(flags.numpy().astype(bool))


def unpacked(data: np.ndarray, shape: tuple[int, int], bits: int) -> Tensor:
    """What :func:`packed` was given.

    Example:
        >>> unpacked(np.array([112], np.uint8), (1, 2), 2)
        tensor([[1, 3]], dtype=torch.int16)
    """
    flags = torch.from_numpy(np.unpackbits(data, count=shape[0] * shape[1] * bits)).view(-1, bits)
    return (flags.short() * 2 ** torch.arange(bits - 1, -1, -1).short()).sum(1, dtype=torch.int16).view(shape)


def _checked(arrays: dict[str, np.ndarray], path: Path, codec: Codec) -> tuple[Tensor, int]:
    if str(arrays["model"]) != codec.name:
        raise InputError(f"{path} holds codes of another codec ({arrays['model']}): give the run that made them")
    if arrays["shape"].shape != (2,) or arrays["samples"].shape != ():
        raise InputError(f"{path} is damaged: it doesn't say how many codes it has; encode the recording again")
    if arrays["shape"].dtype.kind not in "iu" or arrays["samples"].dtype.kind not in "iu":
        raise InputError(f"{path} is damaged: its numbers are no whole ones; encode the recording again")
    stages, places = (int(n) for n in arrays["shape"])
    samples, bits = int(arrays["samples"]), codec.quantizer.bits
    whole = -(-stages * places * bits // 8)
    fits = 1 <= stages <= codec.stages and -(-samples // codec.samples) == places and places > 0
    if not fits or arrays["bits"].dtype != np.uint8 or arrays["bits"].shape != (whole,):
        raise InputError(f"{path} is damaged: its codes are not as many as it says; encode the recording again")
    return unpacked(arrays["bits"], (stages, places), bits), samples


def _read(path: Path, rate: int) -> Iterator[Tensor]:
    """The samples of a file in blocks, of one channel, at a rate in Hz; what is done to them is said."""
    package = soundfile()
    import soxr

    try:
        file = package.SoundFile(str(path))
    except Exception as error:  # libsndfile raises whatever its decoders do
        raise InputError(f"{path} {undecodable(error, path)}: give a file of sound") from None
    if path.stat().st_size < 2**28 and (lost := missing(path)):
        raise InputError(f"{path} is cut off ({lost}): mend it")
    with file:
        own, channels, power, count = file.samplerate, file.channels, np.zeros(2), 0
        if not RATES[0] <= own <= RATES[1]:
            raise InputError(f"{path} says that it has {own:,} samples a second, as no sound has: mend it")
        if own != rate:
            logger.warning("%s is resampled from %s to %s Hz", path, f"{own:,}", f"{rate:,}")
        if channels > 1:
            logger.warning("%s: its %d channels are mixed down to one", path, channels)
        stream = None if own == rate else soxr.ResampleStream(own, rate, 1, dtype="float32")
        while len(block := _block(file, path)):
            if not np.isfinite(block).all() or np.abs(block).max() > PEAK:
                raise InputError(f"{path} holds samples that are NaN or far beyond full scale: mend it")
            x, count = block.mean(1), count + len(block)
            power += np.square(x, dtype=np.float64).sum(), np.square(block, dtype=np.float64).mean(1).sum()
            yield torch.from_numpy(np.ascontiguousarray(x if stream is None else stream.resample_chunk(x)))
        if not count:
            raise InputError(f"{path} holds no sound: give a file with some")
        if count < file.frames:
            raise InputError(f"{path} is cut off ({count / own:.2f} of {file.frames / own:.2f} s): mend it")
        if power[0] < CANCELLED * power[1]:
            raise InputError(f"{path} has {channels} channels that cancel out when they are mixed to one: turn one")
        if not power[1]:
            logger.warning("%s is silent: every sample is 0", path)
        if stream is not None:
            rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
            yield torch.from_numpy(np.ascontiguousarray(rest))


def _block(file: Any, path: Path) -> np.ndarray:
    try:
        found: np.ndarray = file.read(BLOCK, dtype="float32", always_2d=True)
    except Exception as error:
        raise InputError(f"{path} {undecodable(error, path)}: mend it") from None
    return found
