"""Counts of known truth: the held-out bound of ``counts-vae``, and what its latents know of type and batch.

3,000 made cells of 200 genes, of 5 types in 3 batches: depths are log-normal, shares depend on the type and, gene by
gene, on the batch, counts are negative binomial. A fifth is held out. ``counts-vae`` is given the batch, its settings
are the default but for the time, 120 seconds (or the first argument; a second one is the seed), on one thread. Its ELBO
and its log-likelihood (500 importance samples) stand beside the truth's log p(x | batch), a sum over the types and an
integral over depths. Latents (without the depth) of the held-out cells are classified by logistic regression, in five
folds: batch at chance and type as by the truth's posterior is best. SCVI of scvi-tools (``$SCVI_PYTHON``, an
environment of its own) is trained as long on the same cells with its defaults but a negative binomial, with a latent
depth, whose bound is over the same; and with the total of each cell given, as is its default, whose bound is not.
``python benchmarks/counts.py [SECONDS [SEED]]``
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import report, runs, size, start
from scipy.special import gammaln, logsumexp

TYPES, BATCHES, DEPTH, SPREAD = 5, 3, 7.0, 0.4


def simulated(seed: int) -> dict[str, np.ndarray]:
    """Counts, and the truth that they are drawn from."""
    rng = np.random.default_rng(seed)
    n, genes = size((3000, 200), (90, 12))
    kind, batch = rng.integers(0, TYPES, n), rng.integers(0, BATCHES, n)
    base, by_type = rng.normal(0, 1.2, genes), rng.normal(0, 0.6, (TYPES, genes))
    logits = base + by_type[:, None] + rng.normal(0, 0.5, (BATCHES, genes))
    log_share = logits - logsumexp(logits, -1, keepdims=True)
    theta, shift = rng.lognormal(1.0, 0.7, genes), rng.normal(0, 0.3, BATCHES)
    depth = rng.normal(DEPTH + shift[batch], SPREAD)
    rate = rng.gamma(theta, np.exp(depth[:, None] + log_share[kind, batch]) / theta)
    x = rng.poisson(rate)
    x[x.sum(1) == 0, 0] = 1
    return {"x": x, "type": kind, "batch": batch, "log_share": log_share, "theta": theta, "shift": shift}


def truth(made: dict[str, np.ndarray], rows: np.ndarray) -> tuple[float, float]:
    """The mean of log p(x | batch) over some cells, and how often its likeliest type is right."""
    theta, nodes = made["theta"], np.linspace(-5, 5, size(401, 41))
    weight = -0.5 * nodes**2 - 0.5 * np.log(2 * np.pi) + np.log(nodes[1] - nodes[0])
    found, right = [], []
    for i in rows:
        x, b = made["x"][i], made["batch"][i]
        rest = float((gammaln(x + theta) - gammaln(theta) - gammaln(x + 1)).sum())
        depth = DEPTH + made["shift"][b] + SPREAD * nodes
        above = depth[:, None, None] + made["log_share"][None, :, b] - np.log(theta)  # (nodes, types, genes)
        inside = -(np.logaddexp(0, above) * theta).sum(-1) - (np.logaddexp(0, -above) * x).sum(-1)
        by_type = rest + logsumexp(inside + weight[:, None], 0) - np.log(TYPES)
        found.append(logsumexp(by_type))
        right.append(by_type.argmax() == made["type"][i])
    return float(np.mean(found)), float(np.mean(right))


def known(z: np.ndarray, of: np.ndarray) -> float:
    """How often logistic regression tells it from latents, cross-validated."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    z = (z - z.mean(0)) / (z.std(0) + 1e-9)
    return float(cross_val_score(LogisticRegression(max_iter=1000), z, of, cv=size(5, 2)).mean())


def ours(made: dict[str, np.ndarray], cut: int, seconds: float, seed: int) -> dict[str, Any]:
    import pandas as pd

    import fusevae
    from fusevae.data.source import read_examples
    from fusevae.recipes import counts_vae

    frame = pd.DataFrame(made["x"], columns=[f"g{i}" for i in range(made["x"].shape[1])])
    frame["batch"] = [f"b{v}" for v in made["batch"]]
    asked = {"conditions": ["batch"], "columns": dict.fromkeys(frame.columns[:-1], "count")}
    data = fusevae.read_data(frame[:cut], validation=0.1, test=0, **asked)
    experiment = counts_vae.recipe(data.spec).replaced(seed=seed)
    began = time.perf_counter()
    artifact = fusevae.fit(experiment, data, quiet=True, budget=seconds)
    took = time.perf_counter() - began
    held = read_examples(frame[cut:].reset_index(drop=True), artifact.data)
    found = fusevae.evaluate(artifact, held, importance_samples=size(500, 2))
    z = fusevae.encode(artifact, held)["mean"][:, 1:]
    return {
        "elbo": found.elbo,
        "log_likelihood": found.log_likelihood.value,
        "seconds": took,
        "type": known(z, made["type"][cut:]),
        "batch": known(z, made["batch"][cut:]),
    }


def scvi(made: dict[str, np.ndarray], cut: int, seconds: float, seed: int) -> dict[str, Any]:
    """SCVI in its own environment; nothing where there is none."""
    python = os.environ.get("SCVI_PYTHON")
    if not python:
        print("measured without scvi-tools: $SCVI_PYTHON names no interpreter that has it")
        return {}
    folder = runs(f"counts-{seconds:g}s-{seed}")
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "cells.npz", x=made["x"], batch=made["batch"], cut=cut)
    found = {}
    for kind in ("latent", "observed"):
        arm = Path(__file__).with_name("arm_scvi.py")
        subprocess.run([python, str(arm), str(folder), kind, str(seconds), str(seed)], check=True)
        figures = json.loads((folder / f"{kind}.json").read_text())
        z = np.load(folder / f"{kind}.npy")
        found[kind] = figures | {"type": known(z, made["type"][cut:]), "batch": known(z, made["batch"][cut:])}
    return found


def main(seconds: float = size(120.0, 0.5), seed: int = 0) -> None:
    made = simulated(seed)
    cut = len(made["x"]) * 4 // 5
    likelihood, right = truth(made, np.arange(cut, len(made["x"])))
    figures: dict[str, Any] = {"cells": cut, "held": len(made["x"]) - cut, "genes": made["x"].shape[1]}
    figures |= {"budget": seconds, "truth": {"log_likelihood": likelihood, "type": right, "batch": 1 / BATCHES}}
    figures["counts-vae"] = ours(made, cut, seconds, seed)
    figures["scvi"] = scvi(made, cut, seconds, seed)
    report("counts", figures, __doc__ or "", seed)


if __name__ == "__main__":
    start(main, float, int)
