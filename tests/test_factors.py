"""A VAE about a factor analysis starts as one, also where cells are missing; imputation by what is there."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from fusevae import VAE, Artifact, DataSpec, Flat, Normal, fit, impute
from fusevae.distributions.any_order import AnyOrder, Ordered
from fusevae.distributions.factor_gaussian import FactorGaussian
from fusevae.nets.cells import Cells, Real
from fusevae.nets.factors import Factors
from fusevae.nets.mlp import MLP
from fusevae.nets.transformer import Transformer
from fusevae.recipes import table_vae


def made(noise: float = 0.3, n: int = 3000):
    torch.manual_seed(0)
    loadings = torch.randn(5, 2)
    return torch.randn(n, 2) @ loadings.T + noise * torch.randn(n, 5) + 2, loadings


def started(x, latent: int = 3):
    factors = Factors(x.shape[1], latent)
    decoder = FactorGaussian(MLP(latent, 2 * x.shape[1], hidden=(4,)), factors, "x")
    vae = VAE(Flat(Normal(latent), FactorGaussian(MLP(x.shape[1], 2 * latent, hidden=(4,)), factors, "z")), decoder)
    vae.start_from(lambda: x)
    covariance = factors.loadings @ factors.loadings.T + factors.variance.diag()
    return vae, MultivariateNormal(factors.center, covariance)


def test_its_bound_is_the_likelihood_of_the_factors_also_of_what_is_there():
    x, loadings = made()
    vae, marginal = started(x)
    truth = MultivariateNormal(torch.full((5,), 2.0), loadings @ loadings.T + 0.09 * torch.eye(5))
    assert marginal.log_prob(x).mean() == pytest.approx(truth.log_prob(x).mean().item(), abs=0.05)
    assert torch.allclose(vae.trace(x[:50]).log_weight, marginal.log_prob(x[:50]), atol=0.05)
    gappy, there = x[:5].clone(), [0, 2, 4]
    gappy[:, [1, 3]] = torch.nan
    weights = torch.stack([vae.trace(gappy).log_weight for _ in range(1000)]).logsumexp(0) - math.log(1000)
    some = MultivariateNormal(marginal.mean[there], marginal.covariance_matrix[there][:, there])
    assert torch.allclose(weights, some.log_prob(gappy[:, there]), atol=0.1)


def test_what_is_missing_is_filled_in_by_the_conditional_also_where_columns_say_all_of_each_other():
    x, _ = made(noise=0.02)
    vae, p = started(x)
    x, gone = x[:8].clone(), torch.zeros(5, dtype=torch.bool).index_fill(0, torch.tensor([1, 3]), True)
    found = impute(Artifact(vae, DataSpec((5,))), x, gone.expand(8, -1), samples=4, steps=40)
    c, known = p.covariance_matrix, ~gone
    right = p.mean[gone] + (x[:, known] - p.mean[known]) @ torch.linalg.solve(c[known][:, known], c[known][:, gone])
    left = c[gone][:, gone] - c[gone][:, known] @ torch.linalg.solve(c[known][:, known], c[known][:, gone])
    assert ((found.mean[:, gone] - right).abs() < left.diagonal().sqrt()).all()
    assert found.accepted.min() > 0.2


def test_draws_of_what_is_missing_are_as_far_apart_as_they_should_be_after_two_steps():
    x, _ = made(noise=0.02)
    vae, p = started(x)
    gone = torch.zeros(5, dtype=torch.bool).index_fill(0, torch.tensor([0, 1, 3]), True)
    found = impute(Artifact(vae, DataSpec((5,))), x[:4], gone.expand(4, -1), samples=2000, steps=2)
    c, known = p.covariance_matrix, ~gone
    left = c[gone][:, gone] - c[gone][:, known] @ torch.linalg.solve(c[known][:, known], c[known][:, gone])
    for row in range(4):
        assert torch.allclose(torch.cov(found.samples[:, row, gone].T), left, atol=0.1 * left.diagonal().max().item())
    assert found.accepted.min() > 0.95


@pytest.mark.parametrize("gone", [[0], [0, 2]])
def test_draws_are_of_the_model_also_where_its_nets_differ_from_the_factors(gone):
    """One latent, whose posterior is a sum over a grid."""
    torch.manual_seed(1)
    x = torch.randn(400, 1) @ torch.tensor([[1.0, -0.8, 0.6]]) + 0.4 * torch.randn(400, 3)
    vae, _ = started(x, latent=1)
    with torch.no_grad():
        for net in (vae.latents.posterior.net, vae.decoder.net):
            net.last.weight.normal_(0, 0.2)
    told, grid = x[:1].clone(), torch.linspace(-8, 8, 4001)[:, None]
    told[:, gone] = torch.nan
    with torch.no_grad():
        p = vae.decoder(grid)
        weight = (p.log_prob(told) - grid[:, 0] ** 2 / 2).softmax(0)[:, None]
        mean, variance = p.base_dist.loc[:, gone], p.base_dist.variance[:, gone]
    right = (weight * mean).sum(0)
    spread = ((weight * (variance + mean**2)).sum(0) - right**2).sqrt()
    mask = torch.zeros(3, dtype=torch.bool).index_fill(0, torch.tensor(gone), True)
    found = impute(Artifact(vae, DataSpec((3,))), x[:1], mask[None], samples=4000, steps=60).samples[:, 0, gone]
    assert torch.allclose(found.mean(0), right, atol=4 * spread.max().item() / 60)
    assert torch.allclose(found.std(0), spread, rtol=0.06)


@pytest.mark.parametrize("dims", [1, 2])
def test_few_columns_and_constant_ones_have_factors(dims):
    x = torch.randn(20, dims)
    vae = table_vae.recipe(DataSpec((dims,)), latent=2, hidden=(4,)).model
    x[:, -1] = 3.0
    vae.start_from(lambda: x)
    assert vae.trace(x).log_weight.isfinite().all()
    assert table_vae.recipe(DataSpec((600,)), hidden=(4,)).model.model.decoder.__class__.__name__ == "Gaussian"


def test_what_is_given_stands_in_any_order_so_that_a_mean_is_over_orders():
    torch.manual_seed(0)
    model = AnyOrder(Transformer(8, heads=2, layers=1, turns=False), Cells([Real(), Real(), Real()], knots=6))
    asked = []
    model.next.register_forward_hook(lambda _, given, __: asked.append(given[0]))
    model().completed(torch.tensor([[0.5, -0.5, torch.nan]]).expand(50, -1), shuffled=True)
    assert set(asked[0].tolist()) == {0, 1} and set(asked[2].tolist()) == {2}


def test_of_draws_there_are_as_many_as_are_asked_for_and_of_a_mean_fifty(monkeypatch):
    x = torch.randn(40, 3)
    options = {"width": 8, "heads": 2, "layers": 1, "regression": False}
    artifact = fit("table-transformer", x, options=options, training={"epochs": 1}, quiet=True)
    asked, completed = [], Ordered.completed
    monkeypatch.setattr(Ordered, "completed", lambda *given, **how: asked.append(1) or completed(*given, **how))
    gone = torch.eye(3, dtype=torch.bool)
    assert len(impute(artifact, x[:3], gone, samples=2, mean=False).samples) == len(asked) == 2
    asked.clear()
    assert impute(artifact, x[:3], gone, samples=2).mean.isfinite().all() and len(asked) == 50
