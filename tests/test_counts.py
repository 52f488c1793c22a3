"""Counts: their distributions against scipy, the model of them, and the files that they come in."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import fusevae
from fusevae import InputError, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from fusevae.nets.counts import CountDecoder, Depth
from fusevae.nets.mlp import MLP, Constant

MEANS, THETA, OWN = np.array([0.02, 3.0, 4e4]), np.array([0.1, 2.0, 50.0]), np.array([0.3, 0.05, 0.5])


def made(cls):
    """A family at known parameters, and scipy's mass, mean and variance of it."""
    log_mean = torch.from_numpy(MEANS).log()
    net = Constant(6 if cls is ZeroInflatedNegativeBinomial else 3)
    net.value.data.copy_(torch.cat([log_mean, torch.logit(torch.from_numpy(OWN))])[: len(net.value)])
    part = cls(net)
    if cls is Poisson:
        return part, stats.poisson(MEANS).logpmf, MEANS, MEANS
    part.dispersion.data = torch.atanh(torch.from_numpy(THETA).log() / 8.0).float() * 8.0  # inside its bounds
    nb = stats.nbinom(THETA, THETA / (THETA + MEANS))
    if cls is NegativeBinomial:
        return part, nb.logpmf, nb.mean(), nb.var()
    own, mean, square = OWN, nb.mean(), nb.var() + nb.mean() ** 2
    return (
        part,
        lambda x: np.log(np.where(x == 0, own, 0.0) + (1 - own) * nb.pmf(x)),
        (1 - own) * mean,
        (1 - own) * square - ((1 - own) * mean) ** 2,
    )


FAMILIES = [Poisson, NegativeBinomial, ZeroInflatedNegativeBinomial]


@pytest.mark.parametrize("cls", FAMILIES)
def test_masses_means_and_variances_are_those_of_scipy(cls):
    part, log_pmf, mean, variance = made(cls)
    p = part()
    for x in ([0, 0, 40_000], [1, 7, 39_000], [0, 2, 41_500]):
        found = p.log_prob(torch.tensor(x, dtype=torch.float32)).item()
        assert found == pytest.approx(log_pmf(np.array(x)).sum(), rel=1e-5, abs=1e-4)
    np.testing.assert_allclose(p.mean.detach(), mean, rtol=1e-5)
    np.testing.assert_allclose(p.variance.detach(), variance, rtol=1e-4)
    drawn = p.sample((20_000,)).double().numpy()
    assert ((drawn >= 0) & (drawn == drawn.round())).all()
    assert (np.abs(drawn.mean(0) - mean) / np.sqrt(variance / 20_000) < 4.5).all()
    assert drawn.var(0)[1] == pytest.approx(variance[1], rel=0.1)


@pytest.mark.parametrize("cls", FAMILIES)
def test_gradients_are_finite_at_zero_and_at_huge_counts(cls):
    part, *_ = made(cls)
    for x in ([0.0, 0.0, 0.0], [0.0, 5e3, 1.6e7]):
        value = part().log_prob(torch.tensor(x))
        gradients = torch.autograd.grad(value, list(part.parameters()))
        assert value.isfinite() and all(g.isfinite().all() for g in gradients)
    assert part().log_prob(torch.tensor([[0.5, 1.0, 1.0], [-1.0, 1.0, 1.0]])).tolist() == [-math.inf] * 2


def test_a_negative_binomial_without_spread_is_a_poisson_one_without_zeros_of_its_own_a_negative_binomial():
    x = torch.tensor([[0.0, 2.0], [3.0, 9.0]])
    poisson, negative, inflated = (cls(Constant(n)) for cls, n in zip(FAMILIES, (2, 2, 4), strict=True))
    inflated.net.value.data[2:] = -40.0
    torch.testing.assert_close(inflated().log_prob(x), negative().log_prob(x))
    negative.dispersion.data[:] = 1e9  # the bound: a shape of 2,981
    torch.testing.assert_close(negative().log_prob(x), poisson().log_prob(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("cls", FAMILIES)
def test_a_likelihood_starts_at_the_means_of_the_counts_and_refuses_what_is_none(cls):
    x = torch.poisson(torch.tensor([0.5, 30.0]).expand(500, 2))
    part = cls(Constant(4 if cls is ZeroInflatedNegativeBinomial else 2))
    part.start_from(lambda: x)
    np.testing.assert_allclose(part().mean.detach(), x.mean(0), rtol=0.06)
    with pytest.raises(InputError, match=r"hold 0\.69.*no count"):
        cls(Constant(4)).start_from(lambda: torch.tensor([[0.0, 0.69]]))


def test_the_shares_of_a_cell_add_up_to_its_depth_and_the_depth_goes_there_and_back():
    depth = Depth(2)
    x = torch.poisson(torch.rand(50, 6) * 40)
    depth.start_from(lambda: x)
    torch.nn.init.normal_(depth.label.weight)
    label = torch.arange(50) % 2
    z = depth(x, label)
    torch.testing.assert_close(depth.log_total(z, label), x.sum(-1).log())
    assert abs(depth(x, None).mean().item() + depth.label(None).item()) < 1e-4
    net = CountDecoder(depth, MLP(3, 6), 6)
    latent = torch.cat([z[:, None], torch.randn(50, 3)], -1)
    torch.testing.assert_close(net(latent, label).exp().sum(-1), x.sum(-1), rtol=1e-4, atol=1e-3)
    with pytest.raises(InputError, match="2 of 3 rows hold no counts"):
        Depth().start_from(lambda: torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]))
