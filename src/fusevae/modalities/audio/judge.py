"""What judges clips: distances in the features of a classifier, and whether it hears what was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.frames import extent
from fusevae.data.examples import Examples
from fusevae.data.splits import Splits
from fusevae.evaluation.asked import AsAsked
from fusevae.evaluation.intervals import interval, interval_of_part
from fusevae.evaluation.judge import enough
from fusevae.evaluation.quality import Quality, Reference
from fusevae.evaluation.results import COST, figure
from fusevae.evaluation.samples import Kind
from fusevae.evaluation.variety import narrow, ratio
from fusevae.evaluation.verdict import Failing
from fusevae.modalities.audio.classifier import (
    SoundClassifier,
    accuracies,
    classifier_for,
    columns_of,
    found_in,
    targets,
)
from fusevae.modalities.audio.quality import Statistics, detail_of_sound, treble
from fusevae.modalities.audio.schema import rate_of

DULL = -6.0  # dB: upper bands have half the amplitude that they have in real clips


class SoundQuality(Quality):
    """How near samples are to real clips.

    Attributes:
        accuracy: the part of samples in which the classifier finds every class that was asked for.
        columns: the same of each column, beside that of real clips and of reconstructions.
        treble: decibels by which upper bands are above the lowest ones on average, beside real clips.
        detail: how much neighbouring bands and frames differ, as a part of what they do in real clips.
        real_time: seconds that a second of sound takes.
    """

    columns: str | None = figure("classes found", default=None)
    detail: float | None = figure(
        "detail",
        form=".2f",
        interval="intervals",
        hint="of log-mel frames, as a part of that of real clips",
        default=None,
    )
    treble: float | None = figure(
        "upper bands",
        "dB",
        form="+.1f",
        interval="intervals",
        hint="over the lowest ones, beside real clips",
        default=None,
    )
    real_time: float | None = figure("real-time factor", better="low", of=COST, form=".3g", default=None)

    @property
    def followed(self) -> dict[str, AsAsked]:
        return self.as_asked or {}  # each column for itself

    def failings(self) -> list[Failing]:
        says = f"neighbouring bands and moments differ {self.detail or 0:.2f} times as much as in real clips"
        remedy = "train longer, or take codes with a learned prior: speech-codec"
        blurred = narrow(self.intervals.get("detail"), says, remedy)
        if not blurred and max(self.intervals.get("treble", [0.0])) < DULL:
            says = f"upper bands are {-(self.treble or 0.0):.0f} dB weaker beside the lowest ones than in real clips"
            blurred = [Failing("blurred", says, remedy)]
        return super().failings() + blurred


class SoundReference(Reference):
    """Real clips that samples are held against.

    Args:
        held: clips that no model was trained on.
        data: what the models were trained on.
        n: samples of each model.
        device: where a classifier is trained.
        quiet: show no progress.
        part: of the classifier's usual training.
    """

    quality = SoundQuality

    def __init__(self, held: Examples, data: Splits, n: int, device: str, quiet: bool, part: float = 1.0) -> None:
        n = enough(n, len(held) // 2)  # before a classifier is trained
        net = classifier_for(data, device, quiet, part) if columns_of(data.spec) else Statistics(data.train)
        self.spec, self.found = held.spec, torch.zeros(0)
        super().__init__(net, held, data.train, n)
        self.knows = isinstance(net, SoundClassifier) and self.label is not None
        if self.knows:
            x, label = self.others.batch(torch.arange(len(self.others)))
            self.real_accuracy = self.accuracy(x, label)
            self.real_found, self.real_label = self.found, label

    def judge(self, artifact: Artifact, kind: Kind = "auto", seed: int = 0) -> SoundQuality:
        self.made: list[Tensor] = []
        self.found = torch.zeros(0)
        quality = super().judge(artifact, kind, seed)
        assert isinstance(quality, SoundQuality)
        words = None
        if self.knows and isinstance(self.extractor, SoundClassifier):
            told = [("", self.found), ("real ", self.real_found)]
            if quality.reconstructions is not None and self.real_label is not None:
                told.append(("reconstructed ", accuracies(self.extractor, self.made[1], self.real_label, self.spec)))
            names = [column.name for _, column in columns_of(self.spec)]
            parts = [[f"{word}{f[i]:.1%}" for word, f in told if len(f)] for i in range(len(names))]
            words = "; ".join(f"{name} {', '.join(part)}" for name, part in zip(names, parts, strict=True))
        length = float(extent(self.made[0][:, None]).double().mean()) / rate_of(self.spec)
        factor = quality.seconds_per_sample / length if quality.seconds_per_sample is not None and length else None
        asked = self._asked() if quality.accuracy is not None else None
        return replace(quality, columns=words, real_time=factor, as_asked=asked)

    def _asked(self) -> dict[str, AsAsked]:
        """How often the class of each column was found that was asked for."""
        assert self.label is not None
        columns, found = columns_of(self.spec), {}
        for i, wanted in enumerate(targets(self.label, self.spec).unbind(1)):
            known, accuracy = wanted[wanted >= 0], self.found[i].item()
            if len(known):
                found[columns[i][1].name] = AsAsked(
                    n=len(known),
                    accuracy=accuracy,
                    real_accuracy=self.real_found[i].item(),
                    chance=known.bincount().max().item() / len(known),
                    intervals={"accuracy": interval_of_part(accuracy, len(known))},
                )
        return found

    def classes(self, x: Tensor) -> dict[str, tuple[np.ndarray, Sequence[str]]]:
        if not isinstance(self.extractor, SoundClassifier):
            return {}
        found, columns = self.taken_for(x), columns_of(self.spec)
        return {c.name: (found[:, i].numpy(), c.classes) for i, (_, c) in enumerate(columns)}

    def known_classes(self, label: Tensor) -> dict[str, Tensor]:
        wanted = targets(label, self.spec)
        return {column.name: wanted[:, i] for i, (_, column) in enumerate(columns_of(self.spec))}

    def taken_for(self, x: Tensor) -> Tensor:
        assert isinstance(self.extractor, SoundClassifier)
        return found_in(self.extractor, x)

    def more(self, x: Tensor) -> dict[str, Any]:
        real = self.others.batch(torch.arange(len(self.others)))[0]
        ours, theirs = (detail_of_sound(part, rate_of(self.spec)) for part in (x, real))
        found, sides = ratio(ours, theirs, 0.5)
        bright = [treble(part, rate_of(self.spec)) for part in (x, real)]
        above = (bright[0].mean() - bright[1].mean()).item()
        error = math.sqrt(sum((each.var() / len(each)).item() for each in bright))
        known = {"detail": sides, "treble": interval(above, error, len(x))}
        return {"detail": found, "treble": above, "intervals": known}

    def features_of_made(self, x: Tensor) -> Tensor:
        self.made.append(x)  # of samples first, then of reconstructions
        return super().features_of_made(x)

    def accuracy(self, x: Tensor, label: Tensor | None) -> float | None:
        assert isinstance(self.extractor, SoundClassifier) and label is not None
        self.found = accuracies(self.extractor, x, label, self.spec)
        return self.found[-1].item()

    def labelled(self, label: Tensor) -> int:
        return int((targets(label, self.spec) >= 0).all(1).sum())
