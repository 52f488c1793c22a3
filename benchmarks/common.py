"""What every benchmark shares: the data, the hardware's name, and one JSON file each that the table is made from."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MNIST = ROOT.parent / "shared" / "data" / "mnist.npz"


def mnist_path() -> Path:
    """The MNIST file: ``$MNIST`` or ../shared/data/mnist.npz; ends with a reason where there is none."""
    path = Path(os.environ.get("MNIST", MNIST))
    if not path.exists():
        raise SystemExit(f"no MNIST at {path}: set MNIST=/path/to/mnist.npz (keys x_train, y_train, x_test, y_test)")
    return path


def hardware() -> dict[str, Any]:
    """Processor, cores, and the versions that figures depend on."""
    import torch

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    cpu = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def trained_on(folder: Path) -> str:
    """The processor that a run was trained on: this one, the first time that it is asked."""
    noted = folder / "hardware.txt"
    if not noted.exists():
        here = hardware()
        noted.write_text(here["gpu"] or f"{here['cpu']}, {here['cores']} cores")
    return noted.read_text()


def report(name: str, figures: dict[str, Any], protocol: str, seed: int | None = None) -> None:
    """Print the figures and write them to ``benchmarks/results/NAME.json``."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    record = {"benchmark": name, "command": command, "protocol": protocol, "seed": seed}
    record |= {"hardware": hardware(), "date": time.strftime("%Y-%m-%d"), "figures": figures}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def moments(values: list[float]) -> dict[str, float]:
    """Mean and its standard error."""
    return {"value": statistics.fmean(values), "stderr": statistics.stdev(values) / math.sqrt(len(values))}


def doubled_likelihood(artifact: Any, images: Any, path: Path, first: int) -> dict[str, Any]:
    """log p(x) of binarized images by ``first`` importance samples, then by twice as many each time, until the mean
    stays within 0.05 nat (or 16,384); kept in ``path``, from which it goes on."""
    import torch

    from fusevae.core import noise
    from fusevae.core.memory import keep_freed_memory
    from fusevae.evaluation.blocks import blocks
    from fusevae.evaluation.likelihood import block_likelihood

    kept = json.loads(path.read_text()) if path.exists() else {"k": 0, "bounds": {}, "minutes": 0.0}
    keep_freed_memory()
    artifact.eval()
    while len(means := list(kept["bounds"].values())) < 2 or (means[-1] - means[-2] >= 0.05 and kept["k"] < 2**14):
        started = time.perf_counter()
        k = max(first, kept["k"])  # samples beside those there are, of a seed of their own
        with torch.no_grad(), noise.preserved():
            found = torch.cat([block_likelihood(artifact, b, k, kept["k"]) for b in blocks(artifact, images, 0)])
        if kept["k"]:
            found = torch.logaddexp(found, torch.tensor(kept["log_likelihood"], dtype=torch.float64)) - math.log(2)
        k += kept["k"]
        mean = moments(found.tolist())
        kept["minutes"] += (time.perf_counter() - started) / 60
        kept |= {"k": k, "bounds": kept["bounds"] | {str(k): mean["value"]}, "stderr": mean["stderr"]}
        kept["log_likelihood"] = found.tolist()
        path.write_text(json.dumps(kept))
        print(f"k = {k}: {-mean['value']:.3f} nats", file=sys.stderr, flush=True)
    return kept


def median(values: list[float]) -> float:
    return statistics.median(values)


class Arm:
    """A worker process that does one turn of its work each time it is told to, and says how long it took."""

    def __init__(self, python: str, script: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [python, str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self) -> dict[str, float]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the arm {self.process.args} ended with {self.process.wait()}")

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def take_turns(arms: dict[str, Arm], rounds: int) -> dict[str, list[dict[str, float]]]:
    """One warm-up each, then ``rounds`` times every arm in turn, the order reversed each round."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for arm in arms.values():
        arm.turn()
    for i in range(rounds):
        for name in list(arms)[:: 1 if i % 2 else -1]:
            found[name].append(arms[name].turn())
        print(f"round {i + 1}/{rounds}", file=sys.stderr)
    for arm in arms.values():
        arm.end()
    return found


def pythae_python() -> str:
    """A Python with Pythae 0.1.2, in a virtual environment of its own: ``$PYTHAE_PYTHON``, or made here once."""
    if given := os.environ.get("PYTHAE_PYTHON"):
        return given
    folder = ROOT / "benchmarks" / ".venv-pythae"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for wanted in ("torch==2.13.0", "pythae==0.1.2"):
            subprocess.run([str(python), "-m", "pip", "install", "-q", wanted], check=True)
    return str(python)


def serve(turn: Any) -> None:
    """In an arm: answer each line of stdin with one turn's figures."""
    for _ in sys.stdin:
        print(json.dumps(turn()), flush=True)
