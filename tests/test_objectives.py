"""Objectives are functions of the trace."""

import math

import pytest
import torch
from conftest import concrete

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
    DReG,
    Flat,
    Gaussian,
    GaussianMixture,
    InputError,
    Linear,
    Normal,
)
from fusevae.nets.mlp import MLP, Constant
from fusevae.objectives.beta import Beta
from fusevae.objectives.mmd import squared_mmd
from fusevae.objectives.objective import Objective, Opposed


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
    objective = cls(*critic)
    samples = (objective.samples,) if objective.samples else ()
    vae = VAE(Flat(Normal(3), Gaussian(MLP(4, 6))), Bernoulli(MLP(3, 4)))
    x = (torch.rand(5, 4) < 0.5).float()

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


def gradients(objective, samples, seed=1):
    """Gradients of the posterior's and of the decoder's and prior's parameters."""
    torch.manual_seed(0)
    prior = Gaussian(Constant(6, std=0.5))
    vae = VAE(Flat(prior, Gaussian(MLP(4, 6))), Bernoulli(MLP(3, 4)))
    x = (torch.rand(5, 4) < 0.5).float()
    torch.manual_seed(seed)
    value = objective(vae.trace(x, samples=samples), 0).sum()
    parts = [list(vae.latents.posterior.parameters()), [*prior.parameters(), *vae.decoder.parameters()]]
    found = torch.autograd.grad(value, [*parts[0], *parts[1]])
    flat = [g.flatten() for g in found]
    return torch.cat(flat[: len(parts[0])]), torch.cat(flat[len(parts[0]) :])


def test_piwae_gives_the_model_the_gradient_of_iwae_and_the_posterior_that_of_miwae():
    posterior, model = gradients(PIWAE(3, 4), (12,))
    torch.testing.assert_close(posterior, gradients(MIWAE(3, 4), (12,))[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model, gradients(IWAE(12), (12,))[1], rtol=1e-4, atol=1e-5)


def test_dreg_gives_the_model_the_gradient_of_iwae():
    torch.testing.assert_close(gradients(DReG(6), (6,))[1], gradients(IWAE(6), (6,))[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("new", "old", "samples"), [(DReG(4), IWAE(4), (4,)), (STL(), ELBO(), ())], ids=["dreg", "stl"]
)
def test_the_gradient_of_the_posterior_is_the_same_on_average(new, old, samples):
    draws = [[gradients(o, samples, seed)[0] for seed in range(400)] for o in (new, old)]
    a, b = (torch.stack(d).double() for d in draws)
    error = ((a.var(0) + b.var(0)) / len(a)).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 4.5 * error + 1e-6).all()


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
    torch.testing.assert_close(Capacity(0.0, gamma=1.0)(trace, 1), trace.elbo)
    full = Capacity(7.0, gamma=2.0, part=0.5)(trace, 0.25)
    torch.testing.assert_close(full, trace.reconstruction - 2 * (trace.kl - 3.5).abs())
