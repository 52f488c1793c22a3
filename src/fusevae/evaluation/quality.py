"""How near samples are to data, by features: of a classifier trained on the data, of a named net, or the columns."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.data.examples import Examples
from fusevae.data.source import read_examples
from fusevae.evaluation.asked import AsAsked, Teller
from fusevae.evaluation.blocks import as_examples, check_examples
from fusevae.evaluation.distances import copies, nearest
from fusevae.evaluation.features import about, features, features_of, fingerprint
from fusevae.evaluation.given import known, labels_in_words
from fusevae.evaluation.intervals import interval, interval_of_part
from fusevae.evaluation.judge import Judge, SampleQuality, enough, timed_samples
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.likeness import Distances, compared
from fusevae.evaluation.results import RECONSTRUCTIONS, SAMPLES, Result, figure, part
from fusevae.evaluation.samples import Kind, kind_used
from fusevae.evaluation.variety import corrected, groups
from fusevae.evaluation.verdict import COPIES, Failing, further, of_neighbours
from fusevae.nets.classifier import Classifier


class Reconstructed(Distances):
    """Of reconstructions; ``kind`` says whether they are means of p(x | z) or samples.

    ``feature_error`` is the mean square by which a feature of a reconstruction differs from its example's, of features
    whose variance is 1 on average.
    """

    section = RECONSTRUCTIONS
    feature_error: float = figure(
        "error of features", better="low", form=".4f", interval="intervals", hint="mean square, {kind}s", decides=1
    )
    kind: str


class Copying(Result):
    """Are samples copies? Distances by features to the nearest training example (Meehan et al. 2020).

    Attributes:
        nearer: the probability that a sample's is less than a held-out example's: 0.5 for fresh draws from the truth,
            1 for copies.
        closest: the part of samples that are nearer than all but 1 % of held-out examples, also beside how far these
            and those are from other held-out ones: a grey picture, near to all, is no copy.
        intervals: where the two are with 95 % confidence.
        examples: of the training data.
    """

    section = SAMPLES
    intervals: dict[str, list[float]]
    nearer: float = figure(
        "nearer to training data",
        form=".1%",
        interval="intervals",
        hint="than held-out examples are: fresh 50 %, copies 100 %",
    )
    closest: float = figure("nearer than all but 1 % of held-out", form=".1%", interval="intervals")
    examples: int


class Quality(Distances, SampleQuality):
    """How near samples are to real examples by their features: the distances of samples from n of them.

    Attributes:
        reconstructions: the same of reconstructions of n others; None without latents.
        real: the same of those n others themselves: what a perfect model would have.
        labels: what a conditional model was given.
        accuracy: how often the extractor, where it is a classifier, finds the label that a sample was given.
        real_accuracy: the same of real examples.
        copying: whether samples are copies, where the training examples were given.
        extractor: a hash of the weights of the net.
    """

    n: int = figure("judged", form=lambda n: f"{n:,} samples", hint="by {features} ({extractor})")
    extractor: str
    labels: str | None = figure("labels", default=None)
    reconstructions: Reconstructed | None = part(of=RECONSTRUCTIONS, floor=True)
    real: Distances = part(real=True)
    accuracy: float | None = figure(
        "accuracy given the label", better="high", form=".1%", interval="intervals", real="real_accuracy", default=None
    )
    real_accuracy: float | None = None
    copying: Copying | None = part(default=None)

    @property
    def followed(self) -> dict[str, AsAsked]:
        if self.accuracy is None:
            return super().followed
        told = AsAsked(n=self.n, accuracy=self.accuracy, real_accuracy=self.real_accuracy, intervals=self.intervals)
        return {"label": told}

    @property
    def floor(self) -> float | None:
        """The FID of reconstructions: no prior makes samples better than the decoder is."""
        return self.reconstructions.fid if self.reconstructions else None

    def failings(self) -> list[Failing]:
        found = super().failings()
        found += further(found, of_neighbours(self, self.real))
        if self.copying is not None and min(self.copying.intervals["closest"]) > COPIES:
            says = (
                f"{self.copying.closest:.0%} of the samples are nearer to training examples than all but 1 % of others"
            )
            found.append(Failing("copying", says, "give more data, or a smaller model"))
        return found

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"floor": self.floor}


def sample_quality(
    artifact: Artifact,
    data: Any,
    extractor: nn.Module,
    n: Count = 10_000,
    kind: Kind = "auto",
    seed: int = 0,
    train: Any = None,
) -> Quality:
    """How near samples are to real examples; how near reconstructions are, which is their floor; how near other real
    examples are, which is that of any model.

    A prior can't make samples better than the decoder's reconstructions are, so the distance between the two is the
    prior's part.

    Args:
        artifact: a model.
        data: real examples that were held out, at least ``2 n`` of them, or n is half of what there are.
        extractor: what :func:`fusevae.train_extractor` gave for the training data; for tables
            ``fusevae.evaluation.features.Columns(train)``; or another module with a method ``features``.
        n: samples.
        kind: of samples: ``"mean"`` or ``"sample"``, see :func:`fusevae.sample`.
        seed: of the samples.
        train: the training examples, for the figures on copying.
    """
    return Reference(extractor, as_examples(artifact, data), _examples(artifact, train), n).judge(artifact, kind, seed)


class Reference(Judge):
    """Real examples that samples are held against, made once for all the models that are compared.

    Args:
        extractor: a module with a method ``features``.
        held: real examples that no model was trained on.
        train: those that the models were trained on, or None.
        n: samples of each model, at most half as many as ``held``; :class:`TooFew` where these are fewer than 50 and
            more are asked for.
    """

    quality: type[Quality] = Quality

    def __init__(self, extractor: nn.Module, held: Examples, train: Examples | None = None, n: int = 10_000) -> None:
        if enough(n, len(held) // 2) < 2:
            raise InputError(
                f"{len(held)} examples and {n} samples were given: expected at least four, of two halves, and two"
            )
        self.n = enough(n, len(held) // 2)
        self.extractor, self.train = extractor, train
        self.about = f"{about(extractor)} ({fingerprint(extractor)})"
        generator = torch.Generator().manual_seed(noise.key("reference"))  # whatever order they come in, by class say
        half, other = torch.randperm(len(held), generator=generator)[: 2 * self.n].view(2, self.n)
        x, self.label = held.batch(half)
        self.half, self.others = held.subset(half), held.subset(other)
        self.features = features(extractor, x)
        self.wanted = features_of(extractor, self.others)
        self.real = compared(self.features, self.wanted)
        names, self.known = held.spec.classes, known(held.spec.conditions, self.label)
        self.knows = self.label is not None and bool(names) and isinstance(extractor, Classifier)
        if isinstance(extractor, Classifier) and extractor.head.out_features != len(names or ()):
            self.knows = False
        self.real_accuracy = self.accuracy(x, self.label) if self.knows else None
        self.trained = features_of(extractor, train) if train is not None and len(train) else None
        if self.trained is not None:
            self.apart, self.between = (nearest(self.features, x)[0][:, 0] for x in (self.trained, self.wanted))

    def judge(self, artifact: Artifact, kind: Kind = "auto", seed: int = 0) -> Quality:
        """The figures of one model; see :func:`sample_quality`."""
        kind = kind_used(artifact, kind)
        label = self.label if artifact.is_conditional else None
        x, seconds = timed_samples(artifact, self.n, label, seed, kind)
        made = self.features_of_made(x)
        again = None
        if artifact.distribution.has_latents:
            told = self.features_of_made(reconstruct(artifact, self.others, seed=seed))
            found = compared(self.features, told)
            error = (told - self.wanted).square().mean(1).double()
            mean, stderr = error.mean().item(), error.std().item() / math.sqrt(self.n)
            found.intervals["feature_error"] = interval(mean, stderr, self.n)
            again = Reconstructed(
                **vars(found), feature_error=mean, kind="mean" if artifact.distribution.has_mean else "sample"
            )
        found = compared(self.features, made)
        accuracy = self.accuracy(x, label) if self.knows and label is not None else None
        if accuracy is not None and label is not None:
            found.intervals["accuracy"] = interval_of_part(accuracy, self.labelled(label))
        more = self.more(x)
        found.intervals.update(more.pop("intervals", {}))
        return self.quality(
            **vars(found),
            **more,
            kind=kind,
            reconstructions=again,
            real=self.real,
            labels=labels_in_words(artifact, self.known, self.n) if label is not None else None,
            as_asked=self.as_asked(x, label) if label is not None and accuracy is None else None,
            accuracy=accuracy,
            real_accuracy=self.real_accuracy,
            copying=self.copying(made),
            shares=self.shares(x, made),
            seconds_per_sample=seconds,
            seed=seed,
            extractor=fingerprint(self.extractor),
            features=about(self.extractor),
        )

    def more(self, x: Tensor) -> dict[str, Any]:
        """Further figures of samples, for a :attr:`quality` that has more of them, with their ``intervals``."""
        return {}

    def features_of_made(self, x: Tensor) -> Tensor:
        """Features of what a model made."""
        if x.is_floating_point() and not bool(x.isfinite().all()):
            raise InputError("the model makes values that are not finite: train it again, with a smaller learning rate")
        return features(self.extractor, x)

    def classes(self, x: Tensor) -> dict[str, tuple[np.ndarray, Sequence[str]]]:
        """What the extractor takes examples for, by column, and the names of its classes; nothing where it tells
        none."""
        names = self.others.spec.classes or ()
        if not isinstance(self.extractor, Classifier) or self.extractor.head.out_features != len(names):
            return {}
        return {"class": (self.taken_for(x).numpy(), names)}

    def shares(self, x: Tensor, made: Tensor) -> dict[str, list[float]]:
        """The parts of samples, with their features, and of real examples that are of each class, or else of groups of
        like ones."""
        told = self.classes(x)
        if not told:
            return groups(self.features, made, self.wanted)
        found: dict[str, list[float]] = {}
        for column, (ours, names) in told.items():
            found |= corrected(ours, *self.real_classes[column], [f"{column} {name}" for name in names])
        return found

    def known_classes(self, label: Tensor) -> dict[str, Tensor]:
        """The classes of examples, by column of :meth:`classes`, -1 where they aren't known."""
        return {"class": label}

    @functools.cached_property
    def real_classes(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By column, what the extractor takes real examples for, and what they are, of those of which it is known."""
        each: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for real in (self.half, self.others):
            x, label = real.batch(torch.arange(len(real)))
            known = {} if label is None else self.known_classes(label)
            for column, (told, _) in self.classes(x).items():
                true = known[column].numpy() if column in known else told
                each.setdefault(column, []).append((told[true >= 0], true[true >= 0]))
        return {
            name: (np.concatenate([a for a, _ in ab]), np.concatenate([b for _, b in ab])) for name, ab in each.items()
        }

    @functools.cached_property
    def teller(self) -> Teller:
        """What tells the conditions that the extractor doesn't."""
        return Teller(self.train if self.train is not None and len(self.train) else self.others)

    def as_asked(self, x: Tensor, label: Tensor) -> dict[str, AsAsked]:
        """How far samples have the conditions that they were given."""
        return self.teller.as_asked(x, label, self.others)

    def accuracy(self, x: Tensor, label: Tensor | None) -> float | None:
        """How often the classifier finds the label of an example, of those that have one."""
        assert label is not None
        known = label >= 0
        return (self.taken_for(x) == label)[known].double().mean().item() if bool(known.any()) else None

    def taken_for(self, x: Tensor) -> Tensor:
        """The likeliest class of each example, by the classifier."""
        assert isinstance(self.extractor, Classifier)
        device = next(self.extractor.parameters()).device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return torch.cat([self.extractor(part.to(device)).argmax(-1).cpu() for part in x.split(500)])

    def labelled(self, label: Tensor) -> int:
        """How many examples have a label."""
        return int((label >= 0).sum())

    def copying(self, made: Tensor) -> Copying | None:
        """Whether samples are nearer to training examples than held-out examples are."""
        if self.trained is None:
            return None
        theirs, ours = self.apart, nearest(made, self.trained)[0][:, 0]
        fresh = nearest(made, self.wanted)[0][:, 0]
        wins, losses = part_above(ours, theirs), part_above(theirs, ours)
        nearer, closest = wins.mean().item(), copies(ours, fresh, theirs, self.between).double().mean().item()
        error = math.sqrt(wins.var().item() / len(ours) + losses.var().item() / len(theirs))  # DeLong et al. 1988
        intervals = {
            "nearer": interval_of_part(nearer, self.n, interval(nearer, error, self.n)),
            "closest": interval_of_part(closest, self.n),
        }
        return Copying(nearer=nearer, closest=closest, intervals=intervals, examples=len(self.trained))

    def neighbours(self, x: Tensor, k: int) -> Tensor | None:
        if self.train is None or self.trained is None:
            return None
        index = nearest(features(self.extractor, x), self.trained, min(k, len(self.trained)))[1]
        return self.train.batch(index.flatten())[0].unflatten(0, index.shape)


def part_above(a: Tensor, b: Tensor) -> Tensor:
    """The part of ``b`` that is above each of ``a``, equal ones by half."""
    values = b.sort().values
    above = [len(b) - torch.searchsorted(values, a, right=right) for right in (True, False)]
    return torch.stack(above).double().mean(0) / len(b)


def _examples(artifact: Artifact, data: Any) -> Examples | None:
    if data is None or isinstance(data, Examples):
        return data
    found = read_examples(data)
    check_examples(artifact, found)
    return found
