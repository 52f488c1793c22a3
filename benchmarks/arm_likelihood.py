"""The library's arm of ``likelihood_speed.py``: importance-weighted likelihood of a few images."""

from __future__ import annotations

import resource
import time

import numpy as np
import torch
from common import mnist_path, serve

import fusevae
from fusevae.recipes.binary_vae import recipe

IMAGES, SAMPLES = 24, 5000

data = fusevae.DataSpec((1, 28, 28), "uint8", 0, 255)
experiment = recipe(data)
artifact = fusevae.Artifact(experiment.model, data, experiment.views)
x = torch.from_numpy(np.load(mnist_path())["x_test"][:IMAGES]).unsqueeze(1)


def turn() -> dict[str, float]:
    started = time.perf_counter()
    fusevae.log_likelihood(artifact, x, importance_samples=SAMPLES)
    seconds = (time.perf_counter() - started) / IMAGES
    return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


serve(turn)
