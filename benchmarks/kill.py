"""Kill test: commands are killed by SIGKILL at random moments and given again until they end.

A VAE, a GAN and a text model are each killed 30 times while they train, `bench`, `evaluate`, `fit-prior` and
`sample --output` 10 times each. Weights, records, figures and files must equal those of a command that nobody killed,
bit by bit (times aside). The plan of the bench is fixed, since what fits into a time differs from one to the next.

`bench --total` and `tune` share out a time, of which what a kill takes is no longer there, so that a training is a
little shorter. Killed ten times on the way to one end, they must take no more than the time that was asked for, all
calls together, and say the same: the bench, whose judge is trained anew for each, names the same models for each
purpose; the tuning, whose trainings have a fixed number of steps, has the same trials as far as it came.

``python benchmarks/kill.py [FOLDER] [--only NAME]``; given again, it goes on with what FOLDER (runs/kill by default)
lacks; of what isn't named, the figures are those that were measured before.
``--smoke`` takes seconds, two kills of a training and of `sample`, and leaves the results as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import operator
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models, and a fork that would not take threads along

from common import before, report

#: what every child needs, imported once
IMPORTED = (
    "fusevae.cli.train", "fusevae.cli.bench", "fusevae.cli.tune", "fusevae.cli.judge", "fusevae.cli.prior",
    "fusevae.cli.use", "optuna", "matplotlib.figure", "matplotlib.backends.backend_agg", "sklearn.datasets",
    "sklearn.manifold",
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
        asked: seconds that all of its calls may take; None where they are not limited.
        same: whether what is left is as it should be.
    """

    kills: int
    begin: Say
    left: Callable[[Path], Any]
    again: Say | None = None
    ready: Callable[[Path], bool] = lambda folder: True
    asked: float | None = None
    same: Callable[[Any, Any], bool] = operator.eq


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


def advised(folder: Path) -> Any:
    """What a bench names for each purpose, in order where it is sure."""
    found = json.loads((folder / "comparison.json").read_text())["answer"]
    return {f"{a['purpose']} {a['over']}".strip(): sorted(map(name_of, a["take"])) for a in found}


def name_of(run: str) -> str:
    return Path(run).name


def tried(folder: Path) -> Any:
    """The trials of a tuning that came to an end, in their order, and what was chosen."""
    from fusevae.recipes.trials import study_of

    ended = [(t.params, t.value) for t in study_of(folder).trials if t.state.name in ("COMPLETE", "PRUNED")]
    return ended, json.loads((folder / "tune.json").read_text())["tuned"]["settings"]


def no_trial_lost(whole: Any, cut: Any) -> bool:
    """Whether a tuning that was killed has the same trials as far as it came."""
    shorter = min(len(whole[0]), len(cut[0]))
    return shorter > 3 and whole[0][:shorter] == cut[0][:shorter]


def shown(left: Any) -> dict[str, Any]:
    """What is told of it."""
    return left if isinstance(left, dict) else {"trials": len(left[0]), "settings": left[1]}


def within(command: str, total: float, left: Callable[[Path], Any], same: Callable[[Any, Any], bool]) -> Task:
    """A command that shares out a time, killed ten times on the way to one end."""
    words = [*command.split(), "--total", f"{total:g}s", "--output"]
    return Task(
        10, lambda folder: [*words, str(folder)], left, lambda folder: [*words, str(folder)], asked=total, same=same
    )


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
        "bench --total": within("bench logistic-vae,conv-vae,sigma-vae", 180, advised, operator.eq),
        "tune": within("tune logistic-vae", 100, tried, no_trial_lost),
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

        os.environ["FUSEVAE_CACHE"] = str(output.with_suffix(".judge"))
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


def anew(folder: Path) -> None:
    """Take away what a command left, and what it trained to judge by."""
    for place in (folder, folder.with_suffix(".judge")):
        shutil.rmtree(place, ignore_errors=True)


def whole(task: Task, folder: Path) -> float:
    """Run a task that nobody kills; returns its seconds."""
    anew(folder)
    started = time.monotonic()
    code = ended(start(task.begin(folder), folder), float("inf"))
    if code:
        raise SystemExit(f"{task.begin(folder)} ended with {code}: {folder.with_suffix('.err').read_text()}")
    return time.monotonic() - started


def killed(task: Task, folder: Path, expected: Any, seconds: float, draw: random.Random) -> dict[str, Any]:
    """Kill a task as often as it says, beginning anew whenever it comes to its end."""
    kills, endings, same, began = 0, 0, True, time.monotonic()
    longest = seconds / 3 if task.again else seconds  # what goes on gets further each time
    if task.asked:
        longest = 2 * seconds / (task.kills + 1)  # all of them on the way to one end
    while kills < task.kills or not endings:
        anew(folder)
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
        left = task.left(folder)
        endings, same = endings + 1, same and task.same(expected, left)
    found = {"kills": kills, "ends": endings, "bit_identical": same, "seconds_unbroken": seconds}
    if task.asked is None:
        return found
    del found["bit_identical"]
    took = (time.monotonic() - began) / endings
    return found | {"same": same, "asked": task.asked, "seconds": took, "whole": shown(expected), "cut": shown(left)}


@contextlib.contextmanager
def fixed_plan(task: Task) -> Iterator[None]:
    """Let trainings be planned the same whatever the time, but those of a bench that shares one out."""
    from fusevae.training.budget import Plan

    def plan(make: Any, data: Any, seconds: float, *given: Any) -> Plan:
        steps = 60 if task.asked is None else round(6 * seconds)  # a tuning's are not cut by the time
        return Plan(steps, steps / 11, 20, 0.001, 0.001, 10, None, 20)

    with contextlib.ExitStack() as stack:
        for name in ("fusevae.recipes.trials", "fusevae.training.budget"):  # so long that none is late
            stack.enter_context(mock.patch(f"{name}.timed", return_value=(0.12, 0.0, 11)))
        for name in ("fusevae.recipes.trainings", "fusevae.training.budget"):  # where they are planned
            if task.left is not advised:
                stack.enter_context(mock.patch(f"{name}.plan", plan))
        if task.left is tried:  # as many trials as there is time for
            stack.enter_context(mock.patch("fusevae.recipes.stages.FAR", math.inf))
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="runs/kill")
    parser.add_argument("--only", metavar="NAME", help="one of the tasks")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp() if options.smoke else options.folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    for name in IMPORTED:
        importlib.import_module(name)
    kept = place / "kept.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    earlier = {} if options.smoke else before("kill")
    for name, task in tasks(place, options.smoke).items():
        if name in found or options.only not in (None, name):
            continue
        (place / name).mkdir(exist_ok=True)
        with fixed_plan(task):
            seconds = whole(task, place / name / "whole")
            expected = task.left(place / name / "whole")
            found[name] = killed(task, place / name / "cut", expected, seconds, random.Random(name))
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
        kept.write_text(json.dumps(found))
        if not options.smoke:
            report("kill", earlier | found, __doc__ or "", 0)
    if options.smoke:
        shutil.rmtree(place)
        print(json.dumps(found))
    if not all(figures.get("bit_identical", figures.get("same")) for figures in found.values()):
        raise SystemExit("what was killed differs from what was not")


if __name__ == "__main__":
    main()
