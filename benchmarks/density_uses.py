"""What the density of a small model of MNIST is good for: anomaly scores, imputation, denoising.

``binary-vae``, 20 epochs on one thread, or a run that is given. Anomalies: AUROC between 1,000 test digits and 1,000
foreign images by three scores, each against 2,000 other test digits as reference, k = 100. Imputation: the lower half
of 500 test digits, binarized once; mean squared error of a pixel there, of values in 0..1. Denoising: each pixel of the
same digits flipped with probability 0.1 or 0.2; the same error over all pixels. Everything with the defaults of the
library. ``python benchmarks/density_uses.py [RUN]``
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import report, runs, size, start, train
from inputs import cifar10, mnist
from torch import Tensor

N, FROM, REFERENCE, SOME = size((1000, 5000, 2000, 500), (8, 20, 16, 4))
EPOCHS, SEED = 20, 0


def foreign(digits: Tensor) -> dict[str, Tensor]:
    """Images that are no upright digits, ``(n, 1, 28, 28)`` uint8."""
    g, n = torch.Generator().manual_seed(SEED), len(digits)
    small = torch.nn.functional.interpolate(digits.float(), size=(14, 14), mode="bilinear", antialias=True)
    found = {
        "inverted": 255 - digits,
        "uniform noise": torch.randint(0, 256, digits.shape, generator=g, dtype=torch.uint8),
        "constant grey": torch.randint(0, 256, (n, 1, 1, 1), generator=g, dtype=torch.uint8).expand_as(digits),
        "black": torch.zeros_like(digits),
        "half as large": torch.nn.functional.pad(small.round().to(torch.uint8), (7, 7, 7, 7)),
        "turned by 90 degrees": digits.rot90(1, (2, 3)),
        "upside down": digits.flip(2),
    }
    from fusevae.data.source import read_examples

    images, _ = read_examples(str(cifar10() / "test.parquet")).batch(torch.arange(n))
    found["CIFAR-10, grey"] = images.float().mean(1, keepdim=True)[..., 2:30, 2:30].round().to(torch.uint8)
    return found


def anomalies(artifact: Any, test: Tensor) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    from fusevae.evaluation.anomaly import parts, scores
    from fusevae.evaluation.blocks import as_examples

    started = time.perf_counter()
    reference = parts(artifact, as_examples(artifact, test[FROM : FROM + REFERENCE]), seed=SEED)
    score: Callable[[Tensor], dict[str, np.ndarray]] = lambda x: scores(  # noqa: E731
        parts(artifact, as_examples(artifact, x), seed=SEED), reference
    )
    usual = score(test[:N])
    found: dict[str, Any] = {"digits": {"log_likelihood": float(usual["log_likelihood"].mean())}}
    truth = np.repeat([0, 1], N)
    for name, x in foreign(test[:N]).items():
        theirs = score(x)
        found[name] = {"log_likelihood": float(theirs["log_likelihood"].mean()), "auroc": {}}
        for key, sign in (("log_likelihood", -1), ("typicality", 1), ("distance", 1)):
            values = sign * np.concatenate([usual[key], theirs[key]])
            found[name]["auroc"][key] = float(roc_auc_score(truth, values))
    return {"foreign": found, "seconds": time.perf_counter() - started}


def imputation(artifact: Any, x: Tensor, train_mean: Tensor) -> dict[str, float]:
    import fusevae

    mask = torch.zeros(1, 28, 28, dtype=torch.bool)
    mask[:, 14:] = True
    hidden = torch.where(mask, 0, x)

    def error(y: Tensor) -> float:
        return ((y.float() - x.float()) / 255)[:, mask].square().mean().item()

    started = time.perf_counter()
    done = fusevae.impute(artifact, x, mask, seed=SEED)
    seconds = time.perf_counter() - started
    return {
        "mean_image": error(train_mean),
        "reconstructed_once": error(fusevae.reconstruct(artifact, hidden)),
        "imputed_mean": error(done.mean),
        "imputed_draw": error(done.samples[0]),
        "accepted": done.accepted.mean().item(),
        "seconds": seconds,
    }


def denoising(artifact: Any, x: Tensor, p: float) -> dict[str, float]:
    import fusevae

    flip = torch.rand(x.shape, generator=torch.Generator().manual_seed(SEED)) < p
    noisy = torch.where(flip, 255 - x, x)

    def error(y: Tensor) -> float:
        return ((y.float() - x.float()) / 255).square().mean().item()

    started = time.perf_counter()
    done = fusevae.denoise(artifact, noisy, p, seed=SEED)
    seconds = time.perf_counter() - started
    return {
        "noisy": error(noisy),
        "reconstructed_once": error(fusevae.reconstruct(artifact, noisy)),
        "clean_reconstructed": error(fusevae.reconstruct(artifact, x)),
        "denoised_mean": error(done.mean),
        "denoised_wrong_pixels": ((done.mean > 127) != (x > 127)).float().mean().item(),
        "accepted": done.accepted.mean().item(),
        "seconds": seconds,
    }


def main(run: str = "") -> None:
    import fusevae

    torch.set_num_threads(1)
    folder = runs(f"binary-vae-uses-{EPOCHS}")
    settings, on = [f"training.epochs={EPOCHS}"], ("--device", "cpu")
    artifact = fusevae.load(run or train(folder, "binary-vae", mnist(), settings, *on, seed=SEED))
    with np.load(mnist()) as data:
        test, train_mean = torch.from_numpy(data["x_test"])[:, None], torch.from_numpy(data["x_train"].mean(0))[None]
    torch.manual_seed(SEED)
    x = (torch.rand(SOME, 1, 28, 28) < test[:SOME] / 255).to(torch.uint8) * 255
    figures = {
        "anomaly": anomalies(artifact, test),
        "imputation": imputation(artifact, x, train_mean),
        "denoising": {str(p): denoising(artifact, x, p) for p in (0.1, 0.2)},
    }
    report("density_uses", figures, __doc__ or "", SEED)


if __name__ == "__main__":
    start(main)
