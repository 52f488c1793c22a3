"""The page of the zoo, ``docs/holds.md``, made from the records of its cells."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.stats import t as student
from zoo_cell import JUDGED, OVERFITTED, K
from zoo_sets import BY_NAME, SETS

Record = dict[str, Any]
#: each fusion, what it is held against, and by what: ``likelihood`` of the same examples, ``samples`` by features
#: (their kernel distance to real examples), or ``both``: within a hundredth of the parent with a latent of 3 nats
PAIRS = {
    "flow-vae": ("binary-vae", "likelihood"),
    "vamp-vae": ("binary-vae", "likelihood"),
    "hvae-vamp": ("vamp-vae", "likelihood"),
    "ladder-vae": ("binary-vae", "likelihood"),
    "pixel-vae": ("binary-vae", "likelihood"),
    "vlae": ("flow-vae", "likelihood"),
    "latent-diffusion": ("binary-vae", "samples"),
    "vae-gan": ("vae-of-vae-gan", "samples"),
    "vq-vae": ("conv-vae", "samples"),
    "fsq-vae": ("conv-vae", "samples"),
    "text-vae": ("text-transformer", "both"),
    "text-vae-lstm": ("text-lstm", "both"),
    "text-vq": ("text-transformer", "likelihood"),
    "molecules-vae": ("molecules-transformer", "both"),
}
SUBSETS = 10  # that the error of a kernel distance is over
WITHIN, TOLD = 0.01, 3.0  # of the parent's value; nats of I(x; z)
MARKS = {
    "W": "worse than the constant model; of `vae-gan`, `patch-gan-vae`, `wae` and what has no likelihood by the FID of "
    "samples, beyond the intervals of both",
    "C": "collapsed: KL under half a nat, and under a tenth of what it is ahead of the constant model",
    "K": "exploded: one dimension of the latent costs 10 nats",
    "D": "most codes dead",
    "O": f"overfitted: what is kept is over {OVERFITTED} % of the bound below the best validation, where that chooses",
    "X": "crash",
}
CRITICS = {"vae-gan", "patch-gan-vae", "wae"}  # have a bound, but are trained for their samples, and judged by these
OF_WRONG = {"collapsed": "C", "exploded": "K", "dead codes": "D", "worse than a constant model": "W"}


class Place(Protocol):
    """A cell: its set, its recipe, its seconds."""

    set: str
    recipe: str
    seconds: float


def marks(record: Record) -> str:
    """What is wrong with a cell, a letter each."""
    if "crash" in record:
        return "X"
    found = {OF_WRONG[name] for name in (record.get("latents") or {}).get("wrong", {}) if name in OF_WRONG} - {"W"}
    scored, over, made = (record.get(key) or {} for key in ("likelihood", "overfitting", "quality"))
    for_samples = "constant" in made and (not scored or record.get("recipe") in CRITICS)
    if scored and not for_samples and not (scored["gain"] or -math.inf) > 0:
        found.add("W")
    if for_samples and not _fid(made, 0) < _fid(made["constant"], 1):
        found.add("W")
    if over and not for_samples and not (over["percent"] if over["percent"] is not None else math.inf) <= OVERFITTED:
        found.add("O")
    return "".join(mark for mark in MARKS if mark in found)


def _fid(judged: Record, end: int) -> float:
    """An end of the interval of a FID; the FID itself where it has none."""
    if judged["fid"] is None:
        return math.inf
    found: float = judged.get("intervals", {}).get("fid", (judged["fid"], judged["fid"]))[end]
    return found


def entry(record: Record | None) -> str:
    """A cell of the matrix."""
    if record is None:
        return "·"
    if "refused" in record:
        return "–"
    wrong = marks(record)
    if "crash" in record:
        return f"**{wrong}**"
    scored, made = record.get("likelihood"), record.get("quality") or {}
    if scored:
        text = "not finite" if scored["gain"] is None else f"{scored['gain']:+.3g}"
    elif made.get("fid") is not None:
        text = f"FID {made['fid']:.3g} ({made['real']['fid']:.2g})"
    else:
        text = "no figure"
    return f"{text} **{wrong}**" if wrong else text


def apart(child: Record | None, parent: Record | None, by: str) -> tuple[str, str]:
    """How a fusion differs from its parent on a set, in words; and better, worse, undecided or not measured."""
    both = [one for one in (child, parent) if one is not None and not {"crash", "refused"} & one.keys()]
    if len(both) < 2:
        stopped = [word for one in (child, parent) if one for word in ("crash", "refused") if word in one]
        return (stopped[0] if stopped else "not measured"), "not measured"
    if both[0].get("budget") != both[1].get("budget"):
        return "measured for other times", "not measured"
    if by == "samples":
        return _by_samples(*both)
    mine, theirs = (one.get("likelihood") for one in both)
    if not mine or not theirs or both[0]["support"] != both[1]["support"]:
        return "likelihoods over different supports", "not measured"
    each = np.array(mine["each"], dtype=float) - np.array(theirs["each"], dtype=float)
    value, half = each.mean(), student.ppf(0.975, len(each) - 1) * each.std(ddof=1) / math.sqrt(len(each))
    text = f"{value:+.2f} ({value - half:+.2f} to {value + half:+.2f})"
    if by == "both":
        told = mine["information"] or 0.0
        near = value >= -WITHIN * abs(theirs["value"])
        verdict = "better" if near and told > TOLD else "worse"
        return f"{text}, {value / abs(theirs['value']):+.1%}, I(x; z) {told:.1f}", verdict
    return text, _verdict(value, half)


def _by_samples(child: Record, parent: Record) -> tuple[str, str]:
    a, b = child["quality"], parent["quality"]
    if a.get("kid") is None or b.get("kid") is None:
        return "no samples", "not measured"
    half = student.ppf(0.975, SUBSETS - 1) * math.hypot(a["kid_stderr"] or 0.0, b["kid_stderr"] or 0.0)
    text = f"KID {a['kid']:.3f} and {b['kid']:.3f} ± {half:.3f}, FID {a['fid']:.2f} and {b['fid']:.2f}"
    return f"{text}, real {a['real']['fid']:.2f}", _verdict(b["kid"] - a["kid"], half)


def _verdict(value: float, half: float) -> str:
    return "better" if value > half else "worse" if value < -half else "undecided"


def page(results: Path, cells: Sequence[Place]) -> str:
    """The whole page."""
    kept: dict[tuple[str, str], Record] = {}
    for cell in cells:
        path = results / cell.set / f"{cell.recipe}.json"
        if path.is_file() and (found := json.loads(path.read_text())).get("whole"):
            kept[cell.set, cell.recipe] = found
    trained = {key: one for key, one in kept.items() if "refused" not in one}
    lines = ["# Where the recipes hold", "", *_how(cells, kept), "", "## In all", "", *_counts(trained), ""]
    for modality in dict.fromkeys(BY_NAME[cell.set].modality for cell in cells):
        lines += [f"## {modality.capitalize()}", "", *_matrix(modality, cells, kept), ""]
    lines += ["## Fusions beside their parents", "", *_pairs(cells, kept), ""]
    lines += _at_length(results.parent / f"{results.name}_gpu")
    lines += ["## Conditions", "", *_conditions(trained), ""]
    lines += ["## What went wrong", "", *_wrong(trained), "", "## The sets", "", *_sets(cells), ""]
    return "\n".join(lines)


def _how(cells: Sequence[Place], kept: dict[tuple[str, str], Record]) -> list[str]:
    refused = sum("refused" in one for one in kept.values())
    where = sorted(
        {f"{one['hardware']['cpu']}, torch {one['hardware']['torch']}" for one in kept.values() if "hardware" in one}
    )
    commits = sorted({one["commit"] for one in kept.values() if "commit" in one})
    budgets = sorted({one["budget"] for one in kept.values() if "budget" in one} or {cell.seconds for cell in cells})
    return [
        f"Every recipe that takes a set was trained on it for {' or '.join(f'{b:g}' for b in budgets)} seconds of one "
        "core (where there are several, the longest for those that are held against each other), with its settings as "
        "they stand and the schedules planned for the time, `fit(RECIPE, DATA, budget=SECONDS)`, and looked at on "
        "held-out examples.",
        "",
        "```",
        "python benchmarks/zoo.py          # measures what is not measured yet",
        "python benchmarks/zoo.py table    # makes this page",
        "```",
        "",
        f"{len(kept)} of {len(cells)} cells are measured, {refused} of them refused by the recipe in a line. Seed 0; "
        f"{'; '.join(where) or 'no hardware yet'}, one core a cell; commit {', '.join(commits) or 'none'}.",
    ]  # fmt: skip


def _counts(trained: dict[tuple[str, str], Record]) -> list[str]:
    if not trained:
        return ["not measured"]
    found = ["| | cells |", "| --- | --- |", f"| trained | {len(trained)} |"]
    wrong = [marks(one) for one in trained.values()]
    found += [f"| **{mark}** {what} | {sum(mark in w for w in wrong)} |" for mark, what in MARKS.items()]
    return [*found, f"| nothing of these | {sum(not w for w in wrong)} |"]


def _matrix(modality: str, cells: Sequence[Place], kept: dict[tuple[str, str], Record]) -> list[str]:
    measured = {key for key in kept if BY_NAME[key[0]].modality == modality}
    if not measured:
        return ["not measured"]
    sets = [one.name for one in SETS if any(one.name == name for name, _ in measured)]
    recipes = sorted({recipe for _, recipe in measured})
    there = {(cell.set, cell.recipe) for cell in cells}
    lines = [
        "Nats by which an example is likelier than under the constant model (each pixel, column or token by itself); "
        "where there is no likelihood the FID of samples, and in brackets that of real examples. "
        "`·` is not measured, `–` doesn't fit; recipes and sets of which nothing is measured have no place here; the "
        "letters are explained above.",
        "",
        f"| | {' | '.join(sets)} |",
        f"| --- |{' --- |' * len(sets)}",
    ]
    for recipe in recipes:
        row = [entry(kept.get((name, recipe))) if (name, recipe) in there else "" for name in sets]
        lines.append(f"| `{recipe}` | {' | '.join(row)} |")
    return lines


def _pairs(cells: Sequence[Place], kept: dict[tuple[str, str], Record]) -> list[str]:
    lines = [
        "The mean difference of log p(x), fusion less parent, over the same examples with its 95 % interval (Student's "
        "t, paired), in nats; of samples the kernel distances to real examples, fusion and parent. A text or molecule "
        f"VAE is better where it is within {WITHIN:.0%} of its language model while I(x; z) is over {TOLD:g} nats, "
        "else worse.",
        "",
        "| fusion, parent | better | worse | undecided | not measured |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows = ["", "| fusion, parent | set | difference | |", "| --- | --- | --- | --- |"]
    there = {(cell.set, cell.recipe) for cell in cells}
    for child, (parent, by) in PAIRS.items():
        count = dict.fromkeys(("better", "worse", "undecided", "not measured"), 0)
        for one in SETS:
            if {(one.name, child), (one.name, parent)} <= there:
                mine, theirs = (kept.get((one.name, name)) for name in (child, parent))
                if any(r is not None and "refused" in r for r in (mine, theirs)):
                    continue  # not a set that both are for
                text, verdict = apart(mine, theirs, by)
                count[verdict] += 1
                if verdict != "not measured":
                    rows.append(f"| `{child}`, `{parent}` | {one.name} | {text} | {verdict} |")
        if sum(count.values()) > count["not measured"]:
            lines.append(f"| `{child}`, `{parent}` | {' | '.join(map(str, count.values()))} |")
    return lines + (rows if len(rows) > 3 else [])


def _at_length(folder: Path) -> list[str]:
    """Cells that were trained side by side on a GPU, beside their parents; nothing where there are none."""
    kept = {(p.parent.name, p.stem): json.loads(p.read_text()) for p in sorted(folder.glob("*/*.json"))}
    kept = {key: one for key, one in kept.items() if one.get("whole") and one.get("likelihood")}
    if not kept:
        return []
    where = " or ".join(sorted({one["hardware"]["gpu"] or one["hardware"]["cpu"] for one in kept.values()}))
    budgets = " or ".join(f"{b:g}" for b in sorted({one["budget"] for one in kept.values()}))
    lines = [
        f"## Side by side on a GPU\n\nFor {budgets} seconds, all of a set at once on one {where}: `zoo_cell.py` with a "
        f"GPU in sight, records in `benchmarks/results/{folder.name}`. log p(x) in nats by {K} importance samples.\n",
        "| set | recipe | steps | log p(x) | KL | less its parent | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, recipe), one in sorted(kept.items(), key=lambda item: (item[0][0], item[1]["likelihood"]["value"])):
        parent, by = PAIRS.get(recipe, ("", ""))
        text, verdict = apart(one, kept.get((name, parent)), by) if (name, parent) in kept else ("", "")
        found = one["likelihood"]
        value, held = f"{found['value']:.1f} ± {found['stderr']:.1f}", f"`{parent}` {text}" if text else ""
        lines.append(
            f"| {name} | `{recipe}` | {one['steps']:,} | {value} | {_number(found['kl'])} | {held} | {verdict} |"
        )
    return [*lines, ""]


def _conditions(trained: dict[tuple[str, str], Record]) -> list[str]:
    found = []
    for (name, recipe), one in trained.items():
        for column, figures in (one.get("followed") or {}).items():
            if "spearman" in figures:
                said = f"Spearman {_number(figures['spearman'])}, {figures['valid']:.0%} valid"
            else:
                said = f"{figures['samples']:.1%} of samples, {figures['real']:.1%} of real examples"
            found.append(f"| {name} | `{recipe}` | {column} | {said} |")
    if not found:
        return ["not measured"]
    return ["| set | recipe | column | as asked, by a classifier or by rank |", "| --- | --- | --- | --- |", *found]


def _wrong(trained: dict[tuple[str, str], Record]) -> list[str]:
    found = []
    for (name, recipe), one in trained.items():
        if not (letters := marks(one)):
            continue
        over, inside = one.get("overfitting") or {}, one.get("latents") or {}
        said = [one["crash"]] if "crash" in one else []
        if "W" in letters and one.get("likelihood"):
            said.append(f"{_number(one['likelihood']['gain'])} nats from the constant model")
        if "O" in letters:
            said.append(
                f"{_number(over['percent'])} % below the best, which was at {over['best_at']:.0%} of the training"
            )
        if {"C", "K"} & set(letters):
            largest = inside.get("largest_kl")
            of_one = f", of one dimension {largest:.3g}" if largest is not None else ""
            said.append(f"KL {_number(inside['kl'])}{of_one}")
        if one.get("events"):
            said.append(f"events: {', '.join(dict.fromkeys(e['event'] for e in one['events']))}")
        found.append(f"- {name}, `{recipe}` **{letters}**: {'; '.join(said)}".replace("|", "\\|"))
    return found or ["nothing" if trained else "not measured"]


def _sets(cells: Sequence[Place]) -> list[str]:
    shown = {cell.set for cell in cells}
    rows = [
        f"| {one.name} | {one.modality} | {one.what} | {one.why} | {' + '.join(f'{n:,}' for n in one.sizes)} |"
        for one in SETS
        if one.name in shown
    ]
    head = ["| set | modality | what | why | training, validation, test |", "| --- | --- | --- | --- | --- |"]
    more = f"Bounds are of {K} importance samples, samples are at most {JUDGED}, half as many as the test examples."
    return [*head, *rows, "", more]


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
