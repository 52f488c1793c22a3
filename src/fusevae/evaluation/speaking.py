"""Texts said by a model, and the alignment that it has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.frames import extent
from fusevae.core.speaking import Speaking, speaking
from fusevae.data.examples import Examples
from fusevae.data.sheet import Picture, Sheet
from fusevae.distributions.aligned import Aligned
from fusevae.evaluation.pictures import ORANGE, axes_of
from fusevae.evaluation.samples import sample
from fusevae.models.preprocessed import inside
from fusevae.nets.spectral import stft

SHOWN = 4  # alignments of a picture


def speak(
    artifact: Artifact,
    texts: str | Sequence[str],
    label: Mapping[str, Any] | None = None,
    rate: float = 1.0,
    temperature: float = 0.5,
    seed: int = 0,
) -> Tensor:
    """Texts said by a model: clips ``(n, samples)`` in units of full scale, a row a text.

    Args:
        artifact: a model with a prior that is aligned to a text (the recipe text-to-speech or text-to-waveform).
        texts: of characters that the model knows.
        label: what else is known, by name: ``{"speaker": "george"}``; what is left out is unknown.
        rate: 2 is twice as fast.
        temperature: 0 says a text the same each time, 1 as various as the model has it.
        seed: the same seed gives the same sound.

    Raises :class:`InputError` for a model that says no texts, and for unknown characters.
    """
    aligned(artifact)
    said = [texts] if isinstance(texts, str) else list(texts)
    known = artifact.data.conditions
    assert known is not None and known.text is not None
    if not said:
        raise InputError("no text was given: expected one or more to be said")
    known.row({**(label or {}), known.text.name: said[0]})  # refuses classes without examples
    given = known.given({**(label or {}), known.text.name: said}, len(said))
    with speaking(Speaking(rate, temperature)):
        return sample(artifact, len(said), given, seed, "mean")


def aligned(artifact: Artifact) -> Aligned:
    """The part of a model that is aligned to a text, or :class:`InputError` where there is none."""
    found = next((part for part in artifact.distribution.modules() if isinstance(part, Aligned)), None)
    if found is None or artifact.data.conditions is None or artifact.data.conditions.text is None:
        raise InputError("this model says no texts: give the run of one that was trained by text-to-speech")
    return found


@torch.no_grad()
def alignments(artifact: Artifact, x: Tensor, label: Tensor) -> list[Tensor]:
    """Which character each frame belongs to ``(frames,)``, of raw examples ``(n, *shape)`` with their conditions, by a
    sample of the posterior, which the prior was trained on: its mean is nearer to every character with narrow moments
    than any sample is."""
    prior, device = aligned(artifact), next(artifact.distribution.parameters()).device
    artifact.eval()
    seen, model = inside(artifact.distribution, artifact.view(x.to(device)))
    q = model.encode(seen, label.to(device))
    with noise.preserved(device), noise.keyed("alignment", device=device):
        z = q["mean"] + q["scale"] * noise.normal(q["mean"].shape, device)
    latents: Any = model.latents
    u, _ = inside(latents.prior, z)  # a flow may stand before it
    paths = prior.forward(label.to(device)).align(u).cpu()
    return [path[:n] for path, n in zip(paths, (z != 0).any(1).sum(1).tolist(), strict=True)]


def draw_alignments(artifact: Artifact, examples: Examples) -> dict[str, Sheet]:
    """``alignment`` as a sheet: of some examples which character each frame belongs to, for a model that says texts."""
    if not any(isinstance(part, Aligned) for part in artifact.distribution.modules()) or not len(examples):
        return {}
    some, known = examples.spread(SHOWN), artifact.data.conditions
    x, label = some.batch(torch.arange(len(some)))
    assert known is not None and known.text is not None and label is not None
    device = next(artifact.distribution.parameters()).device
    seen, _ = inside(artifact.distribution, artifact.view(x.to(device)))
    figure, axes = axes_of(len(some), width=5.2, height=4.0, across=2)
    texts = known.values(label)[known.text.name].tolist()
    for axis, frames, path, text in zip(axes, seen.cpu(), alignments(artifact, x, label), texts, strict=True):
        n = len(path)
        shown = frames[:, :n] if frames.dim() == 2 else spectrum(frames)
        axis.imshow(shown, origin="lower", aspect="auto", cmap="magma", extent=(0, n, -0.5, len(text) - 0.5))
        axis.step(range(n + 1), [*path.tolist(), int(path[-1])], where="post", color=ORANGE, lw=1.8)
        axis.set_yticks(range(len(text)), [sign if sign != " " else "\u2423" for sign in text], fontsize=6)
        axis.set_xlabel("frame", fontsize=8)
    return {"alignment": Picture.of(figure)}


def spectrum(clip: Tensor) -> Tensor:
    """Log magnitudes ``(bins, frames)`` of a clip ``(samples,)`` up to its end, to look at."""
    clip = clip[: max(1, int(extent(clip[None])))]
    return (stft(clip[None], 256, 64)[0].abs() + 1e-3).log()


def monotone(path: Tensor) -> bool:
    """Whether a path begins at the first position and goes on by 0 or 1.

    Example:
        >>> monotone(torch.tensor([0, 0, 1])), monotone(torch.tensor([0, 2]))
        (True, False)
    """
    steps = path.diff()
    return int(path[0]) == 0 and bool(((steps == 0) | (steps == 1)).all())
