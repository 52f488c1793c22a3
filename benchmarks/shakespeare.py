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
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, report, trained_on

RUNS = ROOT / "runs" / "shakespeare"
TEXT = Path(os.environ.get("CAPTIONS", ROOT.parent / "shared" / "data" / "text")) / "shakespeare.txt"
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

    folder = RUNS / name
    if not (folder / "evaluation.json").exists():
        arguments = ["--resume", str(folder)]
        if not (folder / "config.yaml").exists():
            arguments = ["character-transformer", "--data", str(TEXT), "--output", str(folder), "--seed", "0"]
            arguments += [word for s in ("data.validation=0.0", *MODELS[name]) for word in ("--set", s)]
        subprocess.run([sys.executable, "-m", "fusevae", "train", *arguments], check=True, stdout=subprocess.DEVNULL)
    found = json.loads((folder / "evaluation.json").read_text())
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    artifact = fusevae.load(folder)
    return {
        "nats_per_character": found["nats_per_token"],
        "characters": found["tokens"],
        "training_minutes": last["seconds"] / 60,
        "trained_on": trained_on(folder),
        "steps": last["step"],
        "parameters": artifact.n_parameters,
        "sample": artifact.data.text(fusevae.sample(artifact, 1))[0],
    }


def main(*names: str) -> None:
    if not TEXT.exists():
        raise SystemExit(f"no text at {TEXT}: set CAPTIONS=/folder/with/shakespeare.txt")
    if unknown := set(names) - set(MODELS):
        raise SystemExit(f"unknown {', '.join(unknown)}: give some of {', '.join(MODELS)}")
    found = {name: measure(name) for name in names or MODELS}
    before = RESULTS / "shakespeare.json"
    models = json.loads(before.read_text())["figures"]["models"] if before.exists() else {}
    report("shakespeare", {"models": models | found}, __doc__ or "", 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
