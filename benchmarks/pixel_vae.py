"""MNIST, dynamic binarization: a VAE whose decoder is autoregressive over near pixels, trained for an hour on 2 cores.

The recipe (``vlae`` by default, or ``pixel-vae``) is trained for as many epochs as fit into ``MINUTES``, which a short
trial tells before. Protocol of Burda et al. (2016): each training batch is binarized afresh, the test images once, with
a saved seed. NLL of the first ``IMAGES`` test images by importance weighting, the number of samples doubled until that
changes it by less than 0.05 nat; KL of the posterior to the prior on the same images. Stopped, it goes on where it was,
in training and in evaluation. ``python benchmarks/pixel_vae.py [MINUTES [RECIPE [IMAGES [SEED [KEY=VALUE ...]]]]]``
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import common
from common import doubled_likelihood, last, options, report, runs, size, start, trained_on
from inputs import mnist

TRIAL = size(150, 3)  # steps, the first third of which warm up
FIRST = size(64, 2)  # importance samples


def epochs_that_fit(minutes: float, recipe: str, settings: list[str], seed: int) -> float:
    """From the time of some steps, as ``train`` runs them."""
    from fusevae.recipes.compose import compose
    from fusevae.training import configuration
    from fusevae.training.prepare import prepare

    never = [
        "training.epochs=1",
        "training.validate_every=1000000",
        "data.validation=0.0",
        *size([], ["training.batch_size=16"]),
    ]
    node, data = compose(recipe, str(mnist()), [*settings, *never], seed)
    trial = configuration.experiment(node)
    loop = prepare(trial.model, data, trial.views, trial.objective, trial.training, seed, size("auto", "cpu"))
    steps, loop.total = loop.total, TRIAL // 3
    loop.run()
    started, loop.total = time.perf_counter(), TRIAL
    loop.run()
    each = (time.perf_counter() - started) / (TRIAL - TRIAL // 3)
    return max(0.1, round(60 * minutes / (each * steps), 1))


def train(recipe: str, minutes: float, seed: int, settings: list[str], folder: Path) -> dict[str, Any]:
    """Train for the time, or go on with it; the last record of the training."""
    if not (folder / "config.yaml").exists():
        epochs = epochs_that_fit(minutes, recipe, settings, seed)
        print(f"{epochs} epochs fit into {minutes} minutes", file=sys.stderr, flush=True)
        settings = [*settings, f"training.epochs={epochs}", "data.validation=0.0", "training.checkpoint_every=1000"]
    common.train(folder, recipe, mnist(), settings, "--importance-samples", "1", seed=seed)
    return last(folder)


def main(minutes: float = size(60, 0.01), recipe: str = "vlae", images: int = size(1000, 4), seed: int = 0) -> None:
    import torch

    import fusevae

    settings = [a for a in options().given if "=" in a]
    name = "-".join([recipe, f"{minutes:g}", str(seed), *(s.replace("/", "_") for s in settings)])
    folder = runs("pixel-vae") / name
    at_end = train(recipe, minutes, seed, settings, folder)
    artifact, test = fusevae.load(folder), fusevae.read_data(str(mnist())).test
    some = test.subset(torch.arange(min(images, len(test))))
    found = doubled_likelihood(artifact, some, folder / f"likelihood-{len(some)}.json", FIRST)
    del found["log_likelihood"]
    parts = fusevae.evaluate(artifact, some, importance_samples=1)
    nll = -list(found["bounds"].values())[-1]
    figures = {"recipe": recipe, "settings": settings, "nll": nll, "images": len(some), **found}
    figures |= {"kl": parts.kl, "elbo": parts.elbo, "reconstruction": parts.reconstruction}
    on_gpu = trained_on(folder).startswith("NVIDIA")
    figures |= {"training_minutes": at_end["seconds"] / 60, "epochs": at_end["epoch"], "parameters": parts.parameters}
    name = "pixel_vae" if recipe == "vlae" else f"pixel_vae_{recipe}"
    report(name, figures, __doc__ or "", seed, on="cuda" if on_gpu else "")


if __name__ == "__main__":
    start(main, float, str, int, int)
