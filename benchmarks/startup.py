"""Start-up: ``fusevae --help`` in seconds, and ``import fusevae`` against ``import torch``; medians, taking turns."""

from __future__ import annotations

import subprocess
import sys
import time

from common import median, report

COMMANDS = {
    "fusevae --help": [sys.executable, "-m", "fusevae", "--help"],
    "fusevae recipes": [sys.executable, "-m", "fusevae", "recipes"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import fusevae": [sys.executable, "-c", "import fusevae"],
    "import fusevae and build a VAE's parts": [sys.executable, "-c", "from fusevae import VAE, Flat, Gaussian, MLP"],
}


def main(rounds: int = 9) -> None:
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
    }
    report("startup", figures, __doc__ or "")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
