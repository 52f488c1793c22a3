"""How near samples are to data, by the features of a classifier that was trained on the data."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.evaluation.blocks import BLOCK, as_examples
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.samples import Kind, kind_used, sample
from fusevae.nets.classifier import Classifier


def frechet_distance(a: Tensor, b: Tensor) -> float:
    r"""The squared Frechet distance of the Gaussians that fit two sets of features ``(n, d)`` and ``(m, d)``:

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr}\big(\Sigma_a + \Sigma_b - 2 (\Sigma_a \Sigma_b)^{1/2}\big)

    (Heusel et al. 2017, there with the features of Inception). Its value depends on the features and on n and m: only
    figures with the same ones can be compared.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> round(frechet_distance(x, x + 3), 6)
        9.0
    """
    for x in (a, b):
        if len(x) < 2:
            raise InputError(f"{len(x)} features were given: expected at least two, for a covariance")
    a, b = a.double(), b.double()
    first, second = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # the eigenvalues of root second root are those of first second, and real
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross).clamp(min=0).item()


def sample_quality(
    artifact: Artifact, data: Any, extractor: Classifier, n: int = 10_000, kind: Kind = "auto", seed: int = 0
) -> dict[str, Any]:
    """FID of samples against real examples, and its floor: that of the reconstructions of as many other examples.

    A prior can't make samples better than the decoder's reconstructions are, so the distance between the two is the
    prior's part.

    Args:
        artifact: a model of images.
        data: real examples that were held out, at least ``2 n`` of them, or n is half of what there are.
        extractor: what :func:`fusevae.train_extractor` gave for the training data.
        n: samples.
        kind: of samples: ``"mean"`` or ``"sample"``, see :func:`fusevae.sample`; reconstructions are means.
        seed: of the samples.

    Returns ``fid``, ``floor`` (None without latents), ``kind``, ``n`` and ``extractor``, a hash of its weights.
    """
    examples = as_examples(artifact, data)
    n = min(n, len(examples) // 2)
    if n < 2:
        raise InputError(f"{len(examples)} examples were given: expected at least four, to compare two halves")
    half, other = torch.arange(2 * n).view(n, 2).T
    real = features(extractor, examples.batch(half)[0])
    kind = kind_used(artifact, kind)
    drawn = sample(artifact, n, seed=seed, kind=kind)
    floor = None
    if artifact.distribution.has_latents:
        floor = frechet_distance(real, features(extractor, reconstruct(artifact, examples.subset(other), seed=seed)))
    return {
        "fid": frechet_distance(real, features(extractor, drawn)),
        "floor": floor,
        "kind": kind,
        "n": n,
        "extractor": fingerprint(extractor),
    }


def features(extractor: Classifier, x: Tensor) -> Tensor:
    """Features ``(n, d)`` of images in the data's units, block by block."""
    device = next(extractor.parameters()).device
    with torch.no_grad():
        return torch.cat([extractor.eval().features(part.to(device)).cpu() for part in x.split(BLOCK)])


def fingerprint(net: nn.Module) -> str:
    """A hash of a net's weights: figures by features of different ones can't be compared."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
