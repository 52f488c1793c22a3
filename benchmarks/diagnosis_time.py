"""What the diagnosis of the latents costs: its share of the time of a training, in the same run.

The demo's training (``logistic-vae``, 80 epochs) and two short ones of ``binary-vae`` (2 and 10 epochs), since a
training is diagnosed up to 20 times however long it is. ``python benchmarks/diagnosis_time.py``
"""

from __future__ import annotations

import time
from typing import Any

import inputs
from common import report, size, start


def share(recipe: str, data: str | None, epochs: float) -> dict[str, Any]:
    """Seconds of a training, and of the diagnoses in it."""
    import fusevae
    from fusevae.training import diagnosis
    from fusevae.training.prepare import prepare
    from fusevae.training.recipes import find

    splits = fusevae.read_data(data)
    experiment = find(recipe)(splits.spec)
    settings = fusevae.Training(**{**experiment.training._arguments, "epochs": epochs})
    loop = prepare(experiment.model, splits, experiment.views, experiment.objective, settings, 0, "cpu")
    inside: list[float] = []
    diagnose = diagnosis.diagnose

    def timed(*given: Any) -> None:
        started = time.perf_counter()
        diagnose(*given)
        inside.append(time.perf_counter() - started)

    diagnosis.diagnose = timed
    started = time.perf_counter()
    loop.run()
    seconds = time.perf_counter() - started
    diagnosis.diagnose = diagnose
    return {"seconds": seconds, "diagnoses": len(inside), "share": sum(inside) / seconds}


def main() -> None:
    report(
        "diagnosis_time",
        {
            "logistic-vae, 80 epochs": share("logistic-vae", None, size(80, 0.2)),
            "binary-vae, 2 epochs": share("binary-vae", str(inputs.mnist()), size(2, 0.2)),
            "binary-vae, 10 epochs": share("binary-vae", str(inputs.mnist()), size(10, 1)),
        },
        __doc__ or "",
        0,
        on="cpu",
    )


if __name__ == "__main__":
    start(main)
