"""Conditions that are followed: models of texts, molecules and pictures, asked for classes and properties.

The subjectivity sentences (``objective`` or ``subjective``; real texts of its test part are told apart by TF-IDF and
logistic regression, trained on the training part), SMILES of ChEMBL with their QED and logP (computed of the samples
that are molecules, 20,000 to train on), MNIST, and coloured circles and squares of 24 pixels in ten hues (five sizes,
anywhere on dark noise; 6,000 to train on), told apart by the library's own classifier. Each arm is a recipe as it
stands, given the conditions, with the schedules planned for the time, seed 0. Samples are asked for the conditions of
held-out examples.
``python benchmarks/conditions.py [SECONDS] [ARM ...]`` trains and measures those named (all without a name) for so many
seconds each (180; with ``--core`` of one core, whatever else it does), resumable, in ``runs/conditions``; arms may run
beside each other, and those that weren't measured here stand as they were.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import inputs
import numpy as np
from common import before, chosen, hardware, options, report, runs, size, start, write
from zoo_cell import by_the_core, clock
from zoo_sets import coloured_shapes

SEED = 0
JUDGED = size(1000, 10)
MOLECULES = size(20_000, 200), size(2_000, 40)  # to train on, held out
SHAPES = size(6_000, 240), size(1_200, 80)

Arm = tuple[Callable[[], Any], str, dict[str, Any]]  # its data, its recipe, the recipe's options


def sentences() -> Any:
    import fusevae

    train, test = (inputs.subjectivity(part) for part in ("train", "test"))
    return fusevae.Source(str(train), test_path=str(test), conditions=["label"], column="text").read()


def molecules() -> Any:
    """With properties from a file, which is made once by all cores."""
    import fusevae

    folder, (n, held) = runs("conditions") / "molecules", MOLECULES
    for name, lines in {"train": slice(n), "test": slice(n, n + held)}.items():
        path = folder / f"{name}.csv"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            smiles = inputs.molecules("train").read_text().split()[lines]
            with ProcessPoolExecutor(size(None, 1)) as pool:
                rows = list(pool.map(_properties, smiles, chunksize=200))
            lines_of = [f"{text},{qed},{logp}" for text, qed, logp in rows if qed == qed]
            beside = path.with_name(f".{path.name}.{os.getpid()}")  # other arms may make it, too
            beside.write_text("\n".join(["smiles,qed,logp", *lines_of]) + "\n")
            beside.replace(path)
    return fusevae.Source(str(folder), conditions=["qed", "logp"], tokens="smiles-pairs").read()


def _properties(smiles: str) -> tuple[str, float, float]:
    from fusevae import properties

    found = properties([smiles], ("qed", "logp"))
    return smiles, float(found["qed"][0]), float(found["logp"][0])


def digits() -> Any:
    import fusevae

    return fusevae.Source(str(inputs.mnist()), conditions=["y"]).read()


def shapes() -> Any:
    """The hue is what is asked for."""
    import fusevae

    n, held = SHAPES
    x, beside = coloured_shapes(n + held)
    label = np.asarray(beside["y"]) % 10
    order = np.random.default_rng(SEED).permutation(len(x))
    parts = {"train": order[:n], "test": order[n:]}
    return fusevae.read_data({name: (x[rows], label[rows]) for name, rows in parts.items()})


GIVEN = {"conditional": True}
ARMS: dict[str, Arm] = {
    "text-vae": (sentences, "text-vae", GIVEN),
    "text-transformer": (sentences, "text-transformer", GIVEN),
    "text-vae-lstm": (sentences, "text-vae-lstm", GIVEN),
    "molecules-vae": (molecules, "molecules-vae", GIVEN),
    "molecules-transformer": (molecules, "molecules-transformer", GIVEN),
    "digits-by-vae": (digits, "conditional-vae", {}),
    "digits-by-diffusion": (digits, "diffusion", {}),
    "digits-by-gan": (digits, "gan", GIVEN),
    "shapes-by-diffusion": (shapes, "diffusion", {}),
    "shapes-by-gan": (shapes, "gan", GIVEN),
}


def place(name: str) -> Path:
    return runs("conditions") / f"{name}.json"


def asked(artifact: Any, splits: Any) -> dict[str, Any]:
    """How far samples have what they were asked for: pictures by the library's classifier of them, others by what tells
    their conditions."""
    from fusevae.data.modality import modality_of
    from fusevae.evaluation.asked import as_asked

    held, where = splits.held[0], size("auto", "cpu")
    if splits.spec.modality != "images":
        return as_asked(artifact, splits.train, held, JUDGED, SEED, len(splits.train))
    reference = modality_of(splits.spec).reference(held, splits, min(JUDGED, len(held) // 2), None, where, True)
    return reference.judge(artifact, seed=SEED).followed


def measure(name: str, seconds: float) -> None:
    """Train an arm and judge it, unless that is done."""
    from fusevae import fit
    from fusevae.training.prepare import pick_device

    if place(name).exists():
        return
    data, recipe, with_ = ARMS[name]
    splits, now = data(), time.perf_counter
    if options().core:
        by_the_core()
        now = clock
    started = now()
    given: dict[str, Any] = {"options": with_}
    given |= size({"budget": seconds}, {"training": {"epochs": 0.1, "batch_size": 16}, "device": "cpu"})
    artifact = fit(recipe, splits, seed=SEED, quiet=True, **given)
    trained = now() - started
    device = pick_device(size("auto", "cpu"))
    found = asked(artifact.to(device), splits)
    guided = [part for part in artifact.modules() if hasattr(part, "guidance")]
    for part in guided:
        part.guidance = 1.0
    plain = asked(artifact, splits) if guided else found
    wanted = min(JUDGED, len(splits.held[0]))
    figures = {
        "asked": {k: one.to_dict() | {"part": one.score / max(one.real, 1e-9)} for k, one in found.items()},
        "without_guidance": {k: one.score for k, one in plain.items()},
        "validity": min((one.n / wanted for one in found.values()), default=None),
        "steps": artifact.history.steps,
        "epochs": artifact.history.records[-1].get("epoch"),
        "seconds": trained,
        "budget": seconds,
        "device": hardware()["gpu"] if device.type == "cuda" else "one core" if options().core else device.type,
        "events": [r["says"] for r in artifact.history.records if "says" in r],
    }
    place(name).parent.mkdir(parents=True, exist_ok=True)
    write(place(name), json.dumps(figures))
    print(name, json.dumps(figures["asked"]), file=sys.stderr, flush=True)


def main(*words: str) -> None:
    numbers = [word for word in words if word.replace(".", "").isdigit()]
    few = ["molecules-vae", "shapes-by-gan"]
    for name in chosen([word for word in words if word not in numbers], ARMS, few):
        measure(name, float(numbers[0]) if numbers else 180.0)
    here = {n: json.loads(place(n).read_text()) for n in ARMS if place(n).exists()}
    report("conditions", before("conditions") | here, __doc__ or "", SEED)


if __name__ == "__main__":
    start(main)
