"""Few labels: the recipe semi-vae against the same classifier trained on the labelled part alone.

Arms: MNIST with 100 and with 1,000 labels (as many of each class), scikit-learn's digits and its breast cancer table
with a tenth of the labels of each class, whose last fifth of the rows in an order by the seed is the test. The labels
are drawn by the seed; those that aren't drawn never leave ``few``. No label is used to choose anything
but by training on it, and there is no validation part. The baseline is the classifier of the recipe by itself, with the
same changes of the examples and without, after 2,000 updates on the labelled part: whichever is better on the test,
which favours it. Errors are of the whole test part, of averaged weights at the end.

``python benchmarks/semi.py [--arms NAME,...] [--seeds 3] [--seconds 120] [--jobs 1] [--set recipe.alpha=5 ...]``: a
process for each arm and seed, ``--jobs`` at once, each training for ``--seconds``; digits and cancer for a quarter of
it. What is done stays in ``runs/semi``, and what was stopped goes on; ``--set`` is of recipe and training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import moments, report, runs, size, smoke, start, write

#: labels in all (a part of the training rows where below 1), part of the seconds, and the error asked for
ARMS = {"mnist-100": (100, 1.0, 0.0333), "mnist-1000": (1000, 1.0, 0.024), "digits": (0.1, 0.25, None),
        "cancer": (0.1, 0.25, None)}  # fmt: skip
UPDATES = 2000  # of the baseline


class Few(NamedTuple):
    """Training rows of which few have a label (-1 for others), and test rows."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def few(arm: str, seed: int) -> Few:
    """The data of an arm, with the labels that a seed draws."""
    g = np.random.default_rng(seed)
    if arm.startswith("mnist"):
        from inputs import mnist

        with np.load(mnist()) as data:
            x, y, x_test, y_test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    else:
        from sklearn import datasets

        found = datasets.load_digits() if arm == "digits" else datasets.load_breast_cancer()
        x = found.images.astype(np.uint8) if arm == "digits" else found.data.astype(np.float32)
        order = g.permutation(len(x))
        cut = len(x) // 5
        (x_test, y_test), (x, y) = ((x[rows], found.target[rows]) for rows in (order[-cut:], order[:-cut]))
    y, y_test = y.astype(np.int64), y_test.astype(np.int64)
    labels = ARMS[arm][0]
    known = np.full(len(y), -1)
    for k in np.unique(y):
        rows = np.flatnonzero(y == k)
        n = max(1, round(labels * len(rows))) if labels < 1 else int(labels) // len(np.unique(y))
        chosen = g.permutation(rows)[: size(n, min(n, 5))]
        known[chosen] = k
    return Few(x, known, x_test, y_test)


def measured(arm: str, seed: int, seconds: float, settings: Iterable[str] = (), device: str = "auto") -> dict[str, Any]:
    """The figures of one arm and seed; a training that was stopped goes on."""
    import torch

    import fusevae
    from fusevae.evaluation.labels import classification
    from fusevae.training.prepare import pick_device

    data = few(arm, seed)
    source = {"unknown": -1, "validation": 0.0}
    train = {"x_train": data.x, "y_train": data.y, "x_test": data.x_test, "y_test": data.y_test}
    splits = fusevae.read_data(train, **source)
    options, training = given(settings)
    folder = runs("semi") / f"{arm}-{seed}"
    training |= size({}, {"epochs": 1, "batch_size": 32})
    budget = size(seconds * ARMS[arm][1], None)
    how = {"quiet": True, "device": device}
    if (folder / "config.yaml").exists():
        artifact = fusevae.resume(folder, splits, **how)
    else:
        artifact = fusevae.fit(
            "semi-vae", splits, options=options, training=training, seed=seed, budget=budget, folder=folder, **how
        )
    steps, took = artifact.history.steps, artifact.history.seconds
    where = pick_device(device)
    artifact.to(where)
    found = classification(artifact, splits.test)
    assert found is not None
    some = splits.test.spread(size(1000, 20))
    x = some.batch(torch.arange(len(some)))[0]
    label = some.batch(torch.arange(len(some)))[1]
    by_bound = fusevae.classify(artifact, x, by="bound", importance_samples=size(10, 2))
    figures = {
        "error": found.error,
        "cross_entropy": found.cross_entropy,
        "error_by_bound": (by_bound.argmax(1) != label).double().mean().item(),
        "log_likelihood": moments(fusevae.log_likelihood(artifact, x, importance_samples=size(100, 2)).tolist()),
        "steps": steps,
        "seconds": took,
        "labels": int((data.y >= 0).sum()),
        "rows": len(data.y),
        "device": torch.cuda.get_device_name() if where.type == "cuda" else "cpu",
    }
    return figures | {"alone": alone(artifact, splits, seed)}


def alone(artifact: Any, splits: Any, seed: int) -> dict[str, float]:
    """Errors of the recipe's classifier trained anew on the labelled part alone, with and without changes."""
    import torch
    from torch.nn import functional as F

    import fusevae
    from fusevae.core.artifact import Artifact
    from fusevae.evaluation.labels import classification, label_model
    from fusevae.models.preprocessed import inside
    from fusevae.recipes import semi_vae

    device = next(artifact.parameters()).device
    y = splits.train.batch(torch.arange(len(splits.train)))[1]
    x, y = splits.train.batch((y >= 0).nonzero()[:, 0])
    changes, found = semi_vae.recipe(splits.spec).objective.changes, {}
    for name in ("with changes", "plain"):
        torch.manual_seed(seed)
        other = Artifact(fusevae.build(fusevae.describe(artifact.distribution)), splits.spec, list(artifact.views))
        other.distribution.load_state_dict(artifact.distribution.state_dict())  # means and ranges of the preprocessing
        other = other.to(device).train()
        model = label_model(other)
        assert model is not None
        fresh = fusevae.build(fusevae.describe(model.classifier)).to(device)
        model.classifier.load_state_dict(fresh.state_dict())
        updates = size(UPDATES, 3)
        optimizer = torch.optim.AdamW(model.classifier.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        for _ in range(updates):
            rows = torch.randint(len(x), (min(64, len(x)),))
            seen, _ = inside(other.distribution, other.view(x[rows].to(device)))
            seen = changes(seen) if name != "plain" else seen
            loss = F.cross_entropy(model.classifier(seen), y[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        figures = classification(other.eval(), splits.test)
        assert figures is not None
        found[name] = figures.error
    return found


def given(settings: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the recipe, and settings of the training."""
    import yaml

    found: dict[str, dict[str, Any]] = {"recipe": {}, "training": {}}
    for setting in settings:
        key, _, value = setting.partition("=")
        section, _, name = key.partition(".")
        found[section][name] = yaml.safe_load(value)
    return found["recipe"], found["training"]


def cell(arm: str, seed: int) -> Path:
    return runs("semi") / f"{arm}-{seed}.json"


def summary() -> dict[str, Any]:
    """Means over the seeds of what is done, with their standard errors."""
    found: dict[str, Any] = {}
    for arm, (_, _, asked) in ARMS.items():
        done = [json.loads(path.read_text()) for path in sorted(runs("semi").glob(f"{arm}-*.json"))]
        if not done:
            continue
        best = [min(each["alone"].values()) for each in done]
        of = {"error": [each["error"] for each in done], "alone": best}
        of["better_by"] = [b - a for a, b in zip(of["error"], best, strict=True)]
        of["error_by_bound"] = [each["error_by_bound"] for each in done]
        found[arm] = {name: mean(values) for name, values in of.items()}
        found[arm] |= {"asked": asked, "labels": done[0]["labels"], "rows": done[0]["rows"], "seeds": done}
    return found


def mean(values: list[float]) -> dict[str, float]:
    if len(values) > 1:
        return moments(values)
    return {"value": statistics.fmean(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--seconds", type=float, default=120.0, help="of a training on MNIST")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--cell", nargs=2, metavar=("ARM", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help="where the JSON goes")
    options = parser.parse_args([] if smoke() else sys.argv[1:])
    if unknown := set(options.arms.split(",")) - set(ARMS):
        raise SystemExit(f"unknown {', '.join(unknown)}: give some of {', '.join(ARMS)}")
    runs("semi").mkdir(parents=True, exist_ok=True)
    if options.cell or smoke():
        for arm, seed in [options.cell] if options.cell else [("mnist-100", 0), ("cancer", 0)]:
            device = size(options.device, "cpu")
            found = measured(arm, int(seed), options.seconds, options.settings, device)
            write(cell(arm, int(seed)), json.dumps(found | {"settings": options.settings}) + "\n")
        if options.cell:
            return
    todo = [(a, str(s)) for s in range(options.seeds) for a in options.arms.split(",") if not cell(a, s).exists()]
    threads = str(max(1, (os.cpu_count() or 1) // (2 * options.jobs)))  # two on one core wait for each other

    def work(one: tuple[str, str]) -> None:
        started = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        code = subprocess.run([sys.executable, *sys.argv, "--cell", *one], env=environment).returncode
        said = cell(one[0], int(one[1])).read_text() if code == 0 else f"ended with {code}"
        print(f"{' '.join(one)}: {time.perf_counter() - started:.0f} s: {said[:160]}", file=sys.stderr, flush=True)

    if not smoke():
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(work, todo))
    figures = summary() | {"command": " ".join(["python", "benchmarks/semi.py", *sys.argv[1:]])}
    report("semi", figures, __doc__ or "")


if __name__ == "__main__":
    start(main) if smoke() else main()
