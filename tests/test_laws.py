"""Laws for every distribution of the library; a new family in a new file is under them without an edit here."""

import copy
import math

import pytest
import torch
from conftest import (
    BOUNDS,
    DENSITIES,
    EXAMPLES,
    Fed,
    Standing,
    batch,
    concrete,
    every,
    every_density,
    examples_of,
    first,
    points,
    weights_of,
)
from torch import nn

import fusevae
from fusevae import (
    VAE,
    Bernoulli,
    Categorical,
    Flat,
    Gaussian,
    Normal,
    OneHotCategoricals,
    Preprocessed,
    SlotError,
    UniformSphere,
    VonMisesFisher,
)
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.frames import extent
from fusevae.core.levels import BoundOnly, Level, bounds_as, log_bound
from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Dequantize, Logit, Normalise, Standardise
from fusevae.models.latents import Latents
from fusevae.nets.mlp import MLP, Constant
from fusevae.objectives.elbo import ELBO

NETS_IN_LOG_PROB = {
    "MADE",
    "PixelCNN",
    "ImageTransformer",
    "LanguageModel",
    "AutoregressiveFrames",
    "AutoregressiveCodes",
    "PretrainedLanguageModel",
    "Frames",
    "AnyOrder",
}  # they run when a value is given, in the precision of that moment


def moments(x):
    """1, the values, and their products two by two, of each point: ``(n, m)``."""
    x = x.flatten(1).double()
    pairs = [x[:, i] * x[:, j] for i in range(x.shape[1]) for j in range(i, x.shape[1])]
    return torch.stack([torch.ones(len(x), dtype=torch.float64), *x.T, *pairs], 1)


@pytest.mark.parametrize("cls", [*concrete(Conditional), *concrete(Latents)])
def test_every_class_gives_examples_of_itself(cls):
    if cls.__name__ == "PretrainedLanguageModel":
        pytest.importorskip("transformers")  # an extra
    assert cls.examples(), f"{cls.__name__} needs a classmethod examples(): tiny instances, and what is given to each"


@every_density
@torch.no_grad()
def test_a_density_integrates_to_one_and_a_mass_sums_to_one(part, given):
    p = part(*first(given))
    x, weight = points(p, part.discrete)
    assert (p.log_prob(x).double().exp() * weight).sum().item() == pytest.approx(1, abs=1e-4)


@every_density
@torch.no_grad()
def test_samples_agree_with_log_prob(part, given):
    p = part(*first(given))
    x, weight = points(p, part.discrete)
    mass = p.log_prob(x).double().exp() * weight
    drawn = p.sample((20_000,))
    if part.discrete:  # Pearson's chi-square over every event
        seen = (drawn.flatten(1)[:, None] - x.flatten(1)).abs().amax(-1) < 1e-4
        assert (seen.sum(1) == 1).all()
        expected, found = mass * len(drawn), seen.sum(0).double()
        rare = expected < 10  # the approximation by a chi-square needs some of each: these are one cell
        expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
        found = torch.cat([found[~rare], found[rare].sum()[None]])
        chi = ((found - expected) ** 2 / expected.clamp(min=1e-9)).sum().item()
        free = int(rare.any()) + int((~rare).sum()) - 1
        assert (chi - free) / math.sqrt(2 * free) < 5
    else:
        found, exact = moments(drawn), (mass[:, None] * moments(x)).sum(0)
        z = (found.mean(0) - exact)[1:] / found.std(0)[1:] * math.sqrt(len(drawn))
        assert z.abs().max() < 4.5


@pytest.mark.parametrize(("part", "given"), BOUNDS)
@torch.no_grad()
def test_the_exponential_of_an_evidence_bound_integrates_to_one_and_agrees_with_samples(part, given):
    if part.level is not Level.EVIDENCE:
        pytest.skip("only a bound")
    p = part(*first(given))
    x, weight = points(p, part.discrete)
    draws = 4000 if part.discrete else 32
    if not part.discrete:
        x, weight = x[::3], weight[::3] * len(x) / len(x[::3])
    mass = weights_of(p, x, draws).mean(0) * weight
    exact = (mass[:, None] * moments(x)).sum(0)
    found = moments(p.sample((20_000,)))
    assert exact[0].item() == pytest.approx(1, abs=0.01)
    assert ((found.mean(0) - exact).abs() < 0.03 * (1 + found.std(0))).all()


@pytest.mark.parametrize(("part", "given"), BOUNDS)
@torch.no_grad()
def test_what_is_less_than_a_density_refuses_log_prob_or_gives_it_exactly(part, given):
    p = part(*first(given))
    if isinstance(p, BoundOnly):
        with pytest.raises(SlotError, match="log_bound"):
            p.log_prob(p.sample((2,)))


@every
@torch.no_grad()
def test_a_sample_is_what_the_shapes_say(part, given):
    p = part(*given)
    x = p.sample((5,))
    assert x.shape[: 1 + len(batch(given))] == (5, *batch(given))
    if part.level >= Level.BOUND:
        assert log_bound(p, x).shape == (5, *batch(given))
    else:
        with pytest.raises(SlotError, match="only samples"):
            log_bound(p, x)
    if p.has_rsample:
        assert p.rsample((5,)).shape == x.shape


@every_density
def test_a_path_carries_gradients_to_every_parameter(part, given):
    part = copy.deepcopy(part)
    p = part(*given)
    parameters = list(part.parameters())
    if not p.has_rsample or not parameters:
        assert not p.has_rsample or not p.rsample((2,)).requires_grad
        return
    gradients = torch.autograd.grad(p.rsample((50,)).pow(3).sum(), parameters)  # squares sum to 1 on a sphere
    assert all(g.isfinite().all() and g.any() for g in gradients)


@every_density
@torch.no_grad()
def test_the_mean_is_that_of_the_samples(part, given):
    if type(part).__name__ == "DiscretizedLogistic":
        pytest.skip("its mean is said to be of the logistics before rounding")
    if not part.has_mean:
        pytest.skip("it has no mean that can be computed")
    p = part(*given)
    drawn = p.sample((20_000,)).double()
    if part.space == "frames":  # of as many frames as the mean has
        for i, mean in enumerate(p.mean):
            alike = drawn[extent(drawn[:, i]) == extent(mean), i][..., : int(extent(mean))]
            off = (alike.mean(0) - mean[..., : int(extent(mean))]) / alike.std(0)
            assert off.abs().max() * math.sqrt(len(alike)) < 4.5
        return
    assert (((drawn.mean(0) - p.mean) / drawn.std(0)).abs() * math.sqrt(len(drawn))).max() < 4.5


@every_density
@torch.no_grad()
def test_the_value_of_an_example_does_not_depend_on_its_batch_or_its_sample(part, given):
    p = part(*given)
    x = p.sample((4,))
    whole = p.log_prob(x)
    for s in range(4):
        torch.testing.assert_close(p.log_prob(x[s]), whole[s], rtol=1e-5, atol=1e-5)
    for i in range(batch(given)[0] if given else 0):
        alone = part(*(g[i : i + 1] for g in given))
        torch.testing.assert_close(alone.log_prob(x[:, i : i + 1]), whole[:, i : i + 1], rtol=1e-5, atol=1e-5)


@every_density
@torch.no_grad()
def test_sample_dimensions_may_stand_before_what_is_given(part, given):
    if not given:
        return
    several = part(*(torch.stack([g, 2 * g]) for g in given))  # batch shape (2, *batch)
    x = several.sample()
    for i in (0, 1):
        torch.testing.assert_close(
            several.log_prob(x)[i], part(*((1 + i) * g for g in given)).log_prob(x[i]), rtol=1e-5, atol=1e-5
        )


@every_density
@torch.no_grad()
def test_likelihoods_are_summed_in_float32_under_autocast(part, given):
    with torch.autocast("cpu", torch.bfloat16):
        p = part(*given)
        x = p.sample((50,))
        inside = p.log_prob(x)
    assert inside.dtype == torch.float32
    close = 0.05 if type(part).__name__ in NETS_IN_LOG_PROB else 1e-5
    torch.testing.assert_close(inside, p.log_prob(x), rtol=close, atol=close)


@every_density
def test_log_prob_has_finite_gradients(part, given):
    part = copy.deepcopy(part)
    x = part(*given).sample((3,))
    if parameters := list(part.parameters()):
        gradients = torch.autograd.grad(part(*given).log_prob(x).sum(), parameters)
        assert all(g.isfinite().all() and g.any() for g in gradients)


# what may stand where


def pairs():
    """Every prior with every posterior of the same space."""
    return list(_pairs())


def _pairs():
    space = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for example in EXAMPLES:
            part, given = example.values
            with torch.no_grad():
                x = part(*first(given)).sample((500,))
            values = (
                tuple(x.unique().tolist()) if part.discrete else ("unit" if x.min() >= 0 and x.max() <= 1 else "real")
            )
            space[example.id] = (tuple(x.shape[1:]), values if part.space == "reals" else part.space)
    for prior in (e for e in EXAMPLES if e.values[0].level >= Level.BOUND):
        for posterior in (e for e in DENSITIES if e.values[1]):  # a posterior is given something
            if posterior.values[0].space in (
                "sequences",
                "frames",
            ):  # of any length: the decoder needs a net of its own
                continue
            (shape, over), (other, inside) = space[prior.id], space[posterior.id]
            if shape == other and (over == inside or (over, inside) == ("real", "unit")):
                yield pytest.param(prior.values, posterior.values, id=f"{prior.id}-{posterior.id}")


@pytest.mark.parametrize(
    ("turn", "prior", "posterior"), [pytest.param(i, *p.values, id=p.id) for i, p in enumerate(pairs())]
)
def test_whatever_the_levels_allow_trains_in_every_slot(turn, prior, posterior):
    """Every pair below a third of the decoders, in turn; tests/test_pairs.py has every triple of kinds."""
    decoders = [e for e in EXAMPLES if e.values[0].level >= Level.BOUND]
    for example in decoders[turn % 3 :: 3]:
        prior_part, posterior_part = Standing(*prior), copy.deepcopy(posterior)
        decoder_part, decoder_given = copy.deepcopy(example.values)
        with torch.no_grad():
            z = prior_part().sample((1,))
            x = decoder_part(*first(decoder_given)).sample((64,))
            # zeros would give a first layer no gradient, nor frames that aren't there
            x = x[((x.flatten(1) != 0).sum(1) * 1e4 + x.flatten(1).sum(1)).argsort(descending=True)[:4]]
        q = Fed(posterior_part[0], posterior_part[1], x.dim() - 1, x[0].numel())
        decoder = Fed(decoder_part, decoder_given, z.dim() - 1, z.numel())
        vae = VAE(Flat(prior_part, q), decoder).train()
        assert vae.level is min(Level.EVIDENCE, prior_part.level, decoder.level)
        trace = vae.trace(x, samples=(3,))
        with bounds_as("surrogate"):  # as a training asks for them
            assert trace.elbo.shape in {(3, 4), (4,)}
            ELBO()(trace, 1.0).mean().backward()
        for module in (q, decoder):
            for name, parameter in module.named_parameters():
                if ".teller." in name:  # of Informed: it is no part of a bound, and learns from a model's own examples
                    continue
                assert parameter.grad is not None, (example.id, name)
                assert parameter.grad.isfinite().all(), (example.id, name)
                assert parameter.grad.any() or parameter.numel() == 1, (example.id, name)
        vae.eval()
        with torch.no_grad():
            arrays = vae.encode(x)
            assert all(len(a) == 4 and a.isfinite().all() for a in arrays.values())
            generated = noise.sample(vae.generate((6,)), () if decoder_given else (6,))
            assert generated.shape[0] == 6
            assert generated.shape[1:] == x.shape[1:] or decoder_part.space in ("sequences", "frames")


class SamplesOnly(Conditional):
    """A generator."""

    level = Level.SAMPLES

    def forward(self, *given):
        raise NotImplementedError


class OnlyABound(Normal):
    """A normal that promises no more than a bound."""

    level = Level.BOUND


def net():
    return MLP(2, 2, hidden=(3,))


@pytest.mark.parametrize(
    ("make", "says"),
    {
        "a VAE as posterior": (lambda: Flat(Normal(1), VAE.examples()[0][0]), "Gaussian"),
        "an optimal scale as posterior": (
            lambda: Flat(Normal(1), Gaussian(net(), scale="optimal")),
            "'net' or 'shared'",
        ),
        "samples as posterior": (lambda: Flat(Normal(1), SamplesOnly()), "Gaussian"),
        "a bound as posterior": (lambda: Flat(Normal(1), OnlyABound(1)), "Gaussian"),
        "samples as prior": (lambda: Flat(SamplesOnly(), Gaussian(net())), "Normal, Gaussian, GaussianMixture"),
        "samples as decoder": (lambda: VAE(Flat(Normal(1), Gaussian(net())), SamplesOnly()), "Bernoulli, Gaussian"),
        "discrete posterior, continuous prior": (lambda: Flat(Normal(2), Bernoulli(net())), "Gaussian with Normal"),
        "continuous posterior, discrete prior": (
            lambda: Flat(Bernoulli(Constant(1)), Gaussian(net())),
            "Gaussian with Normal",
        ),
        "a posterior on the sphere, a prior around it": (
            lambda: Flat(Normal(2), VonMisesFisher(MLP(2, 3))),
            "VonMisesFisher with UniformSphere",
        ),
        "a prior on the sphere, a posterior around it": (
            lambda: Flat(UniformSphere(2), Gaussian(MLP(2, 4))),
            "Gaussian with Normal",
        ),
        "one-hot posterior, prior of any bits": (
            lambda: Flat(Bernoulli(Constant((2, 3))), OneHotCategoricals(MLP(2, (2, 3)))),
            "OneHotCategoricals with OneHotCategoricals",
        ),
        "dequantized integers before a mass": (
            lambda: Preprocessed([Dequantize()], Bernoulli(net())),
            "leave the Dequantize out",
        ),
        "dequantized integers before a VAE of a mass": (
            lambda: Preprocessed([Dequantize()], VAE.examples()[0][0]),
            "leave the Dequantize out",
        ),
        "a mass on integers as prior of a density": (
            lambda: Flat(Preprocessed([Dequantize()], Normal(1)), Gaussian(net())),
            "Gaussian with Normal",
        ),
    }.values(),
    ids=lambda v: "" if callable(v) else v[:20],
)
def test_a_slot_refuses_what_its_mathematics_cannot_use_and_names_what_would_fit(make, says):
    with pytest.raises(SlotError) as error:
        make()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_composite_has_the_level_that_its_parts_allow():
    def vae(prior=None, decoder=None):
        return VAE(Flat(prior or Normal(1), Gaussian(net())), decoder or Gaussian(MLP(1, 2)))

    bound = OnlyABound(1)
    assert vae().level is Level.EVIDENCE
    assert vae(prior=bound).level is Level.BOUND
    assert vae(decoder=OnlyABound(2)).level is Level.BOUND
    assert vae(prior=VAE(Flat(bound, Gaussian(MLP(1, 2))), Gaussian(MLP(1, 2)))).level is Level.BOUND
    assert Preprocessed([Dequantize()], Normal(2)).level is Level.EVIDENCE
    assert Preprocessed([Normalise(0, 2)], Normal(2)).level is Level.DENSITY
    assert Preprocessed([Dequantize()], vae(prior=bound)).level is Level.BOUND


def test_a_bound_is_not_importance_weighted():
    vae = VAE(Flat(OnlyABound(1), Gaussian(net())), Gaussian(MLP(1, 2), scale=1.0))
    found = fusevae.evaluate(Artifact(vae, DataSpec((2,))), torch.randn(6, 2), importance_samples=100).log_likelihood
    assert (found.kind, found.importance_samples) == ("bound", None)
    better = fusevae.evaluate(
        Artifact(VAE(Flat(Normal(1), vae.latents.posterior), vae.decoder), DataSpec((2,))),
        torch.randn(6, 2),
        importance_samples=100,
    ).log_likelihood
    assert (better.kind, better.importance_samples) == ("bound", 100)


def test_what_only_samples_has_no_likelihood_to_evaluate():
    with pytest.raises(fusevae.InputError, match="only samples"):
        fusevae.evaluate(Artifact(SamplesOnly(), DataSpec((2,))), torch.zeros(2, 2))


@pytest.mark.parametrize(("latents", "x"), examples_of(Latents))
def test_latents_infer_what_they_generate(latents, x):
    z, terms, _ = latents.infer(x, samples=(3,))
    assert z.shape[:2] == (3, len(x))
    assert latents.generate((3, len(x))).shape == z.shape
    mean, arrays = latents.encode(x)
    assert mean.shape == z.shape[1:]
    assert all(len(a) == len(x) for a in arrays.values())
    assert all(t.kl.total.shape in {(len(x),), (3, len(x))} for t in terms)


# preprocessing is part of the distribution


@pytest.mark.parametrize("shape", [(2,), (1, 1, 2)])
@torch.no_grad()
def test_a_preprocessed_density_integrates_to_one_whatever_stands_before_the_event(shape):
    steps = [Normalise(-3, 5), Logit(0.05), Standardise(shape)]
    steps[2].mean.add_(0.3)
    steps[2].std.mul_(1.7)
    part = Preprocessed(steps, Gaussian(Constant((2 * shape[0], *shape[1:]), std=0.3)))
    inside = torch.linspace(-3, 5, 1202)[1:-1]
    x = torch.cartesian_prod(inside, inside).view(-1, *shape)
    p = part()
    flat = p.log_prob(x)
    eps = 8 * 0.05 / 0.9  # the inverse of the logit reaches this far outside
    wide = torch.linspace(-3 - eps, 5 + eps, 1502)[1:-1]
    total = (
        p.log_prob(torch.cartesian_prod(wide, wide).view(-1, *shape)).double().exp().sum() * (wide[1] - wide[0]) ** 2
    )
    assert total.item() == pytest.approx(1, abs=2e-3)
    torch.testing.assert_close(p.log_prob(x.view(1200, 1200, *shape)), flat.view(1200, 1200))
    torch.testing.assert_close(p.log_prob(x[5]), flat[5])


def test_a_preprocessed_density_may_be_a_prior_under_several_samples():
    prior = Preprocessed([Normalise(-1, 3, -2, 2)], Gaussian(Constant(4, std=0.5)))
    vae = VAE(Flat(prior, Gaussian(MLP(3, 4))), Gaussian(MLP(2, 3), scale=1.0))
    trace = vae.trace(torch.randn(5, 3), samples=(5,))
    z, p = trace.terms[0].z, prior.model()
    torch.testing.assert_close(trace.terms[0].log_p, p.log_prob(z - 1))  # x -> x - 1, no change of volume


@torch.no_grad()
def test_dequantized_integers_have_probabilities_that_sum_to_one():
    model = Preprocessed([Dequantize(), Normalise(0, 4, -2, 2)], Gaussian(Constant(2, std=0.5)))
    x = torch.arange(-40.0, 44.0)[:, None]
    k = 4000
    bound = fusevae.log_likelihood(Artifact(model, DataSpec((1,), "int64", -40, 44)), x.long(), importance_samples=k)
    assert bound.exp().sum().item() == pytest.approx(1, abs=0.01)
    p = model.model().base_dist
    exact = (p.cdf(x - 1) - p.cdf(x - 2))[:, 0].double()
    near = exact > 1e-3
    torch.testing.assert_close(bound[near], exact[near].log(), rtol=0, atol=0.05)


def test_a_vae_of_dequantized_integers_has_bits_per_dimension():
    decoder = Preprocessed([Dequantize(), Normalise(0, 4)], Gaussian(MLP(1, 4)))
    vae = VAE(Flat(Normal(1), Gaussian(net())), decoder)
    artifact = Artifact(vae, DataSpec((2,), "uint8", 0, 255))
    assert artifact.support == "mass on {0..255}^2"
    found = fusevae.evaluate(artifact, torch.randint(0, 4, (8, 2), dtype=torch.uint8), importance_samples=5)
    assert found.bits_per_dim == pytest.approx(-found.log_likelihood.value / (2 * math.log(2)))


# nested VAEs


def grid_log_prob(decoder, prior, x, n=4001, reach=12.0):
    """log p(x) of a VAE with one latent, by quadrature."""
    z = torch.linspace(-reach, reach, n)[:, None]
    joint = decoder(z[:, None]).log_prob(x).double() + prior(z).double()[:, None]
    return torch.logsumexp(joint, 0) + math.log(2 * reach / (n - 1))


@torch.no_grad()
def test_a_vae_as_the_prior_of_a_vae_bounds_the_exact_likelihood():
    inner = VAE(Flat(Normal(1), Gaussian(MLP(1, 2))), Gaussian(MLP(1, 2), bounds=(-1.0, 1.0)))
    outer = VAE(Flat(inner, Gaussian(MLP(2, 2), bounds=(-1.0, 1.0))), Bernoulli(MLP(1, 2)))
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

    def prior(z):
        return grid_log_prob(inner.decoder, lambda u: Normal(1)().log_prob(u), z, 801, 6.0)

    exact = grid_log_prob(outer.decoder, prior, x, 801, 8.0)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-3)
    draws = outer.trace(x, samples=(20_000,)).log_weight.double()
    error = draws.std(0) / math.sqrt(len(draws))
    assert (draws.mean(0) < exact + 4 * error).all()
    torch.testing.assert_close(torch.logsumexp(draws, 0) - math.log(len(draws)), exact, rtol=0, atol=0.03)
    drawn = outer().sample((20_000,))
    seen = torch.stack([(drawn == each).all(-1).double().mean() for each in x])
    torch.testing.assert_close(seen, exact.exp(), rtol=0, atol=0.015)


class Joined(nn.Module):
    """A net that looks at everything it is given."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.outputs, self.layer = (outputs,), nn.Linear(inputs, outputs)

    def forward(self, *given):
        lead = torch.broadcast_shapes(*(g.shape[:-1] for g in given))
        return self.layer(torch.cat([g.expand(*lead, -1) for g in given], -1))


@torch.no_grad()
def test_a_vae_may_be_the_decoder_of_a_vae():
    inner = VAE(Flat(Gaussian(Joined(2, 2)), Gaussian(Joined(5, 2))), Gaussian(Joined(3, 6)))
    outer = VAE(Flat(Normal(2), Gaussian(MLP(3, 4))), inner)
    x = torch.randn(4, 3)
    assert outer.trace(x, samples=(7,)).elbo.shape == (7, 4)
    assert outer().sample((5,)).shape == (5, 3)
    assert outer.reconstruct(x).sample().shape == (4, 3)


# what the score function's gradient is


def test_the_score_functions_gradient_is_unbiased():
    prior, posterior, decoder = (
        Bernoulli(Constant(2, std=1.0)),
        Bernoulli(MLP(1, 2, hidden=())),
        Gaussian(MLP(2, 1), scale=1.0),
    )
    vae, x = VAE(Flat(prior, posterior), decoder), torch.tensor([[0.7]])
    parameters = list(vae.parameters())
    codes = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    q = posterior(x)
    log_q = q.log_prob(codes)
    exact = (log_q.exp() * (decoder(codes).log_prob(x) + prior().log_prob(codes) - log_q)).sum()
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(exact, parameters)])
    means = []
    for _ in range(40):
        value = ELBO()(vae.trace(x, samples=(500,)), 1.0).mean()
        means.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)]))
    means = torch.stack(means).double()
    z = (means.mean(0) - wanted) / (means.std(0) / math.sqrt(len(means))).clamp(min=1e-6)
    assert z.abs().max() < 4.5


def test_a_categorical_posterior_is_named_by_its_mean_and_scale():
    latents = Flat(Categorical(Constant(3), levels=3), Categorical(MLP(2, 3), levels=3))
    mean, arrays = latents.encode(torch.randn(4, 2))
    drawn = latents.posterior(torch.zeros(1, 2)).sample((20_000,))
    _, at_zero = latents.encode(torch.zeros(1, 2))
    assert at_zero["mean"].item() == pytest.approx(drawn.mean().item(), abs=0.03)
    assert at_zero["scale"].item() == pytest.approx(drawn.std().item(), abs=0.03)
    assert mean.shape == arrays["scale"].shape
