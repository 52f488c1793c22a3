"""Molecules: a SMILES VAE, a SELFIES VAE and a language model on GuacaMol's split of ChEMBL, sampled and searched.

The VAEs have an encoder of two layers and 64 latents. Each model is trained on the 71,611 training molecules (seed 0,
nets in bfloat16), for about the same time, under an
hour on 2 cores; ``wide-vae`` is the SMILES VAE for a GPU. It samples 10,000 molecules at temperature 1 from the prior.
Validity, uniqueness and novelty are of these; KL, FCD and the rest are against the 3,979 held-out molecules, and KL and
FCD also against 10,000 of the training set, as GuacaMol has them; beside both stands what other real molecules reach
(the validation part), since these scores depend on how many there are. I(x; z) and active units are of 500 held-out
molecules. Optimisation, in the SMILES VAE: the first 100 held-out molecules with QED under 0.6, 200 evaluations each,
failures counted as 0, Tanimoto similarity at least 0.4; against random draws around the start (the best of three radii)
and from the prior, with as many. The latents of the starts are refined first, but for ``unrefined``, which starts from
the encoder's.
Asked for, in 60 minutes a model on 2 cores: SMILES VAE validity at least 0.80 (0.92 on a GPU, SELFIES 1.0), uniqueness
0.998, novelty 0.95, KL score 0.93, I(x; z) over 3 nats; QED raised by 0.15, and above random search.
``python benchmarks/molecules.py [NAME ...]`` trains and measures those named (all without a name), resumable, in
``runs/molecules``; what was measured before stays in the report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
from common import before, chosen, kept, last, moments, report, runs, size, start, trained_on
from inputs import molecules

READS = ["recipe.encoder_layers=2", "recipe.latent=64"]  # tokens in their order
WIDE = ["recipe.width=384", "recipe.layers=6", "recipe.dropout=0.2", "training.batch_size=128", "training.epochs=20"]
MODELS: dict[str, tuple[str, list[str]]] = {  # a recipe, and what is changed of it
    "molecules-vae": ("molecules-vae", [*READS, "training.epochs=14"]),
    "selfies-vae": ("selfies-vae", [*READS, "training.epochs=14"]),
    "molecules-transformer": ("molecules-transformer", []),
    "wide-vae": ("molecules-vae", [*READS, *WIDE]),
}
PRECISION = "bfloat16"  # of training; a processor with such instructions takes 0.55 of the time
RUNS = runs("molecules")
SAMPLES, STARTS, EVALUATIONS = size((10_000, 100, 200), (12, 2, 4))
SIMILARITY, RADII = 0.4, (1.0, 2.0, 4.0)
SMALL = size([], ["recipe.width=16", "recipe.layers=1"])


def smiles(part: str) -> list[str]:
    return molecules(part).read_text().split()


def train(name: str) -> Path:
    """Train a model, or go on with it; SELFIES can't hold one of the molecules."""
    recipe, changes = MODELS[name]
    held = [f"data.{of}_path={molecules(part)}" for of, part in (("validation", "valid"), ("test", "test"))]
    settings = [*held, f"training.precision={PRECISION}", "training.checkpoint_every=500", *changes, *SMALL]
    more = ("--skip-damaged", "--importance-samples", "1")
    return common.train(RUNS / name, recipe, molecules("train"), settings, *more)


def samples(folder: Path) -> list[str]:
    import fusevae

    artifact = fusevae.load(folder)
    return artifact.data.text(fusevae.sample(artifact, SAMPLES, seed=0))


def quality(made: list[str]) -> dict[str, Any]:
    """Against held-out molecules, and KL and FCD as GuacaMol has them: against molecules of the training set."""
    import fusevae

    found = fusevae.molecule_quality(made, smiles("train"), smiles("test")).to_dict()
    published = fusevae.molecule_quality(made, None, smiles("train")).to_dict()
    found["against_training"] = {k: published[k] for k in ("kl_score", "kl", "fcd", "fcd_score", "snn")}
    found["against_training"]["of"] = published["of"]["kl_score"]
    return found


def latents(folder: Path) -> dict[str, Any]:
    """How much the latent holds, and how well a line through it predicts properties."""
    import fusevae
    from fusevae.core import noise
    from fusevae.evaluation.blocks import as_examples, blocks
    from fusevae.evaluation.collapse import diagnose

    artifact = fusevae.load(folder).eval()
    with noise.preserved(), noise.keyed(0, "diagnose"):
        block = next(blocks(artifact, as_examples(artifact, str(molecules("test"))), 0))
        found = diagnose(artifact.distribution, block.x)
    facts: dict[str, Any] = {k: found[k] for k in ("mutual_information", "active_units")}
    for name in ("qed", "logp", "sa", "weight"):
        probe = fusevae.predict_property(artifact, smiles("valid"), name)
        facts[name] = {"r2": probe.r2, "mae": probe.mae, "held_out": probe.held_out}
    return facts


def optimised(folder: Path, method: str, radius: float = 1.0, guided: bool = False, **settings: int) -> dict[str, Any]:
    """One way to search from the first held-out molecules with QED under 0.6."""
    import fusevae

    artifact = fusevae.load(folder)
    strings = smiles("test")
    starts = [s for s, q in zip(strings, fusevae.properties(strings, ["qed"])["qed"], strict=True) if q < 0.6][:STARTS]
    probe = fusevae.predict_property(artifact, smiles("valid"), "qed") if guided else None
    found = fusevae.optimise_molecules(
        artifact, starts, "qed", SIMILARITY, EVALUATIONS, method=method, radius=radius, probe=probe, **settings
    )
    return {
        "n": len(found),
        "gain": sum(f.gain for f in found) / len(found),
        "successes": sum(f.success for f in found),
        "similarity": sum(f.similarity for f in found if f.success) / max(1, sum(f.success for f in found)),
        "evaluations": sum(f.evaluations for f in found) / len(found),
        "gains": [f.gain for f in found],
        "best": [f.best for f in found],
    }


def searched(folder: Path) -> dict[str, Any]:
    """Every way to search; random search has the radius that suits it best."""
    ways = {
        "evolution": lambda: optimised(folder, "evolution"),
        "unrefined": lambda: optimised(folder, "evolution", refine=0),
        "evolution with a probe": lambda: optimised(folder, "evolution", guided=True),
        "prior": lambda: optimised(folder, "prior"),
        **{f"random, radius {r:g}": lambda r=r: optimised(folder, "random", r) for r in RADII},
    }
    found = {}
    for name, search in ways.items():
        found[name] = kept(folder / f"optimise-{name.replace(', ', '-').replace(' ', '-')}.json", search)
    best = max((name for name in found if name.startswith("random")), key=lambda name: found[name]["gain"])
    pairs = zip(found["evolution"]["gains"], found[best]["gains"], strict=True)
    return {
        **{name: {k: v for k, v in each.items() if k not in ("gains", "best")} for name, each in found.items()},
        "best random": best,
        "evolution minus best random": moments([a - b for a, b in pairs]),
    }


def measure(name: str) -> dict[str, Any]:
    """Everything about one model, kept in its folder."""
    folder = train(name)
    at_end = last(folder)
    made = kept(folder / "samples.json", lambda: samples(folder))
    found = {
        "training_minutes": at_end["seconds"] / 60,
        "epochs": round(at_end["epoch"]),
        "trained_on": trained_on(folder),
        "quality": kept(folder / "quality.json", lambda: quality(made)),
    }
    if name.endswith("-vae"):
        found["latents"] = kept(folder / "latents.json", lambda: latents(folder))
    if name == "molecules-vae":
        found["optimisation"] = searched(folder)
    return found


def main(*names: str) -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    found = {name: measure(name) for name in chosen(names, MODELS, ["molecules-vae"])}
    models = before("molecules").get("models", {})
    real = kept(RUNS / "real.json", lambda: quality(smiles("valid")))
    report("molecules", {"models": models | found, "real": real}, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
