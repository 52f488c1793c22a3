"""Labels of examples by a model: by its classifier, or by what each label makes of the example."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.core.typed import Count
from fusevae.evaluation.blocks import Block, as_examples, blocks
from fusevae.evaluation.labels import block_labels, label_model
from fusevae.evaluation.likelihood import block_likelihood

By = Literal["classifier", "bound"]


def classify(
    artifact: Artifact, data: Any, by: By | None = None, importance_samples: Count = 10, seed: int = 0
) -> Tensor:
    r"""The probabilities of all labels for each example, ``(n, classes)`` float64, in the order of
    ``artifact.data.classes``; labels that the data bring are not used.

    Args:
        artifact: a model that is given labels of one column.
        data: as for :func:`fusevae.log_likelihood`.
        by: ``"classifier"``, q(y | x); or ``"bound"``, :math:`p(y \mid x) \propto p(y)\, p(x \mid y)` with the bound of
            each label in place of the likelihood, which any conditional model gives (without a p(y) of its own all
            labels are alike before). By default the classifier where there is one.
        importance_samples: of each bound.
        seed: of the view and of the samples.

    Raises :class:`InputError` for a model that tells no labels apart.

    Example:
        >>> import torch
        >>> from fusevae import MLP, VAE, Bernoulli, DataSpec, Flat, Gaussian, LabelMixture, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4, classes=2))), Bernoulli(MLP(2, 4, classes=2)))
        >>> spec = DataSpec((4,), high=1, conditions=["no", "yes"])
        >>> classify(Artifact(LabelMixture(vae, MLP(4, 2), 2), spec), torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """
    by = check_classifies(artifact, by)
    device = next(artifact.distribution.parameters(), torch.zeros(())).device
    found = []
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, as_examples(artifact, data), seed, device):
            if by == "classifier":
                log_p = block_labels(artifact, block, seed)
            else:
                log_p = _bounds(artifact, block, importance_samples, seed)
            found.append(log_p.softmax(-1).cpu())
    return torch.cat(found)


def check_classifies(artifact: Artifact, by: By | None = None) -> By:
    """By what a model tells labels apart; :class:`InputError` where it doesn't."""
    spec, model, has = artifact.data, artifact.distribution, label_model(artifact) is not None
    if not spec.classes or not artifact.is_conditional:
        raise InputError(
            "this model is given no label of one column: train semi-vae or conditional-vae on data with one"
        )
    if by == "classifier" and not has:
        raise InputError("this model has no classifier: take by='bound', or train semi-vae")
    if by != "classifier" and not has and model.level < Level.BOUND:
        raise InputError(f"{type(model).__name__} only samples, so it tells no labels apart: train semi-vae")
    return by or ("classifier" if has else "bound")


def _bounds(artifact: Artifact, block: Block, k: int, seed: int) -> Tensor:
    """log p(y) + log p(x | y), up to a constant: ``(n, classes)``."""
    n, classes = len(block.x), len(artifact.data.classes or ())
    labels = torch.arange(classes, device=block.x.device)
    each = [block_likelihood(artifact, block._replace(label=label.expand(n)), k, seed) for label in labels]
    model = label_model(artifact)
    return torch.stack(each, -1) + (model.frequencies.log_softmax(0).double() if model is not None else 0.0)
