"""How near samples are to data, by features: of a classifier trained on the data, of a named net, or the columns."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.data.source import read_examples
from fusevae.evaluation.blocks import as_examples, check_examples
from fusevae.evaluation.distances import energy_distance, frechet_distance, kernel_distance, nearest, neighbourhoods
from fusevae.evaluation.features import about, features, features_of, fingerprint
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.samples import Kind, kind_used, sample
from fusevae.nets.classifier import Classifier

CLOSEST = 0.01  # part of fresh examples that are as near to a training example as what counts as a copy


def sample_quality(
    artifact: Artifact,
    data: Any,
    extractor: nn.Module,
    n: int = 10_000,
    kind: Kind = "auto",
    seed: int = 0,
    train: Any = None,
) -> dict[str, Any]:
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

    Returns a dictionary: ``fid`` (:func:`frechet_distance`), ``kid`` and ``kid_stderr`` (:func:`kernel_distance`),
    ``energy`` (:func:`energy_distance`), ``precision``, ``recall``, ``density`` and ``coverage``
    (:func:`neighbourhoods`) of samples against n real examples; the same in ``reconstructions`` (of n others, with
    its own ``kind``, and ``feature_error``, the mean square by which a feature of a reconstruction differs from its
    example's, of features whose variance is 1 on average; None without latents) and in ``real`` (those n others
    themselves); ``floor``, the FID of reconstructions; ``kind``; ``labels``: a conditional model is given those of
    the real examples; ``accuracy``: how often the extractor, where it is a classifier, finds the label that a
    sample was given, and ``real_accuracy``, that of real examples; ``copying``; ``seconds_per_sample``, in batches
    of 256; ``n``, ``seed``, ``extractor`` (a hash of its weights) and ``features`` (what they are).

    ``copying`` (Meehan et al. 2020) compares distances, by features, to the nearest training example: ``nearer``, the
    probability that a sample's is less than a held-out example's (0.5 for fresh draws from the truth, 1 for copies),
    and ``closest``, the part of samples that are nearer than all but 1 % of held-out ones.
    """
    return Reference(extractor, as_examples(artifact, data), _examples(artifact, train), n).judge(artifact, kind, seed)


class Reference:
    """Real examples that samples are held against, made once for all the models that are compared.

    Args:
        extractor: a module with a method ``features``.
        held: real examples that no model was trained on.
        train: those that the models were trained on, or None.
        n: samples of each model, at most half as many as ``held``.
    """

    def __init__(self, extractor: nn.Module, held: Examples, train: Examples | None = None, n: int = 10_000) -> None:
        self.n = min(n, len(held) // 2)
        if self.n < 2:
            raise InputError(f"{len(held)} examples were given: expected at least four, to compare two halves")
        self.extractor, self.train = extractor, train
        generator = torch.Generator().manual_seed(noise.key("reference"))  # whatever order they come in, by class say
        half, other = torch.randperm(len(held), generator=generator)[: 2 * self.n].view(2, self.n)
        x, self.label = held.batch(half)
        self.others = held.subset(other)
        self.features = features(extractor, x)
        self.wanted = features_of(extractor, self.others)
        self.real = compared(self.features, self.wanted)
        names = held.spec.classes
        self.knows = self.label is not None and bool(names) and isinstance(extractor, Classifier)
        if isinstance(extractor, Classifier) and extractor.head.out_features != len(names or ()):
            self.knows = False
        self.real_accuracy = self.accuracy(x, self.label) if self.knows else None
        self.trained = features_of(extractor, train) if train is not None and len(train) else None
        if self.trained is not None:
            self.apart = nearest(self.features, self.trained)[0][:, 0]

    def judge(self, artifact: Artifact, kind: Kind = "auto", seed: int = 0) -> dict[str, Any]:
        """The figures of one model; see :func:`sample_quality`."""
        kind = kind_used(artifact, kind)
        label = self.label if artifact.is_conditional else None
        sample(artifact, 1, seed=seed, kind=kind)  # what is done once only is not a part of the time
        started = time.perf_counter()
        x = sample(artifact, self.n, label, seed, kind)
        seconds = (time.perf_counter() - started) / self.n
        made = self.features_of_made(x)
        again = None
        if artifact.distribution.has_latents:
            told = self.features_of_made(reconstruct(artifact, self.others, seed=seed))
            again = compared(self.features, told)
            again["feature_error"] = (told - self.wanted).square().mean().item()
            again["kind"] = "mean" if artifact.distribution.has_mean else "sample"
        return {
            **compared(self.features, made),
            "floor": again["fid"] if again else None,
            "kind": kind,
            "reconstructions": again,
            "real": self.real,
            "labels": "of the real examples" if label is not None else None,
            "accuracy": self.accuracy(x, label) if self.knows and label is not None else None,
            "real_accuracy": self.real_accuracy,
            "copying": self.copying(made),
            "seconds_per_sample": seconds,
            "n": self.n,
            "seed": seed,
            "extractor": fingerprint(self.extractor),
            "features": about(self.extractor),
        }

    def lines(self, found: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The figures of :meth:`judge` in words."""
        return quality_lines(found)

    def features_of_made(self, x: Tensor) -> Tensor:
        """Features of what a model made."""
        if x.is_floating_point() and not bool(x.isfinite().all()):
            raise InputError("the model makes values that are not finite: train it again, with a smaller learning rate")
        return features(self.extractor, x)

    def accuracy(self, x: Tensor, label: Tensor | None) -> float | None:
        """How often the classifier finds the label of an example, of those that have one."""
        assert isinstance(self.extractor, Classifier) and label is not None
        device = next(self.extractor.parameters()).device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            found = torch.cat([self.extractor(part.to(device)).argmax(-1).cpu() for part in x.split(500)])
        known = label >= 0
        return (found == label)[known].double().mean().item() if bool(known.any()) else None

    def copying(self, made: Tensor) -> dict[str, float] | None:
        """Whether samples are nearer to training examples than held-out examples are."""
        if self.trained is None:
            return None
        theirs, ours = self.apart.sort().values, nearest(made, self.trained)[0][:, 0]
        farther = [len(theirs) - torch.searchsorted(theirs, ours, right=right) for right in (True, False)]
        wins = torch.stack(farther).double().mean(0) / len(theirs)
        close = ours < theirs.quantile(CLOSEST)
        return {"nearer": wins.mean().item(), "closest": close.double().mean().item(), "examples": len(self.trained)}

    def neighbours(self, x: Tensor, k: int) -> Tensor | None:
        """The ``k`` training examples nearest to each of ``x``, ``(n, k, *shape)``."""
        if self.train is None or self.trained is None:
            return None
        index = nearest(features(self.extractor, x), self.trained, min(k, len(self.trained)))[1]
        return self.train.batch(index.flatten())[0].unflatten(0, index.shape)


def compared(real: Tensor, made: Tensor) -> dict[str, Any]:
    """Every distance of two sets of features."""
    kid, error = kernel_distance(real, made)
    return {
        "fid": frechet_distance(real, made),
        "kid": kid,
        "kid_stderr": None if math.isnan(error) else error,
        "energy": energy_distance(real, made),
        **neighbourhoods(real, made),
    }


def quality_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures in words; each says whether it is of means or of samples."""
    what = "means of p(x | z)" if found["kind"] == "mean" else "samples"
    again, real = found["reconstructions"], found["real"]
    rows = [("judged", f"{found['n']:,} {what}, by {found['features']} ({found['extractor']})")]
    if found["labels"]:
        rows.append(("labels", found["labels"]))
    for key, name, digits in (("fid", "FID", 3), ("kid", "KID", 5), ("energy", "energy distance", 4)):
        text = f"{found[key]:.{digits}f}"
        if key == "kid" and found["kid_stderr"] is not None:
            text += f" ± {found['kid_stderr']:.{digits}f}"
        if again:
            text += f", floor {again[key]:.{digits}f} (reconstructions: {again['kind']}s)"
        rows.append((name, f"{text}, real examples {real[key]:.{digits}f}"))
    for key in ("precision", "recall", "density", "coverage"):
        floor = f", reconstructions {again[key]:.3f}" if again else ""
        rows.append((key, f"{found[key]:.3f}{floor}, real examples {real[key]:.3f}"))
    if again:
        rows.append(("error of features", f"{again['feature_error']:.4f} (mean square, reconstructions)"))
    if found["accuracy"] is not None:
        rows.append(
            ("accuracy given the label", f"{found['accuracy']:.1%}, real examples {found['real_accuracy']:.1%}")
        )
    if (copying := found["copying"]) is not None:
        rows.append(
            (
                "nearer to training data",
                f"than held-out examples are: {copying['nearer']:.1%} (fresh 50 %, copies 100 %); nearer than all but "
                f"1 % of them: {copying['closest']:.1%}",
            )
        )
    rows.append(("time of a sample", f"{1000 * found['seconds_per_sample']:.3g} ms"))
    return rows


def _examples(artifact: Artifact, data: Any) -> Examples | None:
    if data is None or isinstance(data, Examples):
        return data
    found = read_examples(data)
    check_examples(artifact, found)
    return found
