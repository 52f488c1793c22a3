"""Start-up: ``fusevae --help`` in seconds, ``import fusevae`` against ``import torch``, and a training of two steps
from Python's start on; medians, taking turns. ``python benchmarks/startup.py [ROUNDS]``
"""

from __future__ import annotations

import subprocess
import sys
import time

from common import median, report, size, start

FIT = """
import torch
from fusevae import MLP, VAE, Bernoulli, Flat, Gaussian, Normal, Training, fit
vae = VAE(Flat(Normal(2), Gaussian(MLP(6, 4))), Bernoulli(MLP(2, 6)))
fit(vae, torch.ones(32, 6), training=Training(epochs=1, batch_size=16), device="cpu", quiet=True)
"""
COMMANDS = {
    "fusevae --help": [sys.executable, "-m", "fusevae", "--help"],
    "fusevae recipes": [sys.executable, "-m", "fusevae", "recipes"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import fusevae": [sys.executable, "-c", "import fusevae"],
    "import fusevae and build a VAE's parts": [sys.executable, "-c", "from fusevae import VAE, Flat, Gaussian, MLP"],
    "a training of two steps": [sys.executable, "-W", "ignore", "-c", FIT],
}


def main(rounds: int = size(9, 1)) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: median(found) for name, found in seconds.items()}
    figures = {
        "seconds": medians,
        "help_seconds": medians["fusevae --help"],
        "import_fusevae_over_import_torch": medians["import fusevae"] / medians["import torch"],
        "parts_over_import_torch": medians["import fusevae and build a VAE's parts"] / medians["import torch"],
        "training_over_import_torch": medians["a training of two steps"] / medians["import torch"],
    }
    report("startup", figures, __doc__ or "", on="cpu")


if __name__ == "__main__":
    start(main, int)
