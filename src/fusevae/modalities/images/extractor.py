"""A classifier of the training data, whose features judge samples; kept, so that figures can be compared."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.description import build, describe
from fusevae.core.errors import InputError
from fusevae.core.files import written_whole
from fusevae.core.spec import DataSpec
from fusevae.core.stored import load_into, stored
from fusevae.core.typed import Count
from fusevae.core.untrusted import from_json
from fusevae.data.examples import Batch as RawBatch
from fusevae.data.examples import Examples, data_fingerprint
from fusevae.data.source import read_data
from fusevae.data.splits import Splits
from fusevae.evaluation.features import Scripted
from fusevae.nets.classifier import Classifier
from fusevae.training.lock import locked
from fusevae.training.players import Batch
from fusevae.training.settings import Training
from fusevae.training.still import RULE, Classifying, train_until_still

logger = logging.getLogger(__name__)
#: a classifier that is almost always right has gradients of very different norms, so none is skipped for its norm
USUAL = Training(epochs=5, batch_size=64, learning_rate=1e-3, weight_decay=0.05, skip=0.0)
UPDATES = 500  # the longest training has at least so many by default, however few the data are
TIMED = (2, 12)  # updates of two short trainings, whose difference is the time of ten
CACHE = "FUSEVAE_CACHE"  # the variable that names another folder
LITTLE = 0.1  # of the way from chance to certainty, under which a classifier has learned next to nothing
ORIENTED = "features of a classifier of the images' orientations"


class Labels(Classifying):
    """Classifies: the loss is the cross-entropy in nats."""

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.label is not None
        logits = self.net(batch.x)
        loss = F.cross_entropy(logits, batch.label)
        return loss, {"loss_value": loss.detach(), "accuracy": (logits.argmax(-1) == batch.label).float().mean()}


def usual(train: Examples) -> Training:
    """The longest training of a classifier: five epochs, or as many as make 500 updates."""
    per_epoch = max(1, len(train) // USUAL.batch_size)
    return USUAL.replaced(epochs=max(USUAL.epochs, UPDATES / per_epoch))


def train_extractor(
    data: Any = None,
    channels: tuple[int, ...] = (32, 64),
    features: Count = 64,
    training: Training | None = None,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
    part: float = 1.0,
    folder: Path | None = None,
) -> tuple[Classifier, float]:
    """Train a classifier on the training part of images, until it stands still
    (:func:`fusevae.training.still.train_until_still`); returns it and its accuracy on what is held out.

    Images without labels are turned by 0, 90, 180 or 270 degrees and the classifier tells by how much (Gidaris et al.
    2018; by 0 or 180 where they aren't square). Such features know less of what is in an image than those of classes
    do; figures by them compare models with each other, no more.

    Args:
        data: what :func:`fusevae.read_data` takes; scikit-learn's digits by default.
        channels: width of each stage of its convolutions.
        features: how many it has before its last layer.
        training: settings of the loop, whose epochs are the most; by default five, or as many as make 500 updates.
        seed: of initial weights and order.
        device: as for :func:`fusevae.fit`.
        quiet: show no progress.
        part: of the most epochs.
        folder: of its checkpoints, from which it goes on where it was stopped; removed at its end.

    Raises :class:`InputError` for data that are no images.
    """
    splits = read_data(data, seed=seed)
    if len(splits.spec.shape) != 3:
        raise InputError(f"the data have shape {splits.spec.shape}: expected images (channels, height, width)")
    labelled = splits.spec.n_classes > 1
    training = training or usual(splits.train)
    seen_as: Callable[[Examples], Examples] = (lambda examples: examples) if labelled else Turned
    train = seen_as(splits.train)
    spec, more = train.spec, len(train) / len(splits.train)
    training = training.replaced(epochs=training.epochs * part / more)  # of as many updates as with labels
    with noise.preserved():
        torch.manual_seed(noise.key(seed, "extractor"))
        net = Classifier(spec.shape, spec.n_classes, features, channels, spec.low, spec.high)
    best = train_until_still(Labels(net), splits.train, training, seed, device, quiet, folder, seen_as)
    assert isinstance(best, Classifier)
    best.measure(train.batch(torch.arange(min(len(train), 2000)))[0])
    held = seen_as(splits.test if len(splits.test) else splits.validation)
    right = 0
    for x, label in held.batches(torch.arange(len(held)).split(500)):
        with torch.no_grad():
            right += int((best(x).argmax(-1) == label).sum())
    accuracy = right / max(1, len(held))
    best.about = f"{best.about if labelled else ORIENTED}, right on {accuracy:.1%}"
    if (accuracy - (chance := 1 / spec.n_classes)) < LITTLE * (1 - chance):
        best.about += f", by chance {chance:.1%}: nearly a random net's, which see textures and little else"
    return best, accuracy


class Turned(Examples):
    """Images in each of their orientations, which is their label.

    Example:
        >>> from fusevae.data.examples import InMemory
        >>> whole = InMemory(torch.arange(4).view(1, 1, 2, 2))
        >>> Turned(whole).batch(torch.tensor([0, 1]))[0].tolist()
        [[[[0, 1], [2, 3]]], [[[1, 3], [0, 2]]]]
    """

    def __init__(self, whole: Examples) -> None:
        self.whole = whole
        _, height, width = whole.spec.shape
        self.turns = (0, 1, 2, 3) if height == width else (0, 2)
        names = [f"{90 * turn} degrees" for turn in self.turns]
        self.spec = DataSpec(whole.spec.shape, whole.spec.dtype, whole.spec.low, whole.spec.high, names)

    def __len__(self) -> int:
        return len(self.whole) * len(self.turns)

    def batch(self, indices: Tensor) -> RawBatch:
        x, label = self.whole.batch(indices // len(self.turns))[0], indices % len(self.turns)
        found = x.clone()
        for i, turn in enumerate(self.turns):
            found[label == i] = x[label == i].rot90(turn, (2, 3))
        return found, label


def extractor_for(
    data: Splits,
    file: str | Path | None = None,
    device: str = "auto",
    quiet: bool = False,
    folder: Path | None = None,
    part: float = 1.0,
) -> nn.Module:
    """What samples of models of these images are judged by: the same each time, so that figures can be compared.

    A classifier (:func:`train_extractor` with its defaults), trained when it is first wanted and kept in
    :func:`cache_folder`, by the contents of the data and the settings.

    Args:
        data: what the models were trained on.
        file: an extractor of another place: one that was kept (``.safetensors``), or a TorchScript file, which holds
            a program (:class:`fusevae.evaluation.features.Scripted`): name only one that you trust.
        device: where a classifier is trained.
        quiet: show no progress.
        folder: where to keep it; by default :func:`cache_folder`.
        part: of the usual training, where there is little time; one that is kept is taken whatever it had.
    """
    if file is not None:
        if Path(file).suffix != ".safetensors":
            return Scripted(file, data.spec)
        found = load_extractor(Path(file).expanduser())
        if found.body.inputs != data.spec.shape:
            raise InputError(f"{file} is for images {found.body.inputs}, the data have {data.spec.shape}: leave it out")
        return found
    for known in dict.fromkeys((1.0, part)):
        with contextlib.suppress(InputError):  # there is none yet, or a damaged one
            return load_extractor(kept_at(data, folder, known))
    path = kept_at(data, folder, part)
    print(f"training the classifier that samples are judged by; it is kept in {path.parent}", file=sys.stderr)
    try:
        with locked(path.with_suffix("")):
            net, accuracy = train_extractor(data, device=device, quiet=quiet, part=part, folder=path.with_suffix(""))
    except (OSError, InputError):  # nothing can be kept there, or another process trains it
        net, accuracy = train_extractor(data, device=device, quiet=quiet, part=part)
    try:
        save_extractor(net, accuracy, path)
    except OSError as error:
        logger.warning("the extractor can't be kept in %s (%s); name another folder by %s", path.parent, error, CACHE)
    return net


def kept_at(data: Splits, folder: Path | None = None, part: float = 1.0) -> Path:
    """Where the classifier of these images is kept, once there is one."""
    return kept_as("extractor", data, [describe(USUAL), UPDATES], folder, part)


def kept_as(name: str, data: Splits, settings: list[Any], folder: Path | None = None, part: float = 1.0) -> Path:
    """Where a classifier is kept: by the contents of the data, its settings, and the rule by which it is trained."""
    known = [data_fingerprint(data.train), *settings, *RULE, *([part] if part < 1 else [])]
    key = hashlib.blake2b(json.dumps(known).encode(), digest_size=12)
    return (folder or cache_folder()) / f"{name}-{key.hexdigest()}.safetensors"


def training_seconds(data: Splits, device: str = "auto") -> float:
    """About how long the classifier of these images takes to train at most: what some more updates of it cost, times
    all."""
    per_epoch, longest = max(1, len(data.train) // USUAL.batch_size), usual(data.train)

    def short(updates: int) -> None:
        train_extractor(data, training=longest.replaced(epochs=updates / per_epoch), device=device, quiet=True)

    return each_update(short) * longest.epochs * per_epoch


def each_update(train: Callable[[int], object]) -> float:
    """Seconds of an update, from two trainings of so few that nothing else is done."""
    seconds = []
    for updates in TIMED:
        started = time.perf_counter()
        train(updates)
        seconds.append(time.perf_counter() - started)
    return max(0.0, seconds[1] - seconds[0]) / (TIMED[1] - TIMED[0])


def save_extractor(net: Classifier, accuracy: float, path: Path) -> None:
    """Write a classifier with its description, as an artifact is written."""
    from safetensors.torch import save_file

    header = {"extractor": json.dumps(describe(net)), "about": net.about, "accuracy": str(accuracy)}
    with written_whole(path) as beside:
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, str(beside), metadata=header)


def load_extractor(path: Path) -> Classifier:
    """Read what :func:`save_extractor` wrote; nothing is unpickled. Raises :class:`InputError` where it can't be."""
    header = stored(path, "extractor")
    if not {"extractor", "about"} <= header.metadata.keys():
        raise InputError(f"{path} is no extractor that fusevae kept: leave it out")
    with header.budget(f"this is far more than the weights in {path}: leave it out"):
        net = build(from_json(header.metadata["extractor"], f"{path}: its description"))
    if not isinstance(net, Classifier):
        raise InputError(f"{path} describes a {type(net).__name__}, not a classifier: leave it out")
    load_into(net, path, header)
    net.about = header.metadata["about"]
    return net.eval()


def cache_folder() -> Path:
    """Where extractors are kept: ``$FUSEVAE_CACHE``, or the platform's folder for such files."""
    if given := os.environ.get(CACHE):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fusevae"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "fusevae" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fusevae"
