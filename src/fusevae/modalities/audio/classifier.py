"""A classifier of clips by all that is known beside them, whose features judge samples; kept, so that figures can be
compared."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditions import Label
from fusevae.core.description import describe
from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.core.spec import DataSpec
from fusevae.data.splits import Splits
from fusevae.modalities.audio.quality import usual_view
from fusevae.modalities.audio.schema import rate_of
from fusevae.modalities.images.extractor import CACHE, each_update, kept_as, load_extractor, save_extractor
from fusevae.nets.classifier import Classifier
from fusevae.nets.frames import FrameEncoder
from fusevae.training.lock import locked
from fusevae.training.players import Batch
from fusevae.training.settings import Training
from fusevae.training.still import Classifying, train_until_still

logger = logging.getLogger("fusevae")
UPDATES = 600  # of the longest training
#: their epochs are those that make so many
USUAL = Training(batch_size=32, learning_rate=2e-3, weight_decay=0.05, skip=0.0)
CENTRE, SPREAD = -6.0, 3.0  # of log-mel bands, about


class SoundClassifier(Classifier):
    """Clips to features of their log-mel frames, and features to logits for each column of classes.

    Args:
        rate: of the clips in Hz.
        classes: how many each column has.
        features: how many.
        width: of the net.
        blocks: of it.

    Example:
        >>> SoundClassifier(8000, (10, 6), width=8, blocks=1)(torch.randn(3, 900)).shape
        torch.Size([3, 16])
    """

    about = "features of a classifier of the clips"

    def __init__(
        self, rate: int, classes: tuple[int, ...], features: int = 64, width: int = 96, blocks: int = 3
    ) -> None:
        nn.Module.__init__(self)
        self.view, self.classes_of = usual_view(rate), tuple(classes)
        self.body = FrameEncoder(self.view.bands, features, width, blocks)  # type: ignore[assignment]
        self.head = nn.Linear(features, sum(classes))
        self.register_buffer("scale", torch.ones(()))

    def _hidden(self, x: Tensor) -> Tensor:
        y = self.view(x)
        return F.silu(self.body((y - CENTRE) / SPREAD * within(extent(y), y.shape[-1])))

    def found(self, x: Tensor) -> Tensor:
        """The likeliest class of each column ``(batch, columns)``."""
        return torch.stack([part.argmax(-1) for part in self(x).split(self.classes_of, -1)], 1)


def columns_of(spec: DataSpec) -> list[tuple[int, Label]]:
    """The columns of classes beside some data, each with its place."""
    if spec.conditions is None:
        return []
    return [(i, c) for i, c in enumerate(spec.conditions.columns) if isinstance(c, Label) and len(c.classes) > 1]


def targets(label: Tensor, spec: DataSpec) -> Tensor:
    """The classes of each column ``(batch, columns)``, -1 where one isn't known."""
    values = label[:, None] if label.dim() == 1 else label
    return torch.stack([values[:, i].nan_to_num(-1).long() for i, _ in columns_of(spec)], 1)


class Columns(Classifying):
    """Classifies: the loss is the cross-entropy in nats, summed over the columns."""

    def __init__(self, net: SoundClassifier, spec: DataSpec) -> None:
        super().__init__(net)
        self.data = spec

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.label is not None
        parts = self.net(batch.x).split(self.net.classes_of, -1)
        wanted = targets(batch.label, self.data)
        loss = torch.zeros((), device=batch.x.device)
        for part, column in zip(parts, wanted.unbind(1), strict=True):  # a batch may know none of a column
            nats = F.cross_entropy(part, column, ignore_index=-1, reduction="sum")
            loss = loss + nats / (column >= 0).sum().clamp(min=1)
        right = torch.stack([part.argmax(-1) for part in parts], 1) == wanted
        return loss, {"loss_value": loss.detach(), "accuracy": right.float().mean()}


def found_in(net: SoundClassifier, x: Tensor) -> Tensor:
    """The likeliest class of each column, of clips ``(n, samples)``: ``(n, columns)``."""
    device = next(net.parameters()).device
    with torch.no_grad():
        return torch.cat([net.found(part.to(device)).cpu() for part in x.split(200)])


def accuracies(net: SoundClassifier, x: Tensor, label: Tensor, spec: DataSpec) -> Tensor:
    """How often the class of each column is found, of the clips whose class is known, and, last, all of them."""
    wanted = targets(label.cpu(), spec)
    known, right = wanted >= 0, found_in(net, x) == wanted
    each = (right & known).sum(0) / known.sum(0).clamp(min=1)
    both = (right & known).all(1).sum() / known.all(1).sum().clamp(min=1)
    return torch.cat([each, both[None]]).double()


def train_classifier(
    data: Splits, updates: int = UPDATES, device: str = "auto", quiet: bool = False, folder: Path | None = None
) -> SoundClassifier:
    """Train a classifier on the training part, for so many updates or until it stands still
    (:func:`fusevae.training.still.train_until_still`); what it says of itself holds its accuracy on what is held
    out. A ``folder`` has its checkpoints, from which it goes on where it was stopped."""
    spec, columns = data.spec, columns_of(data.spec)
    if not columns:
        raise InputError("a classifier of clips needs classes beside them: name some, data.conditions=...")
    training = USUAL.replaced(epochs=updates / max(1, len(data.train) // USUAL.batch_size))
    with noise.preserved():
        torch.manual_seed(noise.key(0, "extractor"))
        net = SoundClassifier(rate_of(spec), tuple(len(column.classes) for _, column in columns))
    best = train_until_still(Columns(net, spec), data.train, training, 0, device, quiet, folder)
    assert isinstance(best, SoundClassifier)
    best.measure(data.train.batch(data.train.evenly(1000))[0])
    held = data.test if len(data.test) else data.validation
    if len(held):
        x, label = held.batch(torch.arange(len(held)))
        assert label is not None
        found = accuracies(best, x, label, spec).tolist()
        words = ", ".join(f"{c.name} {a:.1%}" for (_, c), a in zip(columns, found, strict=False))
        best.about = f"{SoundClassifier.about}, right on held-out ones: {words}"
    return best


def training_seconds(data: Splits, device: str = "auto") -> float:
    """About how long the classifier of these clips takes to train at most: what some more updates of it cost, times
    all."""
    return each_update(lambda updates: train_classifier(data, updates, device, quiet=True)) * UPDATES


def kept(data: Splits, part: float = 1.0) -> Path:
    """Where the classifier of these clips is kept, once there is one."""
    return kept_as("sound", data, [describe(USUAL), UPDATES], part=part)


def classifier_for(data: Splits, device: str = "auto", quiet: bool = False, part: float = 1.0) -> SoundClassifier:
    """The classifier of these clips: trained when it is first wanted, for a ``part`` of its usual updates,
    and kept by the contents of the data."""
    for known in dict.fromkeys((1.0, part)):
        with contextlib.suppress(InputError):  # there is none yet, or a damaged one
            found = load_extractor(kept(data, known))
            if isinstance(found, SoundClassifier):
                return found
    path, updates = kept(data, part), max(1, round(part * UPDATES))
    print(f"training the classifier that clips are judged by; it is kept in {path.parent}", file=sys.stderr)
    try:
        with locked(path.with_suffix("")):
            net = train_classifier(data, updates, device, quiet, path.with_suffix(""))
    except (OSError, InputError):  # nothing can be kept there, or another process trains it
        net = train_classifier(data, updates, device, quiet)
    try:
        save_extractor(net, 0.0, path)
    except OSError as error:
        logger.warning("the classifier can't be kept in %s (%s); name another folder by %s", path.parent, error, CACHE)
    return net
