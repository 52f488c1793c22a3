"""Any pair that the levels of promise allow: every (posterior, prior, decoder) of the library, trained or refused.

Each triple is built over 16 binary values with a latent of 4 numbers (image models see these as 4 x 4, and 2 x 2). It
either trains five steps, samples, is saved, read again and gives the same bound; or it gets a refusal, an error of one
line. Which it must be says a table that is written by hand from the mathematics, ``KINDS`` and ``REFUSED``; this
compares the two. A class of the library that has no part here is named as missing. ``python benchmarks/pairs.py``
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import fusevae as f

X, Z = 16, 4

#: what a part's values are and what it promises: r reals, u numbers in [0, 1], b 0 or 1, o one-hot rows, s the sphere;
#: "a bound" and "samples" are less than a density
KINDS = {
    "Normal": "r", "Gaussian": "r", "FullGaussian": "r", "LowRankGaussian": "r", "GaussianMixture": "r", "Flow": "r",
    "Glow": "r", "MADE of reals": "r", "Preprocessed": "r", "Vamp": "r", "VAE": "r, a bound", "Diffusion": "r, a bound",
    "LabelMixture": "r, a bound", "Defensive": "r",
    "RAE": "r, samples", "Generator": "r, samples", "FlowMatching": "r, samples", "ContinuousBernoulli": "u",
    "Bernoulli": "b", "Categorical": "b", "DiscretizedLogistic": "b", "MADE": "b", "PixelCNN": "b",
    "ImageTransformer": "b", "VAE of 0 and 1": "b, a bound", "Quantized": "b", "OneHotCategoricals": "o",
    "UniformSphere": "s", "VonMisesFisher": "s",
}  # fmt: skip
MASS = "bo"  # the kinds with a probability, the others have a density
#: posterior and prior of one sort (mass or density) between whose values no finite KL exists
REFUSED = {
    "ru": "reals leave [0, 1]", "rs": "reals leave the sphere", "us": "numbers in [0, 1] leave the sphere",
    "sr": "a density on the sphere has none in space", "su": "a density on the sphere has none in space",
    "bo": "rows of 0 and 1 need not be one-hot", "ob": "a mass on rows is none on their numbers",
}  # fmt: skip
NOT_DECODED = {"o": "the data are not one-hot rows", "s": "the data are not on the sphere"}
OF_A_VECTOR = {  # what they are given, not a map of codes
    "MADE", "MADE of reals", "PixelCNN", "ImageTransformer", "Diffusion", "VAE", "VAE of 0 and 1", "Vamp",
    "LabelMixture",
}  # fmt: skip
LATENTS = {"Flat", "Ladder", "Deterministic", "Coded"}  # they hold the pair, or stand for none
#: over sequences of any length, which no other part here has; tests of text, speech and waves nest them
TEXTS = {
    "LanguageModel", "PretrainedLanguageModel", "SequenceModel", "Frames", "FrameWise", "Aligned",
    "AutoregressiveFrames", "AutoregressiveCodes", "Stepwise", "Waveform", "Measured", "NormalFrames", "FrameFlow",
    "FrameDiffusion",
}  # fmt: skip
#: over cells of a table, numbers and classes side by side, or counts without end: decoders; or two that share a factor
#: analysis of the rows; tests/test_mixed.py, tests/test_counts.py and tests/test_factors.py
COLUMNS = {"Mixed", "AnyOrder", "Poisson", "NegativeBinomial", "ZeroInflatedNegativeBinomial", "FactorGaussian"}
COUNTED = {"CalibratedLevels"}  # levels of pixels, a decoder alone; tests/test_oracles.py, tests/test_laws.py
ASKED = {"Informed"}  # a VAE that is given conditions; tests/test_following.py

POSTERIORS = sorted(KINDS)
PRIORS = DECODERS = sorted(set(KINDS) - {"Quantized"})
Triple = tuple[str, str, str]


def refusal(q: str, p: str, decoder: str) -> str | None:
    """Why the mathematics refuses a triple; None where it doesn't."""
    of_q, of_p, of_d = KINDS[q], KINDS[p], KINDS[decoder]
    if p == "Vamp":  # a mixture of this posterior
        of_p = of_q
    if "," in of_q or q in ("Normal", "UniformSphere"):
        return "a posterior needs an exact density, and an example that it depends on"
    if "samples" in of_p or "samples" in of_d:
        return "a prior and a decoder need at least a bound"
    if q == "Quantized" and p == "Vamp":
        return "a point mass has no mixture"
    if (of_q[0] in MASS) != (of_p[0] in MASS):
        return "a mass against a density"
    if of_q[0] + of_p[0] in REFUSED:
        return REFUSED[of_q[0] + of_p[0]]
    if q == "Quantized" and decoder in OF_A_VECTOR:
        return "the decoder is given a vector, not a map of codes"
    return NOT_DECODED.get(of_d[0])


def part(name: str, n: int, given: int | tuple[int, ...]) -> Any:
    """A part over vectors of ``n`` numbers, given a vector (or a map) of so many numbers, or nothing."""
    side = round(n**0.5)
    context = given if isinstance(given, int) else Z

    def net(outputs: int) -> Any:
        return f.MLP(given, outputs, (8,)) if given else f.Constant(outputs, std=0.1)

    def of_image(cls: Any, **settings: Any) -> Any:
        return f.Preprocessed([f.Reshape((n,), (1, side, side))], cls((1, side, side), **settings))

    def flow(cls: Any, over: Any, make: Callable[..., Any], **settings: Any) -> Any:
        return make(cls, **settings, net=net(cls.outputs(over, 2)), context=2) if given else make(cls, **settings)

    def vae(decoder: Any) -> Any:
        return f.VAE(f.Flat(f.Normal(2), f.Gaussian(f.MLP(n, 4, (8,)))), decoder)

    makers: dict[str, Callable[[], Any]] = {
        "Normal": lambda: f.Normal(n),
        "Gaussian": lambda: f.Gaussian(net(2 * n)),
        "FullGaussian": lambda: f.FullGaussian(net(f.FullGaussian.outputs(n)), n),
        "LowRankGaussian": lambda: f.LowRankGaussian(net(f.LowRankGaussian.outputs(n, 1)), n, 1),
        "GaussianMixture": lambda: f.GaussianMixture(net(f.GaussianMixture.outputs(n, 2)), 2),
        "Flow": lambda: flow(f.Flow, n, lambda cls, **s: cls(n, **s), transforms=2, hidden=(8,)),
        "Glow": lambda: flow(f.Glow, (1, side, side), of_image, steps=1, width=4),
        "MADE of reals": lambda: f.MADE(n, (8,), "gaussian", 2, context=context),
        "MADE": lambda: f.MADE(n, (8,), context=context),
        "Preprocessed": lambda: f.Preprocessed([f.Normalise(0.0, 1.0, -1.0, 1.0)], f.Gaussian(net(2 * n))),
        "VAE": lambda: vae(f.Gaussian(f.MLP(2, 2 * n, (8,)))),
        "VAE of 0 and 1": lambda: vae(f.Bernoulli(f.MLP(2, n, (8,)))),
        "Defensive": lambda: f.Defensive(f.Gaussian(net(2 * n)), f.Normal(n)),
        "LabelMixture": lambda: f.LabelMixture(
            f.VAE(f.Flat(f.Normal(2), f.Gaussian(f.MLP(n, 4, (8,), classes=2))), f.Gaussian(f.MLP(2, 2 * n, (8,)))),
            f.MLP(n, 2, (8,)),
            2,
        ),
        "RAE": lambda: f.RAE(f.Deterministic(f.MLP(n, 2, (8,))), f.Gaussian(f.MLP(2, 2 * n, (8,)))),
        "Generator": lambda: f.Generator(f.Normal(2), f.MLP(2, n, (8,))),
        "Diffusion": lambda: f.Diffusion(f.TimeMLP(n, 8, 1, context=context), n, sampler=f.DPMSolver(3), times=2),
        "FlowMatching": lambda: f.FlowMatching(f.TimeMLP(n, 8, 1, context=context), n),
        "ContinuousBernoulli": lambda: f.ContinuousBernoulli(net(n)),
        "Bernoulli": lambda: f.Bernoulli(net(n)),
        "Categorical": lambda: f.Categorical(net(2 * n), 2),
        "DiscretizedLogistic": lambda: f.DiscretizedLogistic(net(6 * n), 2, 2, 0.0, 1.0),
        "PixelCNN": lambda: of_image(f.PixelCNN, width=4, kernels=(3, 3), context=context),
        "ImageTransformer": lambda: of_image(f.ImageTransformer, width=8, heads=2, layers=1, context=context),
        "OneHotCategoricals": lambda: f.OneHotCategoricals(net(n)),
        "UniformSphere": lambda: f.UniformSphere(n),
        "VonMisesFisher": lambda: f.VonMisesFisher(net(n + 1)),
        "Vamp": lambda: f.Vamp(part("Gaussian", n, X), X, 3),
    }
    return makers[name]()


def model(q: str, p: str, decoder: str) -> Any:
    """The VAE of a triple, or a refusal while it is built."""
    if q == "Quantized":
        prior = part(p, Z, 0)
        if isinstance(prior, f.Preprocessed) and prior.steps and isinstance(prior.steps[0], f.Reshape):
            prior = prior.model  # codes are a map already
        elif p in ("Bernoulli", "Categorical", "DiscretizedLogistic", "MADE", "VAE of 0 and 1"):
            prior = f.Preprocessed([f.Reshape((1, 2, 2), (Z,))], prior)
        latents: Any = f.Quantized(f.MLP(X, (1, 2, 2), (8,)), f.FiniteScalar((2,)), prior)
        return f.VAE(latents, part(decoder, X, (1, 2, 2)))
    posterior = part(q, Z, X)
    prior = f.Vamp(posterior, X, 3) if p == "Vamp" else part(p, Z, 0)
    return f.VAE(f.Flat(prior, posterior), part(decoder, X, Z))


def attempt(q: str, p: str, decoder: str) -> str | None:
    """Train, sample, save and read a triple; returns the refusal where there is one."""
    import torch

    x = torch.bernoulli(torch.full((20, X), 0.4), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    try:
        vae = model(q, p, decoder)
        data = f.read_data(x, validation=0.0, test=0.0)
        artifact = f.fit(vae, data, training=f.Training(epochs=1, batch_size=4), device="cpu", quiet=True)
    except f.InputError as error:  # a SlotError is one
        return str(error)
    new = f.sample(artifact, 2)
    assert new.shape == (2, X), new.shape
    assert new.isfinite().all()
    with tempfile.TemporaryDirectory() as folder:
        artifact.save(folder)
        again = f.load(folder)
    ours, theirs = (f.log_likelihood(a, x[:4], importance_samples=1) for a in (artifact, again))
    assert torch.equal(ours, theirs)
    assert not ours.isnan().any()
    return None


def wrong(triple: Triple) -> str | None:
    """What happened to a triple that the table doesn't say; None where they agree."""
    asked = refusal(*triple)
    try:
        found = attempt(*triple)
    except Exception as error:  # neither trained nor refused
        return f"{' | '.join(triple)}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if (asked is None) == (found is None):
        return None
    return (
        f"{' | '.join(triple)}: refused ({found}), the table allows it" if found else f"{triple}: allowed, but {asked}"
    )


def covering() -> Iterator[Triple]:
    """Triples in which every pair of parts stands once; the third of them is one that the pair allows, if any."""
    seen: set[tuple[int, str, int, str]] = set()
    sides = [POSTERIORS, PRIORS, DECODERS]

    def pairs(triple: Triple) -> set[tuple[int, str, int, str]]:
        return {(i, triple[i], j, triple[j]) for i, j in itertools.combinations(range(3), 2)}

    for i, j in itertools.combinations(range(3), 2):
        for a, b in itertools.product(sides[i], sides[j]):
            if (i, a, j, b) not in seen:
                made: list[Any] = [[a, b] for _ in sides[3 - i - j]]
                for pair, third in zip(made, sides[3 - i - j], strict=True):
                    pair.insert(3 - i - j, third)
                allowed = [tuple(t) for t in made if refusal(*t) is None] or [tuple(made[0])]
                triple = max(allowed, key=lambda t: len(pairs(t) - seen))  # that covers most of what is left
                seen |= pairs(triple)
                yield triple


def missing() -> set[str]:
    """Classes of the library that have no part here."""
    from fusevae.core.conditional import Conditional
    from fusevae.models.latents import Latents

    def below(cls: Any) -> Iterator[Any]:
        for sub in cls.__subclasses__():
            yield sub
            yield from below(sub)

    for name in dir(f):  # import them all
        getattr(f, name)
    found = {c.__name__ for base in (Conditional, Latents) for c in below(base) if c.__module__.startswith("fusevae.")}
    return found - {name.split(" of ")[0] for name in KINDS} - LATENTS - TEXTS - COLUMNS - COUNTED - ASKED


def main() -> None:
    from common import report, smoke

    started, faults, counts = time.perf_counter(), [], Counter[str]()
    triples = list(itertools.product(POSTERIORS, PRIORS, DECODERS))
    if smoke():
        triples = [t for t in triples if refusal(*t) is None][:2] + [t for t in triples if refusal(*t)][:1]
    for i, triple in enumerate(triples):
        counts[refusal(*triple) or "trained, sampled, saved and read"] += 1
        if (fault := wrong(triple)) is not None:
            faults.append(fault)
            print(fault, file=sys.stderr, flush=True)
        if i % 500 == 0:
            print(f"{i} of {len(triples)}", file=sys.stderr, flush=True)
    figures = {"triples": len(triples), "counts": dict(counts.most_common()), "faults": faults}
    figures |= {"missing": sorted(missing()), "seconds": time.perf_counter() - started}
    report("pairs", figures, __doc__ or "", 0)
    if faults:
        raise SystemExit(f"{len(faults)} triples do not do what the table says")


if __name__ == "__main__":
    from common import start

    start(main)
