"""Objectives are functions of the trace."""

import math

import pytest
import torch
from conftest import concrete, every_density

import fusevae
from fusevae import (
    ELBO,
    IWAE,
    MIWAE,
    MMD,
    PIWAE,
    STL,
    VAE,
    AdversarialAutoencoder,
    Bernoulli,
    BetaTC,
    Capacity,
    Cyclical,
    DenseLadder,
    DReG,
    Flat,
    Gaussian,
    GaussianMixture,
    InputError,
    Ladder,
    Linear,
    Normal,
    Vamp,
)
from fusevae.core import noise
from fusevae.core.levels import bounds_as
from fusevae.core.trace import Term
from fusevae.models.label_mixture import LabelMixture
from fusevae.models.measured import Measured
from fusevae.nets.mlp import MLP, Constant
from fusevae.nets.wave_critic import WaveCritic
from fusevae.objectives.beta import Beta
from fusevae.objectives.mmd import squared_mmd
from fusevae.objectives.objective import Objective, Opposed
from fusevae.objectives.semi_supervised import SemiSupervised
from fusevae.objectives.wave_gan import WaveGAN


def a_trace(x=None, samples=(), prior=None):
    torch.manual_seed(0)
    vae = VAE(Flat(prior or Normal(3), Gaussian(MLP(4, 6))), Bernoulli(MLP(3, 4)))
    x = (torch.rand(5, 4) < 0.5).float() if x is None else x
    torch.manual_seed(1)
    return vae.trace(x, samples=samples)


MIXTURE = GaussianMixture(Constant(GaussianMixture.outputs(3, 2), std=1.0), 2)


@pytest.mark.parametrize("prior", [None, MIXTURE], ids=["analytic", "sampled"])
@pytest.mark.parametrize("samples", [(), (7,)], ids=str)
def test_with_beta_one_the_objective_is_the_elbo(prior, samples):
    trace = a_trace(samples=samples, prior=prior)
    assert torch.equal(ELBO()(trace, 0.3), trace.elbo)
    assert torch.equal(ELBO(beta=Linear(1.0, 1.0))(trace, 0.0), trace.elbo)
    torch.testing.assert_close(ELBO(beta=2.5)(trace, 0.0), trace.reconstruction - 2.5 * trace.kl)


def test_where_no_kl_is_analytic_the_elbo_is_one_importance_weight():
    trace = a_trace(prior=MIXTURE)
    torch.testing.assert_close(trace.elbo, trace.log_weight)


def test_the_kl_per_dimension_sums_to_the_kl():
    trace = a_trace()
    torch.testing.assert_close(trace.kl_per_dimension()["z"].sum(-1), trace.kl)
    assert trace.kl_per_dimension()["z"].shape == (5, 3)


@pytest.mark.parametrize("free", [0.0, 0.05, 0.5, 3.0])
def test_free_bits_cost_what_they_say(free):
    trace = a_trace()
    each = trace.kl_per_dimension()["z"]
    torch.testing.assert_close(ELBO(free_bits=free)(trace, 0), trace.reconstruction - each.clamp(min=free).sum(-1))
    whole = ELBO(free_bits=free, per="whole")(trace, 0)
    torch.testing.assert_close(whole, trace.reconstruction - each.sum(-1).clamp(min=free))
    assert (whole <= trace.elbo + 1e-6).all()
    assert (ELBO(free_bits=free)(trace, 0) <= whole + 1e-5).all()


def test_what_is_free_has_no_gradient():
    trace = a_trace()
    below = trace.kl_per_dimension()["z"].max().item() + 1
    kl = trace.reconstruction - ELBO(free_bits=below)(trace, 0)
    assert kl.tolist() == pytest.approx([3 * below] * 5, rel=1e-5)
    parameter = trace.terms[0].q.base_dist.loc
    (free,) = torch.autograd.grad(ELBO(free_bits=below)(trace, 0).sum(), parameter, retain_graph=True)
    (alone,) = torch.autograd.grad(trace.reconstruction.sum(), parameter)
    torch.testing.assert_close(free, alone)


def test_schedules_are_what_their_formulas_say():
    rise = Linear(0.2, 0.8, part=0.5)
    assert [rise(p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0.2, 0.5, 0.8, 0.8])
    waves = Cyclical(0.0, 2.0, cycles=2, ramp=0.5)
    assert [waves(p) for p in (0, 0.125, 0.25, 0.4999, 0.5, 0.625, 1.0)] == pytest.approx([0, 1, 2, 2, 0, 1, 2])
    trace = a_trace()
    torch.testing.assert_close(ELBO(beta=rise)(trace, 0.25), trace.reconstruction - 0.5 * trace.kl)


def test_an_objective_is_a_bound_where_its_beta_is_at_least_one():
    assert [ELBO(beta=Linear(0.0, 1.0, part=0.5)).is_bound(p) for p in (0.0, 0.4, 0.5, 1.0)] == [
        False,
        False,
        True,
        True,
    ]
    assert ELBO(beta=4.0, free_bits=1.0).is_bound(0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ELBO(beta=-1.0),
        lambda: ELBO(free_bits=-0.1),
        lambda: Linear(part=0.0),
        lambda: Linear(part=1.5),
        lambda: Cyclical(cycles=0),
        lambda: Cyclical(ramp=0.0),
        lambda: IWAE(samples=0),
        lambda: MIWAE(groups=0),
        lambda: BetaTC(alpha=-1.0),
        lambda: MMD(weight=-1.0),
        lambda: Capacity(gamma=-1.0),
    ],
)
def test_a_setting_without_a_meaning_is_refused(make):
    with pytest.raises(InputError, match="expected"):
        make()


@pytest.mark.parametrize("cls", concrete(Objective))
def test_an_objective_gives_each_example_a_value_that_does_not_depend_on_its_batch(cls):
    if cls.batch_level:
        pytest.skip("an estimate over the batch")
    critic = (MLP(3 if cls is AdversarialAutoencoder else 4, 1),) if issubclass(cls, Opposed) else ()
    objective = WaveGAN(WaveCritic(windows=(16,)), 8000) if cls is WaveGAN else cls(*critic)
    samples = (objective.samples,) if objective.samples else ()
    vae = VAE(Flat(Normal(3), Gaussian(MLP(4, 6))), Bernoulli(MLP(3, 4)))
    if cls is SemiSupervised:  # for a label that is a latent
        vae = VAE(Flat(Normal(3), Gaussian(MLP(4, 6, classes=2))), Bernoulli(MLP(3, 4, classes=2)))
        vae = LabelMixture(vae, MLP(4, 2), 2)
    x = (torch.rand(5, 4) < 0.5).float()
    if cls is WaveGAN:  # for sound
        (vae, _), *_ = Measured.examples()
        x = torch.randn(5, 64)

    def value(x, rows):
        with fusevae.core.noise.keyed(0, rows=rows):
            return objective(vae.trace(x, samples=samples), 0.7)

    whole = value(x, None)
    assert whole.shape == (5,)
    for i in range(5):
        one = value(x[i : i + 1], fusevae.core.noise.Rows(i, i + 1, 5))
        torch.testing.assert_close(one, whole[i : i + 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", concrete(Beta))
def test_a_schedule_stays_between_its_ends_and_ends_at_its_end(cls):
    schedule = cls(start=0.25, end=0.75)
    values = [schedule(p / 1000) for p in range(1001)]
    assert min(values) == pytest.approx(0.25)
    assert max(values) == pytest.approx(0.75)
    assert values[-1] == pytest.approx(0.75)


def test_the_score_leaves_the_value_alone():
    vae = VAE(Flat(Bernoulli(Constant(2)), Bernoulli(MLP(4, 2))), Bernoulli(MLP(2, 4)))
    trace = vae.trace(torch.ones(5, 4))
    assert torch.equal(ELBO()(trace, 0), trace.elbo)
    assert trace.score is not None
    assert math.isfinite(trace.score.sum().item())
    assert a_trace().score is None


# importance-weighted objectives


@pytest.mark.parametrize("objective", [IWAE(1), MIWAE(1, 1), PIWAE(1, 1), DReG(1)], ids=lambda o: type(o).__name__)
def test_with_one_sample_the_importance_weighted_bound_is_the_monte_carlo_elbo(objective):
    trace = a_trace(samples=(1,))
    torch.testing.assert_close(objective(trace, 0), trace.log_weight[0])


def test_the_value_is_that_of_the_bound():
    trace = a_trace(samples=(12,))
    bound = torch.logsumexp(trace.log_weight, 0) - math.log(12)
    for objective in (IWAE(12), MIWAE(1, 12), PIWAE(3, 4), DReG(12)):
        torch.testing.assert_close(objective(trace, 0), bound)
    torch.testing.assert_close(MIWAE(12, 1)(trace, 0), trace.log_weight.mean(0))
    assert (MIWAE(3, 4)(trace, 0) <= bound + 1e-6).all()
    torch.testing.assert_close(STL()(a_trace(), 0), a_trace().log_weight)


def flat():
    return Flat(Gaussian(Constant(6, std=0.5)), Gaussian(MLP(4, 6)))


def ladder():
    """One level, whose posterior is relative to its prior: the two share parameters."""
    found = Ladder(DenseLadder(4, (3,), width=5))
    for p in found.net.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return found


def encoder_that_draws():
    return Flat(Normal(3), Gaussian(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), MLP(8, 6))))


each_latent = pytest.mark.parametrize("latents", [flat, ladder], ids=lambda make: make.__name__)


def gradients(objective, samples, latents=flat, seed=1, copies=1):
    """Gradients of the posterior's own parameters, of the decoder's, and of those of the prior, which a ladder's
    posterior depends on, too."""
    torch.manual_seed(0)
    vae = VAE(latents(), Bernoulli(MLP(3 if latents is flat else 5, 4)))
    x = (torch.rand(5, 4) < 0.5).float().repeat(copies, 1)
    torch.manual_seed(seed)
    value = objective(vae.trace(x, samples=samples), 0).sum() / copies
    posterior = [p for part in vae.inference() for p in part.parameters()]
    known = {id(p) for p in posterior}
    parts = [posterior, list(vae.decoder.parameters()), [p for p in vae.latents.parameters() if id(p) not in known]]
    found = iter(torch.autograd.grad(value, [p for part in parts for p in part]))
    return [torch.cat([next(found).flatten() for _ in part]) for part in parts]


@each_latent
def test_piwae_gives_the_model_the_gradient_of_iwae_and_the_posterior_that_of_miwae(latents):
    posterior, decoder, prior = gradients(PIWAE(3, 4), (12,), latents)
    torch.testing.assert_close(posterior, gradients(MIWAE(3, 4), (12,), latents)[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoder, gradients(IWAE(12), (12,), latents)[1], rtol=1e-4, atol=1e-5)
    if latents is flat:
        torch.testing.assert_close(prior, gradients(IWAE(12), (12,), latents)[2], rtol=1e-4, atol=1e-5)


@each_latent
def test_dreg_gives_the_model_the_gradient_of_iwae(latents):
    (_, *new), (_, *old) = gradients(DReG(6), (6,), latents), gradients(IWAE(6), (6,), latents)
    for a, b in zip(new[: 2 if latents is flat else 1], old, strict=False):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@each_latent
@pytest.mark.parametrize(
    ("new", "old", "samples"), [(DReG(4), IWAE(4), (4,)), (STL(), ELBO(), ())], ids=["dreg", "stl"]
)
def test_the_gradient_is_the_same_on_average(new, old, samples, latents):
    """That of a bound is known without any score: by the chain rule through its samples (Burda et al. 2016)."""
    draws = [[torch.cat(gradients(o, samples, latents, s, 100)) for s in range(40)] for o in (new, old)]
    a, b = (torch.stack(d).double() for d in draws)
    error = ((a.var(0) + b.var(0)) / len(a)).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 5 * error + 1e-6).all()
    assert torch.cosine_similarity(a.mean(0), b.mean(0), 0) > 0.99


def test_a_hierarchy_is_refused_before_any_work():
    latents = Ladder(DenseLadder(4, (3, 2), width=5))
    for objective in (DReG(4), PIWAE(2, 2), STL()):
        vae = VAE(latents, Bernoulli(MLP(5, 4)))
        with pytest.raises(InputError, match=r"is for one level of latents, this model has 2: take (ELBO or )?IWAE"):
            fusevae.fit(vae, (torch.rand(40, 4) < 0.5).float(), objective=objective, quiet=True)


def test_a_bound_of_an_encoder_that_draws_is_that_of_the_posterior_that_was_drawn():
    """A second pass would have another mask, and its density at z be no part of any bound."""
    torch.manual_seed(0)
    vae = VAE(encoder_that_draws(), Bernoulli(MLP(3, 4)))
    x = (torch.rand(5, 4) < 0.5).float()
    for objective, same in ((STL(), ELBO()), (DReG(6), IWAE(6)), (PIWAE(2, 3), IWAE(6))):
        trace = vae.trace(x, samples=(objective.samples,) if objective.samples else ())
        value = same(trace, 0) if objective.samples else trace.log_weight
        torch.testing.assert_close(objective(trace, 0), value)


@every_density
def test_a_held_density_has_the_value_of_log_prob_and_no_gradient_but_that_of_its_latent(part, given):
    encode = [torch.nn.Linear(g.shape[-1], g.shape[-1]) if g.is_floating_point() else None for g in given]
    seen = [g if e is None else torch.nn.functional.dropout(e(g)) for e, g in zip(encode, given, strict=True)]
    q = part(*seen)
    with fusevae.core.noise.keyed(0):
        z = q.rsample((2,)) if q.has_rsample else q.sample((2,))
    held = Term("z", z, q, q).held_log_q
    torch.testing.assert_close(held, q.log_prob(z), rtol=1e-5, atol=1e-5)
    learned = [p for net in (part, *filter(None, encode)) for p in net.parameters()]
    if not z.requires_grad:
        assert not held.requires_grad
        return
    leaf = z.detach().requires_grad_()
    there, exact = Term("z", leaf, q, q).held_log_q, q.log_prob(leaf)
    assert torch.equal(there, exact)
    nothing = torch.autograd.grad(there.sum(), [leaf, *learned], allow_unused=True, retain_graph=True)
    (slope,) = torch.autograd.grad(exact.sum(), leaf, retain_graph=True)
    assert torch.equal(nothing[0], slope) and all(g is None for g in nothing[1:])
    through = torch.autograd.grad(held.sum(), learned, allow_unused=True, retain_graph=True)
    path = torch.autograd.grad(z, learned, slope, allow_unused=True)
    for mine, right in zip(through, path, strict=True):
        assert (mine is None) == (right is None)
        if mine is not None:
            torch.testing.assert_close(mine, right)


def test_what_weighs_paths_refuses_a_posterior_without_one():
    vae = VAE(Flat(Bernoulli(Constant(2)), Bernoulli(MLP(4, 2))), Bernoulli(MLP(2, 4)))
    trace = vae.trace(torch.ones(5, 4), samples=(4,))
    for objective in (DReG(4), PIWAE(2, 2)):
        with pytest.raises(InputError, match="take IWAE"):
            objective(trace, 0)
    torch.autograd.grad(IWAE(4)(trace, 0).sum(), list(vae.parameters()))


# objectives over the batch


def test_beta_tc_with_all_weights_one_is_the_monte_carlo_elbo():
    trace = a_trace()
    torch.testing.assert_close(BetaTC(1.0)(trace, 0), trace.log_weight)
    assert BetaTC(1.0).is_bound(0)


def test_the_total_correlation_is_that_of_a_gaussian():
    """x has correlation 0.8 and q(z | x) follows it closely: TC = -log(1 - 0.8^2) / 2."""
    torch.manual_seed(0)
    n, r, sigma = 4000, 0.8, 0.3
    x = torch.randn(n, 2) @ torch.linalg.cholesky(torch.tensor([[1.0, r], [r, 1.0]]) - sigma**2 * torch.eye(2)).T
    vae = VAE(Flat(Normal(2), Gaussian(torch.nn.Identity(), scale=sigma)), Bernoulli(MLP(2, 2)))
    trace = vae.trace(x)
    with torch.no_grad():
        correlation = (BetaTC(0.0)(trace, 0) - BetaTC(1.0)(trace, 0)).mean()
    assert correlation.item() == pytest.approx(-0.5 * math.log(1 - r**2), abs=0.03)


def test_mmd_is_zero_on_average_for_equal_distributions_and_positive_for_others():
    torch.manual_seed(0)
    same = torch.stack([squared_mmd(torch.randn(50, 3), torch.randn(50, 3)) for _ in range(200)])
    assert same.mean().abs() < 4 * same.std() / math.sqrt(len(same))
    assert squared_mmd(torch.randn(200, 3) + 1, torch.randn(200, 3)) > 10 * same.std()


def test_mmd_and_capacity_are_what_their_formulas_say():
    trace = a_trace()
    torch.testing.assert_close(MMD(weight=0.0, beta=1.0)(trace, 0), trace.elbo)
    torch.testing.assert_close(MMD(Linear(end=9.0, part=0.5), beta=1.0)(trace, 0), trace.elbo)
    with noise.keyed(0, "mmd"):
        risen = MMD(Linear(end=9.0, part=0.5), beta=1.0)(trace, 0.25)
    with noise.keyed(0, "mmd"):
        torch.testing.assert_close(risen, MMD(4.5, beta=1.0)(trace, 0))
    torch.testing.assert_close(Capacity(0.0, gamma=1.0)(trace, 1), trace.elbo)
    full = Capacity(7.0, gamma=2.0, part=0.5)(trace, 0.25)
    torch.testing.assert_close(full, trace.reconstruction - 2 * (trace.kl - 3.5).abs())


def test_what_a_warm_up_gives_back_is_no_more_than_the_latent_costs():
    """A weight of 6 on the total correlation alone isn't one on the KL: six times the KL given back made latents
    explode."""
    assert [ELBO(beta=Linear(part=0.5)).cost(p) for p in (0.25, 1.0)] == [0.5, 1.0]
    assert [BetaTC(b).cost(1.0) for b in (6.0, Linear(end=6.0), 0.5)] == [1.0, 1.0, 0.5]
    assert MMD(beta=0.0).cost(1.0) == 0.0 and Capacity(5.0).cost(0.5) == 1.0


# what a learned prior does to the latent


def of_a_prior(kind, pull, every=1):
    """A VAE with a prior that is learned, or the standard normal, in training; the other parts are always the same."""
    torch.manual_seed(0)
    q, decoder = Gaussian(MLP(4, 6)), Bernoulli(MLP(3, 4))
    prior = {
        "normal": lambda: Normal(3),
        "mixture": lambda: GaussianMixture(Constant(GaussianMixture.outputs(3, 2), std=1.0), 2),
        "vamp": lambda: Vamp(q, 4, 3),  # whose parameters are q's, too
    }[kind]()
    return VAE(Flat(prior, q, pull, every), decoder).train()


def slopes(vae, seed=2):
    torch.manual_seed(seed)
    value = vae.trace((torch.rand(64, 4) < 0.5).float()).elbo.mean()
    own = dict(vae.named_parameters())
    return value.detach(), dict(
        zip(own, torch.autograd.grad(value, list(own.values()), allow_unused=True), strict=True)
    )


@pytest.mark.parametrize("pull", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["mixture", "vamp"])
def test_a_prior_pulls_by_its_part_learns_in_full_and_leaves_the_bound_as_it_is(kind, pull):
    """With 0 the rest moves as that of a VAE with N(0, I), whose KL is in closed form."""
    (value, mixed), (whole, full) = (slopes(of_a_prior(kind, part)) for part in (pull, 1.0))
    _, plain = slopes(of_a_prior("normal", 1.0))
    assert torch.equal(value, whole)
    ours = {name.replace("prior.posterior", "posterior") for name in mixed} & {*plain}
    assert ours == {*plain}
    for name, gradient in mixed.items():
        name = name.replace("prior.posterior", "posterior")
        key = next(k for k in full if k.replace("prior.posterior", "posterior") == name)
        right = pull * full[key] + (1 - pull) * plain[name] if name in plain else full[key]
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-6)
    still, x = of_a_prior(kind, pull).eval(), torch.zeros(2, 4)
    torch.manual_seed(3)
    z, (term,), _ = still.latents.infer(x)
    assert torch.equal(term.log_p, still.latents.prior().log_prob(z))


@pytest.mark.parametrize("kind", ["mixture", "vamp"])
def test_a_prior_that_takes_part_in_some_steps_pulls_as_much_on_the_average(kind):
    """Each step is one of a VAE with N(0, I), or one in which the prior pulls by as many times its part."""
    turns = 0
    for seed in range(40):
        value, found = slopes(of_a_prior(kind, 0.1, 4), seed)
        (plain, of_normal), (_, mixed) = slopes(of_a_prior("normal", 1.0), seed), slopes(of_a_prior(kind, 0.4), seed)
        own = next(name for name in found if name.endswith(("prior.raw", "prior.net.value")))
        turns += (turn := found[own] is not None)
        assert turn or torch.equal(value, plain)
        for name, gradient in found.items():
            wanted = mixed[name] if turn else of_normal.get(name.replace("prior.posterior", "posterior"))
            assert (gradient is None) == (wanted is None) == (not turn and name == own), name
            if gradient is not None:
                torch.testing.assert_close(gradient, wanted)
    assert 4 <= turns <= 18  # of 40, 10 are expected
    model, x = of_a_prior(kind, 0.1, 4).eval(), torch.zeros(2, 4)
    for _ in range(8):
        z, (term,), _ = model.latents.infer(x)
        assert torch.equal(term.log_p, model.latents.prior().log_prob(z))


def test_a_pull_that_means_nothing_is_refused_in_a_line():
    q = Gaussian(MLP(4, 6))
    with pytest.raises(InputError, match="expected a part"):
        Flat(Normal(3), q, 1.5)
    with pytest.raises(InputError, match="every is 0, expected steps"):
        Flat(Normal(3), q, 0.5, 0)
    with pytest.raises(fusevae.SlotError, match="is not over vectors of reals"):
        Flat(fusevae.UniformSphere(3), fusevae.VonMisesFisher(MLP(4, 3 + 1)), 0.5)


def test_a_bound_pulls_by_its_part_as_a_density_does():
    """Of a diffusion model, whose net learns whatever the part is."""
    torch.manual_seed(0)
    q, net = Gaussian(MLP(4, 6)), fusevae.TimeMLP(3, 8, 1)
    torch.nn.init.normal_(net.head.weight)
    found = []
    for pull in (0.0, 0.3, 1.0):
        vae = VAE(Flat(fusevae.Diffusion(net, 3), q, pull), Bernoulli(MLP(3, 4))).train()
        torch.manual_seed(2)
        trace = vae.trace((torch.rand(8, 4) < 0.5).float())
        with bounds_as("surrogate"):
            kl = trace.kl.sum()
        slopes = torch.autograd.grad(kl, [q.net.last.weight, net.head.weight])
        found.append((kl.detach(), *slopes))
    for values, of_q, of_net in found:
        assert torch.equal(values, found[2][0])
        torch.testing.assert_close(of_net, found[2][2])
        assert of_q.isfinite().all()
    torch.testing.assert_close(found[1][1], 0.7 * found[0][1] + 0.3 * found[2][1])
