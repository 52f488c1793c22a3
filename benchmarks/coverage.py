"""Do 90 % intervals of multiple imputations cover hidden numbers 90 % of the time?

Five of the tables of ``ten_tables.py`` that hold numbers. Of the held-out 30 % of the rows (150 at most), 20 % of the
numbers are hidden, and 39 completions of each row are drawn: from the second smallest to the second largest is where
the hidden number is 90 % of the time if it is one more of such draws. Where it is equal to some of them (whole numbers,
those that come again and again) its place among these is drawn, so that 90 % are right for such numbers, too.
``table-vae`` and ``table-transformer`` are trained for 15 seconds of one core (or the first argument) with their
defaults.
``python benchmarks/coverage.py [SECONDS [SEED]]``
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common import report, size, smoke, start
from ten_tables import TABLES, is_number
from zoo_cell import by_the_core, clock

NAMES = ["wine", "diabetes", "cancer", "stocks", "people"]
DRAWS = 39


def covered(recipe: str, name: str, seconds: float, seed: int) -> dict[str, Any]:
    """The part of hidden numbers within their interval, and its width in standard deviations."""
    import fusevae

    frame = TABLES[name]().sample(frac=1, random_state=seed).reset_index(drop=True)
    frame = frame.iloc[: size(len(frame), 60), : size(frame.shape[1], 6)]
    cut = round(0.7 * len(frame))
    train, held = frame[:cut], frame[cut:][: size(150, 4)].reset_index(drop=True)
    time_of_it: dict[str, Any] = size({"budget": seconds}, {"training": {"epochs": 0.1}})
    artifact = fusevae.fit(recipe, train, quiet=True, seed=seed, **time_of_it)
    numbers = [c for c in held if is_number(held, c) and held[c].nunique() > 2]
    hidden = np.random.default_rng(seed).random((len(held), len(numbers))) < 0.2
    hidden[0, 0] = True
    truth = held[numbers].to_numpy(float)
    holes = held.astype(dict.fromkeys(numbers, float))
    holes[numbers] = holes[numbers].mask(hidden)
    began = clock()
    found = fusevae.impute(artifact, holes, samples=DRAWS, steps=size(100, 2), seed=seed).samples.double()
    took = clock() - began
    names = artifact.data.schema.names
    draws = np.sort(found[..., [names.index(c) for c in numbers]].numpy(), 0)
    known, scale = hidden & ~np.isnan(truth), np.nanstd(train[numbers].to_numpy(float), 0)
    same = np.abs(draws - truth) <= 1e-6 * scale
    place = ((draws < truth) & ~same).sum(0) + np.random.default_rng(seed).integers(same.sum(0) + 1)
    inside = ((place >= 2) & (place <= DRAWS - 2))[known]
    width = ((draws[-2] - draws[1]) / scale)[known]
    return {"covered": float(inside.mean()), "hidden": int(known.sum()), "width": float(width.mean()), "seconds": took}


def main(seconds: float = 15.0, seed: int = 0) -> None:
    torch.set_num_threads(1)
    if not smoke():  # which shares its process with others
        by_the_core()
    found = {
        name: {recipe: covered(recipe, name, seconds, seed) for recipe in ("table-vae", "table-transformer")}
        for name in size(NAMES, ["people"])
    }
    report("coverage", {"seconds": seconds, "tables": found}, __doc__, seed)


if __name__ == "__main__":
    start(main, float, int)
