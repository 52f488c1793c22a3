"""The weaknesses mended: parents beside children on MNIST, each trained for the same time, several seeds.

``fusevae bench`` trains every model for the same wall-clock time with each seed and judges 5,000 samples against 5,000
test images by the features of one classifier (its hash is in the record); reconstructions are of 5,000 other test
images. ``vae`` has the nets and the likelihood of ``vae-gan``, ``flow-sigma-vae`` those of ``sigma-vae`` with a flow as
prior; the other models are recipes as they stand. Asked: VAE-GAN at most 0.6 of the VAE's FID, with reconstructions in
feature space no worse; latent diffusion and VQ-VAE close at least 70 % of the way from the plain VAE's FID to the best
floor; the VAE with a flow prior better in likelihood and FID than the plain one and than a flow alone.
``python benchmarks/fusions.py [BUDGET [SEEDS]]`` (5m, 3), resumable, in ``runs/fusions-BUDGET``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import ROOT, mnist_path, report

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
    """The models of a seed, by name."""
    place = folder / f"seed-{seed}"
    command = [sys.executable, "-m", "fusevae", "bench", ",".join(configurations(folder)), "--data", str(mnist_path())]
    command += ["--budget", budget, "--seed", str(seed), "--samples", "5000", "--output", str(place)]
    if not (place / "comparison.json").exists():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads((place / "comparison.json").read_text())
    return {Path(name).name: model for name, model in found["models"].items()}


def main(budget: str = "5m", seeds: str = "3") -> None:
    folder = ROOT / "runs" / f"fusions-{budget}"
    runs = [one(seed, budget, folder) for seed in range(int(seeds))]
    names = list(runs[0])

    def over_seeds(value: Any) -> dict[str, Any]:
        each = [value(run) for run in runs]
        return {"mean": statistics.fmean(each), "values": each}

    def fid(name: str, key: str = "fid") -> Any:
        return lambda run: run[name]["quality"][key]

    floors = [n for n in names if runs[0][n]["quality"]["floor"] is not None]

    def closed(name: str) -> Any:
        def value(run: dict[str, Any]) -> float:
            plain, floor = fid("vae")(run), min(fid(n, "floor")(run) for n in floors)
            return (plain - fid(name)(run)) / (plain - floor)

        return value

    figures: dict[str, Any] = {"budget": budget, "seeds": len(runs)}
    figures["models"] = {
        n: {
            "fid": over_seeds(fid(n)),
            "kind": runs[0][n]["quality"]["kind"],
            "floor": over_seeds(fid(n, "floor")) if n in floors else None,
            "log_likelihood": [r[n].get("value") for r in runs],
            "support": runs[0][n].get("support"),
            "extractor": runs[0][n]["quality"]["extractor"],
        }
        for n in names
    }
    figures["vae_gan_over_vae"] = over_seeds(lambda r: fid("vae-gan")(r) / fid("vae")(r))
    figures["vae_gan_floor_over_vae"] = over_seeds(lambda r: fid("vae-gan", "floor")(r) / fid("vae", "floor")(r))
    figures["closed"] = {n: over_seeds(closed(n)) for n in ("latent-diffusion", "vq-vae")}
    report("fusions", figures, __doc__ or "", 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
