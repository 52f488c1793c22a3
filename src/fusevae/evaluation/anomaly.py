"""Anomaly scores: how unlike the data of its training an example is to a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.core.vocabulary import lengths
from fusevae.data.examples import Examples
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.evaluation.likelihood import VALUES, block_likelihood, check_samples, decoded_at_once

DRAWS = 16  # of z, for the parts of the bound
FAR = 1e30  # nats
LEAST = 1e-3  # nats: a quantity that varies less over the reference says nothing in smaller units


def anomaly(
    artifact: Artifact,
    data: Any,
    reference: Any,
    label: Any = None,
    importance_samples: Count = 100,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    r"""How unusual each example is, as arrays ``(n,)``; the smaller a p-value, the more.

    * ``log_likelihood``: log p(x) in nats. A low one is unusual, but a high one is no proof of the contrary: a plain
      image may be far more likely than any example of the training data, which all have some detail.
    * ``typicality``: :math:`|{-\log p(x)} - H|` in nats, H the mean of -log p over the reference (Nalisnick et al.
      2019).
    * ``distance``, for models with latents: the Mahalanobis distance of (log p, KL, log p - ELBO) from their means over
      the reference, by their covariance. An example whose parts don't fit together stands out though their sum may be
      usual (with densities for Gaussians: Morningstar et al. 2021).
    * ``surprise_per_token``, for sequences: -log p over the number of tokens, the end among them; and
      ``surprise_given_length``: how far -log p is above what sequences of that length have in the reference, by a line
      in the length, in standard deviations, which grow with its square root. All else mostly ranks by length: a long
      text is improbable, however usual.
    * ``p_likelihood`` and the ``p_...`` of each other score: the part of the reference that is as unusual or more,
      :math:`(1 + \#)/(1 + m)`, where each is judged beside all the others, the example among them (conformal
      prediction, Vovk et al. 2005). For examples like the reference they are uniform whatever m is: at most 0.05 in
      5 %. None is below 1/(1 + m), so 19 of reference are the least for that.

    Args:
        artifact: a model that gives at least a bound on log p.
        data: raw examples ``(n, *shape)``.
        reference: examples that are as they should be, of the training's distribution but not trained on (held-out
            ones); a pair with labels where the model is conditional.
        label: the labels of ``data``, where the model is conditional; used where the reference has labels too.
        importance_samples: k of the bound on log p.
        seed: of the view and of the samples.

    Example:
        >>> import torch
        >>> from fusevae import Artifact, DataSpec, Normal
        >>> artifact = Artifact(Normal(2), DataSpec((2,)))
        >>> found = anomaly(artifact, torch.tensor([[0.0, 0.0], [9.0, 0.0]]), reference=torch.randn(99, 2))
        >>> found["p_likelihood"].tolist()
        [1.0, 0.01]
    """
    check_samples(artifact, importance_samples)
    ours, usual = as_examples(artifact, data, label), as_examples(artifact, reference)
    check_reference(ours, usual)
    return scores(*parts_of_both(artifact, ours, usual, importance_samples, seed))


def check_reference(data: Examples, reference: Examples) -> None:
    """Refuse what is too little to score, or to compare with."""
    if len(reference) < 2 or not len(data):
        raise InputError(
            f"{len(data):,} to score and {len(reference):,} of reference were given: expected at least one, and two to "
            "compare with; give more usual examples (--reference PATH)"
        )


def parts_of_both(
    artifact: Artifact, data: Examples, reference: Examples, importance_samples: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The :func:`parts` of examples and of the reference; without labels where only one of the two has them."""
    both = (data, reference)
    labelled = all(e.batch(torch.arange(1))[1] is not None for e in both)
    ours, theirs = (parts(artifact, e, importance_samples, seed, labelled) for e in both)
    return ours, theirs


def parts(
    artifact: Artifact, examples: Examples, importance_samples: int = 100, seed: int = 0, labelled: bool = True
) -> dict[str, Tensor]:
    """``log_p`` and, for a model with latents, ``kl`` and ``gap`` (log p - ELBO) of each example in nats, ``(n,)``
    float64; of sequences their ``tokens``."""
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, examples, seed, device):
            block = block if labelled else block._replace(label=None)
            here = {"log_p": block_likelihood(artifact, block, importance_samples, seed)}
            if model.space == "sequences":
                here["tokens"] = lengths(block.x).double()
            if model.has_latents:
                n = decoded_at_once(model, block.x.shape[1:], DRAWS)
                cuts = [slice(start, start + n) for start in range(0, len(block.x), n)]
                with noise.keyed(seed, "anomaly", block.number, device=device):
                    traces = [
                        model.trace(block.x[c], None if block.label is None else block.label[c], samples=(DRAWS,))
                        for c in cuts
                    ]
                here["kl"] = torch.cat([t.kl.double().expand(DRAWS, -1).mean(0) for t in traces])
                elbo = torch.cat([t.elbo.double().mean(0) for t in traces])
                here["gap"] = here["log_p"] - elbo
            for name, value in here.items():
                found.setdefault(name, []).append(value.cpu())
    return {name: torch.cat(values) for name, values in found.items()}


def scores(found: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The scores of :func:`anomaly` from the :func:`parts` of examples and of the reference."""
    unusual = {"likelihood": _unlikely, "typicality": _untypical}
    if "kl" in found:
        unusual["distance"] = _distance
    if "tokens" in found:
        unusual |= {"surprise_per_token": _per_token, "surprise_given_length": _given_length}
    scored = {"log_likelihood": found["log_p"]}
    found, reference = _finite(found), _finite(reference)
    scored |= {name: score(found, reference) for name, score in unusual.items() if name != "likelihood"}
    scored |= {f"p_{name}": conformal(score, found, reference) for name, score in unusual.items()}
    return {name: value.numpy() for name, value in scored.items()}


#: how unusual examples ``(..., n)`` of some parts are beside others ``(..., m)``, high where they are
Score = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]


def conformal(score: Score, found: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    """The part of the reference and an example that is at least as unusual among all of these as the example is, for
    each ``(n,)``: uniform, whatever their number, where an example is like the reference (Vovk et al. 2005)."""
    m, n = (len(parts["log_p"]) for parts in (reference, found))
    p = []
    for rows in torch.arange(n).split(max(1, VALUES // (4 * m))):
        both = {
            name: torch.cat([found[name][rows, None], reference[name].expand(len(rows), m)], 1) for name in reference
        }
        each = score(both, both)
        p.append((each >= each[:, :1]).double().mean(1))
    return torch.cat(p)


def p_value(score: Tensor, reference: Tensor) -> Tensor:
    """The part of ``reference`` ``(m,)`` that is at least as high as each of ``score`` ``(n,)``, itself counted in.

    Example:
        >>> p_value(torch.tensor([0.0, 2.5]), torch.tensor([1.0, 2.0, 3.0]))
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    below = torch.searchsorted(reference.sort().values.contiguous(), score.contiguous())
    return (1 + len(reference) - below).double() / (1 + len(reference))


def group_p_value(log_p: Tensor, reference: Tensor, resamples: Count = 10_000, seed: int = 0) -> float:
    """Whether examples are typical as a group (Nalisnick et al. 2019): the part of groups of their number, drawn from
    the reference with replacement, whose mean log-likelihood is as far from the reference's or further.

    A shift too small to be seen in an example is seen in many. The mean of the reference is uncertain, too, by its
    standard error, which is drawn anew for each group.

    Example:
        >>> reference = torch.randn(1000)
        >>> group_p_value(torch.randn(50) + 1, reference) < 0.01
        True
    """
    reference, n = reference.double(), len(log_p)
    mean = reference.mean()
    generator = torch.Generator().manual_seed(noise.key(seed, "group"))
    drawn = [
        reference[torch.randint(len(reference), (len(some), n), generator=generator)].mean(1)
        for some in torch.arange(resamples).split(max(1, VALUES // n))  # memory is bounded
    ]
    error = reference.std() / len(reference) ** 0.5 if len(reference) > 1 else torch.zeros(())
    means = mean + error * torch.randn(resamples, generator=generator, dtype=reference.dtype)
    return p_value((log_p.double().mean() - mean).abs()[None], (torch.cat(drawn) - means).abs()).item()


def _finite(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Examples that are impossible to the model as so improbable that any other is nearer to the reference."""
    impossible = parts["log_p"].isneginf()
    return {name: torch.where(impossible, v.nan_to_num(0.0, FAR, -FAR), v) for name, v in parts.items()}


def _unlikely(parts: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    return -parts["log_p"]


def _untypical(parts: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    return (parts["log_p"] - reference["log_p"].mean(-1, keepdim=True)).abs()


def _distance(parts: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    names = ("log_p", "kl", "gap")
    usual = torch.stack([reference[name] for name in names], -2)
    mean, scale = usual.mean(-1, keepdim=True), usual.std(-1, keepdim=True).clamp(min=LEAST)
    whitened, apart = ((torch.stack([p[name] for name in names], -2) - mean) / scale for p in (reference, parts))
    covariance = whitened @ whitened.mT / (usual.shape[-1] - 1)
    inverse = torch.linalg.pinv(covariance, hermitian=True, rtol=1e-6)
    return (apart * (inverse @ apart)).sum(-2).clamp(min=0).sqrt()


def _per_token(parts: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    return -parts["log_p"] / parts["tokens"]


def _given_length(parts: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    def scaled(parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Least squares of a variance in proportion to the length: all is divided by its root."""
        root = parts["tokens"].sqrt()
        return torch.stack([1 / root, root], -1), -parts["log_p"] / root

    (known, values), (ours, its) = scaled(reference), scaled(parts)
    line = torch.linalg.pinv(known.mT @ known, hermitian=True) @ (known.mT @ values[..., None])
    spread = (values - (known @ line)[..., 0]).square().mean(-1, keepdim=True).sqrt().clamp(min=LEAST)
    return (its - (ours @ line)[..., 0]) / spread
