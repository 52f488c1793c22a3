"""Disentanglement on generated shapes: beta-TC (beta = 6) against a plain VAE in MIG, DCI and the FactorVAE score.

Both are the same net (1024-256-256-z10 and back, silu), trained on the same 20,000 images of 32 x 32 pixels (three
shapes, five sizes, nine rotations, 16 x 16 places; binarized with the grey value as the probability) for as many steps,
with batches of 128. Only the objective and its weight differ: the ELBO (Kingma & Welling 2014), or beta-TC (Chen et al.
2018) with 6 on the total correlation. A seed is that of the initial weights, the order and the noise. Scores are on
10,000 other images. Each finished training is a line of ``runs/disentanglement.jsonl``; stopped, it goes on with those
that are missing. ``python benchmarks/disentanglement.py [SEEDS [EPOCHS]]``
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from common import report, runs, size, start

LINES = runs("disentanglement.jsonl")
LATENTS, TRAINING, HELD_OUT = 10, *size((20_000, 10_000), (64, 600))
SCORES = ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae")


def one(objective: str, seed: int, epochs: int, images: Any, held: Any, factors: Any, folder: Path | None) -> dict:
    """Train one model and score it."""
    import fusevae
    from fusevae.evaluation.latent_pictures import draw_latents
    from fusevae.evaluation.reading import read
    from fusevae.training.outcome import draw_reconstructions

    encoder = fusevae.MLP((1, 32, 32), 2 * LATENTS, hidden=(256, 256), activation="silu")
    decoder = fusevae.MLP(LATENTS, (1, 32, 32), hidden=(256, 256), activation="silu")
    model = fusevae.VAE(
        fusevae.Flat(fusevae.Normal(LATENTS), fusevae.Gaussian(encoder)), decoder=fusevae.Bernoulli(decoder)
    )
    started = time.perf_counter()
    artifact = fusevae.fit(
        model,
        fusevae.read_data(images, validation=0.0, test=0.0),
        [fusevae.Binarize()],
        fusevae.ELBO() if objective == "elbo" else fusevae.BetaTC(beta=6.0),
        fusevae.Training(epochs=epochs, batch_size=128, learning_rate=2e-3),
        seed=seed,
        device="cpu",
        quiet=True,
    )
    trained = time.perf_counter() - started
    scores = fusevae.disentanglement(artifact, held, factors, seed=seed)
    figures = fusevae.evaluate(artifact, held[:2000], importance_samples=1)
    found = read(artifact, held)
    active = int((found.z.var(0) > 0.05).sum())
    if folder is not None:
        examples = fusevae.read_data(held[:2000], validation=0.0, test=0.0).train
        for name, sheet in (draw_latents(artifact, examples) | draw_reconstructions(artifact, examples)).items():
            sheet.beside(folder / name)
    return {
        "objective": objective,
        "seed": seed,
        "epochs": epochs,
        **scores,
        **{key: getattr(figures, key) for key in ("elbo", "reconstruction", "kl")},
        "active": active,
        "training_seconds": trained,
        "seconds": time.perf_counter() - started,
    }


def main(seeds: int = size(5, 2), epochs: int = size(40, 1)) -> None:
    import torch

    import fusevae

    torch.manual_seed(0)
    images, _ = fusevae.shapes(TRAINING, seed=0)
    held, factors = fusevae.shapes(HELD_OUT, seed=1)
    LINES.parent.mkdir(parents=True, exist_ok=True)
    lines = LINES.read_text().splitlines() if LINES.exists() else []
    done = [json.loads(line) for line in lines if line.endswith("}")]  # a kill may have cut the last one
    found: dict[str, list[dict[str, Any]]] = {"elbo": [], "beta_tc": []}
    for seed in range(seeds):
        for objective, finished in found.items():
            wanted = {"objective": objective, "seed": seed, "epochs": epochs}
            line = next((d for d in done if wanted.items() <= d.items()), None)
            if line is None:
                torch.manual_seed(seed)  # of the initial weights: both objectives start from the same
                folder = None
                if seed == 0:
                    folder = LINES.parent / f"disentanglement-{objective}"
                    folder.mkdir(exist_ok=True)
                line = one(objective, seed, epochs, images, held, factors, folder)
                with LINES.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            print(json.dumps(line), file=sys.stderr, flush=True)
            finished.append(line)
    figures: dict[str, Any] = {"seeds": seeds, "epochs": epochs}
    for score in (*SCORES, "elbo", "kl", "active"):
        values = {name: [line[score] for line in lines] for name, lines in found.items()}
        more = [b - a for a, b in zip(values["elbo"], values["beta_tc"], strict=True)]
        figures[score] = {name: spread(v) for name, v in values.items()} | {"beta_tc_minus_elbo": spread(more)}
    figures["training_minutes"] = sum(d["seconds"] for lines in found.values() for d in lines) / 60
    report("disentanglement", figures, __doc__ or "", seed=0)


def spread(values: list[float]) -> dict[str, Any]:
    """The mean over seeds, its standard error, and the values."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "stderr": error, "values": values}


if __name__ == "__main__":
    start(main, int, int)
