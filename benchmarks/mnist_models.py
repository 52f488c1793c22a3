"""MNIST, dynamic binarization: richer priors, posteriors and objectives against the standard VAE, as pairs.

Protocol of Burda et al. (2016): each training batch is binarized afresh; the test set once, with a saved seed, the same
for all models. NLL by importance weighting with k = 5,000 on all 10,000 images (convolutional models: on the first
1,000, k doubled from 1,000 until that changes the mean by less than 0.05 nat). Differences are means over the same
images, at equal epochs. Models are recipes as they stand, but for the number of epochs; figures are of the averaged
weights. Stopped, it goes on where it was: a run folder and a file of log-likelihoods for each model lie in
``runs/mnist``. ``python benchmarks/mnist_models.py [NAME ...]`` trains those named (all without a name), and what was
measured before stays in the report.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

from common import before, doubled_likelihood, last, moments, report, runs, size, start, train, write
from inputs import mnist

RUNS = runs("mnist")
IMAGES, FIRST, K = size((1000, 1000, 5000), (10, 2, 4))
CONVOLUTIONAL = ("ladder-vae", "hvae-vamp")
MODELS = [
    ("binary-vae", 200),
    ("binary-vae", 120),
    ("iwae", 200),
    ("iwae", 240),
    ("flow-vae", 200),
    ("vamp-vae", 120),
    ("hvae-vamp", 20),
    ("ladder-vae", 20),
    ("ladder-vae", 50),
]


def likelihoods(recipe: str, folder: Path) -> dict[str, Any]:
    """Log-likelihoods of the test images, kept in the run's folder."""
    path = folder / "likelihood.json"
    if recipe in CONVOLUTIONAL or not path.exists():
        import torch

        import fusevae

        artifact, test = fusevae.load(folder), fusevae.read_data(str(mnist())).test
        if recipe in CONVOLUTIONAL:
            return doubled_likelihood(artifact, test.subset(torch.arange(IMAGES)), path, FIRST)
        started = time.perf_counter()
        found = fusevae.log_likelihood(artifact, test, importance_samples=K)
        minutes = (time.perf_counter() - started) / 60
        write(path, json.dumps({"k": K, "minutes": minutes, "log_likelihood": found.tolist()}))
    return json.loads(path.read_text())


def main(*names: str) -> None:
    found: dict[str, Any] = {}
    everything = [f"{recipe}-{epochs}" for recipe, epochs in MODELS]
    for recipe, epochs in MODELS:
        name = f"{recipe}-{epochs}"
        folder = RUNS / name
        if name in (names or size(everything, ["binary-vae-200", "flow-vae-200"])):
            settings = [f"training.epochs={epochs}", "data.validation=0.0", "training.checkpoint_every=3000"]
            train(folder, recipe, mnist(), settings)
            likelihoods(recipe, folder)
        if (folder / "likelihood.json").exists():
            minutes = last(folder)["seconds"] / 60
            found[name] = {"recipe": recipe, "epochs": epochs, "training_minutes": minutes}
            found[name] |= likelihoods(recipe, folder)
    differences = []
    for a, b in itertools.permutations(found, 2):
        of, to = found[a], found[b]
        comparable = to["recipe"] == "binary-vae" != of["recipe"] and to["k"] == of["k"]
        if comparable and to["epochs"] == of["epochs"]:
            pairs = zip(of["log_likelihood"], to["log_likelihood"], strict=True)
            differences.append({"model": a, "minus": b} | moments([x - y for x, y in pairs]))
    known = {"models": {}, "differences": []} | before("mnist_models")
    pairs_now = {(d["model"], d["minus"]) for d in differences}
    differences = [d for d in known["differences"] if (d["model"], d["minus"]) not in pairs_now] + differences
    figures = {
        "models": known["models"]
        | {
            name: {k: v for k, v in f.items() if k != "log_likelihood"}
            | {"n": len(f["log_likelihood"]), "nll": moments([-v for v in f["log_likelihood"]])}
            for name, f in found.items()
        },
        "differences": differences,
    }
    report("mnist_models", figures, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
