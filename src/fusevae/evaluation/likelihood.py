"""Likelihood of held-out data: exact, or an importance-weighted bound; and the ELBO with its parts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.levels import Level, bounds_as, log_bound
from fusevae.core.memory import keep_freed_memory
from fusevae.core.typed import Count
from fusevae.core.vocabulary import lengths
from fusevae.data.examples import Examples
from fusevae.distributions.mixed import Mixed
from fusevae.evaluation.blocks import Block, as_examples, blocks
from fusevae.evaluation.collapse import EXAMPLES, diagnose
from fusevae.evaluation.given import given, known
from fusevae.evaluation.labels import classification
from fusevae.evaluation.scores import Likelihood, LogLikelihood, Size, bits_per_dim, kind_of

VALUES = 2**21  # numbers of the data space decoded at once: keeps memory bounded whatever n and k are
DRAWN = 500  # of latents at least, for the ELBO: with one of each of few examples it may lie above log p(x)
OUTPUTS = 2**25  # numbers that a net gives for these, at most: a column of a table may have thousands of classes
MOST, PATIENT = 1000, 60.0  # importance samples where none were asked for, and seconds of a model that they may take
DRAWS = 1000  # other looks at an example beside them: for the parts of the ELBO, and for the latents
TRIED, GLANCE = 20, 0.1  # examples by which the time of a bound is foreseen; seconds of one sample that are enough


def log_likelihood(
    artifact: Artifact, data: Any, label: Any = None, importance_samples: Count = 1000, seed: int = 0
) -> Tensor:
    r"""log p(x) of each example in nats, ``(n,)``: exact for a density, else a lower bound that tightens with k:

    .. math:: \log p(x) \ge E\Big[\log \frac1k \sum_{i=1}^k \frac{p(x|z_i) p(z_i)}{q(z_i|x)}\Big]

    (Burda et al. 2016). Sums are in float64, memory is bounded whatever n and k are.

    Args:
        artifact: the model.
        data: raw examples: an array or tensor ``(n, *shape)``, a path, or a data set.
        label: their labels, where the model is conditional.
        importance_samples: k.
        seed: of the view (binarization) and of the samples.

    Example:
        >>> import torch
        >>> from fusevae import Artifact, DataSpec, Normal
        >>> log_likelihood(Artifact(Normal(2), DataSpec((2,))), torch.zeros(1, 2))
        tensor([-1.8379], dtype=torch.float64)
    """
    check_samples(artifact, importance_samples)
    device = next(artifact.distribution.parameters(), torch.zeros(())).device
    keep_freed_memory()
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        found = [
            block_likelihood(artifact, block, importance_samples, seed)
            for block in blocks(artifact, as_examples(artifact, data, label), seed, device)
        ]
    return finite(torch.cat(found).cpu(), artifact)


def finite(values: Tensor, artifact: Artifact) -> Tensor:
    """The log-probabilities of examples ``(n,)``; :class:`InputError` where one is NaN, or a density none."""
    wrong = values.isnan() if artifact.is_mass else ~values.isfinite()
    if wrong.any():
        i = int(wrong.nonzero()[0])
        raise InputError(
            f"example {i} (counted from 0) lies so far from what the model was trained on that its density is "
            f"{values[i].item():g} ({int(wrong.sum())} such of {len(values)}): mend it or leave it out"
        )
    return values


def check_samples(artifact: Artifact, importance_samples: int) -> None:
    """Refuse what the model's level doesn't allow."""
    if not isinstance(importance_samples, Integral) or importance_samples < 1:
        raise InputError(f"importance_samples is {importance_samples!r}, expected at least 1: 1000, say")
    if artifact.distribution.level < Level.BOUND:
        model = getattr(artifact.distribution, "model", artifact.distribution)  # without its preprocessing
        raise InputError(
            f"{type(model).__name__} only samples and has no likelihood: judge its samples "
            "(fusevae evaluate RUN --samples)"
        )


def affordable(
    artifacts: Sequence[Artifact], data: Examples, most: int, seconds: float, least: int | None = None
) -> tuple[Examples, int]:
    """The examples, and importance samples of each, the same for all models, by which their likelihoods take about so
    many seconds: all examples, and ``most`` samples or fewer. Where one of each would take longer, as many examples as
    that allows, ``least`` of them in any case; all where there is no such limit.

    Example:
        >>> from fusevae import Artifact, DataSpec, Normal, read_data
        >>> rows = read_data(torch.randn(8, 2), validation=0.0, test=0.5).test
        >>> found, k = affordable([Artifact(Normal(2), DataSpec((2,)))], rows, MOST, PATIENT)
        >>> len(found), k
        (4, 1000)
    """
    drawn = [a for a in artifacts if weighted(a)]
    if seconds == math.inf or (least is None and not drawn):
        return data, most
    each = sum(sample_seconds(a, data) for a in (artifacts if least is not None else drawn))
    n = len(data) if least is None else max(least, int((seconds / each - DRAWS) / 2))  # two looks, one for all else
    if n < len(data):
        return data.spread(n), 1
    whole = (k for k in (most, 300, 100, 30, 10, 3) if k <= most and (k * len(data) + DRAWS) * each <= seconds)
    return data, next(whole, 1) if drawn else most


def weighted(artifact: Artifact) -> bool:
    """Whether its likelihood is a bound by importance samples."""
    return artifact.distribution.level is Level.EVIDENCE and not artifact.distribution.deterministic


def fewer(k: int, most: int = MOST) -> str:
    """What is said of so many importance samples where none were asked for."""
    return f"{k:,} importance samples, as {most:,} would take long: ask for {most} to have them"


def sample_seconds(artifact: Artifact, data: Examples) -> float:
    """About the seconds of one importance sample of one example, or of its density, by some of them."""
    found = math.inf
    for many in (1, 10):  # whatever is done once is done by the first
        k, some = (many, data.spread(TRIED)) if weighted(artifact) else (1, data.spread(many * TRIED))
        started = time.perf_counter()
        log_likelihood(artifact, some, importance_samples=k)
        took = time.perf_counter() - started
        found = max(took, 1e-9) / (k * len(some))
        if took > GLANCE:
            break
    return found


def block_likelihood(artifact: Artifact, block: Block, k: int, seed: int) -> Tensor:
    """log p(x) of a block's examples, float64; a bound of ``k`` samples where it isn't exact."""
    if artifact.distribution.level is not Level.EVIDENCE:
        return block_bound(artifact, block, seed)
    return torch.cat([torch.logsumexp(w, 0) - math.log(len(w)) for w in block_weights(artifact, block, k, seed)])


def block_bound(artifact: Artifact, block: Block, seed: int) -> Tensor:
    """log p(x) of a block's examples where it is exact, or a bound that importance weighting would not keep one."""
    with noise.keyed(seed, "bound", block.number, device=block.x.device), bounds_as("summed_bound"):
        return log_bound(artifact.distribution(block.label), block.x).double()


def block_weights(artifact: Artifact, block: Block, k: int, seed: int) -> Iterator[Tensor]:
    """All ``k`` log-weights of a block's examples, float64, as many examples at once as fit: ``(k, examples)`` each;
    one where all would be the same."""
    model, x, label = artifact.distribution, block.x, block.label
    k = 1 if model.deterministic else k
    at_once = decoded_at_once(model, x.shape[1:])
    each = min(k, at_once)  # samples of one example at once
    together = max(1, at_once // each)  # examples at once
    for start in range(0, len(x), together):
        part = x[start : start + together]
        part_label = label[start : start + together] if label is not None else None
        found = []
        for done in range(0, k, each):
            n = min(each, k - done)
            with noise.keyed(seed, "importance", block.number, start, done, device=x.device):
                found.append(log_weights(model, part, part_label, n).double())
        yield torch.cat(found)


def decoded_at_once(model: Any, shape: Sequence[int], samples: int = 1) -> int:
    """How many examples of a shape, ``samples`` of each, memory is to hold as a model decodes them."""
    each = max((m.numbers for m in model.modules() if isinstance(m, Mixed)), default=0)
    return max(1, min(VALUES // (samples * math.prod(shape)), OUTPUTS // max(1, samples * each)))


def log_weights(model: Any, x: Tensor, label: Tensor | None, n: int) -> Tensor:
    """``n`` log-weights of each example, ``(n, batch)``; their log-mean-exp is a bound on log p(x)."""
    if model.has_latents:
        return model.trace(x, label, samples=(n,)).log_weight
    return log_bound(model(label), x.expand(n, *x.shape))


def evaluate(
    artifact: Artifact, data: Any, label: Any = None, importance_samples: Count = 1000, seed: int = 0
) -> Likelihood:
    r"""What a model gives held-out data, in nats per example. Arguments as of :func:`log_likelihood`.

    The bound of a model with discrete codes draws nothing: its ``importance_samples`` is 1, whatever is asked for.

    Example:
        >>> import torch
        >>> from fusevae import Artifact, DataSpec, Normal
        >>> found = evaluate(Artifact(Normal(2), DataSpec((2,))), torch.zeros(3, 2))
        >>> found.log_likelihood
        LogLikelihood
        log p(x)  -1.838 ± 0.000 nats per example (exact)
    """
    started = time.perf_counter()
    check_samples(artifact, importance_samples)
    model = artifact.distribution
    importance_samples = 1 if model.deterministic else importance_samples
    device = next(model.parameters(), torch.zeros(())).device
    examples = as_examples(artifact, data, label)
    if not len(examples):
        raise InputError("there are no examples to evaluate: give data with at least one")
    keep_freed_memory()
    values: list[Tensor] = []
    weighted, text = model.level is Level.EVIDENCE, model.space == "sequences"
    sizes = [m for m in (10**j for j in range(12)) if m < importance_samples] + [importance_samples]
    bounds, effective = torch.zeros(len(sizes), dtype=torch.float64), 0.0
    draws = math.ceil(DRAWN / len(examples))
    parts: dict[str, Tensor] = {}
    tokens, counts = 0, torch.zeros((), dtype=torch.long)
    with torch.no_grad(), noise.preserved(device):
        artifact.eval()
        latents: dict[str, Any] = diagnosed(artifact, examples, seed) if model.has_latents else {}
        for block in blocks(artifact, examples, seed, device):
            if not weighted:
                values.append(block_bound(artifact, block, seed))
            for w in block_weights(artifact, block, importance_samples, seed) if weighted else ():
                each_size = torch.stack([torch.logsumexp(w[:m], 0) - math.log(m) for m in sizes])
                values.append(each_size[-1])
                bounds += each_size.sum(1).cpu()
                effective += (2 * torch.logsumexp(w, 0) - torch.logsumexp(2 * w, 0)).exp().sum().item()
            tokens += int(lengths(block.x).sum()) if text else 0
            counts = counts + known(artifact.data.conditions, block.label)
            for draw in range(draws if model.has_latents else 0):
                for name, value in elbo_parts(model, block, seed, draw).items():
                    parts[name] = parts.get(name, 0.0) + value / draws
    each = finite(torch.cat(values), artifact)
    n, mean = len(each), each.mean().item()
    means = {name: value / n for name, value in parts.items()}
    kl = {name.removeprefix("kl/"): value for name, value in means.items() if name.startswith("kl/")}
    kl_total = sum(v.sum().item() for v in kl.values()) if kl else None
    reconstruction = means["reconstruction"].item() if means else None
    return Likelihood(
        n=n,
        support=artifact.support,
        given=given(artifact, counts, n),
        log_likelihood=LogLikelihood(
            value=mean,
            stderr=each.std(unbiased=True).item() / math.sqrt(n) if n > 1 else None,
            kind=kind_of(artifact),
            importance_samples=importance_samples if weighted else None,
            bounds={m: b / n for m, b in zip(sizes, bounds.tolist(), strict=True)} if weighted else None,
            effective_samples=effective / n if weighted else None,
        ),
        elbo=reconstruction - kl_total if reconstruction is not None and kl_total is not None else None,
        reconstruction=reconstruction,
        kl=kl_total,
        kl_per_dimension={name: value.tolist() for name, value in kl.items()} if kl else None,
        mutual_information=latents.get("mutual_information"),
        active_units=latents.get("active_units"),
        bits_per_dim=bits_per_dim(artifact, mean),
        tokens=tokens if text else None,
        nats_per_token=-mean * n / tokens if text else None,
        perplexity=math.exp(min(700.0, -mean * n / tokens)) if text else None,
        classification=classification(artifact, examples, seed),
        **vars(Size.of(artifact)),
        seconds=time.perf_counter() - started,
    )


def diagnosed(artifact: Artifact, examples: Examples, seed: int) -> dict[str, Any]:
    """What the latents of at most 500 examples hold, evenly over all: those at the start may be of one class."""
    device = next((p.device for p in artifact.distribution.parameters()), torch.device("cpu"))
    block = next(blocks(artifact, examples.spread(EXAMPLES), seed, device))
    with torch.no_grad(), noise.keyed(seed, "latents", device=device):
        return diagnose(artifact.distribution, block.x, block.label)


def elbo_parts(model: Any, block: Block, seed: int, draw: int = 0) -> dict[str, Tensor]:
    """Sums over a block of the reconstruction and of the KL by level and dimension, float64, at one of the draws of
    its latents."""
    key = ("elbo", block.number, draw)[: 3 if draw else 2]
    with noise.keyed(seed, *key, device=block.x.device), bounds_as("summed_bound"):
        trace = model.trace(block.x, block.label)
        found = {"reconstruction": trace.reconstruction.double().sum()}
        for name, kl in trace.kl_per_dimension().items():
            found[f"kl/{name}"] = kl.double().sum(0)
    return found
