"""Flows alone on MNIST in logit space: test log-likelihood in nats, higher is better (Papamakarios et al. 2017).

The figure is the mean of log p(y) over all 10,000 test images, y = logit(a + (1 - 2 a) (x + u) / 256) with a = 1e-6 and
one draw of u ~ U[0, 1) for each image, by a saved seed: the density of y itself, so the log-determinants of dequantized
pixel to y are left out, as published (MADE -1380.8, RealNVP(5) -1323.2, MAF(5) -1300.5). It is no likelihood of pixels:
never put it beside nats of another support. The step after the logit (unit scale) is a part of the flow, and its
log-determinant is in the figure. Each model is a recipe; 54,000 images for training, 6,000 for validation, the averaged
weights of the best validation. Seed 0. Published nets have as many hidden units (1,024) in each transform.
Resumable, in ``runs/image-flows``. ``python benchmarks/image_flows.py [NAME ...]`` trains those named (the first three
without a name); what was measured before stays in the report.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import before, last, report, runs, size, start, train, write
from inputs import mnist

if TYPE_CHECKING:
    from torch import Tensor

    from fusevae import Preprocessed

RUNS = runs("image-flows")
PUBLISHED = {"made": -1380.8, "realnvp": -1323.2, "maf": -1300.5}
WANTED = {"made": -1400.0, "realnvp": -1345.0, "maf": -1320.0}
SMALL = size([], ["recipe.hidden=[16]"])
#: settings beside those of the recipe of that name
MODELS: dict[str, list[str]] = {
    "made": ["training.epochs=20"],
    "realnvp": ["recipe.hidden=[1024]", "training.epochs=8"],
    "maf": ["recipe.hidden=[1024]", "training.epochs=10"],
    "spline-flow": ["training.epochs=10"],
    "glow": ["training.epochs=8"],
}


def logit_density(model: Preprocessed, x: Tensor) -> Tensor:
    """log p(y) of the logits y of raw examples ``x``, ``(n,)``: the model's density after its step ``Logit``."""
    from fusevae import Logit, Preprocessed
    from fusevae.core.levels import log_bound

    after = max((i + 1 for i, step in enumerate(model.steps) if isinstance(step, Logit)), default=0)
    if not after:  # of a smoke's few images, which have another step
        return log_bound(model(), x.float())
    y = x.float()
    for step in model.steps[:after]:
        y = step(y)[0]
    return Preprocessed(list(model.steps[after:]), model.model)().log_prob(y)


def evaluate(folder: Path) -> dict[str, Any]:
    """The figure of a finished run, kept in its folder."""
    path = folder / "logit.json"
    if not path.exists():
        import torch

        import fusevae
        from fusevae.core import noise

        model = fusevae.load(folder).distribution
        test = fusevae.read_data(str(mnist())).test
        found = []
        with torch.no_grad():
            for i, index in enumerate(torch.arange(len(test)).split(500)):
                with noise.keyed(0, "logit", i):
                    found.append(logit_density(model, test.batch(index)[0]).double())
        each = torch.cat(found)
        stderr = each.std().item() / math.sqrt(len(each))
        figures = {"log_likelihood": each.mean().item(), "stderr": stderr, "n": len(each)}
        write(path, json.dumps(figures))
    return json.loads(path.read_text())


def main(*names: str) -> None:
    figures = before("image_flows")
    for name in MODELS:
        folder = RUNS / name
        if name in (names or size(WANTED, ("made", "realnvp"))):
            settings = [*MODELS[name], "training.checkpoint_every=500", *SMALL]
            train(folder, name, mnist(), settings, "--importance-samples", "1")
        if not (folder / "evaluation.json").exists():
            continue
        at_end = last(folder)
        evaluation = json.loads((folder / "evaluation.json").read_text())
        figures[name] = {"settings": MODELS[name], **evaluate(folder), "parameters": evaluation["parameters"]}
        figures[name] |= {"training_minutes": at_end["seconds"] / 60, "epochs": at_end["epoch"]}
        figures[name] |= {"published": PUBLISHED.get(name), "wanted": WANTED.get(name)}
        figures[name]["bits_per_dim_bound"] = evaluation["bits_per_dim"]
    report("image_flows", figures, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
