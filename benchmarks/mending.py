"""Training that mends itself: 30 settings made to fail (others than those of ``stability.py``), each trained with
``training.mend`` and without.

Too large a step: learning rates of 2, 10 and 50 without clipping, skipping or warm-up. Overfitting: 60 examples, 400
epochs, a net that learns them by heart. Collapse: a VampPrior from noise and a decoder that starts at 0.5, and
decoders that need no latent. A training ended well where the held-out bound of its artifact (k = 1) is above a
constant model's, its latent, if any, has a KL of half a nat, and the bound is at most 0.5 % below the best
validation's. It ended worse for being mended where its bound is below that of the other by more than two standard
errors of the paired difference. Data: scikit-learn's digits (binarized, or 17 grey values) and wine, sparse patterns,
sentences of a grammar of 24 words. ``python benchmarks/mending.py [NAME ...]``; what is done stays in
``runs/mending``, and what was stopped goes on.

Beside these 30, which have a bound to go by, games and codebooks: a GAN on the digits whose critic moves five times as
often as the generator, at ten times its rate and without a penalty, two seeds of two losses, by the kernel distance of
samples to real examples (KID; the seconds say what a resting critic saves); and 1,024 codes for 300 images, by the
codes in use and the bound. Without mending the dead codes of the last rest (``revive=0``).
"""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import moments, report, runs, size, start, write
from stability import bits, columns, grey, images, table

SETTINGS: dict[str, Any] = {"epochs": size(60, 2), "batch_size": 40, "log_every": 20}
WILD = {"clip": 0.0, "skip": 0.0, "warmup": 0.0}
LONG = {"epochs": size(400, 4), "batch_size": 16, "learning_rate": 3e-3}
DIES = {"epochs": size(100, 2), "learning_rate": 3e-3}

#: a model, its data, what else ``fit`` is given, settings of the training
Case = tuple[Any, Any, dict[str, Any], dict[str, Any]]


def patterns(n: int = 400, dims: int = 64, flipped: float = 0.02) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    known = torch.rand(8, dims, generator=g) < 0.1
    return (known[torch.arange(n) % 8] ^ (torch.rand(n, dims, generator=g) < flipped)).to(torch.uint8)


def vamp(flipped: float, dims: int = 64, latent: int = 8) -> Case:
    from fusevae import MLP, VAE, Bernoulli, Flat, Gaussian, Vamp

    decoder, posterior = MLP(latent, dims, (64, 64)), Gaussian(MLP(dims, 2 * latent, (64, 64)))
    decoder.last.bias.data.fill_(1e-3)  # as if trained, so that it doesn't start from the data
    prior = Vamp(posterior, dims, 50)
    prior.started = True
    return VAE(Flat(prior, posterior), Bernoulli(decoder)), patterns(dims=dims, flipped=flipped), {}, dict(DIES)


def strong(decoder: Any) -> Case:
    """A decoder that knows the dependence of the pixels by itself."""
    from fusevae import MLP, VAE, Flat, Gaussian, Normal

    vae = VAE(Flat(Normal(8), Gaussian(MLP((1, 8, 8), 16, (64,)))), decoder)
    return vae, (images()[0] > 7).to(torch.uint8), {}, DIES | {"epochs": size(30, 1)}


def sentences(n: int) -> list[str]:
    draw = random.Random(0)
    words = ("a the one this", "old small red quiet", "man dog bird child", "sees likes calls finds")
    more = ("a the one this", "house song river stone")
    return [" ".join(draw.choice(each.split()) for each in words + more) for _ in range(n)]


def writing(n: int, latent: bool, **settings: Any) -> Case:
    """A recipe for texts, small."""
    from fusevae import Source
    from fusevae.data.source import read_data
    from fusevae.recipes import text_transformer, text_vae
    from fusevae.training.recipes import reads

    data = read_data(sentences(n), **{k: v for k, v in reads("text-vae").items() if k in vars(Source())})
    recipe = text_vae.recipe if latent else text_transformer.recipe
    made = recipe(data.spec, width=32, layers=1)
    objective: dict[str, Any] = {}
    if latent:
        from fusevae import ELBO

        objective = {"objective": ELBO()}  # neither free bits nor a rise: it dies
    return made.model, data, objective, {"learning_rate": 2e-3} | settings


def density(name: str, x: torch.Tensor, **settings: Any) -> Case:
    from fusevae.data.source import read_data
    from fusevae.training.recipes import find

    data = read_data(x)
    return find(name)(data.spec).model, data, {}, settings


def made_decoder() -> Any:
    from fusevae import MADE

    return MADE((1, 8, 8), (128, 128), context=8)


def pixel_decoder() -> Any:
    from fusevae import PixelCNN

    return PixelCNN((1, 8, 8), kernels=(5, 3), width=16, context=8)


def cases() -> dict[str, Callable[[], Case]]:
    found: dict[str, Callable[[], Case]] = {}
    models: dict[str, Callable[..., Case]] = {
        "bits": bits,
        "grey": grey,
        "table": columns,
        "language model": lambda **s: writing(400, False, **s),
        "maf": lambda **s: density("maf", table(), **s),
        "made": lambda **s: density("made", table(), **s),
    }
    for (name, make), rate in itertools.product(models.items(), (2.0, 10.0, 50.0)):
        found[f"{name}, rate {rate:g}"] = lambda make=make, rate=rate: make(**WILD, learning_rate=rate)
    few = 15 * images()[0][:60]
    found |= {
        "bits, 60 examples": lambda: bits(latent=16, hidden=(256, 256), x=few, **LONG),
        "grey, 60 examples": lambda: grey(x=images()[0][:60], **LONG),
        "table, 60 rows": lambda: columns(table()[:60], latent=8, **LONG),
        "maf, 60 rows": lambda: density("maf", table()[:60], **LONG),
        "realnvp, 60 rows": lambda: density("realnvp", table()[:60], **LONG),
        "language model, 60 sentences": lambda: writing(60, False, **LONG),
        "vamp from noise": lambda: vamp(0.02),
        "vamp from noise, blurred": lambda: vamp(0.1),
        "vamp from noise, 256 dimensions": lambda: vamp(0.02, 256),
        "MADE as decoder": lambda: strong(made_decoder()),
        "PixelCNN as decoder": lambda: strong(pixel_decoder()),
        "transformer as decoder": lambda: writing(800, True, epochs=size(30, 1)),
    }
    return found


# ---------------------------------------------------------------- what has no bound to go by


def critic(loss: str, seed: int, mend: bool) -> dict[str, Any]:
    """A GAN whose critic is too strong."""
    from fusevae import Source
    from fusevae.data.modality import modality_of
    from fusevae.recipes import gan
    from fusevae.training.prepare import prepare, trained

    data = Source().read()
    torch.manual_seed(seed)
    made = gan.recipe(data.spec, channels=(16, 32))
    game = made.objective
    game.loss, game.penalty, game.opponent_steps = loss, "none", 5
    training = made.training.replaced(epochs=size(80, 1), log_every=20, mend=mend)
    loop = prepare(made.model, data, made.views, game, training, seed, "cpu")
    usual = loop.optimizers["critic"].step
    loop.optimizers["critic"].step = lambda rate: usual(10 * rate)  # type: ignore[method-assign]
    started = time.process_time()
    loop.run()
    seconds = time.process_time() - started
    reference = modality_of(data.spec).reference(data.test, data, size(179, 20), None, "cpu", True)
    judged = reference.judge(trained(loop), seed=0)
    losses = [r["train"]["critic/loss_value"] for r in loop.records if "train" in r]
    return {"kid": judged.kid, "fid": judged.fid, "critic_loss": losses[-1], "seconds": seconds} | said(loop)


def codebook(mend: bool) -> dict[str, Any]:
    """A VQ-VAE with about as many codes as there are places in all the data."""
    from fusevae import VectorQuantizer
    from fusevae.data.source import read_data
    from fusevae.recipes import vq_vae
    from fusevae.training.prepare import prepare

    data = read_data(images()[0][:400], validation=0.125, test=0.125)
    torch.manual_seed(0)
    made = vq_vae.recipe(data.spec, codes=size(1024, 16), channels=(16, 32))
    (quantizer,) = (m for m in made.model.modules() if isinstance(m, VectorQuantizer))
    quantizer.revive = quantizer.revive if mend else 0.0
    training = made.training.replaced(epochs=size(60, 1), log_every=50, mend=mend)
    loop = prepare(made.model, data, made.views, made.objective, training, 0, "cpu")
    loop.run()
    last = [r["validation"] for r in loop.records if "validation" in r][-1]
    return {"elbo": last["elbo"], "reconstruction": last["reconstruction"], "codes": last["codes"]["z"]} | said(loop)


def said(loop: Any) -> dict[str, list[str]]:
    return {"events": [r["says"] for r in loop.records if r.get("event") == "mended"]}


def beside() -> dict[str, Callable[[bool], dict[str, Any]]]:
    found: dict[str, Callable[[bool], dict[str, Any]]] = {}
    for loss, seed in itertools.product(("non-saturating", "hinge"), (0, 1)):
        found[f"critic, {loss}, seed {seed}"] = lambda mend, loss=loss, seed=seed: critic(loss, seed, mend)
    return found | {"1,024 codes for 300 images": codebook}


def attempt(make: Callable[[], Case], mend: bool) -> dict[str, Any]:
    """What became of a training."""
    from fusevae import InputError, Training, TrainingError, log_likelihood
    from fusevae.data.source import read_data
    from fusevae.objectives.elbo import ELBO
    from fusevae.training.prepare import prepare, trained

    torch.manual_seed(0)
    model, data, more, settings = make()
    splits = read_data(data, validation=0.2, test=0.2) if isinstance(data, (torch.Tensor, tuple)) else data
    training = Training(**{**SETTINGS, **settings, "mend": mend})
    try:
        loop = prepare(model, splits, more.get("views", ()), more.get("objective") or ELBO(), training, 0, "cpu")
        loop.run()
        artifact = trained(loop)
        each = log_likelihood(artifact, splits.test, importance_samples=1)
    except (InputError, TrainingError) as error:
        return {"ended": False, "says": str(error)}
    x = artifact.view(splits.test.batch(torch.arange(len(splits.test)))[0])
    player = next(iter(loop.game.players.values()))
    validations = [r["validation"] for r in loop.records if "validation" in r]
    scores = [player.score(v) for v in validations]
    found = {"value": each.mean().item(), "constant": player.baseline.log_prob(x).mean().item(), "each": each.tolist()}
    kept = scores.index(loop.values["best"]) if mend else -1
    found |= {"kl": validations[kept].get("kl"), "best": max(scores), "kept": scores[kept]}
    found["events"] = [
        r.get("says", r.get("cause")) for r in loop.records if r.get("event") in ("mended", "went back", "kept")
    ]
    found["ended"] = bool(
        found["value"] > found["constant"]
        and (found["kl"] is None or found["kl"] >= 0.5)
        and found["best"] - found["kept"] <= 0.005 * abs(found["best"])
    )
    return found


def both(make: Callable[[], Case]) -> dict[str, Any]:
    """What became of a training without mending and with it."""
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        off, on = attempt(make, False), attempt(make, True)
    pair = {"without": off, "with": on, "seconds": round(time.perf_counter() - started, 1)}
    apart = [a - b for a, b in zip(on.pop("each", ()), off.pop("each", ()), strict=False)]
    if apart and all(map(math.isfinite, apart)):
        pair["difference"] = moments(apart)
    return pair


def games(measure: Callable[[bool], dict[str, Any]]) -> dict[str, Any]:
    return {"without": measure(False), "with": measure(True)}


def once(name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured, or was before."""
    place = runs("mending") / f"{name.replace(', ', '_').replace(' ', '-')}.json"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        write(place, json.dumps(measure()))
        print(name, place.read_text(), file=sys.stderr, flush=True)
    figures: dict[str, Any] = json.loads(place.read_text())
    return figures


def main(*names: str) -> None:
    few = ["bits, rate 2", "vamp from noise", "language model, rate 2"]
    few += ["critic, hinge, seed 0", "1,024 codes for 300 images"]
    found = {n: once(n, partial(both, make)) for n, make in cases().items() if n in (names or size([n], few))}
    others = {n: once(n, partial(games, way)) for n, way in beside().items() if n in (names or size([n], few))}
    worse = [n for n, p in found.items() if (d := p.get("difference")) and d["value"] < -2 * d["stderr"]]
    figures = {
        "settings": len(found),
        "well_without": sum(p["without"]["ended"] for p in found.values()),
        "well_with": sum(p["with"]["ended"] for p in found.values()),
        "worse_for_it": worse,
        "cases": found,
        "beside": others,
    }
    if not names:
        report("mending", figures, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
