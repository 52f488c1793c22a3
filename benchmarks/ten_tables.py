"""Ten tables: all numbers, all categories, with gaps, wide, tiny; what the default makes of each in a minute.

Six come with scikit-learn, one with matplotlib, three are made. 70 % of the rows (by the seed) are for training, of
which the default recipe holds a tenth out to stop by; it is trained so many seconds of one core (60, or the first
argument; a second one is the seed, further ones name tables). CTGAN and TVAE of the package ctgan (``$CTGAN_PYTHON``,
an environment of its own; without it what the last record has of them stands) have as many seconds as that took.
Against the other rows: legal cells (classes, whole numbers, decimals, signs as of the training rows), whether the names
and dtypes of a CSV come back, the mean score of columns (Kolmogorov-Smirnov, total variation) and the mean error of
correlations, each a mean over four draws of as many samples as there are such rows, beside that of as many training
rows; AUC or R2 on real rows of boosted trees that learned the last column from as many samples as training rows (again
four times), beside those that learned from these; the RMSE, in standard deviations, of numbers of which 20 % are hidden
(of a table of classes alone the part that is filled in wrongly), beside scikit-learn's imputers fitted on the training
rows; and where all are reals, log-likelihoods, beside scikit-learn's mixture of Gaussians and kernel density,
each chosen on a tenth of the training rows. ``python benchmarks/ten_tables.py [SECONDS [SEED [TABLE ...]]]``; what
other seeds than 0 gave stands beside, and the means of all are counted.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import before, report, runs, size, smoke, start
from zoo_cell import by_the_core, clock

from fusevae.modalities.tables.quality import correlation, kolmogorov, variation

DATE = "%Y-%m-%d"
DRAWS = size(4, 1)  # over which a figure of samples is a mean
PEERS = ("CTGAN", "TVAE")


def iris() -> pd.DataFrame:
    from sklearn.datasets import load_iris

    found = load_iris(as_frame=True)
    return found.data.assign(species=found.target_names[found.target])


def wine() -> pd.DataFrame:
    from sklearn.datasets import load_wine

    return load_wine(as_frame=True).data


def diabetes() -> pd.DataFrame:
    from sklearn.datasets import load_diabetes

    return load_diabetes(as_frame=True).frame.drop(columns="sex")


def cancer() -> pd.DataFrame:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer(as_frame=True)
    return found.data.assign(diagnosis=found.target_names[found.target])


def digits() -> pd.DataFrame:
    from sklearn.datasets import load_digits

    found = load_digits()
    names = [f"p{i}" for i in range(64)]
    return pd.DataFrame(found.data.astype(int), columns=names).assign(digit=[f"d{v}" for v in found.target])


def linnerud() -> pd.DataFrame:
    from sklearn.datasets import load_linnerud

    return load_linnerud(as_frame=True).frame.astype(int)


def stocks() -> pd.DataFrame:
    """Prices by month since 1990, of companies some of which are younger: half of some columns is missing."""
    import matplotlib

    path = matplotlib.get_data_path() + "/sample_data/Stocks.csv"
    return pd.read_csv(path, comment="#")


def categories(n: int = 2000) -> pd.DataFrame:
    """Six columns of words, each drawn by a table of the two before it."""
    rng = np.random.default_rng(0)
    levels, columns = (3, 5, 2, 8, 4, 2), {}
    codes: list[Any] = []
    for i, k in enumerate(levels):
        chances = rng.dirichlet(np.full(k, 0.5), size=(9, 9))
        a, b = (codes[-1] if codes else np.zeros(n, int), codes[-2] if i > 1 else np.zeros(n, int))
        codes.append(np.array([rng.choice(k, p=p) for p in chances[a, b]]))
        columns[f"c{i}"] = [f"{'abcdef'[i]}{v}" for v in codes[-1]]
    return pd.DataFrame(columns)


def people(n: int = 2000) -> pd.DataFrame:
    """Ages, incomes, cities, dates and flags that hang together, some cells missing, more so of the old."""
    rng = np.random.default_rng(1)
    age = rng.gamma(9, 5, n).round().astype(int).clip(18, 95)
    city = rng.choice(["Lima", "Oslo", "Pune"], n, p=[0.5, 0.3, 0.2])
    income = np.round(np.exp(7 + 0.02 * age + 0.4 * (city == "Oslo") + rng.normal(0, 0.5, n)), 2)
    visits = rng.poisson(np.where(city == "Lima", 0.4, 3.0))
    since = pd.Timestamp("2010-01-01") + pd.to_timedelta(rng.integers(0, 60 * age), unit="D")
    paid = rng.random(n) < 1 / (1 + np.exp(-(income / 3000 - 1)))
    frame = pd.DataFrame({"age": age, "city": city, "income": income, "visits": visits})
    frame["since"], frame["paid"] = since.strftime("%Y-%m-%d"), np.where(paid, "yes", "no")
    for name, part in (("income", age / 300), ("city", 0.1), ("visits", 0.2)):
        frame[name] = frame[name].where(rng.random(n) > part)
    return frame


def wide(n: int = 600, columns: int = 300) -> pd.DataFrame:
    """Three hundred numbers that six factors and noise make."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, 6)) @ rng.normal(size=(6, columns)) + rng.normal(size=(n, columns))
    return pd.DataFrame(x.round(4), columns=[f"x{i}" for i in range(columns)])


TABLES = {f.__name__: f for f in (iris, wine, diabetes, cancer, digits, linnerud, stocks, categories, people, wide)}


def is_number(frame: pd.DataFrame, name: str) -> bool:
    return pd.api.types.is_numeric_dtype(frame[name])


def coded(frame: pd.DataFrame, train: pd.DataFrame) -> np.ndarray:
    """Rows of floats: words as their places among those of the training rows, NaN where there is none."""
    found = []
    for name in train:
        if is_number(train, name):
            found.append(frame[name].astype(float))
        elif is_date(train, name):
            days = pd.to_datetime(frame[name], format=DATE, errors="coerce") - pd.Timestamp("2000-01-01")
            found.append(days.dt.days.astype(float))
        else:
            codes = pd.Categorical(frame[name], sorted(train[name].dropna().unique())).codes.astype(float)
            found.append(np.where(codes < 0, np.nan, codes))
    return np.stack([np.asarray(v, dtype=float) for v in found], 1)


def is_date(frame: pd.DataFrame, name: str) -> bool:
    known = frame[name].dropna()
    return not is_number(frame, name) and bool(pd.to_datetime(known, format=DATE, errors="coerce").notna().all())


def are_words(frame: pd.DataFrame) -> np.ndarray:
    """Which columns hold classes."""
    return np.array([not is_number(frame, c) and not is_date(frame, c) for c in frame])


def legal(made: pd.DataFrame, train: pd.DataFrame) -> float:
    """The part of cells that could be in the data."""
    fine = []
    for name in train:
        known, cells = train[name].dropna(), made[name].dropna()
        fine.append(np.full(len(made) - len(cells), bool(train[name].isna().any())))  # gaps where there were some
        if not is_number(train, name):
            dates = pd.to_datetime(cells, format=DATE, errors="coerce").notna()
            fine.append(dates if is_date(train, name) else cells.isin(known.unique()))
            continue
        digits = max(len(str(v).partition(".")[2].rstrip("0")) for v in known.tolist())
        whole = np.isclose(np.round(cells, digits), cells, rtol=0, atol=1e-9) if digits <= 6 else np.isfinite(cells)
        fine.append(whole & ((cells >= 0) | (known.min() < 0)))
    return float(np.concatenate([np.asarray(f, dtype=bool) for f in fine]).mean())


def scores(made: np.ndarray, real: np.ndarray, words: np.ndarray) -> dict[str, float]:
    """The mean score of columns, and the mean error of correlations (of codes, where they are words)."""
    names = range(real.shape[1])
    each = [
        1 - (variation(*(np.nan_to_num(v[:, i] + 1).astype(int) for v in (real, made))) if words[i] else
             kolmogorov(real[:, i], made[:, i]))
        for i in names
    ]  # fmt: skip
    pairs = list(itertools.combinations(names, 2))[:2000]
    errors = [abs(correlation(real[:, i], real[:, j]) - correlation(made[:, i], made[:, j])) for i, j in pairs]
    return {"columns": float(np.mean(each)), "correlations": float(np.mean(errors))}


def learned(rows: np.ndarray, real: np.ndarray, classes: bool) -> float | None:
    """AUC, or R2, of the last column on real rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import r2_score, roc_auc_score

    rows, real = (v[~np.isnan(v[:, -1])] for v in (rows, real))
    there = ~np.isnan(rows[:, :-1]).all(0)
    (x, y), (z, truth) = ((v[:, :-1][:, there], v[:, -1]) for v in (rows, real))
    if not classes:
        return float(r2_score(truth, HistGradientBoostingRegressor(random_state=0).fit(x, y).predict(z)))
    if len(np.unique(y)) < len(np.unique(truth)):
        return None
    chances = HistGradientBoostingClassifier(random_state=0).fit(x, y).predict_proba(z)
    chances = chances[:, 1] if chances.shape[1] == 2 else chances
    return float(roc_auc_score(truth, chances, multi_class="ovr"))


def imputed(artifact: Any, held: pd.DataFrame, train: pd.DataFrame, seed: int) -> dict[str, float]:
    """RMSE of hidden numbers, in standard deviations of the training rows."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer

    import fusevae

    numbers = [i for i, c in enumerate(train) if is_number(train, c)]
    x, rows = coded(held, train), coded(train, train)
    if not numbers:
        return imputed_classes(artifact, held, x, rows, seed)
    hidden = np.random.default_rng(seed).random(x.shape) < 0.2
    hidden[:, [i for i in range(x.shape[1]) if i not in numbers]] = False
    hidden &= ~np.isnan(x)
    holes = held.copy()
    for i in numbers:
        holes[holes.columns[i]] = holes[holes.columns[i]].astype(float).mask(hidden[:, i])
    center, scale = np.nanmean(rows, 0), np.nanstd(rows, 0)
    scale = np.where(scale > 0, scale, 1.0)

    def error(filled: np.ndarray) -> float:
        return float(np.sqrt(np.mean((((filled - x) / scale)[hidden]) ** 2)))

    given = np.where(hidden, np.nan, (x - center) / scale)
    found = {}
    for name, imputer in (
        ("knn", KNNImputer()),
        ("iterative", IterativeImputer(max_iter=10, n_nearest_features=min(30, x.shape[1] - 1), random_state=0)),
    ):
        imputer.fit((rows - center) / scale)
        found[name] = error(imputer.transform(given) * scale + center)
    names = artifact.data.schema.names
    places = [names.index(c) for c in held]
    ours = fusevae.impute(artifact, holes, samples=4, steps=size(100, 2), seed=seed).mean.double().numpy()
    return {"fusevae": error(ours[:, places]), **found, "mean": error(np.broadcast_to(center, x.shape))}


def imputed_classes(artifact: Any, held: pd.DataFrame, x: np.ndarray, rows: np.ndarray, seed: int) -> dict[str, float]:
    """The part of hidden classes that is filled in wrongly: by the likeliest one, or of the imputers' indicators the
    largest."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer

    import fusevae

    hidden = np.random.default_rng(seed).random(x.shape) < 0.2
    sizes = [int(v) + 1 for v in rows.max(0)]
    places = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])

    def indicators(codes: np.ndarray, gone: np.ndarray) -> np.ndarray:
        each = [np.eye(k)[v.astype(int)] for k, v in zip(sizes, codes.T, strict=True)]
        return np.concatenate([np.where(g[:, None], np.nan, e) for e, g in zip(each, gone.T, strict=True)], 1)

    def wrong(filled: np.ndarray) -> float:
        return float((filled != x)[hidden].mean())

    fit, found = indicators(rows, np.zeros(rows.shape, bool)), {}
    for name, imputer in (("knn", KNNImputer()), ("iterative", IterativeImputer(max_iter=10, random_state=0))):
        given = imputer.fit(fit).transform(indicators(x, hidden))
        found[name] = wrong(np.stack([given[:, at].argmax(1) for at in places], 1))
    names = artifact.data.schema.names
    ours = fusevae.impute(artifact, held.mask(hidden), samples=4, steps=size(100, 2), seed=seed).mean.numpy()
    usual = np.stack([np.full(len(x), np.bincount(v.astype(int)).argmax()) for v in rows.T], 1)
    return {"fusevae": wrong(ours[:, [names.index(c) for c in held]]), **found, "mean": wrong(usual)}


def densities(rows: np.ndarray, held: np.ndarray) -> dict[str, np.ndarray]:
    """Log-likelihoods of held-out rows under what a tenth of the training rows chose."""
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import KernelDensity

    center, scale = rows.mean(0), rows.std(0)
    fit, choose, test = np.split(((np.concatenate([rows, held])) - center) / scale, [len(rows) * 9 // 10, len(rows)])
    mixtures = [
        GaussianMixture(k, covariance_type=kind, reg_covar=reg, random_state=0).fit(fit)
        for k, kind, reg in itertools.product((1, 2, 4, 8), ("full", "diag"), (1e-6, 1e-2, 1e-1))
        if k < len(fit) // 2
    ]
    kernels = [KernelDensity(bandwidth=b).fit(fit) for b in np.geomspace(0.1, 2.0, 15)]
    shift = -float(np.log(scale).sum())
    best = {
        "mixture": max(mixtures, key=lambda m: m.score(choose)),
        "kernel": max(kernels, key=lambda k: k.score_samples(choose).mean()),
    }
    return {name: found.score_samples(test) + shift for name, found in best.items()}


def judged(path: Path, train: pd.DataFrame, held: pd.DataFrame) -> dict[str, Any]:
    """What samples in a file are like: :data:`DRAWS` times as many rows as there are for training, or held out."""
    made, words = pd.read_csv(path), are_words(train)
    same = list(made) == list(train) and [*map(str, made.dtypes)] == [*map(str, train.dtypes)]
    real, draws = coded(held, train), np.split(coded(made, train), DRAWS)
    each = [scores(rows[: len(real)], real, words) for rows in draws]
    found = [learned(rows[: len(train)], real, bool(words[-1])) for rows in draws]
    known = [figure for figure in found if figure is not None]
    figures: dict[str, Any] = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    figures["learned"] = float(np.mean(known)) if len(known) == DRAWS else None
    return figures | {"legal": legal(made, train), "round_trip": same}


def floor(train: pd.DataFrame, held: pd.DataFrame, seed: int) -> dict[str, Any]:
    """The same of training rows in place of samples."""
    x, real, words = coded(train, train), coded(held, train), are_words(train)
    rng = np.random.default_rng(seed)
    each = [scores(rng.permutation(x)[: len(real)], real, words) for _ in range(DRAWS)]
    figures: dict[str, Any] = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    return figures | {"learned": learned(x, real, bool(words[-1]))}


def peer(kind: str, folder: Path, name: str, seconds: float, seed: int, rows: int) -> dict[str, Any]:
    """A peer trained as long, in its own environment: how long it took, and its samples in a file beside."""
    arm = Path(__file__).with_name("arm_ctgan.py")
    arguments = [folder, name, kind, seconds, seed, rows]
    subprocess.run([os.environ["CTGAN_PYTHON"], arm, *map(str, arguments)], check=True)
    found: dict[str, Any] = json.loads((folder / f"{name}_{kind}.json").read_text())
    return found


def measured(name: str, budget: float, seed: int, known: dict[str, Any]) -> dict[str, Any]:
    import fusevae
    from fusevae.data.source import read_data, read_examples
    from fusevae.recipes.compose import compose
    from fusevae.training import configuration

    frame = TABLES[name]()
    frame = frame.head(size(len(frame), 60))
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = round(0.7 * len(frame))
    folder = runs(f"ten-tables-{budget:g}s-{seed}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = {part: folder / f"{name}_{part}.csv" for part in ("train", "held", "made")}
    for part, rows in (("train", order[:cut]), ("held", order[cut:])):
        frame.iloc[rows].to_csv(paths[part], index=False)
    train, held = (pd.read_csv(paths[part]) for part in ("train", "held"))
    n = DRAWS * max(len(train), len(held))
    began = clock()
    node, splits = compose(None, str(paths["train"]), ["data.test=0"], seed=seed)
    splits = splits or read_data(str(paths["train"]), test=0)
    artifact = fusevae.fit(configuration.experiment(node), splits, quiet=True, budget=budget)
    seconds = clock() - began
    artifact = getattr(artifact, "artifact", artifact)
    drawn = pd.DataFrame(fusevae.table_columns(fusevae.sample(artifact, n, seed=seed), artifact.data))
    drawn = drawn[list(train)] if set(drawn) == set(train) else drawn
    drawn.to_csv(paths["made"], index=False)
    words = are_words(train)
    found: dict[str, Any] = {"rows": len(train), "held": len(held), "dims": len(train.columns), "seconds": seconds}
    found |= {"learned": "AUC" if words[-1] else "R2", "real": floor(train, held, seed)}
    found["made"] = judged(paths["made"], train, held)
    found |= {kind: known[kind] for kind in PEERS if kind in known}
    for kind in PEERS if "CTGAN_PYTHON" in os.environ else ():
        took = peer(kind, folder, name, seconds, seed, n)
        found[kind] = judged(folder / f"{name}_{kind}.csv", train, held) | took
    found["imputation"] = imputed(artifact, held, train, seed)
    examples = read_examples(str(paths["held"]), artifact.data)
    likelihood = fusevae.evaluate(artifact, examples, importance_samples=size(500, 2))
    found["support"], found["log_likelihood"] = likelihood.support, likelihood.log_likelihood.value
    if likelihood.support.startswith("density"):
        each = densities(coded(train, train), coded(held, train))
        found["densities"] = {name: float(rows.mean()) for name, rows in each.items()}
    return found


def main(budget: str = size("60", "0.5"), seed: str = "0", *names: str) -> None:
    if not smoke():  # which shares its process with others
        by_the_core()
    if "CTGAN_PYTHON" not in os.environ:
        print("CTGAN and TVAE as they were measured before: $CTGAN_PYTHON names no interpreter that has them")
    last = before("ten_tables")
    seeds = {"0": last.get("tables", {})} | last.get("others", {})
    known = seeds.get(seed, {})
    done = seeds[seed] = dict(known) if names else {}
    for name in names or size([*TABLES], ["linnerud", "people"]):
        done[name] = measured(name, float(budget), int(seed), known.get(name, {}))
        print(name, done[name], flush=True)
        others = {key: of for key, of in seeds.items() if key != "0"}
        figures = {"budget": float(budget), "tables": seeds["0"]} | ({"others": others} if others else {})
        report("ten_tables", figures, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
