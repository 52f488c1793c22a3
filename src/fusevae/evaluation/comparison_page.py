"""The page of a comparison: the table, and pictures side by side at equal seeds, in one HTML file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.data.modality import modality_of
from fusevae.data.sheet import Rows, embedded
from fusevae.evaluation import report
from fusevae.evaluation.comparison import Comparison, short_names
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.latent_pictures import neighbourhood
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.samples import sample

COLUMNS, PAIRS, NEAR = 12, 5, 4
READ_ME = (
    "All figures are on the same held-out examples. Likelihoods are comparable only within a row: another row is over "
    "another support. A bound is at most the likelihood. Real examples have what a perfect model would have, "
    "reconstructions what no prior over the same decoder does better than."
)


def write(
    path: Path,
    found: Comparison,
    artifacts: Mapping[str, Artifact],
    data: Examples,
    reference: Judge | None = None,
    title: str = "Comparison",
    about: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        found: what :func:`fusevae.evaluation.comparison.comparison` gave.
        artifacts: the models that it compared.
        data: the held-out examples.
        reference: what its samples were held against; its training examples are shown beside samples.
        title: of the page.
        about: facts for the end of the page, a word and its value.
        seed: of the pictures.
    """
    names = short_names(found.models)
    with tempfile.TemporaryDirectory() as folder:
        draw(artifacts, names, data, reference, Path(folder), seed)
        sections = [
            f"<h1>{escape(title)}</h1>",
            f"<p>{READ_ME}</p>",
            f'<section class="wide">{found._repr_html_()}</section>',
            report.table("Differences in log p(x), example by example", dict(found.difference_lines())),
            report.table("Not in the table", found.notes()),
            _side_by_side(Path(folder), "samples", "Samples", names, "The same seed for all; nothing was chosen."),
            report.picture(
                Path(folder) / "reconstructions.png",
                "Reconstructions",
                "The same held-out examples for all: the mean of p(x | z), or a sample where there is none (of texts "
                "the likeliest tokens), at the most typical latent of each.",
            ),
            _side_by_side(
                Path(folder), "neighbours", "Is it copying?", names,
                "At the left of a row a sample, then the training examples nearest to it by the features.",
            ),
            report.table("How it was made", {**dict(found.lines()), **(about or {})}),
        ]  # fmt: skip
    report.save(path, title, sections, STYLE)


def draw(
    artifacts: Mapping[str, Artifact],
    names: Mapping[str, str],
    data: Examples,
    reference: Judge | None,
    folder: Path,
    seed: int,
) -> None:
    """Sheets of each model I, ``samples-I`` and ``neighbours-I``, and ``reconstructions`` of all, where they can be."""
    some = data.spread(COLUMNS)
    originals = some.batch(torch.arange(len(some)))[0]
    again, spec = [("data", originals)], data.spec
    for i, (name, artifact) in enumerate(artifacts.items()):
        kind = modality_of(artifact.data)
        try:
            made = _samples(artifact, seed)
        except InputError:  # an autoencoder before its prior is fitted, say
            made = None
        if made is not None:
            beside = data.spread(kind.shown)
            real = beside.batch(torch.arange(len(beside)))[0]
            kind.portrait(made, real, artifact.data)["samples"].beside(folder / f"samples-{i}")
            few = made[: PAIRS * 7 : 7]  # of different classes, where there are some
            near = reference.neighbours(few, NEAR) if reference is not None and kind.means else None
            if near is not None:
                kind.draw(neighbourhood(few, near), artifact.data).beside(folder / f"neighbours-{i}")
        if artifact.distribution.has_latents:
            x = reconstruct(artifact, some, seed=seed)
            if artifact.viewed.shape == artifact.data.shape or x.shape == originals.shape:
                again.append((names[name], x))  # a model of smaller images has no place beside them
    if len(again) > 1:
        modality_of(spec).draw(again, spec).beside(folder / "reconstructions")


def _samples(artifact: Artifact, seed: int) -> Tensor:
    n, label = modality_of(artifact.data).shown, None
    if artifact.is_conditional and artifact.data.n_classes:
        label = torch.arange(n) % artifact.data.n_classes
    return sample(artifact, n, label, seed)


def _side_by_side(folder: Path, kind: str, title: str, names: Mapping[str, str], text: str) -> str:
    figures = ""
    for i, name in enumerate(names.values()):
        path = folder / f"{kind}-{i}.png"
        shown = Rows.read(path.with_suffix(".csv")).html() if path.with_suffix(".csv").exists() else ""
        if path.exists():
            shown = embedded(path.read_bytes(), f"{kind} of {name}")
        if shown:
            figures += f"<figure>{shown}<figcaption>{escape(name)}</figcaption></figure>"
    if not figures:
        return ""
    return f'<section><h2>{escape(title)}</h2><p>{escape(text)}</p><div class="side">{figures}</div></section>'


STYLE = """
main { max-width: 76rem }
.wide { overflow-x: auto }
.wide td { white-space: nowrap; font-variant-numeric: tabular-nums }
.wide th { width: auto; min-width: 9rem }
.wide th.part { color: var(--ink); font-weight: 700; padding-top: 1.2rem }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem }
figure { margin: 0 }
figcaption { color: var(--soft); font-size: .9rem }
"""
