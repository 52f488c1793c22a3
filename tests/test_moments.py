"""A prior that is set to what the latents became, in closed form."""

import json

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, kl_divergence
from torch.distributions import Normal as TorchNormal

import fusevae
from fusevae import ELBO, MLP, VAE, Flat, FullGaussian, Gaussian, Normal, evaluate, fit
from fusevae.core.trace import Term
from fusevae.training import moments
from fusevae.training.moments import _moments


def correlated(n, seed=0):
    """Points whose coordinates all but agree."""
    torch.manual_seed(seed)
    return torch.randn(n, 1) + 0.1 * torch.randn(n, 3)


def copying():
    """A VAE whose encoder copies x into z, and stays so: its latents are as correlated as the data."""
    net = MLP(3, 6, hidden=())
    net.layers[0].weight.data = torch.cat([torch.eye(3), torch.zeros(3, 3)])
    net.layers[0].bias.data = torch.tensor([0.5] * 3 + [-2.0] * 3)
    vae = VAE(Flat(Normal(3), Gaussian(net)), Gaussian(MLP(3, 3, hidden=(8,)), scale=0.3))
    vae.latents.posterior.requires_grad_(False)
    return vae


def test_the_divergence_of_a_diagonal_gaussian_from_a_correlated_one_is_that_of_two_full_ones():
    torch.manual_seed(0)
    for batch in ((), (5,)):
        lower = torch.randn(*batch, 4, 4).tril(-1) + torch.rand(*batch, 4).add(0.5).diag_embed()
        p = MultivariateNormal(torch.randn(*batch, 4), scale_tril=lower)
        q = Independent(TorchNormal(torch.randn(5, 4), torch.rand(5, 4) + 0.1), 1)
        full = MultivariateNormal(q.mean, q.variance.diag_embed())
        torch.testing.assert_close(kl_divergence(q, p), kl_divergence(full, p))


def test_the_moments_are_those_of_the_mixture_of_posteriors():
    torch.manual_seed(0)
    q = Independent(TorchNormal(torch.randn(7, 2), torch.rand(7, 2) + 0.1), 1)
    other = Independent(TorchNormal(torch.ones(1, 2), torch.ones(1, 2)), 1)
    mean, covariance = _moments(Term("z", p.mean, Normal(2)(), p) for p in (q, other))
    means = torch.cat([q.mean, torch.ones(1, 2)]).double()
    variances = torch.cat([q.variance, torch.ones(1, 2)]).double()
    second = (variances.diag_embed() + means[:, :, None] * means[:, None]).mean(0)
    torch.testing.assert_close(mean, means.mean(0))
    torch.testing.assert_close(covariance, second - mean[:, None] * mean[None])
    made = FullGaussian.of(mean, covariance)()
    torch.testing.assert_close(made.covariance_matrix, covariance.float())


def trained(objective=None, **settings):
    settings = {"epochs": 10, "batch_size": 100, "learning_rate": 1e-2} | settings
    return fit(copying(), correlated(600), objective=objective, training=settings, quiet=True)


def test_a_standard_normal_that_the_latents_have_left_gives_way_to_their_moments():
    """And the KL of new examples is lower by as much as is said, and by the divergence that was left."""
    plain, followed = trained(mend=False), trained()
    prior = followed.distribution.latents.prior
    assert isinstance(plain.distribution.latents.prior, Normal) and isinstance(prior, FullGaussian)
    event = next(r for r in followed.history.records if "left the standard normal" in r.get("says", ""))
    said = float(event["says"].split("examples ")[1].split(" ±")[0])
    fresh = correlated(4000, seed=1)
    before, after = evaluate(plain, fresh), evaluate(followed, fresh)
    gain = before.kl - after.kl
    q = plain.distribution.latents.posterior(fresh)
    moments = MultivariateNormal(torch.full((3,), 0.5), 1.0 + (0.01 + q.variance[0, 0].item()) * torch.eye(3))
    left = kl_divergence(moments, MultivariateNormal(torch.zeros(3), torch.eye(3))).item()
    assert gain == pytest.approx(left, rel=0.1) and said == pytest.approx(gain, rel=0.25)


@pytest.mark.parametrize("objective", [ELBO(beta=4.0), fusevae.IWAE(3)])
def test_only_a_bound_that_was_climbed_in_the_end_lets_the_prior_follow(objective):
    assert isinstance(trained(objective).distribution.latents.prior, Normal)


def test_a_vae_whose_samples_a_critic_judges_gets_the_prior_of_its_latents(monkeypatch):
    monkeypatch.setattr(moments, "WORTH", 0.1)  # nats, of small digits
    found = fit("vae-gan", training={"epochs": 3}, quiet=True)
    assert isinstance(found.distribution.model.latents.prior, FullGaussian)


def test_a_standard_normal_that_the_latents_follow_stays():
    torch.manual_seed(0)
    found = fit("binary-vae", training={"epochs": 2}, quiet=True)
    assert isinstance(found.distribution.latents.prior, Normal)


def test_a_run_keeps_the_prior_that_followed(tmp_path):
    fit(copying(), correlated(600), training={"epochs": 3, "batch_size": 100}, quiet=True, folder=tmp_path / "a")
    run = fusevae.Run.open(tmp_path / "a")
    assert isinstance(run.artifact.distribution.latents.prior, FullGaussian)
    events = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert sum(e.get("event") == "mended" for e in events) == 1
    longer = fusevae.resume(tmp_path / "a", correlated(600), epochs=4, quiet=True)  # from the standard normal on
    assert isinstance(longer.distribution.latents.prior, FullGaussian)
