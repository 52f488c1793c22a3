"""MNIST, dynamic binarization, one layer (784-200-200-z50): test NLL with k = 5,000 on all 10,000 images.

Protocol of Burda et al. (2016): each training batch is binarized afresh with the grey value as the probability; the
test set is binarized once, with a saved seed. The recipe is ``binary-vae``; its figures are of the averaged weights.
Its schedule is sized to half an hour of training on 2 cores. Stopped, it goes on where it was. ``python
benchmarks/mnist_vae.py [EPOCHS [SEED]]``
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from common import ROOT, mnist_path, report

K = 5000


def main(epochs: int = 440, seed: int = 0, output: str = "") -> None:

    import fusevae

    folder = Path(output or ROOT / "runs" / f"mnist-vae-{epochs}-{seed}")
    if (folder / "config.yaml").exists():
        arguments = ["--resume", str(folder)]
    else:
        settings = [f"training.epochs={epochs}", "data.validation=0.0", "training.checkpoint_every=3000"]
        arguments = ["binary-vae", "--data", str(mnist_path()), "--output", str(folder), "--seed", str(seed)]
        arguments += [word for s in settings for word in ("--set", s)]
    subprocess.run([sys.executable, "-m", "fusevae", "train", *arguments], check=True, stdout=subprocess.DEVNULL)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    minutes = json.loads(lines[-1])["seconds"] / 60
    artifact = fusevae.load(folder)
    started = time.perf_counter()
    figures = fusevae.evaluate(artifact, str(mnist_path()), importance_samples=K)
    report(
        "mnist_vae",
        {"nll": -figures.log_likelihood.value, "training_minutes": minutes, "epochs": epochs}
        | {"evaluation_minutes": (time.perf_counter() - started) / 60, "evaluation": figures.to_dict()},
        __doc__ or "",
        seed,
    )


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
