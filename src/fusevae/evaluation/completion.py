"""New examples of which some values are given: exact where a model has conditionals, else by importance resampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.distributions.any_order import AnyOrder, Ordered
from fusevae.evaluation.chain import Space, space_of
from fusevae.models.flat import Flat

LEAST, MOST, EACH = 2**14, 2**18, 8  # latents that are proposed: so many for each sample, within limits
AT_ONCE = 2**11
POOR = 100  # latents that are worth less than so many independent ones are said

#: examples ``(n, *shape)`` in the data's units for so many rows of the labels
Draw = Callable[[Tensor], Tensor]


def given_draws(artifact: Artifact, row: Tensor, n: int, label: Tensor | None, seed: int) -> tuple[Draw, list[str]]:
    r"""How examples are drawn from :math:`p(x_{free} \mid x_{given})`, and what is to be said of it.

    :class:`AnyOrder` has it by construction. Of a VAE it is :math:`\int p(x_{free}|z)\, p(z|x_{given})\, dz`: latents
    are proposed by the prior (and as many by q, where it can be told what is missing), weighted by
    :math:`p(z)\, p(x_{given}|z) / r(z)` with r the mixture of both (Veach & Guibas 1995: bounded by the prior's part),
    and resampled by their weights (Rubin 1987): as good as the effective sample size is large, which is said.

    Args:
        artifact: of a model that has conditionals, or that a chain could be run in.
        row: ``(*shape)`` in the data's units, NaN where it is free.
        n: how many samples are wanted.
        label: conditions ``(n, ...)``.
        seed: of the latents.
    """
    try:
        space = space_of(artifact)
    except InputError:
        name = type(getattr(artifact.distribution, "model", artifact.distribution)).__name__
        raise InputError(
            f"{name} can't be given some of the columns: take table-transformer (exact) or table-vae (by resampling)"
        ) from None
    device = next(artifact.distribution.parameters(), torch.zeros(())).device
    known = ~row.isnan()

    def finished(x: Tensor) -> Tensor:  # what was given is given back to the digit; a gap there isn't filled
        return torch.where(known & ~x.isnan(), row.to(x), x)

    if space is None:
        model = cast(AnyOrder, artifact.distribution)
        y = artifact.view(row[None].to(device))

        def draw(rows: Tensor) -> Tensor:
            p = cast(Ordered, model(None if label is None else label[rows].to(device)))
            return finished(artifact.restore(p.row(y.expand(len(rows), -1))).cpu())

        return draw, []
    one = None if label is None else label[:1].to(device)
    if label is not None and not bool(((label == label[:1]) | (label != label)).all()):
        raise InputError("columns of the table were given with conditions that differ: give one set for all samples")
    with noise.keyed(seed, "given", device=device):
        y = space.into(artifact.view(row[None].to(device)))
        if not torch.equal(y.isnan(), row[None].isnan().to(device)):
            raise InputError("the model mixes columns before it sees them, so that single ones can't be given to it")
        pool, weights = _proposals(space, y, one, min(MOST, max(LEAST, EACH * n)))
    size = float(weights.sum() ** 2 / weights.square().sum())
    notes = [
        f"given columns: {len(pool):,} latents weighted, worth {size:,.0f} independent ones (effective sample size)"
    ]
    if size < min(POOR, n):
        notes.append("warning: rows share latents: what was given is rare in the model, take its draws with care")

    def resample(rows: Tensor) -> Tensor:
        chosen = pool[torch.multinomial(weights, len(rows), replacement=True)]
        x = noise.sample(space.vae.decoder(chosen, None if one is None else one.expand(len(rows), *one.shape[1:])))
        return finished(space.back(x).cpu())

    return resample, notes


def _proposals(space: Space, y: Tensor, label: Tensor | None, m: int) -> tuple[Tensor, Tensor]:
    """Latents ``(m, ...)`` and their weights ``(m,)`` for what is known of ``y`` ``(1, *event)``."""
    vae, latents = space.vae, cast(Flat, space.vae.latents)
    prior = latents.prior(label)
    q = None
    if vae.mixed and latents.prior.level is Level.DENSITY:  # q can be told what is missing
        q = latents.posterior(y, label)
    found, logs = [], []
    for _ in range(-(-m // AT_ONCE)):
        z = noise.sample(prior, (AT_ONCE,))
        z = z[:, 0] if prior.batch_shape else z
        extra = torch.zeros(len(z), device=z.device)
        if q is not None:
            z = torch.cat([z[::2], noise.sample(q, (AT_ONCE // 2,))[:, 0]])
            log_p, log_q = prior.log_prob(z[:, None])[:, 0] if prior.batch_shape else prior.log_prob(z), q.log_prob(z)
            extra = log_p - torch.logaddexp(log_p, log_q)
        p = vae.decoder(z, None if label is None else label.expand(len(z), *label.shape[1:]))
        found.append(z)
        logs.append((_log_prob(p, y) + extra).double())
    log_w = torch.cat(logs)
    if not bool((log_w > -torch.inf).any()):
        raise InputError("the model gives what was given no probability at all: give other values")
    return torch.cat(found), (log_w - log_w.max()).exp()


def _log_prob(p: Distribution, y: Tensor) -> Tensor:
    """Of what is known of ``y`` ``(1, *event)``, for each of the batch of p."""
    base = getattr(p, "base_dist", None)
    if base is None:  # a missing value contributes nothing
        return p.log_prob(y)
    each: Tensor = base.log_prob(y.nan_to_num(0.0)).masked_fill(y.isnan(), 0.0)
    return each.flatten(1).sum(1)
