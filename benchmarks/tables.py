"""Adult, columns of several kinds with missing cells, at a budget: how near samples are to real rows.

The default for the table, trained for so many seconds of one core (1,800, or the first argument) on the 32,561
training rows, 3 % of them held out to validate, judged against the 16,281 test rows: Shape, Trend, C2ST and the share
of samples nearer to training rows as of ``fusevae evaluate --samples`` (half of the test rows are the reference, the
others are judged as samples are: the floor), and the AUC on the reference of boosted trees that learned income from
as many samples as there are training rows, beside those that learned from the training rows. As fewer rows differ
more by chance, Shape and Trend are also those of as many samples as there are training rows beside all test rows, and
of the training rows beside these. A second argument is the seed. A training is gone on with where it was stopped.
Where ``$CTGAN_PYTHON`` names an interpreter that has ctgan, CTGAN and TVAE are trained for as long and judged alike.
``python benchmarks/tables.py [SECONDS [SEED]]``
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from common import report, runs, size, smoke, start
from inputs import place
from ten_tables import PEERS, peer
from zoo_cell import by_the_core


def adult() -> tuple[Path, Path]:
    """Training and test rows."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        folder.mkdir(parents=True)
        for name, n in (("adult_train.csv", 240), ("adult_test.csv", 160)):
            kind = rng.integers(0, 3, n)
            words = np.array(["a", "b", "?"])[kind], np.array(["<", ">", ">"])[kind]
            rows = zip(rng.integers(17, 90, n), *words, strict=True)
            (folder / name).write_text("age,work,income\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")

    folder = place("tables", make)
    return folder / "adult_train.csv", folder / "adult_test.csv"


def main(budget: float = size(1800.0, 1.0), seed: int = 0) -> None:
    import fusevae
    from fusevae.data.source import read_data, read_examples
    from fusevae.modalities.tables.quality import TableReference
    from fusevae.recipes.compose import compose
    from fusevae.training import configuration

    if not smoke():  # which shares its process with others
        by_the_core()
    train, test = adult()
    folder = runs(f"tables-{budget:g}s-{seed}")
    node, splits = compose(None, str(train), ["data.validation=0.03", "data.test=0"], seed=seed)
    assert splits is not None
    if not (folder / "config.yaml").exists():
        fusevae.fit(configuration.experiment(node), splits, folder=folder, quiet=True, budget=budget)
    elif not (folder / "model.safetensors").exists():
        fusevae.resume(folder, quiet=True)
    artifact = fusevae.load(folder)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = max(record.get("seconds", 0.0) for record in records)  # of the training, which may have ended before
    held = read_examples(str(test), artifact.data)
    whole = read_data(str(train), validation=0, test=0)
    judge = TableReference(held, whole.train, len(held) // 2)
    found = judge.judge(artifact)
    real, every = rows_of(whole.train), rows_of(held)

    def of_all(made: np.ndarray) -> dict[str, Any]:
        """Shape and Trend beside all test rows, and the AUC of what trees learn from these."""
        learned = judge.learned(made)
        shape, trend = (float(np.mean(score(every, made))) for score in (judge.shapes, judge.trends))
        return {"shape": shape, "trend": trend, "auc": None if learned is None else learned[0]}

    likelihood = fusevae.evaluate(artifact, held, importance_samples=size(100, 2))
    figures: dict[str, Any] = {
        "budget": budget,
        "seconds": seconds,
        "samples": json.loads(json.dumps(found.to_dict())),
        "made": of_all(fusevae.sample(artifact, len(real), seed=seed).double().numpy()),
        "training_rows": of_all(real),
        "log_likelihood": likelihood.log_likelihood.value,
        "support": likelihood.support,
    }
    report("tables", figures, __doc__ or "", seed)
    for kind in PEERS if "CTGAN_PYTHON" in os.environ else ():
        shutil.copy(train, folder / "adult_train.csv")
        took = peer(kind, folder, "adult", seconds, seed, len(real))
        drawn = rows_of(read_examples(str(folder / f"adult_{kind}.csv"), artifact.data))
        figures[kind] = of_all(drawn) | {"c2st": judge.scores(drawn[: judge.n]).c2st} | took
        report("tables", figures, __doc__ or "", seed)


def rows_of(examples: Any) -> np.ndarray:
    import torch

    found: np.ndarray = examples.batch(torch.arange(len(examples)))[0].double().numpy()
    return found


if __name__ == "__main__":
    start(main, float, int)
