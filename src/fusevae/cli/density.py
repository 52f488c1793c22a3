"""``fusevae anomaly``, ``impute`` and ``denoise``: what a density is good for."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

import numpy as np

from fusevae.cli import load
from fusevae.cli.train import table
from fusevae.cli.use import SHOWN
from fusevae.cli.write import Output, which
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.array_files import load_arrays, load_npy, npz_headers
from fusevae.data.examples import Examples
from fusevae.data.given import existing
from fusevae.data.modality import modality_of
from fusevae.data.sheet import Sheet
from fusevae.evaluation.anomaly import check_reference, group_p_value, parts_of_both, scores
from fusevae.evaluation.chain import Draws, Space, space_of
from fusevae.evaluation.denoising import check_noise
from fusevae.evaluation.denoising import denoise as denoised
from fusevae.evaluation.imputation import impute as imputed
from fusevae.evaluation.likelihood import PATIENT, affordable, check_samples, fewer
from fusevae.training.outcome import to_json

MOST = 100  # importance samples of an example


def anomaly(options: Namespace) -> int:
    """Write how unusual each example is."""
    output = Output(options.output)
    output.check_table()
    run = load.opened(options)
    artifact = run.artifact
    check_samples(artifact, options.importance_samples or MOST)
    data, name = load.examples(options, run)
    reference, usual = run.examples(options.reference)
    check_reference(data, reference)
    print(f"scoring {len(data):,} examples of {name} against {len(reference):,} of {usual}", file=sys.stderr)
    with run.computing():
        more = max(data, reference, key=len)  # of both
        k = options.importance_samples or affordable([artifact], more, MOST, PATIENT / 2)[1]
        if k < (options.importance_samples or MOST):
            print(fewer(k, MOST), file=sys.stderr)
        ours, theirs = parts_of_both(artifact, data, reference, k, options.seed)
    found = scores(ours, theirs)
    columns = output.columns(found, which(data))
    p_values = [key for key in found if key.startswith("p_")]
    unusual = {key: float((found[key] < 0.05).mean()) for key in p_values}
    group = group_p_value(ours["log_p"], theirs["log_p"], seed=options.seed)
    if options.json:
        facts = {"output": str(output.path), "n": len(data), "data": name, "reference": usual, "columns": columns}
        print(to_json(facts | {"below_0.05": unusual, "group_p_value": group}))
        return 0
    rows = [(f"{key} below 0.05", f"{part:.1%} of the examples") for key, part in unusual.items()]
    table([*rows, ("all together, typicality", f"p = {group:.3g}"), ("written to", str(output.path))])
    return 0


def impute(options: Namespace) -> int:
    """Write examples whose missing values are filled in."""
    output, run = Output(options.output), load.opened(options)
    artifact = run.artifact
    space_of(artifact)
    output.check(artifact.data)
    if options.draws > 1 and options.kind == "mean":
        raise InputError(
            f"--draws {options.draws} were asked for and --kind mean, of which there is one: leave one out"
        )
    mask = None if options.missing == "nan" else read_mask(options.missing)
    data, name = load.examples(options, run, gaps=mask is None)
    print(f"filling in {len(data):,} examples: {name}", file=sys.stderr)
    with run.computing():
        mean = options.kind == "mean"
        samples = options.samples if mean else options.draws
        found = imputed(artifact, data, mask, samples=samples, steps=options.steps, seed=options.seed, mean=mean)
    for note in found.notes:
        print(note, file=sys.stderr)
    return _write(options, output, artifact, found, data, name, mask is not None, options.draws)


def denoise(options: Namespace) -> int:
    """Write examples without their noise."""
    output, run = Output(options.output), load.opened(options)
    artifact = run.artifact
    check_noise(options.noise, Space(artifact))
    output.check(artifact.data)
    data, name = load.examples(options, run)
    print(f"denoising {len(data):,} examples: {name}", file=sys.stderr)
    with run.computing():
        found = denoised(artifact, data, options.noise, samples=options.samples, steps=options.steps, seed=options.seed)
    return _write(options, output, artifact, found, data, name)


def read_mask(path: str) -> np.ndarray:
    """The mask of a ``.npy``, of an ``.npz`` with one array, or of a ``.png``, which is white where values are
    missing."""
    place = existing(path, "mask")
    suffix = place.suffix.lower()
    if suffix == ".npy":
        return np.array(load_npy(place))
    if suffix == ".npz":
        headers = npz_headers(place)
        if len(headers) != 1:
            raise InputError(f"{path} holds {', '.join(headers)}: expected one array, the mask")
        return load_arrays(place, list(headers), headers).popitem()[1]
    if suffix == ".png":
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(place) as image:
                return np.asarray(image.convert("L")) > 127
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"{path} can't be read as a picture ({error}): save the mask again") from None
    raise InputError(f"{path} is no mask: expected a .npy, .npz or .png of booleans, or the word nan")


def _write(
    options: Namespace,
    output: Output,
    artifact: Artifact,
    found: Draws,
    data: Examples,
    name: str,
    pictured: bool = True,
    draws: int = 1,
) -> int:
    """Write the mean or some draws of what chains gave; beside what it was made from, unless that can't be
    ``pictured``."""
    x = found.mean if options.kind == "mean" else found.samples[:draws].flatten(0, 1)

    def sheet() -> Sheet:
        shown = data.evenly(SHOWN)
        return modality_of(artifact.data).pairs(data.batch(shown)[0], x[shown], artifact.data)

    # what has gaps can't be shown; what is written takes the place of the file, row by row
    beside = which(data) if pictured else {"row": data.rows().numpy()} if draws > 1 else {}
    beside |= {name: np.array(words) for name, words in data.own.items()}  # which no model fills in
    if draws > 1:
        beside = {k: np.tile(np.asarray(v), draws) for k, v in beside.items()}
        beside["draw"] = np.arange(draws).repeat(len(data))
    output.examples(x, artifact.data, beside, sheet if pictured else None)
    accepted = found.accepted.mean().item()
    stuck = int((found.accepted == 0).sum())
    each = f"{draws} draws" if draws > 1 else "a draw"
    print("means of the draws" if options.kind == "mean" else f"{each} for each example", file=sys.stderr)
    if stuck:
        print(
            f"warning: no proposal was accepted for {stuck} of {len(data)} examples: take more --steps", file=sys.stderr
        )
    facts = {"output": str(output.path), "n": len(x), "data": name, "kind": options.kind, "seed": options.seed}
    if options.json:
        print(json.dumps(facts | {"samples": options.samples, "steps": options.steps, "accepted": accepted}))
    else:
        print(f"{len(x)} written to {output.path}")
    return 0
