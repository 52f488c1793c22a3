"""Kill test: one training is killed by SIGKILL at 20 random moments and resumed each time; its weights and its
metrics must equal those of an uninterrupted run, bit by bit. ``python benchmarks/kill.py [KILLS]``
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import report

SETTINGS = [
    "training.checkpoint_every=50",
    "training.log_every=40",
    "training.validate_every=70",
    "training.epochs=500",
]

SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fusevae", "train", *arguments]


def fresh(folder: Path) -> list[str]:
    settings = [word for s in SETTINGS for word in ("--set", s)]
    return command("logistic-vae", "--output", str(folder), *settings)


def metrics(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def main(kills: int = 20, seed: int = 0) -> None:
    random.seed(seed)
    folder = Path(tempfile.mkdtemp())
    whole, cut = folder / "whole", folder / "cut"
    started = time.perf_counter()
    subprocess.run(fresh(whole), check=True, **SILENT)
    seconds = time.perf_counter() - started
    done, at, finished = 0, [], False
    while not finished:
        resume = (cut / "config.yaml").exists()
        process = subprocess.Popen(command("--resume", str(cut)) if resume else fresh(cut), **SILENT)
        if done < kills:
            try:
                # start-up takes a few seconds; after it, a share of the training so that all the kills fall within it
                process.wait(random.uniform(2.0, 8.0 + 1.2 * seconds / kills))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
                checkpoints = sorted((cut / "checkpoints").glob("step-*")) if cut.exists() else []
                at.append(checkpoints[-1].stem if checkpoints else "before the first checkpoint")
                print(f"kill {done}: {at[-1]}", file=sys.stderr)
                continue
        finished = process.wait() == 0
        if not finished:
            raise SystemExit("the resumed run failed")
    from safetensors.torch import load_file

    a, b = (load_file(f / "model.safetensors") for f in (whole, cut))
    same = a.keys() == b.keys() and all(bool((a[k] == b[k]).all()) for k in a)
    figures = {
        "kills": done,
        "weights_bit_identical": same,
        "metrics_identical": metrics(whole) == metrics(cut),
        "newest_checkpoint_at_each_kill": at,
        "seconds_uninterrupted": seconds,
    }
    report("kill", figures, __doc__ or "", seed)
    shutil.rmtree(folder)
    if not (same and figures["metrics_identical"] and done == kills):
        raise SystemExit("the resumed run differs, or it ended before all the kills")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
