"""The weaknesses mended: parents beside children on MNIST, each trained for the same time, several seeds.

``fusevae bench`` trains every model for the same wall-clock time with each seed and judges 5,000 samples against 5,000
test images by the features of one classifier (its hash is in the record); reconstructions are of 5,000 other test
images. ``vae`` has the nets and the likelihood of ``vae-gan``, ``flow-sigma-vae`` those of ``sigma-vae`` with a flow as
prior; the other models are recipes as they stand. Asked: VAE-GAN at most 0.6 of the VAE's FID, with reconstructions in
feature space no worse; latent diffusion and VQ-VAE close at least 70 % of the way from the plain VAE's FID to the best
floor; the VAE with a flow prior better in likelihood and FID than the plain one and than a flow alone. Likelihoods are
bounds with k = 5. ``python benchmarks/fusions.py [BUDGET [SEED ...]]`` (5m, 0 1 2), resumable, in
``runs/fusions-BUDGET``; seeds measured before stay in the report.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, mnist_path, report

K = 5
RECIPES = ("gan", "vae-gan", "mnist-vae", "latent-diffusion", "vq-vae", "sigma-vae", "realnvp")


def configurations(folder: Path) -> list[str]:
    """Recipes, and files with the models that are none."""
    import fusevae
    from fusevae import read_data
    from fusevae.recipes import sigma_vae, vae_gan
    from fusevae.training.configuration import dump
    from fusevae.training.prior import with_prior

    spec = read_data(str(mnist_path())).spec
    gan, sigma = vae_gan.recipe(spec), sigma_vae.recipe(spec)
    usual = gan.training.replaced(betas=(0.9, 0.999), clip=4.0, skip=20.0)
    flow = fusevae.Flow(64, "autoregressive", "affine", 4)
    made = {
        "vae": gan.replaced(objective=fusevae.ELBO(), training=usual),
        "flow-sigma-vae": sigma.replaced(model=with_prior(sigma.model, flow)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, experiment in made.items():
        path = folder / f"{name}.yaml"
        if not path.exists():
            path.write_text(dump(experiment))
        found.append(str(path))
    return [*found, *RECIPES]


def one(seed: int, budget: str, folder: Path) -> dict[str, Any]:
    """What counts of the models of a seed, by name."""
    place = folder / f"seed-{seed}"
    command = [sys.executable, "-m", "fusevae", "bench", ",".join(configurations(folder)), "--data", str(mnist_path())]
    command += ["--budget", budget, "--seed", str(seed), "--samples", "5000", "--importance-samples", str(K)]
    if not (place / "comparison.json").exists():
        subprocess.run([*command, "--output", str(place)], check=True, stdout=subprocess.DEVNULL)
    found = json.loads((place / "comparison.json").read_text())
    return {
        Path(name).name: {
            **{key: model["quality"][key] for key in ("fid", "floor", "kind", "extractor")},
            "log_likelihood": model.get("value"),
            "support": model.get("support"),
            "steps": model["training"]["steps"],
        }
        for name, model in found["models"].items()
    }


def before(budget: str) -> dict[str, Any]:
    """The seeds of this budget that are in the report."""
    path = RESULTS / "fusions.json"
    found = json.loads(path.read_text())["figures"] if path.exists() else {}
    return dict(found["seeds"]) if found.get("budget") == budget else {}


def main(budget: str = "5m", *seeds: str) -> None:
    folder = ROOT / "runs" / f"fusions-{budget}"
    runs = before(budget)
    for seed in seeds or ("0", "1", "2"):
        runs[seed] = one(int(seed), budget, folder)
    floors = [n for n, model in next(iter(runs.values())).items() if model["floor"] is not None]

    def over_seeds(value: Any) -> dict[str, Any]:
        each = [value(run) for run in runs.values()]
        return {"mean": statistics.fmean(each), "values": each}

    def closed(name: str) -> Any:
        def value(run: dict[str, Any]) -> float:
            plain, floor = run["vae"]["fid"], min(run[n]["floor"] for n in floors)
            return (plain - run[name]["fid"]) / (plain - floor)

        return value

    def ratio(key: str) -> Any:
        return lambda run: run["vae-gan"][key] / run["vae"][key]

    figures = {
        "budget": budget,
        "vae_gan_over_vae": over_seeds(ratio("fid")),
        "vae_gan_floor_over_vae": over_seeds(ratio("floor")),
        "closed": {n: over_seeds(closed(n)) for n in ("latent-diffusion", "vq-vae")},
        "seeds": runs,
    }
    report("fusions", figures, __doc__ or "")


if __name__ == "__main__":
    main(*sys.argv[1:])
