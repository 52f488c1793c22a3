"""MNIST, dynamic binarization: a VAE whose decoder is autoregressive over near pixels, trained for an hour on 2 cores.

The recipe (``vlae`` by default, or ``pixel-vae``) is trained for as many epochs as fit into ``MINUTES``, which a short
trial tells before. Protocol of Burda et al. (2016): each training batch is binarized afresh, the test images once, with
a saved seed. NLL of the first ``IMAGES`` test images by importance weighting, the number of samples doubled until that
changes it by less than 0.05 nat; KL of the posterior to the prior on the same images. Stopped, it goes on where it was,
in training and in evaluation. ``python benchmarks/pixel_vae.py [MINUTES [RECIPE [IMAGES [SEED [KEY=VALUE ...]]]]]``
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import ROOT, doubled_likelihood, mnist_path, report

TRIAL = 150  # steps, the first third of which warm up
FIRST = 64  # importance samples


def epochs_that_fit(minutes: float, recipe: str, settings: list[str], seed: int) -> float:
    """From the time of some steps, as ``train`` runs them."""
    from fusevae.recipes.compose import compose
    from fusevae.training import configuration
    from fusevae.training.fit import prepare

    never = ["training.epochs=1", "training.validate_every=1000000", "data.validation=0.0"]
    node, data = compose(recipe, str(mnist_path()), [*settings, *never], seed)
    trial = configuration.experiment(node)
    loop = prepare(trial.model, data, trial.views, trial.objective, trial.training, seed, "cpu")
    steps, loop.total = loop.total, TRIAL // 3
    loop.run()
    started, loop.total = time.perf_counter(), TRIAL
    loop.run()
    each = (time.perf_counter() - started) / (TRIAL - TRIAL // 3)
    return max(0.1, round(60 * minutes / (each * steps), 1))


def train(recipe: str, minutes: float, seed: int, settings: list[str], folder: Path) -> dict[str, Any]:
    """Train for the time, or go on with it; the last record of the training."""
    arguments = ["--resume", str(folder)]
    if not (folder / "config.yaml").exists():
        epochs = epochs_that_fit(minutes, recipe, settings, seed)
        print(f"{epochs} epochs fit into {minutes} minutes", file=sys.stderr, flush=True)
        more = [f"training.epochs={epochs}", "data.validation=0.0", "training.checkpoint_every=1000"]
        arguments = [recipe, "--data", str(mnist_path()), "--output", str(folder), "--seed", str(seed)]
        arguments += [word for s in [*settings, *more] for word in ("--set", s)]
    if not (folder / "evaluation.json").exists():
        command = [sys.executable, "-m", "fusevae", "train", *arguments, "--importance-samples", "1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def main(
    minutes: float = 60, recipe: str = "vlae", images: int = 1000, seed: int = 0, settings: tuple[str, ...] = ()
) -> None:
    import torch

    import fusevae

    name = "-".join([recipe, f"{minutes:g}", str(seed), *(s.replace("/", "_") for s in settings)])
    folder = ROOT / "runs" / "pixel-vae" / name
    last = train(recipe, minutes, seed, list(settings), folder)
    artifact, test = fusevae.load(folder), fusevae.read_data(str(mnist_path())).test
    some = test.subset(torch.arange(min(images, len(test))))
    found = doubled_likelihood(artifact, some, folder / f"likelihood-{len(some)}.json", FIRST)
    del found["log_likelihood"]
    parts = fusevae.evaluate(artifact, some, importance_samples=1)
    nll = -list(found["bounds"].values())[-1]
    figures = {"recipe": recipe, "settings": list(settings), "nll": nll, "images": len(some), **found}
    figures |= {"kl": parts.kl, "elbo": parts.elbo, "reconstruction": parts.reconstruction}
    figures |= {"training_minutes": last["seconds"] / 60, "epochs": last["epoch"], "parameters": parts.parameters}
    report("pixel_vae" if recipe == "vlae" else f"pixel_vae_{recipe}", figures, __doc__ or "", seed)


if __name__ == "__main__":
    given = sys.argv[1:]
    words = [a for a in given if "=" not in a]
    types = (float, str, int, int)
    main(
        *(kind(a) for kind, a in zip(types, words, strict=False)),  # type: ignore[arg-type]
        **({"settings": tuple(a for a in given if "=" in a)}),
    )
