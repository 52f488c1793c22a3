"""The library's arm of ``likelihood_speed.py``: importance-weighted likelihood of a few images."""

from __future__ import annotations

import resource
import time

from common import Turn, serve, size
from inputs import images

import fusevae
from fusevae.recipes.binary_vae import recipe

IMAGES, SAMPLES = 24, size(5000, 20)


def make() -> Turn:
    data = fusevae.DataSpec((1, 28, 28), "uint8", 0, 255)
    experiment = recipe(data)
    artifact = fusevae.Artifact(experiment.model, data, experiment.views)
    x, _ = images("test", IMAGES)

    def turn() -> dict[str, float]:
        started = time.perf_counter()
        fusevae.log_likelihood(artifact, x, importance_samples=SAMPLES)
        seconds = (time.perf_counter() - started) / IMAGES
        return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}

    return turn


if __name__ == "__main__":
    serve(make)
