"""Captions (Multi30k task 1, English: 29,000 / 1,014 / 1,000): language models beside VAEs with the same nets.

Tokens are byte pairs, 2,000 of them, fitted on the training part; a caption ends with its end token, which counts. Each
model is a recipe as it stands, the VAE-Transformers with an encoder of two layers, 32 latents and 0.15 free nats for
each (``plain`` is the VAE-Transformer without free bits or a rise of beta; the ``longer``
ones have twice the epochs and the dropout, and the VAE among them a flow as its prior and whole free bits), trained
with seed 0 on one core, within 60 minutes of it (``plain``, ``high-rate`` and the ``longer`` ones in bfloat16), and
evaluated with its averaged weights on all 1,000 test captions: the exact likelihood, or the importance-weighted bound
with k = 500. Differences are means over the same captions. Active units and I(x; z) are of 500 captions (at most 6.2
nats). Samples are 1,000 of each at temperature 1; the judge is the LSTM language model, trained with another net on the
same captions. Interpolations: 200 random pairs of test captions, 7 steps, the likeliest tokens; perplexity under the
judge and overlap of words with both ends by step. Reverse perplexity: of the test captions under LSTM models that are
trained on 10,000 samples, or on as many real captions.
``python benchmarks/captions.py [NAME ...]`` trains and measures those named (all without a name), resumable, in
``runs/captions``; what was measured before stays in the report.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import common
from common import before, last, moments, report, runs, size, start, trained_on, write
from inputs import captions

PAIRED = [  # a VAE, and the same net without its latent
    ("vae-transformer", "transformer"),
    ("plain", "transformer"),
    ("vae-lstm", "lstm"),
    ("longer-vae", "longer-transformer"),
    ("longest-vae", "longest-transformer"),
]
RUNS = runs("captions")
JUDGE = "lstm"
K, PAIRS, STEPS, SAMPLES, WAYS = size((500, 200, 7, 1000, 20), (2, 3, 3, 20, 2))
QUICK = "training.precision=bfloat16"  # 0.55 of the time on a processor with such instructions
LONGEST = ["recipe.dropout=0.2", "training.epochs=22", QUICK]  # of 40 epochs, both overfit from the 22nd on
LONGER = ["recipe.dropout=0.2", "training.epochs=20", QUICK]
READS = ["recipe.encoder_layers=2", "recipe.latent=32"]  # words in their order
READS_LSTM = ["recipe.encoder_layers=1", "recipe.latent=32"]
EACH = ["objective.free_bits=0.15", "objective.per=dimension"]
SMALL = size([], ["recipe.width=16", "recipe.layers=1"])
FLOW = [
    "model.latents.prior={class: Flow, dims: 32, structure: autoregressive, kind: affine, transforms: 3}",
    "objective.free_bits=4.0",
    "objective.per=whole",
]
MODELS: dict[str, tuple[str, list[str]]] = {
    "lstm": ("text-lstm", []),
    "transformer": ("text-transformer", []),
    "vae-transformer": ("text-vae", [*READS, *EACH]),
    "plain": ("text-vae", [*READS, "recipe.free_bits=0.0", "objective.beta=1.0", QUICK]),
    "vae-lstm": ("text-vae-lstm", [*READS_LSTM, *EACH]),
    "high-rate": ("text-autoencoder", [QUICK]),
    "longer-transformer": ("text-transformer", LONGER),
    "longer-vae": ("text-vae", [*READS, *LONGER, *FLOW]),
    "longest-transformer": ("text-transformer", LONGEST),
    "longest-vae": ("text-vae", [*READS, *LONGEST, *FLOW]),
}


def train(name: str) -> Path:
    """Train a model, or go on with it."""
    recipe, settings = MODELS[name]
    held = [f"data.validation_path={captions('valid')}", f"data.test_path={captions('test')}"]
    settings = [*held, *settings, *SMALL]
    return common.train(RUNS / name, recipe, captions("train"), settings, "--importance-samples", "1")


def measure(name: str) -> dict[str, Any]:
    """Everything about one model, kept in its folder."""
    import torch

    import fusevae
    from fusevae.core import noise
    from fusevae.core.vocabulary import lengths
    from fusevae.evaluation.collapse import diagnose
    from fusevae.modalities.text.quality import TextReference, text_reconstruction

    folder = train(name)
    kept = folder / "figures.json"
    if kept.exists():
        return json.loads(kept.read_text())
    splits = fusevae.read_data(fusevae.Source(**_source(folder)))
    artifact, judge = fusevae.load(folder), fusevae.load(train(JUDGE))
    found = fusevae.log_likelihood(artifact, splits.test, importance_samples=K)
    x, _ = splits.test.batch(torch.arange(len(splits.test)))
    at_end = last(folder)
    figures: dict[str, Any] = {
        "log_likelihood": found.tolist(),
        "nats_per_token": -found.sum().item() / int(lengths(x).sum()),
        "training_minutes": at_end["seconds"] / 60,
        "trained_on": trained_on(folder),
        "steps": at_end["step"],
        "parameters": artifact.n_parameters,
        "samples": TextReference(splits.test, splits.train, SAMPLES, judge).judge(artifact).to_dict(),
    }
    if artifact.distribution.has_latents:
        with torch.no_grad(), noise.preserved(), noise.keyed(0, "latents"):
            about = diagnose(artifact.distribution, x)
        figures |= {key: about[key] for key in ("kl", "mutual_information")}
        figures["active_units"] = about["active_units"]["z"]
        figures["reconstruction"] = text_reconstruction(artifact, splits.test).to_dict()
        figures["interpolation"] = interpolations(artifact, judge, splits.spec.text(x))
    if name != JUDGE:
        figures["reverse"] = fusevae.reverse_perplexity(artifact, splits.train, splits.test)
    write(kept, json.dumps(figures))
    print(name, {k: v for k, v in figures.items() if k != "log_likelihood"}, file=sys.stderr, flush=True)
    return figures


def interpolations(artifact: Any, judge: Any, texts: list[str]) -> dict[str, Any]:
    """Perplexity under the judge, and overlap of words with the texts at both ends, by step; twenty ways as a page."""
    import torch

    import fusevae
    from fusevae.evaluation.report import save
    from fusevae.modalities.text.quality import overlap, perplexity

    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))[: 2 * PAIRS].tolist()
    a, b = ([texts[i] for i in part] for part in (order[:PAIRS], order[PAIRS:]))
    x = fusevae.interpolate(artifact, a, b, steps=STEPS)
    ways = [artifact.data.text(way) for way in x]
    by_step = list(zip(*ways, strict=True))
    page = ""
    for i in range(WAYS):
        steps = "".join(f"<li>{_safe(text)}</li>" for text in ways[i])
        page += f"<section><h2>{_safe(a[i])} → {_safe(b[i])}</h2><ol>{steps}</ol></section>"
    place = RUNS / "interpolations.html"
    save(place, "Twenty ways between captions", ["<h1>Twenty ways between captions, none chosen</h1>", page])
    return {
        "perplexity": [perplexity(judge, [t for t in step if t]) for step in by_step],
        "overlap_with_start": [
            statistics.fmean([overlap(s, t) for s, t in zip(a, step, strict=True)]) for step in by_step
        ],
        "overlap_with_end": [
            statistics.fmean([overlap(e, t) for e, t in zip(b, step, strict=True)]) for step in by_step
        ],
    }


def main(*names: str) -> None:
    for name in common.chosen(names, MODELS, ["vae-transformer", "transformer"]):
        measure(name)
    found = {name: measure(name) for name in MODELS if (RUNS / name / "figures.json").exists()}
    known = {"models": {}, "differences": []} | before("captions")
    differences = []
    for model, base in PAIRED:
        if model in found and base in found:
            pairs = zip(found[model]["log_likelihood"], found[base]["log_likelihood"], strict=True)
            gap = [y - x for x, y in pairs]  # nats more than the language model needs
            value, stderr = moments(gap).values()
            of = -statistics.fmean(found[base]["log_likelihood"])
            interval = [100 * (value + z * stderr) / of for z in (-1.96, 1.96)]
            row = {"model": model, "beside": base, "nats": value, "stderr": stderr}
            differences.append(row | {"percent": 100 * value / of, "interval_percent": interval})
    new = {row["model"] for row in differences}
    figures = {
        "models": known["models"]
        | {
            name: {k: v for k, v in f.items() if k != "log_likelihood"}
            | {"nll": -statistics.fmean(f["log_likelihood"]), "nll_stderr": moments(f["log_likelihood"])["stderr"]}
            for name, f in found.items()
        },
        "differences": [d for d in known["differences"] if d["model"] not in new] + differences,
    }
    report("captions", figures, __doc__ or "", 0)


def _source(folder: Path) -> dict[str, Any]:
    import yaml

    node = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    return {k: v for k, v in node.items() if k != "class"}


def _safe(text: str) -> str:
    from html import escape

    return escape(text)


if __name__ == "__main__":
    start(main)
