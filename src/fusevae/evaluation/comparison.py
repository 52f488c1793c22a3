"""Everything that can be said of several models of the same data, whatever their families, as one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.data.examples import Examples
from fusevae.data.modality import Judge, modality_of
from fusevae.evaluation.blocks import as_examples, blocks
from fusevae.evaluation.collapse import EXAMPLES, diagnose
from fusevae.evaluation.compare import summary
from fusevae.evaluation.likelihood import check_samples, log_likelihood
from fusevae.evaluation.samples import Kind

NONE = "–"  # in the place of a figure that a family doesn't have


def comparison(
    artifacts: Mapping[str, Artifact],
    data: Any,
    reference: Judge | None = None,
    label: Any = None,
    importance_samples: int = 1000,
    kind: Kind = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """One table of several models: likelihood where there is one, samples, reconstructions, latents, size.

    Args:
        artifacts: models by name, each of any family.
        data: held-out raw examples, the same for all.
        reference: real examples that the samples are held against; None leaves the figures about samples out.
        label: the labels of ``data``, for those that are conditional.
        importance_samples: k of the bounds.
        kind: of samples, see :func:`fusevae.sample`.
        seed: of views and samples; the same for all.

    Returns a dictionary: ``n``; ``support``, where all have the same, else None; ``importance_samples``; ``models`` by
    name and ``differences``. A model has ``family``, ``level``, ``conditional``, ``support``, its likelihood (``value``
    and ``stderr`` in nats per example, ``kind``: exact or bound, ``bits_per_dim``; None where it only samples),
    ``quality`` (:func:`fusevae.sample_quality`), ``reconstruction`` (of :func:`reconstruction_quality`), ``latents``,
    ``parameters``, ``bytes`` and ``notes``: why something is missing. Differences are only between models whose
    likelihoods are over the same support; figures over different ones mean different things.

    Example:
        >>> import torch
        >>> from fusevae import DataSpec, Gaussian, Normal
        >>> from fusevae.nets.mlp import Constant
        >>> a, b = (Artifact(model, DataSpec((2,))) for model in (Normal(2), Gaussian(Constant(4))))
        >>> found = comparison({"a": a, "b": b}, torch.zeros(5, 2))
        >>> found["models"]["a"]["kind"], len(found["differences"])
        ('exact', 1)
    """
    if not artifacts:
        raise InputError("no models were given to compare: give some")
    examples = as_examples(next(iter(artifacts.values())), data, label)
    supports: dict[str, dict[str, Artifact]] = {}
    for name, artifact in artifacts.items():
        as_examples(artifact, examples)
        if artifact.distribution.level >= Level.BOUND:
            check_samples(artifact, importance_samples)
            supports.setdefault(artifact.support, {})[name] = artifact
    models = {name: _about(artifact) for name, artifact in artifacts.items()}
    differences = []
    for group in supports.values():
        each = {name: log_likelihood(a, examples, None, importance_samples, seed) for name, a in group.items()}
        found = summary(group, each)
        differences += found["differences"]
        for name, figures in found["models"].items():
            dims = math.log(2) * group[name].viewed.dims
            bits = group[name].is_mass and group[name].distribution.space != "sequences"
            models[name] |= figures | {"bits_per_dim": -figures["value"] / dims if bits else None}
    for name, artifact in artifacts.items():
        if artifact.distribution.has_latents:
            models[name]["reconstruction"] = modality_of(artifact.data).reconstruction(artifact, examples, seed)
            models[name]["latents"] = latents(artifact, examples, seed)
        try:
            if reference is not None:
                models[name]["quality"] = reference.judge(artifact, kind, seed)
        except InputError as error:  # an autoencoder before its prior is fitted, say
            models[name]["notes"].append(f"no samples: {error}")
    return {
        "n": len(examples),
        "support": next(iter(supports)) if len(supports) == 1 else None,
        "importance_samples": importance_samples,
        "models": models,
        "differences": differences,
    }


def _about(artifact: Artifact) -> dict[str, Any]:
    model = artifact.distribution
    inner = getattr(model, "model", model)  # without its preprocessing
    return {
        "family": type(inner).__name__,
        "level": model.level.name.lower(),
        "conditional": artifact.is_conditional,
        "support": artifact.support,
        "value": None,
        "stderr": None,
        "kind": None,
        "bits_per_dim": None,
        "quality": None,
        "reconstruction": None,
        "latents": None,
        "parameters": artifact.n_parameters,
        "bytes": size(model),
        "notes": [],
    }


def size(model: nn.Module) -> int:
    """Bytes of parameters and buffers, each counted once."""
    return sum(t.numel() * t.element_size() for t in {*model.parameters(), *model.buffers()})


def latents(artifact: Artifact, examples: Examples, seed: int = 0) -> dict[str, Any]:
    """``dims``, ``active`` ones (None where not known), ``kl`` and ``information`` I(x; z) in nats, from the first 500
    examples; only the dimensions where the latent is deterministic."""
    model = artifact.distribution
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    some = examples.subset(torch.arange(min(EXAMPLES, len(examples))))
    with torch.no_grad(), noise.preserved(device):
        block = next(blocks(artifact.eval(), some, seed, device))
        with noise.keyed(seed, "latents", device=device):
            found = diagnose(model, block.x, block.label)
            if not found:
                arrays = model.encode(block.x[:1], None if block.label is None else block.label[:1])
                dims = next(iter(arrays.values())).numel()
                return {"dims": dims, "active": None, "kl": None, "information": None}
    active = found["active_units"].values()
    return {
        "dims": sum(found["units"].values()),
        "active": None if None in active else sum(active),
        "kl": found["kl"],
        "information": found["mutual_information"],
    }


@dataclass
class Row:
    """One figure of all models: a cell for each, and the value by which the best is found."""

    name: str
    cells: list[str]
    values: list[float | None]
    better: Literal["high", "low", None] = None

    @property
    def best(self) -> set[int]:
        """The numbers of the best cells."""
        known = [v for v in self.values if v is not None]
        if self.better is None or len(known) < 2:
            return set()
        best = max(known) if self.better == "high" else min(known)
        return {i for i, v in enumerate(self.values) if v == best}


def rows(found: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The table, section by section; each figure says what it is of, and rows that no model has are left out."""
    models = list(found["models"].values())

    def row(name: str, path: str, form: str, better: Literal["high", "low", None] = None) -> Row:
        values = [_get(m, path) for m in models]
        cells = [NONE if v is None else format(v, form) if form else _word(v) for v in values]
        return Row(name, cells, [v if better else None for v in values], better)

    likelihood = []
    for support in dict.fromkeys(m["support"] for m in models if m["value"] is not None):
        mine = [m if m["support"] == support else {} for m in models]  # figures of other supports are never in one row
        for name, key, better in (("log p(x) in nats", "value", "high"), ("bits per dimension", "bits_per_dim", "low")):
            values = [m.get(key) for m in mine]
            cells = []
            for m, v in zip(mine, values, strict=True):
                error = f" ± {m['stderr']:.2f}" if v is not None and key == "value" else ""
                form = ".2f" if key == "value" else ".4f"
                cells.append(NONE if v is None else f"{v:{form}}{error} ({m['kind']})")
            likelihood.append(Row(f"{name}, {support}", cells, values, better))  # type: ignore[arg-type]
    q = "quality."
    samples = [
        row("made as", f"{q}kind", ""),
        row("FID", f"{q}fid", ".3f", "low"),
        row("FID of reconstructions, the floor", f"{q}floor", ".3f"),
        row("FID of real examples", f"{q}real.fid", ".3f"),
        row("KID", f"{q}kid", ".5f", "low"),
        row("KID, its standard error", f"{q}kid_stderr", ".5f"),
        row("energy distance", f"{q}energy", ".4f", "low"),
        row("precision", f"{q}precision", ".3f", "high"),
        row("recall", f"{q}recall", ".3f", "high"),
        row("density", f"{q}density", ".3f"),
        row("coverage", f"{q}coverage", ".3f", "high"),
        row("distinct words", f"{q}distinct_1", ".3f"),
        row("distinct words, real texts", f"{q}real.distinct_1", ".3f"),
        row("distinct pairs of words", f"{q}distinct_2", ".3f"),
        row("distinct pairs of words, real texts", f"{q}real.distinct_2", ".3f"),
        row("self-BLEU", f"{q}self_bleu", ".3f"),
        row("self-BLEU, real texts", f"{q}real.self_bleu", ".3f"),
        row("perplexity under the judge", f"{q}perplexity", ".1f"),
        row("perplexity under the judge, real texts", f"{q}real.perplexity", ".1f"),
        row("validity", f"{q}validity", ".3f", "high"),
        row("uniqueness", f"{q}uniqueness", ".3f", "high"),
        row("novelty", f"{q}novelty", ".3f", "high"),
        row("KL score", f"{q}kl_score", ".3f", "high"),
        row("FCD", f"{q}fcd", ".3f", "low"),
        row("similarity to the nearest real one", f"{q}snn", ".3f"),
        row("internal diversity", f"{q}diversity", ".3f"),
        row("copied from training data", f"{q}copied", ".1%"),
        row("accuracy given the label", f"{q}accuracy", ".1%", "high"),
        row("nearer to training data than held-out", f"{q}copying.nearer", ".1%"),
        row("nearer than all but 1 % of held-out", f"{q}copying.closest", ".1%"),
    ]
    reconstruction = [
        row("made as", "reconstruction.kind", ""),
        row("error, root mean square", "reconstruction.error", ".4g", "low"),
        row("PSNR in dB", "reconstruction.psnr", ".2f", "high"),
        row("SSIM", "reconstruction.ssim", ".4f", "high"),
        row("error of features, mean square", f"{q}reconstructions.feature_error", ".4f", "low"),
        row("BLEU", "reconstruction.bleu", ".3f", "high"),
        row("tokens that are the same", "reconstruction.tokens", ".1%", "high"),
        row("texts that are the same", "reconstruction.exact", ".1%", "high"),
    ]
    latent = [
        row("dimensions", "latents.dims", ""),
        row("active", "latents.active", ""),
        row("KL in nats", "latents.kl", ".2f"),
        row("I(x; z) in nats", "latents.information", ".2f"),
    ]
    cost = [
        row("training, seconds", "training.seconds", ".0f"),
        row("training, steps", "training.steps", ""),
        row("a sample, milliseconds", f"{q}seconds_per_sample", ".3g", "low"),
        row("parameters", "parameters", ","),
        row("bytes", "bytes", ","),
    ]
    time = next(r for r in cost if "sample" in r.name)
    time.cells = [NONE if v is None else f"{1000 * v:.3g}" for v in time.values]
    sections = {
        "Model": [row("family", "family", ""), row("promises", "level", ""), row("conditional", "conditional", "")],
        "Likelihood of held-out data": likelihood,
        "Samples": samples,
        "Reconstruction of held-out data": reconstruction,
        "Latents": latent,
        "Cost": cost,
    }
    shown = {title: [r for r in each if any(c != NONE for c in r.cells)] for title, each in sections.items()}
    return {title: each for title, each in shown.items() if each}


def difference_lines(found: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Paired differences in words."""
    lines = []
    for d in found["differences"]:
        low, high = d["interval"]
        text = f"{d['value']:+.3f} nats, 95 % between {low:+.3f} and {high:+.3f}"
        lines.append((f"{names[d['model']]} - {names[d['minus']]}", text))
    return lines


def short_names(names: Iterable[str]) -> dict[str, str]:
    """For each run the last part of its path, where no other has the same.

    Example:
        >>> short_names(["runs/a", "runs/b", "a"])
        {'runs/a': 'runs/a', 'runs/b': 'b', 'a': 'a'}
    """
    names = list(names)
    last = [Path(name).name for name in names]
    return {name: short if last.count(short) == 1 and short else name for name, short in zip(names, last, strict=True)}


def _word(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _get(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
