"""The report of a run: one HTML file with everything in it, pictures too, that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from fusevae.core.files import write_text
from fusevae.data.sheet import Sheet
from fusevae.evaluation.results import LIKELIHOOD, Result


@dataclass
class Facts:
    """What a report tells.

    Attributes:
        title: of the page.
        evaluation: what :func:`fusevae.evaluate` gave; None where the model has no likelihood.
        held_out: what the figures are over, in words.
        samples: how the samples were made, in words.
        sheets: what is shown, by name: ``samples`` and others of them, ``reconstructions``, those of the latents and
            ``curves``.
        verdict: what is wrong, in lines.
        parts: further facts, a word and its value.
        latents: what the diagnosis of the latents found, a word and its value.
        events: messages about the training, in order.
        configuration: as YAML.
        command: that makes the run again.
    """

    title: str
    evaluation: Result | None
    held_out: str
    samples: str
    sheets: Mapping[str, Sheet] = field(default_factory=dict)
    verdict: Sequence[str] = ()
    parts: Mapping[str, Any] = field(default_factory=dict)
    latents: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[str] = ()
    configuration: str = ""
    command: str = ""


def write(path: Path, facts: Facts) -> None:
    """Write the page."""
    sections = [
        f"<h1>{escape(facts.title)}</h1>",
        _lines("Is it good?", facts.verdict),
        _figures(facts),
        *(sheet(shown, *_caption(name, facts)) for name, shown in facts.sheets.items()),
        table("The latents, at the end of the training", facts.latents),
        _lines("Events", facts.events),
        table("The run", facts.parts),
        f"<section><h2>Make it again</h2><pre>{escape(facts.command)}</pre></section>" if facts.command else "",
        f"<details><summary>Configuration</summary><pre>{escape(facts.configuration)}</pre></details>",
    ]
    save(path, facts.title, sections)


def save(path: Path, title: str, sections: Sequence[str], style: str = "") -> None:
    """Write a page of sections, those that are empty left out, with a style beside that of every page."""
    body = "\n".join(s for s in sections if s)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title>\n'
        f"<style>{STYLE}{style}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n",
    )


def _figures(facts: Facts) -> str:
    if facts.evaluation is None:
        return "<p>This model has no likelihood; it is judged by its samples.</p>"
    cards = "".join(
        f'<div class="card"><span>{escape(f.name)}{escape(f", {f.note}" if f.note else "")}</span>'
        f"<b>{escape(f.words(f.value))}</b><span>{escape(f.unit)}</span></div>"
        for f in facts.evaluation.figures()
        if f.of == LIKELIHOOD and f.better and f.value is not None
    )
    return (
        f'<section><div class="cards">{cards}</div><p>On the {escape(facts.held_out)}. Figures over another support '
        f"can't be compared with these.</p></section>{table('The figures', dict(facts.evaluation.lines()))}"
    )


def sheet(shown: Sheet, title: str, text: str) -> str:
    """A section with a sheet in it."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{shown.html(title)}</section>"


def _caption(name: str, facts: Facts) -> tuple[str, str]:
    """Title and text of a sheet; one that only its modality knows is of samples beside the data."""
    if name == "samples":
        return "Samples", facts.samples
    title, text = CAPTIONS.get(name, (name.capitalize(), "Of samples, and of examples of the {}."))
    return title, text.format(facts.held_out)


def _lines(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<section><h2>{title}</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul></section>"


def table(title: str, facts: Mapping[str, Any]) -> str:
    """A section of words and their values, if there are any."""
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    head = f"<h2>{escape(title)}</h2>" if title else ""
    return f"<section>{head}<table>{rows}</table></section>" if rows else ""


CAPTIONS = {
    "reconstructions": (
        "Reconstructions",
        "Examples of the {}, and what p(x | z) makes of the mean of the posterior of each: its mean, or the likeliest "
        "text.",
    ),
    "alignment": (
        "Alignment",
        "Of examples of the {} the character that each frame belongs to (orange), by the monotonic search over the "
        "mean of the posterior, above what the model sees of the sound.",
    ),
    "traversals": (
        "Traversals",
        "Each row changes one dimension of the latent of the first example of the {}, from its 2.5 % to its 97.5 % "
        "quantile; the dimensions whose posterior means vary most come first.",
    ),
    "interpolations": (
        "Interpolations",
        "At both ends of a row two examples of the {}, between them the means of p(x | z) (of texts the likeliest) on "
        "the great circle from the latent of one to that of the other.",
    ),
    "map": ("Map of the latents", "The means of the posteriors of the {}, at most 2,000, in the plane."),
    "neighbours": (
        "Neighbours",
        "At the left of a row an example of the {}, then those of it whose latents are nearest.",
    ),
    "curves": (
        "Training",
        "The true bound and its parts, whatever was optimised; training figures are means since the last record.",
    ),
}

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6675; --paper: #fff; --card: #f2f4f7; --line: #dde2e8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa5b4; --paper: #15191f; --card: #20262e; --line: #333b45 }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.6rem; margin: 0 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem }
p { color: var(--soft); margin: .4rem 0 .8rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem }
.card { background: var(--card); border-radius: .6rem; padding: .7rem .9rem }
.card span { display: block; color: var(--soft); font-size: .82rem }
.card b { font-size: 1.55rem; font-variant-numeric: tabular-nums }
img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line) }
th, td { vertical-align: top; overflow-wrap: anywhere }
th { font-weight: 500; color: var(--soft); width: 11rem }
.texts { max-height: 32rem; overflow: auto }
.texts td { white-space: pre-wrap }
.texts th { width: auto }
pre { background: var(--card); padding: .8rem; border-radius: .5rem; overflow-x: auto; font-size: .85rem }
summary { cursor: pointer; font-size: 1.15rem; font-weight: 700; margin-top: 2.2rem }
"""
