"""The characters of Shakespeare (1.1 MB of plays, nanoGPT's text): nats a character of a transformer.

The recipe ``character-transformer`` as it stands, and ``wide`` for a GPU, seed 0, with nanoGPT's split: trained on nine
tenths of the text, the last tenth is the test part (``data.validation=0``). The figure is over its windows of 128
characters (``wide``: 256), which don't overlap, each character given those before it in its window alone, with averaged
weights. nanoGPT's own: 1.88 in minutes on a CPU (windows of 64), 1.4697 at best on a GPU (of 256). Resumable.
``python benchmarks/shakespeare.py [NAME ...]`` measures those named (both without a name); what was measured before
stays in the report.
"""

from __future__ import annotations

import json
from typing import Any

import inputs
from common import before, chosen, last, report, runs, size, start, train, trained_on

SMALL = size([], ["recipe.width=24", "recipe.layers=1", "data.stream=32"])
MODELS: dict[str, list[str]] = {  # what is changed of the recipe
    "character-transformer": [],
    "wide": [
        "recipe.width=384",
        "recipe.layers=6",
        "recipe.dropout=0.2",
        "data.stream=256",
        "training.batch_size=64",
        "training.learning_rate=1e-3",
        "training.epochs=2.5",
        "training.precision=bfloat16",
    ],
}


def measure(name: str) -> dict[str, Any]:
    """Train a model, or go on with it, and what it came to."""
    import fusevae

    settings = ["data.validation=0.0", *MODELS[name], *SMALL]
    folder = train(runs("shakespeare") / name, "character-transformer", inputs.shakespeare(), settings)
    found = json.loads((folder / "evaluation.json").read_text())
    at_end = last(folder)
    artifact = fusevae.load(folder)
    return {
        "nats_per_character": found["nats_per_token"],
        "characters": found["tokens"],
        "training_minutes": at_end["seconds"] / 60,
        "trained_on": trained_on(folder),
        "steps": at_end["step"],
        "parameters": artifact.n_parameters,
        "sample": artifact.data.text(fusevae.sample(artifact, 1))[0],
    }


def main(*names: str) -> None:
    found = {name: measure(name) for name in chosen(names, MODELS, ["wide"])}
    report("shakespeare", {"models": before("shakespeare").get("models", {}) | found}, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
