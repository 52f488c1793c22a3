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
from fusevae.evaluation import pictures, report, texts
from fusevae.evaluation.comparison import Comparison, short_names
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.latent_pictures import neighbourhood
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.samples import sample

SAMPLES, COLUMNS, PAIRS, NEAR = 36, 12, 5, 4
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
                Path(folder) / "samples.png", "Samples", "At temperature 1, the same seed for all; nothing was chosen."
            ),
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
    """``samples-I.png`` and ``neighbours-I.png`` of each model I, ``reconstructions.png`` of all, where they can be; of
    texts one table of samples and one of reconstructions."""
    if next(iter(artifacts.values())).data.vocabulary is not None:
        return write_texts(artifacts, names, data, folder, seed)
    originals = data.batch(torch.arange(min(COLUMNS, len(data))))[0]
    sheet, labels = [originals], ["data"]
    for i, (name, artifact) in enumerate(artifacts.items()):
        spec = artifact.data
        try:
            x = _samples(artifact, seed)
        except InputError:  # an autoencoder before its prior is fitted, say
            x = None
        if not spec.is_image:
            if x is not None:
                real = data.batch(torch.arange(min(2000, len(data))))[0]
                pictures.histograms(real, x, folder / f"samples-{i}.png")
            continue
        if x is not None:
            pictures.save_image(pictures.grid(x, spec), folder / f"samples-{i}.png")
            few = x[: PAIRS * 7 : 7]  # of different classes, where there are some
            near = reference.neighbours(few, NEAR) if reference is not None else None
            if near is not None:
                pictures.save_image(neighbourhood(few, near, spec), folder / f"neighbours-{i}.png")
        if artifact.distribution.has_latents:
            some = data.subset(torch.arange(len(originals)))
            again = reconstruct(artifact, some, seed=seed)
            if again.shape == originals.shape:  # a model of smaller images has no place beside them
                sheet.append(again)
                labels.append(names[name])
    if len(sheet) > 1:
        together = torch.cat([x.to(originals.dtype) for x in sheet])
        spec = next(iter(artifacts.values())).data
        picture = pictures.grid(together, spec, len(originals), labels)
        pictures.save_image(picture, folder / "reconstructions.png")


def write_texts(
    artifacts: Mapping[str, Artifact], names: Mapping[str, str], data: Examples, folder: Path, seed: int
) -> None:
    """``samples.csv`` and ``reconstructions.csv``, a column for each model."""
    some = data.subset(torch.arange(min(COLUMNS, len(data))))
    columns = {names[name]: a.data.text(sample(a, COLUMNS, seed=seed)) for name, a in artifacts.items()}
    texts.write_rows(folder / "samples.csv", list(columns), zip(*columns.values(), strict=True))
    columns = {"data": data.spec.text(some.batch(torch.arange(len(some)))[0])}
    for name, a in artifacts.items():
        if a.distribution.has_latents:
            columns[names[name]] = a.data.text(reconstruct(a, some, seed=seed))
    if len(columns) > 1:
        texts.write_rows(folder / "reconstructions.csv", list(columns), zip(*columns.values(), strict=True))


def _samples(artifact: Artifact, seed: int) -> Tensor:
    if not artifact.data.is_image:
        return sample(artifact, 2000, seed=seed)
    label = None
    if artifact.is_conditional and artifact.data.n_classes:
        label = torch.arange(SAMPLES) % artifact.data.n_classes
    return sample(artifact, SAMPLES, label, seed)


def _side_by_side(folder: Path, kind: str, title: str, names: Mapping[str, str], text: str) -> str:
    figures = ""
    for i, name in enumerate(names.values()):
        path = folder / f"{kind}-{i}.png"
        if path.exists():
            shown = report.embedded(path, f"{kind} of {name}")
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
