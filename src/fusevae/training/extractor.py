"""A classifier of the training data, whose features judge samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.data.source import read_data
from fusevae.nets.classifier import Classifier
from fusevae.training.fit import pick_device
from fusevae.training.loop import Loop
from fusevae.training.players import Batch, Game, Player
from fusevae.training.progress import Progress
from fusevae.training.settings import Training

USUAL = Training(epochs=5, batch_size=128, learning_rate=1e-3, weight_decay=0.05)


class Labels(Player):
    """Classifies: the loss is the cross-entropy in nats."""

    name = "classifier"

    def __init__(self, net: Classifier) -> None:
        super().__init__()
        self.net = net

    def own(self) -> Sequence[nn.Module]:
        return [self.net]

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.label is not None
        logits = self.net(batch.x)
        loss = F.cross_entropy(logits, batch.label)
        return loss, {"loss_value": loss.detach(), "accuracy": (logits.argmax(-1) == batch.label).float().mean()}


def train_extractor(
    data: Any = None,
    channels: tuple[int, ...] = (32, 64),
    features: int = 64,
    training: Training = USUAL,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> tuple[Classifier, float]:
    """Train a classifier on the training part of labelled images; returns it and its accuracy on what is held out.

    Args:
        data: what :func:`fusevae.read_data` takes; scikit-learn's digits by default.
        channels: width of each stage of its convolutions.
        features: how many it has before its last layer.
        training: settings of the loop.
        seed: of initial weights and order.
        device: as for :func:`fusevae.fit`.
        quiet: show no progress.

    Raises :class:`InputError` for data that are no labelled images.
    """
    splits = read_data(data, seed=seed)
    spec = splits.spec
    if not spec.is_image or spec.n_classes < 2:
        raise InputError(f"the data are {spec.shape} with {spec.n_classes} classes: expected images of at least two")
    with noise.preserved():
        torch.manual_seed(noise.key(seed, "extractor"))
        net = Classifier(spec.shape, spec.n_classes, features, channels, spec.low, spec.high)
    place = pick_device(device)
    loop = Loop(Game([Labels(net)]), splits.train, splits.validation, training, seed, place, None, Progress(quiet))
    loop.run()
    best = loop.result().players["classifier"].net.cpu().eval()  # type: ignore[union-attr,index]
    assert isinstance(best, Classifier)
    held = splits.test if len(splits.test) else splits.validation
    right = 0
    for x, label in held.batches(torch.arange(len(held)).split(500)):
        with torch.no_grad():
            right += int((best(x).argmax(-1) == label).sum())
    return best, right / max(1, len(held))
