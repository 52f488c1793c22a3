"""What every benchmark shares: its arguments, places and sizes, the hardware's name, and one JSON file each that the
tables are made from.

Every one takes ``--smoke``: the same code in seconds, tiny, on made data and the CPU, which shows that it runs. What it
writes, like ``--results FOLDER``, lies outside ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import platform
import re
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")
CORE = "import sys, time; time.monotonic = time.perf_counter = time.process_time; from fusevae.cli import main; "


# arguments, sizes and places


def options(strict: bool = False) -> argparse.Namespace:
    """What the command line gives: ``smoke``, ``results`` and, as ``given``, the benchmark's own arguments; other flags
    are an error, or those of a benchmark with a parser of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="seconds long, on made data: shows only that it runs")
    parser.add_argument("--results", type=Path, help="where its JSON goes (default: benchmarks/results)")
    parser.add_argument("--minutes", type=float, default=60.0, help="of each training, where a benchmark plans them")
    parser.add_argument("--core", action="store_true", help="such minutes are time of one core, however busy it is")
    parser.add_argument("given", nargs="*", metavar="ARGUMENT")
    return parser.parse_intermixed_args() if strict else parser.parse_known_intermixed_args()[0]


def start(main: Callable[..., None], *kinds: Callable[[str], Any]) -> None:
    """Run a benchmark as a command; its own arguments are words, or one of each of ``kinds``."""
    given = [size(a, a.replace("cuda", "cpu")) for a in options(strict=True).given]
    with _tiny() if smoke() else contextlib.nullcontext():
        main(*(kind(a) for kind, a in zip(kinds, given, strict=False)) if kinds else given)


def smoke() -> bool:
    return "--smoke" in sys.argv


def size(full: T, tiny: T) -> T:
    """A size of the measurement, or of a smoke."""
    return tiny if smoke() else full


@contextlib.contextmanager
def _tiny() -> Iterator[None]:
    """Judges of few updates, kept apart."""
    from unittest.mock import patch

    with (
        patch("fusevae.modalities.images.extractor.UPDATES", 2),
        patch("fusevae.modalities.audio.classifier.UPDATES", 2),
        patch.dict(os.environ, FUSEVAE_CACHE=str(results() / "cache")),
    ):
        yield


@functools.cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="fusevae-smoke-"))


def results() -> Path:
    """The folder of the JSON files."""
    return options().results or (_temporary() if smoke() else ROOT / "benchmarks" / "results")


def runs(name: str = "") -> Path:
    """The folder of trainings, which are gone on with."""
    return (results() if smoke() else ROOT) / "runs" / name


# what is written


def hardware() -> dict[str, Any]:
    """Processor, cores, and the versions that figures depend on."""
    import torch

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in info.splitlines())}
    cpu = facts.get("model name") or platform.processor() or "?"
    if "model" in facts:  # a virtual machine's name may say no more than the maker
        cpu += f" (family {facts.get('cpu family', '?')}, model {facts['model']})"
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor(record: dict[str, Any]) -> str:
    """The processor that a record is of."""
    hw = record["hardware"]
    return record.get("processor") or f"{hw['cpu']}, {hw['cores']} cores"


def trained_on(folder: Path) -> str:
    """The processor that a run was trained on: this one, the first time that it is asked."""
    noted = folder / "hardware.txt"
    if not noted.exists():
        here = hardware()
        noted.write_text(here["gpu"] or f"{here['cpu']}, {here['cores']} cores")
    return noted.read_text()


def report(name: str, figures: dict[str, Any], protocol: str, seed: int | None = None, on: str = "") -> None:
    """Print the figures and write them to ``NAME.json``; of a speed on the device ``on`` (``cpu`` or ``cuda``) to
    ``NAME@PROCESSOR.json``, so that figures of several processors stand beside each other."""
    more = [f"--minutes {options().minutes:g}"] if "--minutes" in sys.argv else []
    more += ["--core"] * options().core
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *options().given, *more])
    record = {"benchmark": name, "command": command, "protocol": protocol, "seed": seed}
    record |= {"hardware": hardware(), "date": time.strftime("%Y-%m-%d"), "figures": figures}
    if on:
        record["processor"] = processor(record) if on == "cpu" else record["hardware"]["gpu"]
        name += "@" + re.sub("[^a-z0-9]+", "-", record["processor"].lower()).strip("-")
    results().mkdir(parents=True, exist_ok=True)
    write(results() / f"{name}.json", json.dumps(record, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def write(path: Path, text: str) -> None:
    """Write a file whole, or not at all."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    beside.replace(path)


def before(name: str) -> dict[str, Any]:
    """The figures of the last report of that name, under today's names; nothing where there is none."""
    from fusevae.training.recipes import today

    path = results() / f"{name}.json"
    return json.loads(today(path.read_text()))["figures"] if path.exists() else {}


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    """What was computed before, or now."""
    if not path.exists():
        started = time.perf_counter()
        found = compute()
        write(path, json.dumps({"seconds": time.perf_counter() - started, "found": found}))
    return json.loads(path.read_text())["found"]


# trainings


def chosen(names: Iterable[str], known: Iterable[str], few: list[str]) -> list[str]:
    """The models that are asked for: all without a name, in a smoke ``few``."""
    if unknown := set(names) - set(known):
        raise SystemExit(f"unknown {', '.join(unknown)}: give some of {', '.join(known)}")
    return list(names) or size(list(known), few)


def fusevae(*arguments: str) -> None:
    """The library's command line: in a process of its own, or in a smoke in this one."""
    if smoke():
        from fusevae.cli import main

        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            code = main(arguments)
    else:
        code = subprocess.run([sys.executable, *program(), *arguments], stdout=subprocess.DEVNULL).returncode
    if code:
        raise SystemExit(f"fusevae {' '.join(arguments)} ended with {code}")


def program(core: bool | None = None) -> list[str]:
    """What Python is given to be the command line; with ``--core`` its time is that of the processor."""
    core = options().core if core is None else core
    return ["-c", f"{CORE}sys.exit(main(sys.argv[1:]))"] if core else ["-m", "fusevae"]


def children() -> float:
    """Seconds of the processor that processes which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train(
    folder: Path, recipe: str, data: Path | None, settings: Iterable[str] = (), *more: str, seed: int = 0
) -> Path:
    """Train a recipe into ``folder``, or go on with it, until it is evaluated; returns the folder."""
    if (folder / "evaluation.json").exists():
        return folder
    arguments = ["--resume", str(folder)]
    if not (folder / "config.yaml").exists():
        tiny = size([], ["training.epochs=0.1", "training.batch_size=16"])
        more = (*more, *size((), ("--importance-samples", "1", "--device", "cpu")))
        source = ["--data", str(data)] if data else []
        arguments = [recipe, *source, "--output", str(folder), "--seed", str(seed), *more]
        arguments += [word for s in [*settings, *tiny] for word in ("--set", s)]
    fusevae("train", *arguments)
    return folder


def last(of: Path | list[dict[str, Any]]) -> dict[str, Any]:
    """The last record with figures of a training (those of its folder are read): others are of events."""
    found = of if isinstance(of, list) else map(json.loads, (of / "metrics.jsonl").read_text().splitlines())
    return [r for r in found if "train" in r][-1]


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
    most = size(2**14, 2 * first)
    keep_freed_memory()
    artifact.eval()
    while len(means := list(kept["bounds"].values())) < 2 or (means[-1] - means[-2] >= 0.05 and kept["k"] < most):
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
        write(path, json.dumps(kept))
        print(f"k = {k}: {-mean['value']:.3f} nats", file=sys.stderr, flush=True)
    return kept


# arms of a comparison of speeds

Turn = Callable[[], dict[str, float]]


class Arm:
    """What does one turn of its work each time it is told to, and says how long it took: the ``make`` of a script, in a
    process of its own (in a smoke in this one, unless it needs another Python)."""

    def __init__(self, script: str, *arguments: str, python: str = sys.executable) -> None:
        path, self.process = ROOT / "benchmarks" / script, None
        if smoke() and python == sys.executable:
            self.turn: Turn = runpy.run_path(str(path))["make"](*arguments)
            return
        more = ("--smoke", "--results", str(results())) if smoke() else ()
        command = [python, str(path), *arguments, *more]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.turn = self._told

    def _told(self) -> dict[str, float]:
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"the arm {self.process.args} ended with {self.process.wait()}")

    def end(self) -> None:
        if self.process:
            self.process.communicate()


def take_turns(arms: dict[str, Arm], rounds: int) -> dict[str, list[dict[str, float]]]:
    """One warm-up each, then ``rounds`` times every arm in turn, the order reversed each round."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for arm in arms.values():
        arm.turn()
    rounds = size(rounds, 1)
    for i in range(rounds):
        for name in list(arms)[:: 1 if i % 2 else -1]:
            found[name].append(arms[name].turn())
        print(f"round {i + 1}/{rounds}", file=sys.stderr)
    for arm in arms.values():
        arm.end()
    return found


def over(figures: dict[str, float], one: str, other: str) -> float | None:
    """The ratio of two arms' figures; None where one of them was not there."""
    return figures[one] / figures[other] if {one, other} <= figures.keys() else None


def pythae(*arguments: str) -> dict[str, Arm]:
    """An arm of Pythae 0.1.2 by its name, in a virtual environment of its own: ``$PYTHAE_PYTHON``, or made here once.
    Without a network (and in a smoke) there is none: that is said, and the rest is measured without it."""
    if not (python := _pythae_python()):
        return {}
    return {", ".join(["Pythae", *arguments[1:]]): Arm("arm_pythae.py", *arguments, python=python)}


@functools.cache
def _pythae_python() -> str:
    if (given := os.environ.get("PYTHAE_PYTHON")) is not None:
        return given
    python = ROOT / "benchmarks" / ".venv-pythae" / "bin" / "python"
    have = [str(python), "-c", "import pythae"]
    try:
        if not python.exists() and not smoke():
            subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
            for wanted in ("torch==2.13.0", "pythae==0.1.2"):
                subprocess.run([str(python), "-m", "pip", "install", "-q", wanted], check=True)
        subprocess.run(have, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"measured without Pythae 0.1.2, which is not there: {error}", file=sys.stderr)
        return ""
    return str(python)


def median(values: list[float]) -> float:
    return statistics.median(values)


def now(device: str = "cpu") -> float:
    """Seconds, once the device has done what it was given; of a CPU what the process used, whatever else it does."""
    if device == "cpu":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def serve(make: Callable[..., Turn]) -> None:
    """Be an arm: answer each line of stdin with one turn's figures."""
    turn = make(*options().given)
    for _ in sys.stdin:
        print(json.dumps(turn()), flush=True)
