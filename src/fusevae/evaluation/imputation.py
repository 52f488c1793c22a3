"""Imputation: what is missing from an example, given what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import Count, array_of
from fusevae.data.examples import Batch, Examples, InMemory
from fusevae.data.modality import modality_of
from fusevae.distributions.any_order import AnyOrder, Ordered
from fusevae.evaluation.blocks import BLOCK, as_examples, blocks
from fusevae.evaluation.chain import Draws, Space, Task, space_of, walk

TRIES = 30  # of a draw that has to hold something
MEAN = 50  # draws of which a mean is made where they are independent


def impute(
    artifact: Artifact,
    data: Any,
    missing: Any = None,
    label: Any = None,
    samples: Count = 4,
    steps: Count = 200,
    seed: int = 0,
    mean: bool = True,
) -> Draws:
    r"""Draws from :math:`p(x_\text{missing} \mid x_\text{observed})`, by Metropolis-within-Gibbs (Mattei & Frellsen
    2018).

    By turns z given x, proposed by q(z | x) and accepted so that the chain is exact whatever q is, and the missing
    values given z. Without the acceptance (pseudo-Gibbs, Rezende et al. 2014) a wrong q would give wrong values. Where
    much is missing, chains may stay with one of several ways to complete an example; more ``samples`` help more than
    more ``steps``.

    The chains run over the view that the model sees: where it is binarized, what is observed is binarized once, and
    missing values come as black or white; where steps dequantize, each chain draws its own noise. What is observed is
    given back as it was.

    Args:
        artifact: a VAE with one level of latents, whose decoder has dimensions that are independent given z; or an
            :class:`AnyOrder`, whose conditionals are drawn from as they are, without a chain.
        data: raw examples ``(n, *shape)``; what they hold at missing places is not looked at.
        missing: booleans, ``(n, *shape)`` or one ``shape`` for all; None takes the NaN of an array of floats, and what
            is empty in a table (a path, a DataFrame).
        label: the examples' labels, where the model is conditional.
        samples: chains for each example.
        steps: of each chain; its last state is a sample, the mean is over its second half.
        seed: of the view and of the chains.
        mean: whether it is to be a good one: of an :class:`AnyOrder` over :data:`MEAN` draws, else over ``samples``.

    What must hold between the values of an example (the constraints of a table) holds in every draw where it can: what
    is missing from an equation is computed, a draw that breaks something else is drawn anew, at most :data:`TRIES`
    times. ``notes`` say how many were, and for how many examples that wasn't enough; the mean doesn't look at it.

    Returns ``samples`` ``(samples, n, *shape)`` in the data's units and dtype, several completions of each example;
    ``mean`` ``(n, *shape)``, the average over all draws (of floats: no draw itself, and no likely example); and
    ``accepted`` ``(n,)``.

    Raises :class:`InputError` for a mask that doesn't fit the data, and for a model without such a decoder.

    Example:
        >>> import torch
        >>> from fusevae import MLP, VAE, Artifact, DataSpec, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), Gaussian(MLP(1, 2), scale=1.0))
        >>> found = impute(Artifact(vae, DataSpec((2,))), torch.tensor([[0.5, torch.nan]]), steps=10)
        >>> found.samples.shape, found.mean[0, 0].item()
        (torch.Size([4, 1, 2]), 0.5)
    """
    space = space_of(artifact)
    if missing is not None:
        whole = as_examples(artifact, data, label)
    elif isinstance(data, Tensor | np.ndarray):
        data, missing = split_nan(data)
        whole = as_examples(artifact, data, label)
    else:
        table = as_examples(artifact, data, label, gaps=True)
        x, y = table.batch(torch.arange(len(table)))
        whole, missing = InMemory(x.nan_to_num(0.0), y, table.spec), x.isnan()
    mask = mask_for(missing, whole)

    def draw(rows: Tensor, seed: int) -> Draws:
        some = whole if len(rows) == len(whole) else whole.subset(rows)
        if space is None:
            return _conditionals(
                artifact, cast(AnyOrder, artifact.distribution), some, mask[rows], samples, steps if mean else 1, seed
            )
        return _chains(space, some, mask[rows], samples, steps, seed)

    if space is not None and space.linked and bool((mask != mask[:, :1]).any()):
        raise InputError(
            "the mask differs between the channels of a pixel, which the decoder draws together: let whole pixels be "
            "missing"
        )
    found = draw(torch.arange(len(whole)), seed)
    found = _holding(artifact, found, mask, draw, seed) if artifact.data.schema.constrained else found
    given = whole.batch(torch.arange(len(whole)))[0].to(found.mean.dtype)  # which is left as it was
    filled = found.mean if space is None else artifact.data.schema.averaged(found.mean, found.samples)
    return found._replace(mean=torch.where(mask, filled, given))


def _holding(artifact: Artifact, found: Draws, mask: Tensor, draw: Callable[[Tensor, int], Draws], seed: int) -> Draws:
    """The draws ``(samples, n, *shape)`` with others in the place of those that break what must hold."""
    schema, samples, again = artifact.data.schema, found.samples.clone(), 0
    good = torch.zeros(samples.shape[:2], dtype=torch.bool)
    can = schema.held(samples[0].masked_fill(mask, torch.nan), ~mask)[1]  # what is there breaks nothing by itself
    broken = 0
    while True:
        for s in range(len(samples)):
            samples[s], good[s] = schema.held(samples[s], ~mask)
        rows = (~good.all(0) & can & mask.flatten(1).any(1)).nonzero()[:, 0]
        if not len(rows) or again == TRIES:
            break
        again, broken = again + 1, broken + int((~good[:, rows]).sum())
        more = draw(rows, noise.key(seed, "again", again)).samples
        samples[:, rows] = torch.where(
            good[:, rows].view(*more.shape[:2], *[1] * (more.dim() - 2)), samples[:, rows], more
        )
    left = (~good.all(0)).nonzero()[:, 0]
    part = broken / (good.numel() + broken)
    notes = [f"{part:.1%} of the draws broke a constraint and were drawn anew"] if broken else []
    if len(left):
        notes.append(
            f"warning: {len(left):,} of {len(mask):,} rows break a constraint, the first {int(left[0])} (from 0 on): "
            "what is there does so, or what is missing hardly ever fits"
        )
    return found._replace(samples=samples, notes=tuple(notes))


def _chains(space: Space, whole: Examples, mask: Tensor, samples: int, steps: int, seed: int) -> Draws:
    """Draws by chains over latents and what is missing."""
    hidden = _Hidden(whole, mask, space.artifact.data.low)

    def task(rows: Tensor, raw: Tensor, seen: Tensor, label: Tensor | None) -> Task:
        y, gone = space.into(seen), mask[rows].to(seen.device)

        def fill(p: Distribution, _: Tensor | None) -> Tensor:
            return torch.where(gone, noise.sample(without_gaps(p)), y)

        told = y.masked_fill(gone, torch.nan) if space.told else None
        first = space.vae.generate((len(y),), label) if told is None else space.vae.trace(told, label).likelihood
        start = torch.where(gone, noise.sample(without_gaps(first)), y)
        return Task(start, fill, lambda x: torch.where(gone, space.back(x), raw), told)

    return walk(space, hidden, task, samples, steps, seed)


def _conditionals(
    artifact: Artifact, model: AnyOrder, whole: Examples, mask: Tensor, samples: int, steps: int, seed: int
) -> Draws:
    """Independent draws from the model's own conditionals; the mean is over ``steps`` of them, at most :data:`MEAN`."""
    device = next(model.parameters()).device
    kept, means = list[Tensor](), list[Tensor]()
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, whole, seed, device):
            gone = mask[block.number * BLOCK :][: len(block.raw)]
            draws = list[Tensor]()
            for i in range(max(samples, min(steps, MEAN))):
                with noise.keyed(seed, "impute", block.number, i, device=device):
                    p = cast(Ordered, model(block.label))
                    x = artifact.restore(p.completed(block.x, gone.to(device), shuffled=True)).cpu()
                draws.append(torch.where(gone, x, block.raw.to(x)))
            drawn = torch.stack(draws)
            kept.append(drawn[:samples])
            mean = drawn.to(torch.float64 if drawn.dtype == torch.float64 else torch.float32).mean(0)
            means.append(artifact.data.schema.averaged(mean, drawn))  # over all draws, not the few that are kept
    return Draws(torch.cat(kept, 1), torch.cat(means), torch.ones(len(whole)))


def without_gaps(p: Distribution) -> Distribution:
    """The same distribution without missing values, of one that has them."""
    found: Distribution = getattr(p, "whole", p)
    return found


class _Hidden(Examples):
    """Examples whose missing values are replaced by one that says nothing."""

    def __init__(self, whole: Examples, missing: Tensor, value: float) -> None:
        self.whole, self.missing, self.value, self.spec = whole, missing, value, whole.spec

    def __len__(self) -> int:
        return len(self.whole)

    def batch(self, indices: Tensor) -> Batch:
        x, y = self.whole.batch(indices)
        return x.masked_fill(self.missing[indices], self.value), y


def split_nan(data: Tensor | np.ndarray) -> tuple[Any, Tensor]:
    """An array of floats with 0 for NaN, and where the NaN were."""
    if "float" not in str(data.dtype):
        raise InputError(
            f"no mask was given, and {type(data).__name__} data hold no NaN that could mean missing: give missing=, or "
            "an array of floats with NaN where values are missing"
        )
    x = data if isinstance(data, Tensor) else torch.from_numpy(np.array(data))
    return torch.nan_to_num(x, nan=0.0, posinf=torch.inf, neginf=-torch.inf), x.isnan()


def mask_for(missing: Any, examples: Examples) -> Tensor:
    """A mask in any of the shapes that data come in, as booleans ``(n, *shape)``; one for all is not copied."""
    n, shape = len(examples), examples.spec.shape
    mask = torch.as_tensor(array_of(missing, "the mask", "biuf"))
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError(f"the mask holds {mask.dtype} values: expected booleans, or 0 and 1, true where missing")
    given, mask = tuple(mask.shape), mask.bool().cpu()
    if given == shape or given == shape[1:]:
        mask = mask[None]
    mask = modality_of(examples.spec).layout(mask, "the mask")
    fits = [(1, *shape), (n, *shape), (1, 1, *shape[1:]), (n, 1, *shape[1:])][: 4 if len(shape) == 3 else 2]
    if tuple(mask.shape) not in fits:
        raise InputError(
            f"the mask has shape {given}, the data are {n} examples of shape {shape}: expected {(n, *shape)}, or "
            f"{shape} for all"
        )
    if not mask.any():
        raise InputError("the mask is false everywhere, nothing is missing: let it be true where a value is missing")
    return mask.expand(n, *shape)
