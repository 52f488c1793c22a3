"""Everything that can be said of several models of the same data, whatever their families, as one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import torch

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.core.typed import Count
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.evaluation import rows
from fusevae.evaluation.answer import Advice, advice, would_change
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.evaluation.compare import Difference, summary
from fusevae.evaluation.given import given, known_of
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.likelihood import check_samples, diagnosed, log_likelihood
from fusevae.evaluation.of_model import LatentsSummary, ModelResult
from fusevae.evaluation.results import Result, figure
from fusevae.evaluation.samples import Kind
from fusevae.evaluation.scores import Size, bits_per_dim


class Comparison(Result):
    """Everything that can be said of several models of the same data.

    Attributes:
        n: held-out examples, the same for all.
        support: where the likelihoods of all are over the same, else None.
        importance_samples: k of the bounds.
        models: by name.
        differences: between models whose likelihoods are over the same support, and given the same; others mean
            different things.
        data: what the examples are, in words.
        judge: what samples were judged by.
        unjudged: why they were not, where there was nothing to judge them by.
        budget: seconds of each training, where all had the same.
        total: seconds of everything, where these were shared out.
        refused: why others are not in it.
    """

    n: int = figure("examples", form=",")
    support: str | None = figure("support")
    importance_samples: int = figure("importance samples", form=",")
    models: dict[str, ModelResult]
    differences: list[Difference]
    data: str | None = figure("data", default=None)
    judge: str | None = figure("samples are judged by", default=None)
    unjudged: str | None = None
    budget: float | None = figure("time of each training", "s", form=",g", default=None)
    total: float | None = figure("time of everything", "s", form=",g", default=None)
    refused: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return rows.text(self.named())

    def _repr_html_(self) -> str:
        return rows.html(self.named(), decided=self.decided)

    def named(self) -> dict[str, ModelResult]:
        """The models by short names."""
        names = short_names(self.models)
        return {names[name]: model for name, model in self.models.items()}

    def difference_lines(self) -> list[tuple[str, str]]:
        """Paired differences in words."""
        names = short_names(self.models)
        return [(f"{names[d.model]} - {names[d.minus]}", text) for d in self.differences for _, text in d.lines()]

    @property
    def answer(self) -> list[Advice]:
        """Which to take, for each purpose."""
        return advice(self.named(), self._apart(), self.n)

    @property
    def decided(self) -> dict[tuple[str, str], str]:
        """The best by each figure that the answer is by, and what it is over; an empty name where it can't be told."""
        return {(one.figure, one.over): one.take[0] if one.sure else "" for one in self.answer if one.figure}

    def answer_lines(self) -> list[str]:
        """The same in words, and what would change it."""
        return [*map(str, self.answer), *would_change(self.named(), self.n)]

    def warnings(self) -> dict[str, str]:
        """What is wrong with samples, by model."""
        each = {name: m.quality.failings() for name, m in self.named().items() if m.quality is not None}
        return {name: "; ".join(map(str, found)) for name, found in each.items() if found}

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"answer": [a.to_dict() for a in self.answer], "verdict": self.answer_lines()}

    def _apart(self) -> list[Difference]:
        names = short_names(self.models)
        return [replace(d, model=names[d.model], minus=names[d.minus]) for d in self.differences]

    def notes(self) -> dict[str, str]:
        """What is not in the table, and why."""
        names = short_names(self.models)
        found = {names[name]: "; ".join(m.notes) for name, m in self.models.items() if m.notes} | self.refused
        return {"samples": f"they were not judged: {self.unjudged}"} | found if self.unjudged else found


def comparison(
    artifacts: Mapping[str, Artifact],
    data: Any,
    reference: Judge | None = None,
    label: Any = None,
    importance_samples: Count = 1000,
    kind: Kind = "auto",
    seed: int = 0,
) -> Comparison:
    """One table of several models: likelihood where there is one, samples, reconstructions, latents, size.

    Args:
        artifacts: models by name, each of any family.
        data: held-out raw examples, the same for all.
        reference: real examples that the samples are held against; None leaves the figures about samples out.
        label: the labels of ``data``, for those that are conditional.
        importance_samples: k of the bounds.
        kind: of samples, see :func:`fusevae.sample`.
        seed: of views and samples; the same for all.

    Example:
        >>> import torch
        >>> from fusevae import DataSpec, Gaussian, Normal
        >>> from fusevae.nets.mlp import Constant
        >>> a, b = (Artifact(model, DataSpec((2,))) for model in (Normal(2), Gaussian(Constant(4))))
        >>> found = comparison({"a": a, "b": b}, torch.zeros(5, 2))
        >>> found.models["a"].log_likelihood.kind, len(found.differences)
        ('exact', 1)
    """
    if not artifacts:
        raise InputError("no models were given to compare: give some")
    examples = as_examples(next(iter(artifacts.values())), data, label)
    for artifact in artifacts.values():
        as_examples(artifact, examples)
    counts = known_of(examples) if any(a.is_conditional for a in artifacts.values()) else torch.zeros(0)
    models = {name: _about(a, given(a, counts, len(examples))) for name, a in artifacts.items()}
    alike: dict[str, dict[str, Artifact]] = {}
    for name, artifact in artifacts.items():
        if artifact.distribution.level >= Level.BOUND:
            check_samples(artifact, importance_samples)
            alike.setdefault(models[name].over, {})[name] = artifact
    supports = {a.support for group in alike.values() for a in group.values()}
    differences = []
    for group in alike.values():
        each = {name: log_likelihood(a, examples, None, importance_samples, seed) for name, a in group.items()}
        values, apart = summary(group, each)
        differences += apart
        for name, value in values.items():
            models[name].log_likelihood = value
            models[name].bits_per_dim = bits_per_dim(group[name], value.value)
    for name, artifact in artifacts.items():
        if artifact.distribution.has_latents:
            models[name].reconstruction = modality_of(examples.spec).reconstruction(artifact, examples, seed)
            models[name].latents = latents(artifact, examples, seed)
        try:
            if reference is not None:
                models[name].quality = reference.judge(artifact, kind, seed)
        except InputError as error:  # an autoencoder before its prior is fitted, say
            models[name].notes.append(f"no samples: {error}")
    return Comparison(
        n=len(examples),
        support=next(iter(supports)) if len(supports) == 1 else None,
        importance_samples=importance_samples,
        models=models,
        differences=differences,
        judge=None if reference is None else reference.about,
    )


def _about(artifact: Artifact, conditions: str | None) -> ModelResult:
    model = artifact.distribution
    return ModelResult(
        family=type(getattr(model, "model", model)).__name__,  # without its preprocessing
        level=model.level.name.lower(),
        conditional=artifact.is_conditional,
        support=artifact.support,
        given=conditions if artifact.distribution.level >= Level.BOUND else None,
        **vars(Size.of(artifact)),
    )


def latents(artifact: Artifact, examples: Examples, seed: int = 0) -> LatentsSummary:
    """What the latents of at most 500 examples hold, evenly over all."""
    device = next((p.device for p in artifact.distribution.parameters()), torch.device("cpu"))
    with torch.no_grad(), noise.preserved(device):
        found = diagnosed(artifact.eval(), examples, seed)
        if not found:
            block = next(blocks(artifact, examples.subset(torch.arange(1)), seed, device))
            arrays = artifact.distribution.encode(block.x, block.label)
            return LatentsSummary(dims=next(iter(arrays.values())).numel())
    active = found["active_units"].values()
    return LatentsSummary(
        dims=sum(found["units"].values()),
        active=None if None in active else sum(active),
        kl=found["kl"],
        information=found["mutual_information"],
    )


def short_names(names: Iterable[str]) -> dict[str, str]:
    """For each run the last part of its path, where no other has the same.

    Example:
        >>> short_names(["runs/a", "runs/b", "a"])
        {'runs/a': 'runs/a', 'runs/b': 'b', 'a': 'a'}
    """
    names = list(names)
    last = [Path(name).name for name in names]
    return {name: short if last.count(short) == 1 and short else name for name, short in zip(names, last, strict=True)}
