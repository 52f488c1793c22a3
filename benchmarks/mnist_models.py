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
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, doubled_likelihood, mnist_path, moments, report

from fusevae.recipes.find import today

RUNS = ROOT / "runs" / "mnist"
CONVOLUTIONAL = ("ladder-vae",)
MODELS = [
    ("binary-vae", 200),
    ("binary-vae", 120),
    ("iwae", 200),
    ("iwae", 240),
    ("flow-vae", 200),
    ("vamp-vae", 120),
    ("hvae-vamp", 120),
    ("ladder-vae", 20),
    ("ladder-vae", 50),
]


def train(recipe: str, epochs: int, folder: Path) -> None:
    """Train a recipe, or go on with it."""
    arguments = ["--resume", str(folder)]
    if not (folder / "config.yaml").exists():
        settings = [f"training.epochs={epochs}", "data.validation=0.0", "training.checkpoint_every=3000"]
        arguments = [recipe, "--data", str(mnist_path()), "--output", str(folder), "--seed", "0"]
        arguments += [word for s in settings for word in ("--set", s)]
    subprocess.run([sys.executable, "-m", "fusevae", "train", *arguments], check=True, stdout=subprocess.DEVNULL)


def likelihoods(recipe: str, folder: Path) -> dict[str, Any]:
    """Log-likelihoods of the test images, kept in the run's folder."""
    path = folder / "likelihood.json"
    if recipe in CONVOLUTIONAL or not path.exists():
        import torch

        import fusevae

        artifact, test = fusevae.load(folder), fusevae.read_data(str(mnist_path())).test
        if recipe in CONVOLUTIONAL:
            return doubled_likelihood(artifact, test.subset(torch.arange(1000)), path, 1000)
        started = time.perf_counter()
        found = fusevae.log_likelihood(artifact, test, importance_samples=5000)
        minutes = (time.perf_counter() - started) / 60
        path.write_text(json.dumps({"k": 5000, "minutes": minutes, "log_likelihood": found.tolist()}))
    return json.loads(path.read_text())


def main(*names: str) -> None:
    found: dict[str, Any] = {}
    for recipe, epochs in MODELS:
        name = f"{recipe}-{epochs}"
        folder = RUNS / name
        if not names or name in names:
            if not (folder / "evaluation.json").exists():
                train(recipe, epochs, folder)
            likelihoods(recipe, folder)
        if (folder / "likelihood.json").exists():
            last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
            found[name] = {"recipe": recipe, "epochs": epochs, "training_minutes": last["seconds"] / 60}
            found[name] |= likelihoods(recipe, folder)
    differences = []
    for a, b in itertools.permutations(found, 2):
        of, to = found[a], found[b]
        comparable = to["recipe"] == "binary-vae" != of["recipe"] and to["k"] == of["k"]
        if comparable and to["epochs"] == of["epochs"]:
            pairs = zip(of["log_likelihood"], to["log_likelihood"], strict=True)
            differences.append({"model": a, "minus": b} | moments([x - y for x, y in pairs]))
    kept = RESULTS / "mnist_models.json"
    before = json.loads(today(kept.read_text()))["figures"] if kept.exists() else {"models": {}, "differences": []}
    pairs_now = {(d["model"], d["minus"]) for d in differences}
    differences = [d for d in before["differences"] if (d["model"], d["minus"]) not in pairs_now] + differences
    figures = {
        "models": before["models"]
        | {
            name: {k: v for k, v in f.items() if k != "log_likelihood"}
            | {"n": len(f["log_likelihood"]), "nll": moments([-v for v in f["log_likelihood"]])}
            for name, f in found.items()
        },
        "differences": differences,
    }
    report("mnist_models", figures, __doc__ or "", 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
