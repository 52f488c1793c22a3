"""How well a model's classifier finds the labels of examples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.data.examples import Examples
from fusevae.evaluation.blocks import Block, blocks
from fusevae.evaluation.results import Result, figure
from fusevae.models.label_mixture import LabelMixture
from fusevae.models.preprocessed import inside, layers


class Classification(Result):
    """How well labels are found, over the examples that have one.

    Attributes:
        labelled: how many these are.
        error: the part of them for which another label is likelier.
        stderr: its standard error over the examples.
        cross_entropy: the mean of -log q(label | x).
    """

    section = "Classification"
    error: float = figure("classification error", better="low", form=".2%", error="stderr")
    stderr: float | None = None
    cross_entropy: float = figure("cross-entropy of labels", "nats per example", "low", form=".4f")
    labelled: int = figure("examples with a label", form=",")


def label_model(artifact: Artifact) -> LabelMixture | None:
    """The model with a q(y | x), where there is one."""
    model = layers(artifact.distribution)[1]
    return model if isinstance(model, LabelMixture) else None


def block_labels(artifact: Artifact, block: Block, seed: int) -> Tensor:
    """log q(y | x) of a block's examples, ``(n, classes)`` float64."""
    with noise.keyed(seed, "classify", block.number, device=block.x.device):
        x, model = inside(artifact.distribution, block.x)
        assert isinstance(model, LabelMixture)
        return model.classify(x).double()


def classified(log_q: Tensor, label: Tensor) -> Classification | None:
    """The figures of log-probabilities ``(n, classes)`` for labels ``(n,)``, -1 where there is none; None without any.

    Example:
        >>> log_q = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]).log()
        >>> found = classified(log_q, torch.tensor([0, 1, -1]))
        >>> found.error, found.labelled
        (0.5, 2)
    """
    known = label >= 0
    n = int(known.sum())
    if not n:
        return None
    log_q, label = log_q[known].double(), label[known]
    wrong = (log_q.argmax(-1) != label).double().mean().item()
    return Classification(
        error=wrong,
        stderr=math.sqrt(wrong * (1 - wrong) / n),
        cross_entropy=-log_q.gather(-1, label[:, None]).mean().item(),
        labelled=n,
    )


def classification(artifact: Artifact, examples: Examples, seed: int = 0) -> Classification | None:
    """The figures of a model's classifier on the examples that have a label; None where there are none of either."""
    if label_model(artifact) is None:
        return None
    device = next(artifact.distribution.parameters()).device
    found, labels = [], []
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        for block in blocks(artifact, examples, seed, device):
            if block.label is None:
                return None
            found.append(block_labels(artifact, block, seed).cpu())
            labels.append(block.label.cpu())
    return classified(torch.cat(found), torch.cat(labels)) if found else None
