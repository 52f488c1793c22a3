"""The state of the latents: do they hold something of x, and does the prior cover them?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from fusevae.core.conditional import Conditional
from fusevae.core.trace import Term
from fusevae.distributions.vamp import log_normals

ACTIVE = 0.01  # variance over x of the posterior's mean above which a unit counts as active (Burda et al. 2016)
PASSES = 4  # of a hierarchy, for the means of its lower levels
EXAMPLES = 500  # that the aggregate posterior is estimated from
DEAD = 0.5  # part of the codes that could be in use, below which most are called dead
COLLAPSED, EXPLODED = 0.5, 10.0  # nats: of the whole KL, of that of one dimension
ALL, LITTLE = 0.1, 0.1  # part of what a model is ahead of a constant one, and nats, from which on a KL is what there is
TOLD = 1.0  # nats of I(x; z): latents of which no unit varies, and that tell less, are all alike
SURE = 2.0  # standard errors by which a model has to be worse than a constant one


@torch.no_grad()
def diagnose(
    model: Conditional, x: Tensor, label: Tensor | None = None, constant: Tensor | None = None
) -> dict[str, Any]:
    r"""What the latents of examples ``x`` (as the model sees them) hold, in nats; with their log-likelihoods under a
    ``constant`` model, ``(N,)``, what :func:`beside` says too.

    Returns a dictionary: ``examples`` (N), ``elbo``, ``kl``, ``largest_kl`` (of one dimension), ``units`` and
    ``active_units`` by level (those whose posterior mean varies over x by more than 0.01, Burda et al. 2016, of a lower
    level its mean over what is above; None without a mean), ``codes`` by level where these are discrete (:func:`usage`,
    and the ``places`` that were looked at), and for the top level ``mutual_information`` I(x; z) and ``aggregate_gap``
    KL(q(z) || p(z)):

    .. math:: E_x \mathrm{KL}(q(z|x) \| p(z)) = I(x; z) + \mathrm{KL}(q(z) \| p(z))

    (Hoffman & Johnson 2016), with :math:`q(z) = \frac1N \sum_j q(z \mid x_j)`; the estimate of I is at most log N.
    Both are None where the posterior's density at another's sample is dear (an inverse autoregressive flow), or the
    latent is a code.

    Example:
        >>> import torch
        >>> from fusevae import MLP, VAE, Bernoulli, Flat, Gaussian, Normal
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), Bernoulli(MLP(2, 4)))
        >>> diagnose(vae, torch.zeros(8, 4))["active_units"]
        {'z': 0}
    """
    x, label = x[:EXAMPLES], label[:EXAMPLES] if label is not None else None
    trace = model.trace(x, label)
    if not trace.terms:  # a deterministic latent
        return {}
    units, active, largest = {}, {}, []
    places = {term.name: term.z.numel() for term in trace.terms}
    # below the top a posterior's mean depends on what was drawn above, too: what passes share is of x
    more = [model.trace(x, label).terms for _ in range(PASSES - 1)] if len(trace.terms) > 1 else []
    for i, term in enumerate(trace.terms):
        if term.levels:
            continue
        units[term.name] = term.z[0].numel()
        means = [_mean(terms[i].q) for terms in (trace.terms, *more)]
        active[term.name] = _active([m for m in means if m is not None])
    for kl in trace.kl_per_dimension().values():
        if kl.shape[-1] > 1:
            largest.append(kl.flatten(0, -2).mean(0).max())
    information = mutual_information(trace.terms[0])
    top = trace.terms[0].kl.total.mean().item()
    return {
        "examples": len(x),
        **beside("elbo", trace.elbo, constant),
        "kl": trace.kl.mean().item(),
        "largest_kl": torch.stack(largest).max().item() if largest else None,
        "units": units,
        "active_units": active,
        "codes": {name: usage(share) | {"places": places[name]} for name, share in trace.code_shares().items()},
        "mutual_information": information,
        "aggregate_gap": top - information if information is not None else None,
    }


def beside(name: str, bound: Tensor, constant: Tensor | None) -> dict[str, float]:
    """The mean of a ``bound`` of examples, ``(N,)``, by its ``name``, and with values of as many or more under a
    constant model the mean of these, ``constant_model``, and the standard error of the differences,
    ``constant_model_error``.

    Example:
        >>> beside("elbo", torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -2.0, -9.0]))
        {'elbo': -2.0, 'constant_model': -2.0, 'constant_model_error': 1.0}
    """
    found, n = {name: bound.double().mean().item()}, len(bound)
    if constant is not None:
        known = constant[:n].double()
        error = (bound.double() - known).std().item() / math.sqrt(n) if n > 1 else 0.0
        found |= {"constant_model": known.mean().item(), "constant_model_error": error}
    return found


def usage(share: Tensor) -> dict[str, float]:
    r"""Of how often each of K codes is used, ``(K,)``: the ``perplexity`` :math:`\exp(-\sum_k s_k \log s_k)`, which is
    K where all are used alike, and ``used``, how many of the ``codes`` are used at all.

    Example:
        >>> usage(torch.tensor([0.5, 0.5, 0.0, 0.0]))
        {'perplexity': 2.0, 'used': 2, 'codes': 4}
    """
    entropy = -torch.special.xlogy(share.double(), share.double()).sum()
    return {"perplexity": entropy.exp().item(), "used": int((share > 0).sum()), "codes": len(share)}


def mutual_information(term: Term) -> float | None:
    r""":math:`\frac1N \sum_i \log q(z_i|x_i) - \log \frac1N \sum_j q(z_i|x_j)` of a term whose batch is the
    examples."""
    q, z = term.q, term.z
    if q is None or q.batch_shape != z.shape[:1] or getattr(q, "dear", False):
        return None
    if isinstance(q, Independent) and isinstance(q.base_dist, TorchNormal):
        each = log_normals(z.flatten(1), q.base_dist.loc.flatten(1), q.base_dist.scale.flatten(1))
    else:
        each = q.log_prob(z.unsqueeze(1))
    return (term.log_q - torch.logsumexp(each, 1) + math.log(len(z))).mean().item()


def alike(figures: Mapping[str, Any]) -> bool:
    """Whether the latents of all examples are one, whatever its KL is: no unit varies from example to example, and they
    tell less than TOLD nats of x. Figures without these say nothing.

    Example:
        >>> alike({"active_units": {"z": 0}, "mutual_information": 0.1}), alike({"kl": 0.1})
        (True, False)
    """
    active, told = figures.get("active_units", {}).values(), figures.get("mutual_information")
    return bool(active) and not any(n is None or n for n in active) and told is not None and told < TOLD


def collapsed(figures: Mapping[str, Any]) -> bool:
    """Whether a decoder is told nothing by its latent, as a diagnosis or the figures of held-out data have it: these
    are all alike, or cost less than COLLAPSED nats. Codes cost what they cost, and where dimensions hardly depend on
    each other there is little to tell: a KL of LITTLE nats or more that is a good part (ALL) of what the ELBO is ahead
    of a constant model has told it. Six numbers of a census have a KL of 0.36 nats and 1.06 more than a constant model;
    an exact model of them has 1.08.

    Example:
        >>> collapsed({"kl": 0.1}), collapsed({"kl": 0.1, "codes": {"z": {}}}), collapsed({"log_bound": -1.0})
        (True, False, False)
        >>> [collapsed({"kl": 0.36, "elbo": -22.6, "constant_model": v}) for v in (-23.7, -60.0)]
        [False, True]
    """
    kl, ahead = figures.get("kl", COLLAPSED), figures.get("elbo", math.inf) - figures.get("constant_model", -math.inf)
    told = kl >= max(LITTLE, ALL * ahead)
    return not figures.get("codes") and ((kl < COLLAPSED and not told) or alike(figures))


def warnings(diagnosis: dict[str, Any], finished: bool = False) -> dict[str, str]:
    """What is wrong, by name, each a plain line with the settings that mend it.

    ``finished`` also compares the ELBO, or the ``log_bound`` of a model without latents, with ``constant_model``, where
    the diagnosis has it: the log-likelihood of a model that knows nothing but each dimension's own distribution.
    """
    found = _of_latents(diagnosis) if "units" in diagnosis else {}
    constant, value = diagnosis.get("constant_model"), diagnosis.get("elbo", diagnosis.get("log_bound"))
    if finished and constant is not None and value is not None and not value > constant:
        bound, look, steps = f"log-likelihood is {value:.2f} nats", "", ""
        if "elbo" in diagnosis:
            bound = f"ELBO is {value:.2f} nats (of which the KL is {diagnosis['kl']:.2f})"
            look, steps = "objective.beta (1 is the ELBO), ", " and of a fixed sigma"
        says = f"its {bound}, independent dimensions or tokens have {constant:.2f}"
        look = (
            f"look at {look}training.learning_rate and warmup, training.epochs, the scale of the data (the steps "
            f"Standardise, Normalise){steps}"
        )
        if value < constant - SURE * (diagnosis.get("constant_model_error") or 0.0):
            found["worse than a constant model"] = f"the model is worse than a constant one: {says}. To mend it, {look}"
        else:
            found["no better than a constant model"] = (
                f"the model is no better than a constant one: {says}. Where the dimensions don't depend on each other "
                f"there is no more to be learned; where they do, {look}"
            )
    return found


def _of_latents(diagnosis: dict[str, Any]) -> dict[str, str]:
    """What is wrong with the latents."""
    found: dict[str, str] = {}
    for name, codes in diagnosis["codes"].items():
        could = codes["codes"] * (1 - (1 - 1 / codes["codes"]) ** codes["places"])  # if all were drawn alike
        if codes["used"] < DEAD * could:
            found["dead codes"] = (
                f"most codes of {name} are dead: {codes['used']} of {codes['codes']} are used in {codes['places']:,} "
                f"places, with a perplexity of {codes['perplexity']:.1f}. Any of these mends it: fewer codes; a "
                "smaller training.learning_rate; of a VectorQuantizer a larger revive (0.1), fewer features (8), or "
                "in its place FiniteScalar, which has no codebook (the recipe fsq-vae)"
            )
    if collapsed(diagnosis):
        why = " and no unit of it varies from example to example" if diagnosis["kl"] >= COLLAPSED else ""
        found["collapsed"] = (
            f"the latent has collapsed: its KL is {diagnosis['kl']:.2f} nats{why}, so the decoder ignores it. Any of "
            "these mends it: objective.free_bits=0.1; objective.beta={class: Cyclical}; a beta that rises over most of "
            "the training (objective.beta={class: Linear, part: 0.75}), with training.encoder_steps=5 where that is "
            "not enough; starting from an autoencoder (a run with objective.beta=0, then --from RUN --only latents); a "
            "weaker decoder; for a Gaussian decoder model.decoder.scale=optimal"
        )
    largest = diagnosis["largest_kl"]
    if (largest is not None and not largest < EXPLODED) or not math.isfinite(diagnosis["kl"]):
        found["exploded"] = (
            f"the KL has exploded: one dimension of the latent costs {largest or diagnosis['kl']:.3g} nats. Any of "
            "these mends it: objective.beta of at least 1, without a long stretch below; a smaller "
            "training.learning_rate; for a Gaussian decoder model.decoder.scale=optimal, or data scaled to about 1"
        )
    return found


def _active(means: Sequence[Tensor]) -> int | None:
    """How many dimensions have means that vary over the examples: the covariance of the halves of several passes, as
    far as chance doesn't explain it; the variance where one is enough."""
    if not means or len(means[0]) < 2:
        return None
    half = max(1, len(means) // 2)
    a, b = (torch.stack([m.flatten(1) for m in part]).mean(0) for part in (means[:half], means[-half:]))
    product = (a - a.mean(0)) * (b - b.mean(0))
    chance = 2 * product.std(0) / math.sqrt(len(product)) if len(means) > 1 else 0.0
    return int((product.sum(0) / (len(product) - 1) > ACTIVE + chance).sum())


def _mean(q: Distribution | None) -> Tensor | None:
    try:
        return q.mean if q is not None else None
    except NotImplementedError:
        return None
