"""Tables of numbers: held-out log-likelihoods of the default beside those of mixtures, kernels and zuko's flows.

Wine, diabetes (without the sex) and breast cancer (without the diagnosis) of scikit-learn; of matplotlib 800 times of
four channels of an EEG and days of a share's price (logarithms: over night, over the day, highest to lowest, volume);
300 columns that six factors make. 80 % of the rows (by the seed) are for training. The default recipe trains by its own
settings, which hold out a tenth of them. The best of scikit-learn's mixtures and the best kernel density are chosen,
and zuko's MAF and NSF (its defaults, Adam at 1e-3, batches of 64, the epoch that is best) stopped, on as many. Beside
each figure stands how far the default is before it, with the standard error of that difference over the held-out rows.
Further arguments name recipes beside the default, each as it is recommended for the table. Seconds are of one core. The
record keeps what other seeds had beside seed 0.
``python benchmarks/densities.py [SEED [RECIPE ...]]``
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pandas as pd
from common import before, report, runs, size, smoke, start
from ten_tables import cancer, densities, diabetes, wide, wine
from zoo_cell import by_the_core, clock


def eeg() -> pd.DataFrame:
    import matplotlib

    path = matplotlib.get_data_path() + "/sample_data/eeg.dat"
    return pd.DataFrame(np.fromfile(path, float).reshape(-1, 4), columns=["a", "b", "c", "d"])


def prices() -> pd.DataFrame:
    import matplotlib

    found = np.load(matplotlib.get_data_path() + "/sample_data/goog.npz")["price_data"]
    opened, high, low, close = (np.log(found[name].astype(float)) for name in ("open", "high", "low", "close"))
    volume = np.log(found["volume"].astype(float))
    columns = {"night": opened[1:] - close[:-1], "day": close - opened, "range": high - low, "volume": volume}
    return pd.DataFrame({name: column[-len(found) + 1 :] for name, column in columns.items()})


TABLES = {f.__name__: f for f in (wine, diabetes, cancer, eeg, prices, wide)}
PATIENCE = 40  # epochs


def flow(kind: str, rows: np.ndarray, held: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Log-likelihoods by a flow of zuko, stopped on the last tenth of the training rows; and its seconds."""
    import torch
    import zuko

    began = clock()
    torch.manual_seed(seed)
    center, scale = rows.mean(0), rows.std(0)
    every = torch.tensor((np.concatenate([rows, held]) - center) / scale, dtype=torch.float32)
    fit, choose, test = every.tensor_split([len(rows) * 9 // 10, len(rows)])
    net = getattr(zuko.flows, kind)(rows.shape[1])
    adam, best, kept, since = torch.optim.Adam(net.parameters(), 1e-3), -math.inf, net.state_dict(), 0
    while since < size(PATIENCE, 1):
        for batch in torch.randperm(len(fit)).split(64):
            adam.zero_grad()
            (-net().log_prob(fit[batch]).mean()).backward()
            adam.step()
        with torch.no_grad():
            now = net().log_prob(choose).mean().item()
        since += 1
        if now > best:
            best, kept, since = now, copy.deepcopy(net.state_dict()), 0
    net.load_state_dict(kept)
    with torch.no_grad():
        found = net().log_prob(test).double().numpy() - np.log(scale).sum()
    return found, clock() - began


def ours(recipe: str | None, path: Any, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """The default, or a recipe as it is recommended for the table, by its own settings: figures, and log-likelihoods of
    the held-out rows."""
    import fusevae
    from fusevae.data.modality import modality_of
    from fusevae.data.source import read_data, read_examples
    from fusevae.recipes.compose import compose
    from fusevae.recipes.default import as_settings
    from fusevae.training import configuration

    began = clock()
    train = str(path / "train.csv")
    splits = read_data(train, test=0)
    found = {c.recipe: c.options for c in modality_of(splits.spec).recommend(splits.spec, len(splits.train))}
    settings = [
        "data.test=0",
        *(as_settings(found.get(recipe, {})) if recipe else []),
        *size([], ["training.epochs=1"]),
    ]
    node, _ = compose(recipe, train, settings, seed=seed)
    artifact = fusevae.fit(configuration.experiment(node), splits, quiet=True)
    seconds = clock() - began
    held = read_examples(str(path / "held.csv"), artifact.data)
    each = fusevae.log_likelihood(artifact, held, importance_samples=size(1000, 2)).numpy()
    figures = {"recipe": recipe or next(iter(found)), "support": artifact.support, "seconds": seconds}
    return figures | {"log_likelihood": float(each.mean())}, each


def measured(name: str, seed: int, recipes: list[str]) -> dict[str, Any]:
    frame = TABLES[name]().select_dtypes("number")
    frame = frame.sample(frac=1, random_state=seed).reset_index(drop=True).head(size(len(frame), 80))
    folder = runs(f"densities-{seed}") / name
    folder.mkdir(parents=True, exist_ok=True)
    cut = round(0.8 * len(frame))
    train, held = frame[:cut], frame[cut:]
    train.to_csv(folder / "train.csv", index=False)
    held.to_csv(folder / "held.csv", index=False)
    x, test = train.to_numpy(float), held.to_numpy(float)
    found: dict[str, Any] = {"rows": len(train), "held": len(held), "columns": len(frame.columns)}
    found["default"], default = ours(None, folder, seed)
    others: dict[str, np.ndarray] = {}
    for recipe in recipes:
        found[recipe], others[recipe] = ours(recipe, folder, seed)
    began = clock()
    classic = densities(x, test)
    found["classic"] = {name: float(each.mean()) for name, each in classic.items()} | {"seconds": clock() - began}
    for kind in ("MAF", "NSF"):
        others[kind], seconds = flow(kind, x, test, seed)
        found[kind] = {"log_likelihood": float(others[kind].mean()), "seconds": seconds}
    found["apart"] = {  # how far each is behind the default, and the standard error of that
        name: [float((default - each).mean()), float((default - each).std(ddof=1) / len(each) ** 0.5)]
        for name, each in (classic | others).items()
    }
    return found


def main(seed: str = "0", *recipes: str) -> None:
    if not smoke():  # which shares its process with others
        by_the_core()
    done: dict[str, Any] = {}
    others = {s: tables for s, tables in before("densities").get("others", {}).items() if s != seed}
    for name in size([*TABLES], ["eeg"]):
        done[name] = measured(name, int(seed), list(recipes))
        print(name, done[name], flush=True)
        if seed == "0":
            report("densities", {"tables": done, "others": others}, __doc__ or "")
    if seed != "0":
        first = before("densities").get("tables", {})
        report("densities", {"tables": first, "others": others | {seed: done}}, __doc__ or "")


if __name__ == "__main__":
    start(main)
