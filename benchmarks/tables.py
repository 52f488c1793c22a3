"""Adult, columns of several kinds with missing cells, at a budget: how near samples are to real rows.

The default for the table, trained for so many seconds (1,800, or the first argument) on the 32,561 training rows, 3 %
of them held out to validate, judged against the 16,281 test rows: Shape, Trend, C2ST and the share of samples nearer
to training rows as of ``fusevae evaluate --samples`` (half of the test rows are the reference, the others are judged as
samples are: the floor), and the AUC on the reference of boosted trees that learned income from as many samples as
there are training rows, beside those that learned from the training rows. A second argument is the seed. A training is
gone on with where it was stopped. ``python benchmarks/tables.py [SECONDS [SEED]]``
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from common import report, runs, size, start
from inputs import place


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
    import torch

    import fusevae
    from fusevae.data.source import read_data, read_examples
    from fusevae.modalities.tables.quality import TableReference
    from fusevae.recipes.compose import compose
    from fusevae.training import configuration

    train, test = adult()
    folder = runs(f"tables-{budget:g}s-{seed}")
    node, splits = compose(None, str(train), ["data.validation=0.03", "data.test=0"], seed=seed)
    assert splits is not None
    started = time.perf_counter()
    if not (folder / "config.yaml").exists():
        fusevae.fit(configuration.experiment(node), splits, folder=folder, quiet=True, budget=budget)
    elif not (folder / "model.safetensors").exists():
        fusevae.resume(folder, quiet=True)
    artifact = fusevae.load(folder)
    seconds = time.perf_counter() - started
    held = read_examples(str(test), artifact.data)
    whole = read_data(str(train), validation=0, test=0)
    judge = TableReference(held, whole.train, len(held) // 2)
    found = judge.judge(artifact)
    made_rows = fusevae.sample(artifact, len(whole.train), seed=seed).double().numpy()
    real_rows = whole.train.batch(torch.arange(len(whole.train)))[0].double().numpy()
    learned, bound = judge.learned(made_rows), judge.learned(real_rows)
    likelihood = fusevae.evaluate(artifact, held, importance_samples=size(100, 2))
    figures = {
        "budget": budget,
        "seconds": seconds,
        "samples": json.loads(json.dumps(found.to_dict())),
        "auc_of_as_many": None if learned is None else learned[0],
        "auc_of_training_rows": None if bound is None else bound[0],
        "log_likelihood": likelihood.log_likelihood.value,
        "support": likelihood.support,
    }
    report("tables", figures, __doc__ or "", seed)


if __name__ == "__main__":
    start(main, float, int)
