"""50 trainings with deliberately bad settings: learning rates up to 1, tiny and huge beta, unscaled inputs, a batch of
1, constant data, one class.

None may end in a crash or with a weight that is not finite. A training counts as trained where the ELBO of held-out
examples (k = 1, averaged weights) is above the log-likelihood of a constant model: independent pixels with their
counts, or independent Gaussian columns, of the training data. Where it is not, one plain message must have said what is
wrong: an error of one line, or a warning among the run's records. Data: scikit-learn's digits (binarized, or with 17
grey values) and wine (13 columns whose scales differ by a factor of 1,000), 40 epochs unless the case says otherwise.
``python benchmarks/stability.py [NAME ...]``
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from common import report, size, start

SETTINGS: dict[str, Any] = {"epochs": size(40, 1), "batch_size": 64, "validate_every": 10_000}


def images() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.tensor(x, dtype=torch.uint8).view(-1, 1, 8, 8), torch.tensor(y)


def table() -> torch.Tensor:
    from sklearn.datasets import load_wine

    x = torch.tensor(load_wine().data, dtype=torch.float32)
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]


def bits(latent: int = 16, hidden: tuple[int, ...] = (64, 64), x: Any = None, objective: Any = None, **settings: Any):
    """A Bernoulli VAE on binarized digits."""
    from fusevae import MLP, VAE, Bernoulli, Binarize, Flat, Gaussian, Normal

    x = 15 * images()[0] if x is None else x  # as a probability, of 255
    nets = MLP((1, 8, 8), 2 * latent, hidden), MLP(latent, (1, 8, 8), hidden)
    vae = VAE(Flat(Normal(latent), Gaussian(nets[0])), Bernoulli(nets[1]))
    return vae, x, {"views": [Binarize("fixed", seed=0)], "objective": objective}, settings


def grey(objective: Any = None, x: Any = None, labels: Any = None, **settings: Any):
    """The recipe of the demo."""
    from fusevae import DataSpec
    from fusevae.recipes.logistic_vae import recipe

    x = images()[0] if x is None else x
    classes = sorted({str(int(v)) for v in labels}) if labels is not None else None
    experiment = recipe(DataSpec((1, 8, 8), "uint8", 0, 16, classes), hidden=(64, 64))
    return experiment.model, x if labels is None else (x, labels), {"objective": objective}, settings


def columns(x: Any = None, standardise: bool = True, scale: Any = "net", latent: int = 4, **settings: Any):
    """A Gaussian VAE on a table."""
    from fusevae import MLP, VAE, Flat, Gaussian, Normal, Preprocessed, Standardise

    x = table() if x is None else x
    d = x.shape[1]
    out = 2 * d if scale == "net" else d
    vae = VAE(Flat(Normal(latent), Gaussian(MLP(d, 2 * latent, (32,)))), Gaussian(MLP(latent, out, (32,)), scale))
    model = Preprocessed([Standardise((d,))], vae) if standardise else vae
    return model, x, {}, {"epochs": 150, "batch_size": 16} | settings


def elbo(**kw: Any) -> Any:
    from fusevae import ELBO

    return ELBO(**kw)


Case = Callable[[], Any]


def cases() -> dict[str, Case]:
    """Each case by its name."""
    found: dict[str, Case] = {}
    for rate in (0.01, 0.03, 0.1, 0.3, 1.0):
        found[f"bits, learning rate {rate:g}"] = lambda rate=rate: bits(learning_rate=rate)
        found[f"grey, learning rate {rate:g}"] = lambda rate=rate: grey(learning_rate=rate)
    for rate in (0.1, 1.0):
        found[f"table, learning rate {rate:g}"] = lambda rate=rate: columns(learning_rate=rate)
    for beta in (0.0, 1e-4, 1e-2, 10.0, 1e3, 1e6):
        found[f"bits, beta {beta:g}"] = lambda beta=beta: bits(objective=elbo(beta=beta))
    for beta in (1e-4, 1e3):
        found[f"grey, beta {beta:g}"] = lambda beta=beta: grey(objective=elbo(beta=beta))
    found |= {
        "bits, batch of 1": lambda: bits(epochs=2, batch_size=1),
        "grey, batch of 1": lambda: grey(epochs=2, batch_size=1),
        "table, batch of 1": lambda: columns(epochs=10, batch_size=1),
        "bits, batch of all": lambda: bits(epochs=200, batch_size=10_000),
        "table as it is, not scaled": lambda: columns(standardise=False),
        "table a thousand times as large": lambda: columns(1e3 * table()),
        "table a million times as large": lambda: columns(1e6 * table()),
        "table a million times as small": lambda: columns(1e-6 * table()),
        "table a thousand times as large, not scaled": lambda: columns(1e3 * table(), standardise=False),
        "table a million above zero": lambda: columns(1e6 + table()),
        "table with a constant column": lambda: columns(torch.cat([table(), torch.full((178, 1), 7.0)], 1)),
        "table with an outlier of 1e8": lambda: columns(outlier(1e8)),
        "table with nan": lambda: columns(outlier(math.nan)),
        "table with inf": lambda: columns(outlier(math.inf)),
        "table of constants": lambda: columns(torch.ones(100, 5)),
        "table of two rows": lambda: columns(table()[:2]),
        "table of whole numbers": lambda: columns(table().round()),
        "table, sigma of 1e-4": lambda: columns(scale=1e-4),
        "table, sigma of 1e4": lambda: columns(scale=1e4),
        "table, optimal sigma": lambda: columns(scale="optimal", learning_rate=0.1),
        "bits, black images": lambda: bits(x=torch.zeros(500, 1, 8, 8, dtype=torch.uint8)),
        "grey, black images": lambda: grey(x=torch.zeros(500, 1, 8, 8, dtype=torch.uint8)),
        "grey, one image again and again": lambda: grey(x=images()[0][:1].repeat(500, 1, 1, 1)),
        "grey, one class": lambda: grey(x=images()[0][images()[1] == 3], labels=torch.full((183,), 3)),
        "bits, floats outside 0 to 1": lambda: bits(x=images()[0].float()),
        "bits, 500 latents": lambda: bits(latent=500),
        "bits, 1 latent": lambda: bits(latent=1),
        "bits, hidden layers of 1": lambda: bits(hidden=(1, 1)),
        "bits, 20 hidden layers": lambda: bits(hidden=(64,) * 20),
        "bits, rate 0.1, no clipping, no skipping": lambda: bits(learning_rate=0.1, clip=0.0, skip=0.0),
        "bits, rate 0.1, no warm-up": lambda: bits(learning_rate=0.1, warmup=0.0),
        "bits, no momentum": lambda: bits(betas=(0.0, 0.0)),
        "bits, weight decay 10": lambda: bits(weight_decay=10.0),
        "bits, constant rate, no averaging": lambda: bits(learning_rate=0.03, final_learning_rate=1.0, average=0.0),
        "bits, bfloat16 at rate 0.1": lambda: bits(learning_rate=0.1, precision="bfloat16"),
    }
    return found


def outlier(value: float) -> torch.Tensor:
    x = table()
    x[0, 0] = value
    return x


def attempt(case: Case) -> dict[str, Any]:
    """What became of a training: trained or not, and what was said."""
    from fusevae import InputError, Training, TrainingError, evaluate, read_data
    from fusevae.objectives.elbo import ELBO
    from fusevae.training.prepare import prepare, trained

    torch.manual_seed(0)
    try:
        model, data, rest, settings = case()
        splits = read_data(data)
        objective = rest.pop("objective", None) or ELBO()
        loop = prepare(model, splits, rest.get("views", ()), objective, Training(**{**SETTINGS, **settings}), 0, "cpu")
        loop.run()
        artifact = trained(loop)
        finite = all(bool(p.isfinite().all()) for p in artifact.parameters())
        found = evaluate(artifact, splits.test, importance_samples=1).elbo
        test = artifact.view(splits.test.batch(torch.arange(len(splits.test)))[0])
        baseline = next(iter(loop.game.players.values())).baseline.log_prob(test).mean().item()
    except (InputError, TrainingError) as error:
        text = str(error)
        return {"trained": False, "finite": True, "says": text, "plain": "\n" not in text}
    says = [r.get("says", r.get("cause")) for r in loop.records if "event" in r]
    skipped = next((r["skipped"] for r in reversed(loop.records) if "skipped" in r), 0)
    return {
        "trained": math.isfinite(found) and found > baseline,
        "finite": finite,
        "elbo": found,
        "constant": baseline,
        "skipped": skipped,
        "says": says[-1] if says else None,
        "plain": True,
    }


def main(*names: str) -> None:
    found = {}
    for name, case in cases().items():
        if name not in (names or size([name], ["bits, learning rate 1", "table, sigma of 1e4", "table with nan"])):
            continue
        started = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found[name] = attempt(case)
            except Exception as error:
                found[name] = {"trained": False, "finite": False, "crash": f"{type(error).__name__}: {error}"[:300]}
        if caught:
            found[name]["warnings"] = sorted({str(w.message)[:120] for w in caught})
        found[name]["seconds"] = round(time.perf_counter() - started, 1)
        print(name, found[name], file=sys.stderr, flush=True)
    figures = {
        "trainings": len(found),
        "crashes": sum("crash" in f for f in found.values()),
        "not_finite": sum(not f["finite"] for f in found.values()),
        "trained": sum(f["trained"] for f in found.values()),
        "said_what_was_wrong": sum(not f["trained"] and bool(f.get("says")) for f in found.values()),
        "silent": [n for n, f in found.items() if not f["trained"] and not f.get("says")],
        "cases": found,
    }
    if not names:  # of some alone there is no report
        report("stability", figures, __doc__ or "", 0)
    if figures["crashes"]:
        raise SystemExit(f"{figures['crashes']} trainings ended in a crash")


if __name__ == "__main__":
    start(main)
