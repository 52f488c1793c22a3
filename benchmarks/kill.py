"""Kill test: commands are killed by SIGKILL at random moments and given again until they end.

A VAE, a GAN and a text model are each killed 30 times while they train, `bench`, `evaluate`, `fit-prior` and
`sample --output` 10 times each. Weights, records, figures and files must equal those of a command that nobody killed,
bit by bit (times aside). The plan of the bench is fixed, since what fits into a time differs from one to the next.

``python benchmarks/kill.py [FOLDER]``; given again, it goes on with what FOLDER (runs/kill by default) lacks.
``--smoke`` takes seconds, two kills of a training and of `sample`, and leaves the results as they are.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models, and a fork that would not take threads along

from common import report

#: what every child needs, imported once
IMPORTED = (
    "fusevae.cli.train", "fusevae.cli.bench", "fusevae.cli.judge", "fusevae.cli.prior", "fusevae.cli.use",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "sklearn.datasets", "sklearn.manifold",
)  # fmt: skip
Say = Callable[[Path], list[str]]


@dataclass
class Task:
    """What is killed: a command, how to give it again, and what it leaves.

    Attributes:
        kills: how often.
        begin: the command, given the folder that it writes to.
        again: the command after a kill.
        left: what must be the same, from that folder and what was printed.
        ready: whether ``again`` is the command to give.
    """

    kills: int
    begin: Say
    left: Callable[[Path], Any]
    again: Say | None = None
    ready: Callable[[Path], bool] = lambda folder: True


def weights(folder: Path) -> dict[str, bytes]:
    """The bytes of each tensor of each model below a folder."""
    from safetensors.torch import load_file

    found = {}
    for path in sorted(folder.rglob("model.safetensors")):
        name = path.parent.relative_to(folder)
        found |= {f"{name}/{key}": value.numpy().tobytes() for key, value in load_file(path).items()}
    assert found, f"no model below {folder}"
    return found


def timeless(value: Any) -> Any:
    """Plain data without times, and without the names of folders."""
    if isinstance(value, dict):
        return {Path(k).name: timeless(v) for k, v in value.items() if k not in ("seconds", "run", "parent", "output")}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def trained(folder: Path) -> Any:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return weights(folder), timeless(records), timeless(json.loads(evaluation(folder)))


def evaluation(folder: Path) -> str:
    path = folder / "evaluation.json"
    return path.read_text() if path.exists() else "null"


def benched(folder: Path) -> Any:
    return weights(folder), timeless(json.loads((folder / "comparison.json").read_text()))


def printed(folder: Path) -> Any:
    return timeless(json.loads(folder.with_suffix(".out").read_text()))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def training(kills: int, recipe: str, *settings: str, data: str | None = None) -> Task:
    often = ["training.checkpoint_every=20", "training.log_every=15", "training.validate_every=35"]
    words = [word for s in (*settings, *often) for word in ("--set", s)]
    words += ["--data", data] if data else []
    return Task(
        kills,
        lambda folder: ["train", recipe, *words, "--output", str(folder), "--importance-samples", "2"],
        trained,
        lambda folder: ["train", "--resume", str(folder), "--importance-samples", "2"],
        lambda folder: (folder / "config.yaml").exists(),
    )


def tasks(place: Path, smoke: bool) -> dict[str, Task]:
    """What is killed, by name; what the last four need is trained first."""
    few, many = (2, 2) if smoke else (10, 30)
    texts = place / "texts.txt"
    if not texts.exists():
        draw = random.Random(0)
        words = ["the", "a", "small", "blue", "fox", "hen", "sees", "hears", "no", "other"]
        texts.write_text("\n".join(" ".join(draw.choices(words, k=draw.randint(3, 8))) for _ in range(600)) + "\n")
    model = str(place / "vae" / "whole")
    found = {"vae": training(many, "logistic-vae", "recipe.hidden=[32]", f"training.epochs={3 if smoke else 8}")}
    n = "20" if smoke else "2000"
    sampled = Task(few, lambda folder: ["sample", model, "-n", n, "--output", str(folder)], files)
    if smoke:
        return found | {"sample": sampled}
    small = ["recipe.channels=[16,16,16]", "recipe.latent=8", "training.epochs=3"]
    return found | {
        "gan": training(many, "gan", *small),
        "text": training(many, "text-lstm", "recipe.width=32", "training.epochs=10", data=str(texts)),
        "bench": Task(
            few,
            lambda folder: [
                "bench", "binary-vae,logistic-vae", "--budget", "1h", "--output", str(folder), "--samples", "0",
                "--importance-samples", "20",
            ],
            benched,
        ),
        "evaluate": Task(few, lambda folder: ["evaluate", model, "--json", "--importance-samples", "1000"], printed),
        "fit-prior": Task(
            few, lambda folder: ["fit-prior", model, "made", "--epochs", "4", "--output", str(folder)], weights
        ),
        "sample": sampled,
    }  # fmt: skip


def start(command: list[str], output: Path) -> int:
    """The command in a process of its own, forked so that nothing is imported again; returns its id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        for stream, path in ((1, output.with_suffix(".out")), (2, output.with_suffix(".err"))):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), stream)
        from fusevae.cli import main

        code = main(command)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """The exit code of a process, or None where it was killed after ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def whole(task: Task, folder: Path) -> float:
    """Run a task that nobody kills; returns its seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    code = ended(start(task.begin(folder), folder), float("inf"))
    if code:
        raise SystemExit(f"{task.begin(folder)} ended with {code}: {folder.with_suffix('.err').read_text()}")
    return time.monotonic() - started


def killed(task: Task, folder: Path, expected: Any, seconds: float, draw: random.Random) -> dict[str, Any]:
    """Kill a task as often as it says, beginning anew whenever it comes to its end."""
    kills, endings, same = 0, 0, True
    longest = seconds / 3 if task.again else seconds  # what goes on gets further each time
    while kills < task.kills or not endings:
        shutil.rmtree(folder, ignore_errors=True)
        while True:
            go_on = task.again is not None and task.ready(folder)
            command = task.again(folder) if go_on and task.again else task.begin(folder)
            limit = draw.uniform(0, longest) if kills < task.kills else float("inf")
            code = ended(start(command, folder), limit)
            if code is not None:
                break
            kills += 1
        if code:
            raise SystemExit(f"{command} ended with {code}: {folder.with_suffix('.err').read_text()}")
        endings, same = endings + 1, same and task.left(folder) == expected
    return {"kills": kills, "ends": endings, "bit_identical": same, "seconds_unbroken": seconds}


def fixed_plan() -> None:
    """Let a bench plan the same whatever the time."""
    from fusevae.recipes import bench
    from fusevae.training.budget import Plan

    bench.plan = lambda *given: Plan(60, 60 / 11, 20, 0.001, 0.001, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="runs/kill")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp() if options.smoke else options.folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    for name in IMPORTED:
        importlib.import_module(name)
    fixed_plan()
    kept = place / "kept.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for name, task in tasks(place, options.smoke).items():
        if name in found:
            continue
        (place / name).mkdir(exist_ok=True)
        seconds = whole(task, place / name / "whole")
        expected = task.left(place / name / "whole")
        found[name] = killed(task, place / name / "cut", expected, seconds, random.Random(name))
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
        kept.write_text(json.dumps(found))
        if not options.smoke:
            report("kill", found, __doc__ or "", 0)
    if options.smoke:
        shutil.rmtree(place)
        print(json.dumps(found))
    if not all(figures["bit_identical"] for figures in found.values()):
        raise SystemExit("what was killed differs from what was not")


if __name__ == "__main__":
    main()
