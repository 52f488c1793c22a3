"""Reading the latents: what a latent, one of its dimensions, and the way between two of them mean for the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.generation import GREEDY, Generation, generating
from fusevae.core.typed import Count
from fusevae.core.vocabulary import joined
from fusevae.data.examples import Examples
from fusevae.distributions.aligned import Aligned
from fusevae.evaluation.blocks import BLOCK, as_examples, blocks
from fusevae.evaluation.paths import Latents, Path, sweep, way
from fusevae.evaluation.samples import Label, conditions, sample
from fusevae.models.flat import of_frames

OWN = 1000  # samples of the model that stand for data where none are given
DIMS = 10  # dimensions that a traversal shows


class Traversal(NamedTuple):
    """Examples ``x`` ``(dims, steps, *shape)``, a row for each of the dimensions ``dims`` ``(dims,)`` of the flattened
    latent, and the ``values`` ``(dims, steps)`` that the dimension took."""

    x: Tensor
    dims: Tensor
    values: Tensor


def read(artifact: Artifact, data: Any, label: Label = None, seed: int = 0) -> Latents:
    """Encode examples in one pass: the first array of :func:`fusevae.encode` (the posterior's mean; a draw where it has
    none), its scale, and the labels.

    Args:
        artifact: a model with latents that are real numbers.
        data: raw examples: an array or tensor ``(n, *shape)``, a path, or a data set.
        label: one class for all of an array or one for each, by name or number, where the model is conditional.
        seed: of the view (binarization), and of the draw.

    Raises :class:`InputError` where the model has no latents, or only codes.
    """
    check_latents(artifact)
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    found: list[tuple[Tensor, ...]] = []
    labels: list[Tensor] = []
    given = _conditions(artifact, label, data)
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, as_examples(artifact, data, given), seed, device):
            with noise.keyed(seed, "encode", block.number, device=device):
                arrays = model.encode(block.x, block.label)
            z = next(iter(arrays.values())).cpu()
            if not z.is_floating_point():
                raise InputError("the latents are codes, and there is no way between two: take a model with real ones")
            found.append((z, arrays["scale"].cpu()) if "scale" in arrays else (z,))
            if block.label is not None:
                labels.append(block.label.cpu())
    if not found:
        raise InputError("there are no examples to encode: give data with at least one")
    z, *scale = (joined(parts) for parts in zip(*found, strict=True))  # sequences may differ in length
    return Latents(z, scale[0] if scale else None, torch.cat(labels) if labels else None)


def decode(
    artifact: Artifact, z: Tensor | np.ndarray, label: Label = None, seed: int = 0, generation: Generation = GREEDY
) -> Tensor:
    """Examples ``(n, *shape)`` in the data's units for latents ``(n, *latent)`` like the first array of
    :func:`fusevae.encode`: the mean of p(x | z); a draw from it where it has no mean; of text the likeliest tokens, one
    after the other.

    Of the means that :func:`fusevae.encode` gives, it makes what :func:`fusevae.reconstruct` makes of the examples.

    Args:
        artifact: a model with latents.
        z: latents; of a sequence of them any number.
        label: one class for all or one for each, by name or number, where the model is conditional.
        seed: of the draw.
        generation: how text is written.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), decoder=Gaussian(MLP(2, 8)))
        >>> decode(Artifact(vae, DataSpec((4,))), torch.zeros(3, 2)).shape
        torch.Size([3, 4])
    """
    check_latents(artifact)
    one = one_latent(artifact)
    z, shape = torch.as_tensor(z).to(one.dtype), list(one.shape[1:])
    frames = z.dim() == one.dim() and any(map(of_frames, artifact.distribution.modules()))
    if frames:  # of any number
        shape[-1] = max(1, z.shape[-1])
    if list(z.shape[1:]) != shape or not len(z):
        expected = [*map(str, shape[:-1]), "frames" if frames else str(shape[-1])]
        raise InputError(f"latents of shape {tuple(z.shape)} were given, expected (n, {', '.join(expected)})")
    return decoded(artifact, z, _conditions(artifact, label, z), seed, generation)


def decoded(artifact: Artifact, z: Tensor, label: Tensor | None, seed: int, generation: Generation = GREEDY) -> Tensor:
    """What :func:`decode` returns, for classes given by their numbers ``(n,)`` as :func:`read` gives them."""
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    each = [None] * len(z) if label is None else label.split(BLOCK)
    found = []
    how = artifact.data.schema.writing(generation)
    with torch.no_grad(), noise.preserved(device), generating(how):
        artifact.eval()
        for i, part in enumerate(z.split(BLOCK)):
            condition = each[i]
            with noise.keyed(seed, "reconstruct", i, device=device):
                p = model.decode(part.to(device), condition if condition is None else condition.to(device))
                found.append(artifact.restore(p.mean if model.has_mean else noise.sample(p)).cpu())
    return joined(found)


def traverse(
    artifact: Artifact,
    data: Any = None,
    label: Label = None,
    example: int = 0,
    dims: int | Sequence[int] = DIMS,
    steps: Count = 7,
    reach: float = 0.95,
    seed: int = 0,
) -> Traversal:
    r"""One dimension of the latent at a time through quantiles of the aggregate posterior
    :math:`q(z_d) = \frac1n \sum_i q(z_d | x_i)`, the others held as one example has them.

    Args:
        artifact: a model with latents.
        data: raw examples that q(z) is over; None takes samples of the model itself, and q(z) is then near the prior.
        label: their classes, where the model is conditional (one for all, or one for each).
        example: which of the examples the other dimensions are of; its class is decoded with.
        dims: which dimensions of the flattened latent; a number takes so many of the most active ones, those whose
            posterior means vary most, in that order.
        steps: quantiles, evenly spaced.
        reach: probability between the first and the last of them: 0.95 goes from 2.5 % to 97.5 %.
        seed: of the view and of the draws.

    Where :func:`fusevae.encode` gives no scale of q(z | x), the quantiles are of its first array alone.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(3), Gaussian(MLP(4, 6))), decoder=Gaussian(MLP(3, 8)))
        >>> found = traverse(Artifact(vae, DataSpec((4,))), torch.randn(20, 4), dims=2)
        >>> found.x.shape, found.values.shape
        (torch.Size([2, 7, 4]), torch.Size([2, 7]))
    """
    check_latents(artifact)
    if data is None:
        data = sample(artifact, OWN, label if isinstance(label, int | str | Mapping) else None, seed, "sample")
    found = read(artifact, data, label, seed)
    z, values, chosen = sweep(found, example, dims, steps, reach, seed)
    own = None if found.label is None else found.label[[example] * values.numel()]
    x = decoded(artifact, z.flatten(0, 1), own, seed)
    return Traversal(x.unflatten(0, values.shape), chosen, values)


def interpolate(
    artifact: Artifact, a: Any, b: Any, steps: Count = 7, path: Path = "spherical", label: Label = None, seed: int = 0
) -> Tensor:
    """Examples on the way from each of ``a`` to that of ``b`` in latent space, ``(n, steps, *shape)`` in the data's
    units; the first and the last of each are what :func:`fusevae.reconstruct` makes of the two.

    Args:
        artifact: a model with latents.
        a: raw examples: an array or tensor ``(n, *shape)``, a path, or a data set.
        b: as many.
        steps: examples on the way, both ends included.
        path: ``"linear"``, or ``"spherical"`` (Shoemake 1985, White 2016), which keeps the norm of two that have the
            same: the straight line comes nearer to the origin, where a Gaussian prior of many dimensions has no mass.
        label: where the model is conditional, the class of each pair (one for all, or one for each).
        seed: of the view, and of the draws of a model without a mean.

    Raises :class:`InputError` where the model is conditional and the two of a pair have different labels.

    Example:
        >>> from fusevae import MLP, VAE, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(3), Gaussian(MLP(4, 6))), decoder=Gaussian(MLP(3, 8)))
        >>> x = torch.randn(5, 4)
        >>> interpolate(Artifact(vae, DataSpec((4,))), x, x.flip(0), steps=3).shape
        torch.Size([5, 3, 4])
    """
    start, end = read(artifact, a, label, seed), read(artifact, b, label, seed)
    if len(start.z) != len(end.z):
        raise InputError(f"{len(start.z)} examples to start from were given and {len(end.z)} to end at: give as many")
    z = way(start.z, end.z, steps, path)
    return along(artifact, z, start.label, end.label, seed)


def along(artifact: Artifact, z: Tensor, first: Tensor | None, last: Tensor | None, seed: int) -> Tensor:
    """Latents ``(n, steps, *latent)`` of an interpolation decoded, with the classes that both ends of each have, and
    the numbers on the straight way between theirs."""
    n = z.shape[1]
    check_alike(artifact, first, last)
    given = [first] * n
    if first is not None and last is not None and first.is_floating_point():
        given = [torch.lerp(first, last, part) for part in torch.linspace(0, 1, n).tolist()]
    # a step of all pairs at a time: the ends are then, bit by bit, what reconstruct gives
    steps = [decoded(artifact, step, its, seed) for step, its in zip(z.unbind(1), given, strict=True)]
    return joined(steps).unflatten(0, (len(steps), len(z))).transpose(0, 1)


def check_alike(artifact: Artifact, first: Tensor | None, last: Tensor | None) -> None:
    """Raise :class:`InputError` where the model is given the class and the two of a pair have not the same."""
    known = artifact.data.conditions
    if artifact.is_conditional and known is not None and not (first is None and last is None):
        ends = [known.classes(end) for end in (first, last) if end is not None]
        if len(ends) < 2 or (ends[0] is not None and ends[1] is not None and not torch.equal(ends[0], ends[1])):
            raise InputError(
                "the two examples of a pair are of different classes and the model is conditional on the class: give "
                "pairs of one class"
            )


def check_latents(artifact: Artifact) -> None:
    """Raise :class:`InputError` unless the model has latents."""
    if not artifact.distribution.has_latents:
        name = type(artifact.distribution).__name__
        raise InputError(f"{name} has no latents: give a model that has (a VAE)")
    if _of_a_text(artifact):
        raise InputError("the latents are frames that follow what is said, between which nothing lies: use encode")


def has_real_latents(artifact: Artifact) -> bool:
    """Whether the model has latents, and they are numbers, as many for each example, rather than codes."""
    model = artifact.distribution
    return model.has_latents and not _of_a_text(artifact) and one_latent(artifact).is_floating_point()


def _of_a_text(artifact: Artifact) -> bool:
    """Whether the latents are frames that follow what is said, as long as that takes."""
    return any(isinstance(part, Aligned) for part in artifact.distribution.modules())


def _conditions(artifact: Artifact, label: Label, data: Any) -> Tensor | None:
    """The conditions of each example, where they are given beside the data."""
    if label is None:
        return None
    if isinstance(data, str | Examples) or not hasattr(data, "__len__"):
        raise InputError("labels were given beside data that bring their own: give arrays, or leave the labels out")
    return conditions(artifact, label, len(data))


def one_latent(artifact: Artifact, shape: tuple[int, ...] | None = None) -> Tensor:
    """One latent ``(1, *latent)``, as of :func:`read`, of an example at the lower end of the range.

    Args:
        artifact: a model with latents.
        shape: of the example where it is not the model's own, as of a longer sequence.
    """
    device = next(artifact.distribution.parameters(), torch.zeros(())).device
    lowest = torch.full((1, *(shape or artifact.data.shape)), artifact.data.low)
    lowest = lowest.to(getattr(torch, artifact.data.dtype))
    with torch.no_grad(), noise.preserved(device), noise.keyed("latent", device=device):
        artifact.eval()
        arrays = artifact.distribution.encode(artifact.view(lowest).to(device), None)
    return next(iter(arrays.values()))
