"""The page of a comparison: the table, and pictures side by side at equal seeds, in one HTML file."""

from __future__ import annotations

import re
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
from fusevae.data.sheet import Picture, Sheet
from fusevae.evaluation import report, rows
from fusevae.evaluation.comparison import Comparison, short_names
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.latent_pictures import neighbourhood
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.results import REAL
from fusevae.evaluation.samples import sample

COLUMNS, PAIRS, NEAR = 12, 5, 4
WIDE = 1.5  # times as wide as high: a picture of plots, of which two stand side by side
READ_ME = (
    "All figures are on the same held-out examples. Likelihoods are comparable only within a row: another row is over "
    "another support, or given other conditions. A bound is at most the likelihood. Real examples have what a perfect "
    "model would have, reconstructions what no prior over the same decoder does better than."
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
    samples, near, reconstructions = draw(artifacts, names, data, reference, seed)
    sections = [
        f"<h1>{escape(title)}</h1>",
        _warned([*found.warnings().items(), *found.notes().items()]),
        _answered(found.answer_lines()),
        f'<section class="wide">{rows.first(found.named(), found.decided)}</section>',
        _side_by_side("Samples", samples, "The same seed for all; nothing was chosen."),
        _folded(
            "All figures",
            f"<p>{READ_ME}</p>",
            f'<section class="wide">{found._repr_html_()}</section>',
            report.table("Differences in log p(x), example by example", dict(found.difference_lines())),
        ),
        _folded(
            "Reconstructions and neighbours",
            report.sheet(reconstructions, "Reconstructions", RECONSTRUCTIONS) if reconstructions is not None else "",
            _side_by_side("Is it copying?", near, NEIGHBOURS),
        ),
        _folded("How it was made", report.table("", {**dict(found.lines()), **(about or {})})),
    ]
    report.save(path, title, sections, STYLE)


def _warned(warnings: list[tuple[str, str]]) -> str:
    """What is wrong or missing, before anything else."""
    if not warnings:
        return ""
    lines = "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in warnings)
    return f'<section class="warnings"><h2>Mind this</h2><ul>{lines}</ul></section>'


def _answered(lines: list[str]) -> str:
    """The verdict."""
    if not lines:
        return ""
    parts = (
        re.split(r"(?<=\)): " if line.startswith("for likelihood (") else ": ", line, maxsplit=1) for line in lines
    )
    each = "".join(f"<li><b>{escape(what)}</b>: {escape(': '.join(says))}</li>" for what, *says in parts)
    return f'<section class="answer"><h2>Which to take</h2><ul>{each}</ul></section>'


def _folded(title: str, *parts: str) -> str:
    """What is shown when it is asked for, if there is any."""
    inside = "".join(parts)
    return f"<details><summary>{escape(title)}</summary>{inside}</details>" if inside else ""


def draw(
    artifacts: Mapping[str, Artifact], names: Mapping[str, str], data: Examples, reference: Judge | None, seed: int
) -> tuple[dict[str, Sheet], dict[str, Sheet], Sheet | None]:
    """Sheets of each model's samples and of their neighbours, by its short name, and of the reconstructions of all,
    where they can be."""
    some, kind = data.spread(COLUMNS), modality_of(data.spec)
    originals = some.batch(torch.arange(len(some)))[0]
    again, neighbours = [("data", originals)], dict[str, Sheet]()
    beside = data.spread(kind.shown)
    real = beside.batch(torch.arange(len(beside)))[0]
    samples = {REAL: kind.portrait(real, real, data.spec)["samples"]}
    for path, artifact in artifacts.items():
        name = names[path]
        try:
            made = _samples(artifact, kind.shown, seed)
        except InputError:  # an autoencoder before its prior is fitted, say
            made = None
        if made is not None:
            samples[name] = kind.portrait(made, real, artifact.data)["samples"]
            few = made[: PAIRS * 7 : 7]  # of different classes, where there are some
            near = reference.neighbours(few, NEAR) if reference is not None and kind.means else None
            if near is not None:
                neighbours[name] = kind.draw(neighbourhood(few, near), artifact.data)
        if artifact.distribution.has_latents:
            x = reconstruct(artifact, some, seed=seed)
            if artifact.viewed.shape == artifact.data.shape or x.shape == originals.shape:
                again.append((name, x))  # a model of smaller images has no place beside them
    if len(samples) == 1:
        samples = {}
    return samples, neighbours, kind.draw(again, data.spec) if len(again) > 1 else None


def _samples(artifact: Artifact, n: int, seed: int) -> Tensor:
    label = None
    if artifact.is_conditional and artifact.data.n_classes:
        label = torch.arange(n) % artifact.data.n_classes
    return sample(artifact, n, label, seed)


def _side_by_side(title: str, sheets: Mapping[str, Sheet], text: str) -> str:
    figures = "".join(
        f"<figure>{sheet.html(f'{title}: {name}')}<figcaption>{escape(name)}</figcaption></figure>"
        for name, sheet in sheets.items()
    )
    if not figures:
        return ""
    wide = any(isinstance(s, Picture) and s.image.width > WIDE * s.image.height for s in sheets.values())
    side = f'<div class="side{" broad" * wide}">{figures}</div>'
    return f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{side}</section>"


RECONSTRUCTIONS = (
    "The same held-out examples for all: the mean of p(x | z), or a sample where there is none (of texts the likeliest "
    "tokens), at the most typical latent of each."
)
NEIGHBOURS = "At the left of a row a sample, then the training examples nearest to it by the features."

STYLE = """
.warnings { border-left: .3rem solid #c77700; padding-left: 1rem }
.answer { background: var(--card); border-radius: .6rem; padding: .2rem 1rem .6rem; margin: 1rem 0 }
.answer h2, .warnings h2 { margin: .8rem 0 .3rem }
.answer li { margin: .3rem 0 }
main { max-width: 76rem }
.wide { overflow-x: auto }
.wide td { min-width: 6rem; overflow-wrap: normal; font-variant-numeric: tabular-nums }
.wide th { width: auto; min-width: 9rem }
.wide th.part { color: var(--ink); font-weight: 700; padding-top: 1.2rem }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem }
.side.broad { grid-template-columns: repeat(auto-fit, minmax(min(34rem, 100%), 1fr)) }
figure { margin: 0 }
figcaption { color: var(--soft); font-size: .9rem }
"""
