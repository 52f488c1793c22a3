"""CTGAN or TVAE of the package ctgan on a table of ``ten_tables.py``, in an environment of its own: ``arm_ctgan.py
FOLDER TABLE KIND SECONDS SEED ROWS`` reads ``TABLE_train.csv``, writes so many samples to ``TABLE_KIND.csv`` and what
it took to ``TABLE_KIND.json``.

Defaults, but for as many epochs as fit into so many seconds of one core, in which what precedes them counts. Around
it stands what SDV puts there: dates are days, a number's gaps its mean and a column that says where they are, a word's
gaps a word more; samples have the decimals of the training rows and stay in their range.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # its time is that of this process
DATE, DAY, GAP = "%Y-%m-%d", 86400, " is missing"


def main(folder: Path, table: str, kind: str, seconds: float, seed: int, rows: int) -> None:
    import ctgan
    import pandas as pd
    import torch
    from ctgan.synthesizers import ctgan as adversarial
    from ctgan.synthesizers import tvae as variational

    torch.set_num_threads(1)
    train = pd.read_csv(folder / f"{table}_train.csv")
    numbers, words = {}, {}
    for name in train:
        column = train[name]
        if not pd.api.types.is_numeric_dtype(column):
            days = pd.to_datetime(column, format=DATE, errors="coerce")
            if days[column.notna()].isna().any():
                words[name] = column.fillna(GAP)
                continue
            column = (days - pd.Timestamp(0)).dt.total_seconds() / DAY
        numbers[name] = column.astype(float)
        if column.isna().any():
            words[name + GAP] = column.isna().map({True: "yes", False: "no"})
    data = pd.DataFrame({**{k: v.fillna(v.mean()) for k, v in numbers.items()}, **words})
    began, done = time.process_time(), 0

    def while_there_is_time(epochs, **_):
        nonlocal done
        for epoch in epochs:
            if time.process_time() - began > seconds:
                return
            yield epoch
            done = epoch + 1

    adversarial.tqdm = variational.tqdm = while_there_is_time
    model = getattr(ctgan, kind)(epochs=10**9, enable_gpu=False)
    model.set_random_state(seed)
    model.fit(data, list(words))
    took = time.process_time() - began
    drawn, made = model.sample(rows), {}
    for name in train:
        if name in words:
            made[name] = drawn[name].where(drawn[name] != GAP)
            continue
        known = numbers[name].dropna()
        digits = max(len(str(v).partition(".")[2].rstrip("0")) for v in known)
        column = drawn[name].astype(float).clip(known.min(), known.max()).round(digits)
        if name + GAP in words:
            column = column.where(drawn[name + GAP] != "yes")
        if not pd.api.types.is_numeric_dtype(train[name]):
            column = (pd.Timestamp(0) + pd.to_timedelta(column, unit="D")).dt.strftime(DATE)
        elif pd.api.types.is_integer_dtype(train[name]):
            column = column.astype(int)
        made[name] = column
    pd.DataFrame(made).to_csv(folder / f"{table}_{kind}.csv", index=False)
    figures = {"seconds": took, "epochs": done, "version": ctgan.__version__}
    (folder / f"{table}_{kind}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4], float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
