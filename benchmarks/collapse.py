"""Collapse shown and mended: a MADE decoder on binarized MNIST of 7 x 7 pixels, 49-300-300-49, 32 latents.

At 28 x 28 and 14 x 14 a plain VAE with such a decoder does not collapse: its KL is 6 to 28 nats, since MADE learns the
shape of a digit more slowly than the latent does. At 7 x 7 MADE is soon a good model by itself. Each training is the
same but for one setting: 8 epochs, batches of 200, seed 0. The plain VAE's KL is shown to collapse; each remedy that
leaves the decoder as it is should keep at least 10 active units and I(x; z) above 3 nats, at a likelihood within 0.5
nat of the collapsed one. Active units and I(x; z) are of 500 test images (at most log 500 = 6.2 nats); the likelihood
is importance-weighted, k = 100 on the first 1,000 test images, binarized once with a saved seed.
More encoder steps come with a rising beta, as He et al. (2019) have them; alone, from beta 1 on, they are of no use
here: at the start the decoder does nothing with the latent, and the best posterior of that is the prior.
``autoencoder``: 3 epochs with beta 0 first, of which the latents' weights are kept, then 8 epochs with free bits of 5
nats for the whole latent. Resumable. ``python benchmarks/collapse.py [NAME ...]``
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from common import chosen, kept, report, runs, size, start, train, write
from inputs import mnist

RUNS = runs("collapse")
EPOCHS = size(8, 0.2)
TEST, IMAGES, K = size((500, 1000, 100), (40, 20, 2))
SIZE = 7
MODEL: dict[str, Any] = {
    "class": "VAE",
    "latents": {
        "class": "Flat",
        "prior": {"class": "Normal", "shape": 32},
        "posterior": {
            "class": "Gaussian",
            "net": {"class": "MLP", "inputs": [1, SIZE, SIZE], "outputs": 64, "hidden": [300, 300]},
        },
    },
    "decoder": {"class": "MADE", "shape": [1, SIZE, SIZE], "hidden": [300, 300], "context": 32},
}
RISING = "objective.beta={class: Linear, part: 0.75}"
CASES: dict[str, list[str]] = {
    "plain": [],
    "free bits, each dimension": ["objective.free_bits=0.15"],
    "free bits, whole": ["objective.free_bits=5.0", "objective.per=whole"],
    "rising beta": [RISING],
    "cyclical beta": ["objective.beta={class: Cyclical, cycles: 4, ramp: 0.5}"],
    "encoder steps, rising beta": ["training.encoder_steps=5", "training.encoder_part=0.3", RISING],
    "encoder steps, alone": ["training.encoder_steps=10", "training.encoder_part=0.3"],
    "autoencoder": ["objective.free_bits=5.0", "objective.per=whole"],
}


def node(settings: list[str], epochs: float = EPOCHS) -> dict[str, Any]:
    from fusevae.training.configuration import override

    plain = {
        "model": MODEL,
        "data": {"class": "Source", "path": str(mnist()), "validation": 0.02},
        "views": [{"class": "Resize", "height": SIZE, "width": SIZE}, {"class": "Binarize"}],
        "objective": {"class": "ELBO"},
        "training": {"class": "Training", "epochs": epochs, "batch_size": 200, "learning_rate": 5e-3},
    }
    return override(plain, settings)


def place(name: str) -> Path:
    return RUNS / name.replace(", ", "-").replace(" ", "-")


def run(name: str, settings: list[str], *more: str, epochs: float = EPOCHS) -> Any:
    """The artifact of a run, trained or gone on with."""
    import yaml

    import fusevae

    folder = place(name)
    write(configuration := folder.with_suffix(".yaml"), yaml.safe_dump(node(settings, epochs)))
    return fusevae.load(train(folder, str(configuration), None, [], "--importance-samples", "1", *more))


def measured(name: str) -> dict[str, Any]:
    import torch

    import fusevae
    from fusevae.core import noise
    from fusevae.evaluation.collapse import diagnose

    started = time.perf_counter()
    more: tuple[str, ...] = ()
    if name == "autoencoder":
        run("autoencoder-before", ["objective.beta=0"], epochs=size(3, 0.2))
        more = ("--from", str(place("autoencoder-before")), "--only", "latents")
    artifact = run(name, CASES[name], *more)
    seconds = time.perf_counter() - started
    test = fusevae.read_data(str(mnist())).test
    with torch.no_grad(), noise.preserved(), noise.keyed(0, "view"):
        x = artifact.eval().view(test.batch(torch.arange(TEST))[0])
        found = diagnose(artifact.distribution, x)
    figures = fusevae.evaluate(artifact, test.subset(torch.arange(IMAGES)), importance_samples=K)
    return {
        "settings": CASES[name],
        "active_units": found["active_units"]["z"],
        "mutual_information": found["mutual_information"],
        "kl": figures.kl,
        "nll": -figures.log_likelihood.value,
        "seconds": seconds,
    }


def main(*names: str) -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    which = chosen(names, CASES, ["autoencoder"])
    figures = {name: kept(place(f"{name}.json"), lambda name=name: measured(name)) for name in which}
    report("collapse", figures, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
