"""The characters of Shakespeare (1.1 MB of plays, nanoGPT's text): nats a character of a transformer.

The recipe ``character-transformer`` as it stands, seed 0, with nanoGPT's split: trained on nine tenths of the text, the
last tenth is the test part (``data.validation=0``). The figure is over its windows of 128 characters, which don't
overlap, each character given those before it in its window alone, with averaged weights. nanoGPT's own: 1.88 in minutes
on a CPU (windows of 64), 1.4697 at best on a GPU (of 256). Resumable. ``python benchmarks/shakespeare.py``
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from common import ROOT, report

FOLDER = ROOT / "runs" / "shakespeare"
TEXT = Path(os.environ.get("CAPTIONS", ROOT.parent / "shared" / "data" / "text")) / "shakespeare.txt"


def main() -> None:
    import fusevae

    if not TEXT.exists():
        raise SystemExit(f"no text at {TEXT}: set CAPTIONS=/folder/with/shakespeare.txt")
    if not (FOLDER / "evaluation.json").exists():
        arguments = ["--resume", str(FOLDER)]
        if not (FOLDER / "config.yaml").exists():
            arguments = ["character-transformer", "--data", str(TEXT), "--output", str(FOLDER), "--seed", "0"]
            arguments += ["--set", "data.validation=0.0"]
        subprocess.run([sys.executable, "-m", "fusevae", "train", *arguments], check=True, stdout=subprocess.DEVNULL)
    found = json.loads((FOLDER / "evaluation.json").read_text())
    last = json.loads((FOLDER / "metrics.jsonl").read_text().splitlines()[-1])
    artifact = fusevae.load(FOLDER)
    figures = {
        "nats_per_character": found["nats_per_token"],
        "characters": found["tokens"],
        "training_minutes": last["seconds"] / 60,
        "steps": last["step"],
        "parameters": artifact.n_parameters,
        "sample": artifact.data.text(fusevae.sample(artifact, 1))[0],
    }
    report("shakespeare", figures, __doc__ or "", 0)


if __name__ == "__main__":
    main()
