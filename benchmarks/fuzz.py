"""Fuzzing: the command line on 400 mutations of valid data of every format, and on 200 of artifacts, configurations,
checkpoints and metrics. Each is a result, or one line with exit code 2 (1 where the input isn't at fault): no
traceback, nothing that hangs or takes over 2 GB beside what the program has. ``python benchmarks/fuzz.py [--smoke]
[--seed N] [--only NUMBER]``
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import queue
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from common import report
from mutations import mutate_file, mutate_json, mutate_plain, mutate_safetensors, mutate_yaml

DATA, FILES = 400, 200
MEMORY = 2**31  # bytes beside what the program takes by itself
ADDRESSES = 12 * 2**30
STOP, HANG = 25, 90  # seconds: a training is stopped as by Ctrl-C, then anything is taken to hang
TINY = ["--set", "training.epochs=0.2", "--set", "training.checkpoint_every=2", "--set", "training.log_every=2"]
KINDS = ("images", "tables", "text", "molecules")
SMILES = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "C1CCCCC1", "CC(C)O", "OCC", "c1ccncc1", "CCCl", "CC#N"]
WORDS = "a an the cat dog runs sits here there quickly and then sleeps".split()


def make(folder: Path, chance: random.Random) -> dict[str, list[str]]:
    """Valid data of every format, by kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    x = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    y = np.arange(40) % 3
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def add(kind: str, name: str) -> Path:
        found[kind].append(name)
        return folder / name

    np.savez(add("images", "images.npz"), x=x, y=y)
    np.savez_compressed(add("images", "packed.npz"), x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    np.save(add("images", "images.npy"), x)
    for suffix in ("png", "jpg", "tiff", "gif", "bmp", "webp", "pgm"):
        place = add("images", f"folder_{suffix}")
        for i, image in enumerate(x[:20]):
            (place / f"{y[i]}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{y[i]}" / f"{i}.{suffix}")
    place = add("images", "indexed")
    place.mkdir()
    for i in range(20):
        Image.fromarray(x[i]).save(place / f"{i}.png")
    rows = "".join(f"{i}.png,{y[i]}\n" for i in range(20))
    (place / "metadata.csv").write_text("file_name,label\n" + rows)
    encoded = [{"bytes": (folder / "indexed" / f"{i}.png").read_bytes(), "path": None} for i in range(20)]
    pq.write_table(pa.table({"image": encoded, "label": y[:20]}), add("images", "images.parquet"))

    table = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    names = ["a", "b", "c"]
    kinds = ["red", "green", "blue"]
    for suffix, mark in (("csv", ","), ("tsv", "\t")):
        lines = [mark.join(f"{v:.4f}" for v in row) for row in table]
        add("tables", f"table.{suffix}").write_text("\n".join([mark.join(names), *lines]) + "\n")
    mixed = [f"{v[0]:.3f},{i % 3},{kinds[i % 3]},2024-01-{i % 28 + 1:02}\n" for i, v in enumerate(table)]
    add("tables", "mixed.csv").write_text("size,count,kind,day\n" + "".join(mixed))
    pq.write_table(pa.table({n: table[:, i] for i, n in enumerate(names)}), add("tables", "table.parquet"))
    np.save(add("tables", "table.npy"), table)
    np.savez(add("tables", "table.npz"), x=table)

    texts = [" ".join(chance.choices(WORDS, k=chance.randint(3, 7))) for _ in range(60)]
    add("text", "text.txt").write_text("\n".join(texts) + "\n")
    objects = [json.dumps({"text": t, "label": kinds[i % 3]}) for i, t in enumerate(texts)]
    add("text", "text.jsonl").write_text("\n".join(objects) + "\n")
    add("text", "texts.csv").write_text("text,label\n" + "".join(f"{t},{kinds[i % 3]}\n" for i, t in enumerate(texts)))
    pq.write_table(pa.table({"text": texts}), add("text", "text.parquet"))
    with contextlib.suppress(ImportError):
        import datasets

        datasets.disable_progress_bars()
        datasets.Dataset.from_dict({"text": texts}).save_to_disk(str(add("text", "saved")))
    add("molecules", "molecules.smi").write_text("\n".join(chance.choices(SMILES, k=60)) + "\n")
    add("molecules", "smiles.csv").write_text("smiles\n" + "\n".join(chance.choices(SMILES, k=60)) + "\n")
    return found


def runs(folder: Path) -> None:
    """A small run of each kind, and one that was stopped."""
    from fusevae.cli import main as command

    recipes = {
        "images": ["conditional-vae", "--data", "images.npz", "--set", "recipe.hidden=[8]"],
        "tables": ["table-vae", "--data", "table.csv", "--set", "recipe.hidden=[8]"],
        "text": ["text-lstm", "--data", "text.txt", "--set", "recipe.width=8", "--set", "data.tokens=words"],
        "molecules": ["text-lstm", "--data", "molecules.smi", "--set", "recipe.width=8"],
    }
    for kind, words in recipes.items():
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
            code = command(["train", *words, "--output", f"run_{kind}", *TINY])
        if code:
            raise SystemExit(f"the valid run of {kind} failed with {code}")
    whole = folder / "run_images"
    stopped = shutil.copytree(whole, folder / "run_stopped")
    for name in ("model.safetensors", "report.html", "evaluation.json"):
        (stopped / name).unlink()
    newest = max((stopped / "checkpoints").iterdir())
    newest.unlink()


def data_case(i: int, known: dict[str, list[str]], valid: Path, place: Path, chance: random.Random) -> dict[str, Any]:
    """A mutation of data, and a command that reads them."""
    kind = KINDS[i % 4] if chance.random() < 0.5 else "images"
    name = known[kind][i // 4 % len(known[kind])]
    source = valid / name
    if source.is_dir():
        shutil.copytree(source, place / name)
        inside = sorted(p for p in (place / name).rglob("*") if p.is_file())
        target = chance.choice(inside)
    else:
        target = Path(shutil.copy(source, place / name))
    said = mutate_file(target, [valid / n for n in ("images.npz", "table.csv", "text.txt", "table.parquet")], chance)
    read = ["recipes", "--data", name]
    judge = ["evaluate", str(valid / f"run_{kind}"), "--data", name, "--importance-samples", "2"]
    train = ["train", "--data", name, "--output", "out", *TINY]
    argv = chance.choices((read, judge, train), (5, 4, 1))[0]
    return {"of": f"data {source.suffix or name}", "argv": argv, "mutation": f"{target.name}: {said}"}


def file_case(i: int, valid: Path, place: Path, chance: random.Random) -> dict[str, Any]:
    """A mutation of an artifact, a configuration, a checkpoint, metrics or figures, and a command that reads it."""
    of = ("artifact", "configuration", "checkpoint", "metrics", "artifact", "configuration")[i % 6]
    source = valid / ("run_stopped" if of == "checkpoint" else f"run_{KINDS[i // 6 % 4]}")
    run = Path(shutil.copytree(source, place / "run"))
    if of == "artifact":
        said = mutate_safetensors(run / "model.safetensors", "artifact", chance, mutate_yaml)
        argv = chance.choice((["sample", "run", "-n", "2"], ["info", "run"], ["sample", "run/model.safetensors"]))
        argv = [*argv, "--output", f"out{chance.choice(('.npz', '.csv', '.txt'))}"] if argv[0] == "sample" else argv
    elif of == "configuration":
        text, said = mutate_yaml((run / "config.yaml").read_text(), chance)
        (run / "config.yaml").write_text(text)
        train = ["train", "run/config.yaml", "--output", "out"]
        argv = chance.choice((train, ["info", "run"], ["train", "--resume", "run"]))
    elif of == "checkpoint":
        target = chance.choice(sorted((run / "checkpoints").iterdir()))
        said, argv = mutate_safetensors(target, "values", chance, mutate_json), ["train", "--resume", "run"]
    else:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        at = chance.randrange(len(lines))
        node, said = mutate_plain(json.loads(lines[at]), chance)
        lines[at] = json.dumps(node) if chance.random() < 0.7 else lines[at][: chance.randrange(len(lines[at]))]
        (run / "metrics.jsonl").write_text("\n".join(lines) + "\n" * chance.choice((0, 1)))
        argv = chance.choice((["info", "run", "--json"], ["train", "--resume", "run"]))
    return {"of": of, "argv": argv, "mutation": said}


def wrong(case: dict[str, Any]) -> str | None:
    """Why an outcome is not what it should be."""
    code, lines = case["code"], [line for line in re.split(r"[\r\n]", case["stderr"]) if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if case.get("hangs"):
        return "hangs"
    if code not in (0, 1, 2, 130) or "Traceback" in case["stderr"]:
        return "a traceback" if "Traceback" in case["stderr"] else f"exit code {code}"
    if code in (1, 2) and (len(errors) != 1 or lines[-1] != errors[0]):
        return "not one line"
    if code == 130 and case["argv"][0] != "train":
        return f"takes over {STOP} s"
    return f"{case['memory'] / 1e9:.1f} GB" if case["memory"] > MEMORY else None


# ---------------------------------------------------------------- workers


def serve() -> None:
    """In a worker: run the command of each line of stdin."""
    import signal
    import traceback

    import torch

    from fusevae.cli import main

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        case = json.loads(line)
        os.chdir(case["place"])
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = peak()
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
        started = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, STOP)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        try:
            code = main(case["argv"])
        except BaseException:  # also what argparse and libraries of other languages raise
            traceback.print_exc()
            code = 70
        signal.setitimer(signal.ITIMER_REAL, 0)
        found = {"code": code, "seconds": time.perf_counter() - started, "memory": peak() - before}
        print(json.dumps(found), file=answers, flush=True)


def peak() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


class Worker:
    """A process that runs commands, made anew where one ends it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def run(self, case: dict[str, Any]) -> dict[str, Any]:
        """The outcome of a case."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        assert self.process.stdin
        assert self.process.stdout
        timer = threading.Timer(HANG, self.process.kill)
        timer.start()
        started = time.perf_counter()
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        timer.cancel()
        stderr = Path(case["place"], "stderr")
        found = case | {"stderr": stderr.read_text(errors="replace") if stderr.exists() else ""}
        if line:
            return found | json.loads(line)
        seconds = time.perf_counter() - started
        return found | {"code": self.process.wait(), "hangs": seconds > HANG - 5, "seconds": seconds, "memory": 0}


def main(smoke: bool, seed: int, only: int | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    valid = folder / "valid"
    valid.mkdir()
    known = make(valid, random.Random(seed))
    runs(valid)
    n, m = (4, 3) if smoke else (DATA, FILES)
    chosen: queue.Queue[int] = queue.Queue()
    for i in range(n + m) if only is None else [only]:
        chosen.put(i)
    done: list[dict[str, Any]] = []

    def work() -> None:
        worker = Worker()
        while True:
            try:
                i = chosen.get_nowait()
            except queue.Empty:
                break
            place = folder / f"case_{i}"
            place.mkdir()
            chance = random.Random(f"{seed} {i}")
            case = data_case(i, known, valid, place, chance) if i < n else file_case(i - n, valid, place, chance)
            case |= {"number": i, "place": str(place)}
            found = worker.run(case)
            found["wrong"] = wrong(found)
            done.append(found)
            if found["wrong"] or only is not None:
                print(json.dumps(found, indent=1), file=sys.stderr)
            if not found["wrong"] and only is None:
                shutil.rmtree(place)
            if len(done) % 25 == 0:
                print(f"{len(done)} of {n + m}", file=sys.stderr)
        if worker.process is not None:
            worker.process.kill()

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome = {0: "a result", 1: "one line, exit code 1", 2: "one line, exit code 2", 130: "trained until stopped"}
    table: dict[str, Counter[str]] = {}
    for case in done:
        table.setdefault(case["of"], Counter())[case["wrong"] or outcome[case["code"]]] += 1
    bad = [{k: c[k] for k in ("number", "of", "argv", "mutation", "wrong")} for c in done if c["wrong"]]
    ones = [{k: c[k] for k in ("number", "mutation", "stderr")} for c in done if c["code"] == 1 and not c["wrong"]]
    figures = {
        "data": n, "files": m, "wrong": bad, "exit_code_1": sorted(ones, key=lambda one: one["number"]),
        "outcomes": {of: dict(sorted(table[of].items())) for of in sorted(table)},
        "most_memory_gb": max(c["memory"] for c in done) / 1e9, "longest_seconds": max(c["seconds"] for c in done),
        "minutes": (time.perf_counter() - started) / 60,
    }  # fmt: skip
    if smoke or only is not None:
        print(json.dumps(figures, indent=2))
    else:
        report("fuzz", figures, __doc__ or "", seed)
    if bad:
        raise SystemExit(f"{len(bad)} of {n + m} are wrong; what they were given is kept in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one case by its number, said in full")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    serve() if options.serve else main(options.smoke, options.seed, options.only)
