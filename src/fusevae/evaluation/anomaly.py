"""Anomaly scores: how unlike the data of its training an example is to a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.evaluation.likelihood import VALUES, block_likelihood, check_samples

DRAWS = 16  # of z, for the parts of the bound
LEAST = 1e-3  # nats: a quantity that varies less over the reference says nothing in smaller units


def anomaly(
    artifact: Artifact,
    data: Any,
    reference: Any,
    label: Any = None,
    importance_samples: int = 100,
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
    * ``p_likelihood``, ``p_typicality``, ``p_distance``: the part of the reference that is as unusual or more,
      :math:`(1 + \#)/(1 + m)`. For examples like the reference they are uniform, so those below 0.05 are 5 %.

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
            f"{len(data)} examples and {len(reference)} of reference were given: expected at least one, and two to "
            "compare with"
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
    float64."""
    model = artifact.distribution
    device = next(model.parameters(), torch.zeros(())).device
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, examples, seed, device):
            block = block if labelled else block._replace(label=None)
            here = {"log_p": block_likelihood(artifact, block, importance_samples, seed)}
            if model.has_latents:
                n = max(1, VALUES // (DRAWS * math.prod(block.x.shape[1:])))
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
    entropy = -reference["log_p"].mean()

    def each(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores that are high where an example is unusual."""
        unusual = {"likelihood": -parts["log_p"], "typicality": (-parts["log_p"] - entropy).abs()}
        if "kl" in parts:
            unusual["distance"] = _distance(parts, reference)
        return unusual

    ours, usual = each(found), each(reference)
    scored = {"log_likelihood": found["log_p"]} | {k: v for k, v in ours.items() if k != "likelihood"}
    scored |= {f"p_{name}": p_value(value, usual[name]) for name, value in ours.items()}
    return {name: value.numpy() for name, value in scored.items()}


def p_value(score: Tensor, reference: Tensor) -> Tensor:
    """The part of ``reference`` ``(m,)`` that is at least as high as each of ``score`` ``(n,)``, itself counted in.

    Example:
        >>> p_value(torch.tensor([0.0, 2.5]), torch.tensor([1.0, 2.0, 3.0]))
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    below = torch.searchsorted(reference.sort().values.contiguous(), score.contiguous())
    return (1 + len(reference) - below).double() / (1 + len(reference))


def group_p_value(log_p: Tensor, reference: Tensor, resamples: int = 10_000, seed: int = 0) -> float:
    """Whether examples are typical as a group (Nalisnick et al. 2019): the part of groups of their number, drawn from
    the reference with replacement, whose mean log-likelihood is as far from the reference's or further.

    A shift too small to be seen in an example is seen in many. Of groups that are not small against the reference the
    p-value is too small: their mean and the reference's are then about equally uncertain.

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
    return p_value((log_p.double().mean() - mean).abs()[None], (torch.cat(drawn) - mean).abs()).item()


def _distance(parts: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    usual = torch.stack([reference[name] for name in parts])
    apart = torch.stack(list(parts.values())) - usual.mean(1, keepdim=True)
    scale = usual.std(1, keepdim=True).clamp(min=LEAST)
    inverse = torch.linalg.pinv(torch.cov(usual / scale), hermitian=True, rtol=1e-6)
    whitened = apart / scale
    return (whitened * (inverse @ whitened)).sum(0).clamp(min=0).sqrt()
