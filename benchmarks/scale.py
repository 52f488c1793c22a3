"""Large tables: seconds and memory of reading, of the first steps, of a likelihood and of sampling.

Three made tables, DataFrames: ``rows`` (a million rows of 30 columns: reals, skewed ones, counts, classes, a flag,
dates, gaps), ``columns`` (20,000 rows of 1,000 columns, a tenth of them classes) and ``levels`` (100,000 rows of six
columns, one of 10,000 classes). Each is given to ``table-vae`` and ``table-transformer`` with the settings that are
the default for it, in a process of its own, on one thread: ``read_data``; the training up to its first step (the nets
made, functions of the columns fitted, a baseline); the step after, a mean of some; the log-likelihood of 200 held-out
rows (20 importance samples); 1,000 samples, of the transformer over 1,000 columns 20. Memory is the most that the
process had by then (``ru_maxrss``), the table itself included. ``python benchmarks/scale.py [TABLE MODEL]``
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from common import ROOT, report, size, smoke, start

MODELS = ["table-vae", "table-transformer"]
TABLES = ["rows", "columns", "levels"]
STEPS = 10


def table(name: str) -> Any:
    """One of the tables."""
    import pandas as pd

    rng = np.random.default_rng(0)
    n = size({"rows": 1_000_000, "columns": 20_000, "levels": 100_000}[name], 200)
    z = rng.normal(size=(n, 3))
    found: dict[str, Any] = {}

    def some(what: str, count: int, values: Any) -> None:
        found.update({f"{what}{i}": values(i) for i in range(count)})

    def classes(i: int, levels: int) -> np.ndarray:
        codes = np.abs(3 * z[:, i % 3] + rng.normal(size=n)).astype(int) % levels
        return np.array([f"c{j}" for j in range(levels)], dtype=object)[codes]

    wide = name == "columns"
    some(
        "real", {"rows": 12, "columns": size(800, 20), "levels": 2}[name], lambda i: np.round(z @ rng.normal(size=3), 4)
    )
    some("count", size(100, 4) if wide else 2, lambda i: rng.poisson(np.exp(z[:, i % 3] / 2)))
    some("class", size(100, 4) if wide else 1, lambda i: classes(i, 2 + i % 9))
    if name == "rows":
        some("skewed", 4, lambda i: np.exp(z @ rng.normal(size=3)))
        some("more", 3, lambda i: rng.poisson(np.exp(z[:, i % 3])) + 5)
        some("kind", 5, lambda i: classes(i, 3 + 4 * i))
        found["flag"] = z[:, 0] > 0
        found["day"] = np.datetime64("2020-01-01") + rng.integers(0, 1000, n).astype("timedelta64[D]")
        found["gap"] = np.where(rng.random(n) < 0.1, np.nan, np.round(z[:, 1], 3))
    if name == "levels":
        levels = size(10_000, 50)
        words = np.array([f"word{j}" for j in range(levels)], dtype=object)
        found["word"] = words[(levels * rng.random(n) ** 2).astype(int)]
    return pd.DataFrame(found)


def measured(name: str, model: str) -> dict[str, Any]:
    """Seconds, the most memory by then in GB, and parameters, of a model for a table."""
    import fusevae
    from fusevae.data.modality import modality_of
    from fusevae.evaluation.likelihood import log_likelihood
    from fusevae.training.prepare import prepare, trained
    from fusevae.training.recipes import find

    torch.set_num_threads(1)
    seconds: dict[str, float] = {}
    memory: dict[str, float] = {}
    frame, began = table(name), time.perf_counter()

    def after(what: str, times: int = 1) -> None:
        nonlocal began
        if times:
            seconds[what] = (time.perf_counter() - began) / times
        memory[what] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        began = time.perf_counter()

    after("table", 0)
    data = fusevae.read_data(frame)
    after("read")
    chosen = {c.recipe: c.options for c in modality_of(data.spec).recommend(data.spec, len(data.train))}.get(model, {})
    options = {key.removeprefix("recipe."): v for key, v in chosen.items() if key.startswith("recipe.")}
    training = {key.removeprefix("training."): v for key, v in chosen.items() if key.startswith("training.")}
    made = find(model)(data.spec, **options)
    loop = prepare(made.model, data, [], made.objective, made.training.replaced(**training), 0)
    batches, (player,) = loop.batches.since(0), loop.game.players
    loop._move(player, next(batches))
    after("first step")
    for _ in range(steps := size(STEPS, 2)):
        loop._move(player, next(batches))
    after("a step", steps)
    artifact = trained(loop)
    rows = data.validation.spread(size(200, 4))
    after("kept")
    log_likelihood(artifact, rows, None, size(20, 2))
    after("a row's likelihood", len(rows))
    n = size(20 if (name, model) == ("columns", "table-transformer") else 1000, 3)
    fusevae.sample(artifact, n)
    after("a sample", n)
    parameters = sum(p.numel() for p in artifact.distribution.parameters())
    batch = loop.batches.size
    return {"seconds": seconds, "gigabytes": memory, "parameters": parameters, "batch": batch, "rows": len(data.train)}


def main(name: str = "", model: str = "") -> None:
    if name:
        print(json.dumps(measured(name, model)))
        return
    found: dict[str, Any] = {}
    for name in TABLES:
        for model in MODELS:
            if smoke():
                found[f"{name}, {model}"] = measured(name, model)
                continue
            command = [sys.executable, __file__, name, model]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            found[f"{name}, {model}"] = json.loads(done.stdout)
            print(name, model, done.stdout, file=sys.stderr)
    report("scale", found, __doc__, 0)


if __name__ == "__main__":
    start(main, str, str)
