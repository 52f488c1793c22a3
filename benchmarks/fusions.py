"""The weaknesses mended: parents beside children on MNIST, each trained for the same time, several seeds.

``fusevae bench`` trains every model for the same wall-clock time with each seed and judges 5,000 samples against 5,000
test images by the features of one classifier (its hash is in the record); reconstructions are of 5,000 other test
images. ``vae`` has the nets and the likelihood of ``vae-gan``; ``logistic-vae`` (784-400-400-z32, three discretized
logistics a pixel, 3.5 million parameters) gives the probability of the grey values themselves, ``flow-logistic-vae``
has a flow as prior, ``flow`` is a RealNVP of 3.3 million alone on dequantized pixels; the others are recipes as they
stand. Asked: VAE-GAN at most 0.6 of the VAE's FID, with reconstructions in feature space no worse; latent diffusion and
VQ-VAE close at least 70 % of the way from the plain VAE's FID to the best floor; the VAE with a flow prior better in
likelihood and FID than the plain one and than a flow alone. Likelihoods are bounds with k = 5. On CIFAR-10 (a JPEG
copy) the children of ``vae`` are itself with a flow (``flow-vae``) or a diffusion model (``diffusion-vae``) as prior,
beside the recipes ``gan``, ``vae-gan`` and ``vq-vae``. ``python benchmarks/fusions.py [mnist|cifar10 [BUDGET [SEED|NAME
...]]]`` (mnist 5m 0 1 2, all models), resumable, in ``runs/fusions-DATA-BUDGET``; seeds and models measured before stay
in the report, of which each budget has its own.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import common
from common import fusevae as run
from common import report, runs, size, start
from inputs import cifar10, mnist

K, SAMPLES = size((5, 5000), (1, 24))
RECIPES = {
    "mnist": ("gan", "vae-gan", "binary-vae", "latent-diffusion", "vq-vae"),
    "cifar10": ("gan", "vae-gan", "vq-vae"),
}


def data_path(data: str) -> Path:
    return mnist() if data == "mnist" else cifar10()


def on_mnist(spec: Any, vae: Any) -> dict[str, Any]:
    """The models that are no recipes: likelihoods of grey values."""
    import fusevae
    from fusevae.recipes import realnvp
    from fusevae.training.prior import with_prior

    outputs = fusevae.DiscretizedLogistic.outputs(spec.shape, 3)
    logistic = fusevae.VAE(
        fusevae.Flat(fusevae.Normal(32), fusevae.Gaussian(fusevae.MLP(spec.shape, 64, (400, 400), "silu"))),
        fusevae.DiscretizedLogistic(fusevae.MLP(32, outputs, (400, 400), "silu"), 3, levels=256),
    )
    plain = fusevae.Experiment(
        model=fusevae.Preprocessed([fusevae.Normalise(spec.low, spec.high, -1.0, 1.0)], logistic),
        training=fusevae.Training(epochs=30, batch_size=128, learning_rate=1e-3),
    )
    prior = fusevae.Flow(32, "autoregressive", "affine", 4)
    return {
        "vae": vae,
        "logistic-vae": plain,
        "flow-logistic-vae": plain.replaced(model=with_prior(plain.model, prior)),
        "flow": realnvp.recipe(spec, hidden=(256, 256)),
    }


def on_cifar10(spec: Any, vae: Any) -> dict[str, Any]:
    """A prior in the place of another, all else as it is."""
    import fusevae
    from fusevae.training.prior import with_prior

    latent = 64
    flow = fusevae.Flow(latent, "autoregressive", "affine", 4)
    diffusion = fusevae.Diffusion(
        fusevae.TimeMLP(latent), latent, "v", fusevae.LinearSchedule(-10.0, 8.0), fusevae.DPMSolver(25)
    )
    return {
        "vae": vae,
        "flow-vae": vae.replaced(model=with_prior(vae.model, flow)),
        "diffusion-vae": vae.replaced(model=with_prior(vae.model, diffusion)),
    }


def configurations(data: str, folder: Path) -> list[str]:
    """Recipes, and files with the models that are none."""
    import fusevae
    from fusevae import read_data
    from fusevae.recipes import vae_gan
    from fusevae.training.configuration import dump

    spec = read_data(str(data_path(data))).spec
    gan = vae_gan.recipe(spec)
    usual = gan.training.replaced(betas=(0.9, 0.999), clip=4.0, skip=20.0)
    vae = gan.replaced(objective=fusevae.ELBO(), training=usual)
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, experiment in (on_mnist if data == "mnist" else on_cifar10)(spec, vae).items():
        path = folder / f"{name}.yaml"
        if not path.exists():
            path.write_text(dump(experiment))
        found.append(str(path))
    return [*found, *RECIPES[data]]


def one(data: str, seed: int, budget: str, folder: Path, names: list[str]) -> dict[str, Any]:
    """What counts of the models of a seed, by name."""
    place = folder / "-".join([f"seed-{seed}", *names])
    chosen = [c for c in configurations(data, folder) if not names or Path(c).stem in names]
    if not (place / "comparison.json").exists():
        judged = ["--samples", str(SAMPLES), "--importance-samples", str(K)]
        source = ["--data", str(data_path(data)), "--output", str(place)]
        run("bench", ",".join(chosen), *source, "--budget", budget, "--seed", str(seed), *judged)
    found = json.loads((place / "comparison.json").read_text())
    return {
        Path(name).name: {
            **{key: model["quality"][key] for key in ("fid", "floor", "kind", "extractor")},
            "feature_error": (model["quality"]["reconstructions"] or {}).get("feature_error"),
            "real": model["quality"]["real"]["fid"],
            "log_likelihood": model.get("value"),
            "support": model.get("support"),
            "steps": model["training"]["steps"],
        }
        for name, model in found["models"].items()
    }


def before(name: str, budget: str) -> dict[str, Any]:
    """The seeds of this budget that are in the report."""
    found = common.before(name)
    return dict(found["seeds"]) if found.get("budget") == budget else {}


def over_seeds(runs: dict[str, Any], value: Any) -> dict[str, Any]:
    each = [value(run) for run in runs.values()]
    return {"mean": statistics.fmean(each), "values": each}


def asked(runs: dict[str, Any]) -> dict[str, Any]:
    """What was asked for on MNIST, of the models that there are."""
    there = set.intersection(*(set(run) for run in runs.values()))
    floors = [n for n in there if next(iter(runs.values()))[n]["floor"] is not None]

    def closed(name: str) -> Any:
        def value(run: dict[str, Any]) -> float:
            plain, floor = run["vae"]["fid"], min(run[n]["floor"] for n in floors)
            return (plain - run[name]["fid"]) / (plain - floor)

        return value

    def ratio(key: str) -> Any:
        return lambda run: run["vae-gan"][key] / run["vae"][key]

    def gain(run: dict[str, Any]) -> float:
        return run["flow-logistic-vae"]["log_likelihood"] - run["logistic-vae"]["log_likelihood"]

    found: dict[str, Any] = {}
    if {"vae", "vae-gan"} <= there:
        found["vae_gan_over_vae"] = over_seeds(runs, ratio("fid"))
        found["vae_gan_floor_over_vae"] = over_seeds(runs, ratio("floor"))
        found["vae_gan_feature_error_over_vae"] = over_seeds(runs, ratio("feature_error"))
    if {"vae", "latent-diffusion", "vq-vae"} <= there:
        found["closed"] = {n: over_seeds(runs, closed(n)) for n in ("latent-diffusion", "vq-vae")}
    if {"logistic-vae", "flow-logistic-vae"} <= there:
        found["flow_prior_gains"] = over_seeds(runs, gain)
    return found


def main(data: str = "mnist", budget: str = size("5m", "1s"), *which: str) -> None:
    which = which or size((), ("0", "logistic-vae", "flow-logistic-vae"))
    folder = runs(f"fusions-{data}-{budget}")
    name = "_".join(["fusions", *([data] if data != "mnist" else []), *([budget] if budget != "5m" else [])])
    seen = before(name, budget)
    seeds, names = [w for w in which if w.isdigit()], [w for w in which if not w.isdigit()]
    for seed in seeds or ("0", "1", "2"):
        seen[seed] = seen.get(seed, {}) | one(data, int(seed), budget, folder, names)
    seen = dict(sorted(seen.items()))
    figures = {"data": data, "budget": budget, **(asked(seen) if data == "mnist" else {}), "seeds": seen}
    report(name, figures, __doc__ or "")


if __name__ == "__main__":
    start(main)
