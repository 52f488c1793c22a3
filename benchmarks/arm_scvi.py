"""SCVI of scvi-tools on the cells of ``counts.py``, in an environment of its own: ``arm_scvi.py FOLDER latent|observed
SECONDS SEED`` reads ``cells.npz``, and writes what it found to ``KIND.json``, latents of held-out cells to
``KIND.npy``."""

import json
import sys
import time
from pathlib import Path


def main(folder: Path, kind: str, seconds: float, seed: int) -> None:
    import anndata
    import numpy as np
    import scvi

    scvi.settings.seed = seed
    found = np.load(folder / "cells.npz")
    x, batch, cut = found["x"].astype(np.float32), found["batch"].astype(str), int(found["cut"])
    cells = anndata.AnnData(x)
    cells.obs["batch"] = batch
    train, held = cells[:cut].copy(), cells[cut:].copy()
    scvi.model.SCVI.setup_anndata(train, batch_key="batch")
    model = scvi.model.SCVI(train, gene_likelihood="nb", use_observed_lib_size=kind == "observed")
    began = time.perf_counter()
    days = time.strftime("00:%H:%M:%S", time.gmtime(seconds))
    model.train(
        max_epochs=100_000, accelerator="cpu", train_size=0.9, early_stopping=True, max_time=days,
        enable_progress_bar=False, logger=False,
    )  # fmt: skip
    took = time.perf_counter() - began
    elbo = float(np.mean(np.asarray(model.get_elbo(held))))
    likelihood = float(np.mean(np.asarray(model.get_marginal_ll(held, n_mc_samples=500))))
    np.save(folder / f"{kind}.npy", model.get_latent_representation(held))
    figures = {"elbo": elbo, "log_likelihood": likelihood, "seconds": took, "version": scvi.__version__}
    (folder / f"{kind}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
