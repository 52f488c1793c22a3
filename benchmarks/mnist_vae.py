"""MNIST, dynamic binarization, one layer (784-200-200-z50): test NLL with k = 5,000 on all 10,000 images.

Protocol of Burda et al. (2016): each training batch is binarized afresh with the grey value as the probability; the
test set is binarized once, with a saved seed. The recipe is ``binary-vae``; its figures are of the averaged weights.
Its schedule is sized to half an hour of training on 2 cores. Stopped, it goes on where it was. ``python
benchmarks/mnist_vae.py [EPOCHS [SEED]]``
"""

from __future__ import annotations

import time

from common import last, report, runs, size, start, train
from inputs import mnist

K = size(5000, 2)


def main(epochs: int = 440, seed: int = 0) -> None:
    import fusevae

    settings = [f"training.epochs={epochs}", "data.validation=0.0", "training.checkpoint_every=3000"]
    folder = train(runs(f"mnist-vae-{epochs}-{seed}"), "binary-vae", mnist(), settings, seed=seed)
    minutes = last(folder)["seconds"] / 60
    artifact = fusevae.load(folder)
    started = time.perf_counter()
    figures = fusevae.evaluate(artifact, str(mnist()), importance_samples=K)
    report(
        "mnist_vae",
        {"nll": -figures.log_likelihood.value, "training_minutes": minutes, "epochs": epochs}
        | {"evaluation_minutes": (time.perf_counter() - started) / 60, "evaluation": figures.to_dict()},
        __doc__ or "",
        seed,
    )


if __name__ == "__main__":
    start(main, int, int)
