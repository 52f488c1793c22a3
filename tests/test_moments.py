"""A prior that is set to what the latents became: their Gaussian, or a mixture."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, kl_divergence
from torch.distributions import Normal as TorchNormal

import fusevae
import fusevae.cli
from fusevae import (
    ELBO,
    MLP,
    VAE,
    VAEGAN,
    ConvCritic,
    Flat,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    Normal,
    evaluate,
    fit,
)
from fusevae.core.trace import Term
from fusevae.data.examples import InMemory
from fusevae.training import budget, moments
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
    monkeypatch.setattr(moments, "_away", lambda *_: 0.0)  # of which samples say nothing yet
    found = fit("vae-gan", training={"epochs": 3}, quiet=True)
    assert isinstance(found.distribution.model.latents.prior, GaussianMixture)


def test_a_standard_normal_that_the_latents_follow_stays():
    torch.manual_seed(0)
    vae = copying()
    vae.latents.posterior.net.layers[0].weight.data *= 0.99  # and a deviation of exp(-2)
    vae.latents.posterior.net.layers[0].bias.data[:3] = 0.0
    found = fit(vae, torch.randn(600, 3), training={"epochs": 2}, quiet=True)
    assert isinstance(found.distribution.latents.prior, Normal)


def test_a_run_keeps_the_prior_that_followed(tmp_path):
    fit(copying(), correlated(600), training={"epochs": 3, "batch_size": 100}, quiet=True, folder=tmp_path / "a")
    run = fusevae.Run.open(tmp_path / "a")
    assert isinstance(run.artifact.distribution.latents.prior, FullGaussian)
    events = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert sum(e.get("event") == "mended" for e in events) == 1
    longer = fusevae.resume(tmp_path / "a", correlated(600), epochs=4, quiet=True)  # from the standard normal on
    assert isinstance(longer.distribution.latents.prior, FullGaussian)


def groups(n, seed=0):
    """Points about three places."""
    torch.manual_seed(seed)
    places = torch.tensor([[2.0, 0.0, 0.0], [-1.0, 1.7, 0.0], [-1.0, -1.7, 0.0]])
    return places[torch.randint(3, (n,))] + 0.2 * torch.randn(n, 3)


def in_groups(n=600, **settings):
    settings = {"epochs": 3, "batch_size": 100} | settings
    return fit(copying(), groups(n), training=settings, quiet=True)


def test_latents_in_groups_get_a_mixture_by_which_new_examples_are_likelier():
    """And samples are in the groups, as of the artifact that is loaded."""
    plain, found = in_groups(mend=False), in_groups()
    prior = found.distribution.latents.prior
    assert isinstance(prior, GaussianMixture) and prior.components == 3
    (event,) = (r for r in found.history.records if "left the standard normal" in r.get("says", ""))
    assert "a mixture of 3 Gaussians is the prior" in event["says"]
    fresh = groups(4000, seed=1)
    before, after = evaluate(plain, fresh), evaluate(found, fresh)
    said = float(event["says"].split("examples ")[1].split(" ±")[0])
    assert before.kl - after.kl == pytest.approx(said, rel=0.1)
    z = prior().sample((2000,)) - 0.5
    nearest = torch.cdist(z, groups(500, seed=2)).min(1).values
    assert nearest.quantile(0.95) < 0.6 < torch.cdist(torch.randn(2000, 3), z).min(1).values.quantile(0.95)


def test_the_same_training_gives_the_same_mixture_and_its_artifact_is_used_as_any(tmp_path):
    found, again = in_groups(), in_groups()
    a, b = (one.distribution.latents.prior.net.value for one in (found, again))
    assert torch.equal(a, b)
    read = fusevae.load(found.save(tmp_path))
    assert torch.equal(fusevae.sample(read, 5), fusevae.sample(found, 5))
    x = groups(2, seed=3)
    assert fusevae.interpolate(read, x[:1], x[1:]).isfinite().all()
    assert fusevae.log_likelihood(read, groups(20), importance_samples=5).isfinite().all()


def test_a_run_whose_prior_followed_gives_its_weights_to_another(tmp_path):
    for name, more in (("a", []), ("b", ["--from", str(tmp_path / "a")])):
        quick = ["--set", "training.epochs=2", "--output", str(tmp_path / name)]
        assert fusevae.cli.main(["train", "binary-vae", *quick, *more]) == 0
    assert not isinstance(fusevae.load(tmp_path / "a").distribution.latents.prior, Normal)


def test_of_few_examples_no_mixture_is_taken():
    found = fit(copying(), correlated(120), training={"epochs": 10, "batch_size": 50}, quiet=True)
    assert not isinstance(found.distribution.latents.prior, GaussianMixture)


def judged():
    """A VAE of groups whose decoder is the encoder's reverse, and a loop as of a critic's training."""
    vae = VAE(copying().latents, Gaussian(MLP(3, 3, hidden=()), scale=0.3))
    vae.decoder.net.layers[0].weight.data = torch.eye(3)
    vae.decoder.net.layers[0].bias.data = torch.full((3,), -0.5)
    made = fusevae.Artifact(vae, fusevae.DataSpec((3,))).eval()
    game = SimpleNamespace(players={"encoder": SimpleNamespace(objective=VAEGAN(ConvCritic((1, 8, 8), (4, 8))))})
    parts = {name: InMemory(groups(n, n), None, made.data) for name, n in (("train", 500), ("validation", 200))}
    told = []
    return made, SimpleNamespace(
        game=game, settings=fusevae.Training(), seed=0, device="cpu", tell=lambda *event: told.append(event), **parts
    )


def test_what_a_critic_has_judged_gets_a_prior_whose_samples_come_nearer():
    made, loop = judged()
    latents, held = made.distribution.latents, loop.validation
    prior = moments.follow(loop, made).distribution.latents.prior
    assert isinstance(prior, GaussianMixture)
    far, near = (moments._away(made, latents, p, held, 0) for p in (Normal(3), prior))
    assert near < 0.5 < 1 < far


def test_where_samples_of_the_standard_normal_are_nearer_the_critics_model_keeps_it(monkeypatch):
    """The decoder is at home there: the bound alone would have the mixture, by many nats."""
    made, loop = judged()
    monkeypatch.setattr(moments, "_away", lambda artifact, latents, prior, *_: 2.0 - isinstance(prior, Normal))
    assert isinstance(moments.follow(loop, made).distribution.latents.prior, Normal)


def test_a_budget_sets_the_time_of_the_mixtures_aside(monkeypatch):
    monkeypatch.setattr(moments, "seconds", lambda latents, count, settings: int(settings.seconds) // 10)
    monkeypatch.setattr(budget, "timed", lambda *_, **__: (0.01, 0.0, 10))
    data = fusevae.read_data(torch.randn(600, 3))
    followed, left = (
        budget.plan(fusevae.Experiment(copying(), training=fusevae.Training(mend=mend)), data, 100, "cpu")
        for mend in (True, False)
    )
    assert followed.beside == pytest.approx(left.beside + 10)
    assert followed.steps == pytest.approx(0.9 * left.steps, rel=0.01)


def test_how_much_is_fitted_depends_on_the_settings_alone():
    latents = copying().latents
    settings = fusevae.Training(budget="100s")
    n, numbers = moments.extent(latents, 10**6, settings)
    assert n == moments.MOST and list(numbers) == list(moments.NUMBERS)
    wide = Flat(Normal(64), Gaussian(MLP(3, 128)))
    n, numbers = moments.extent(wide, 54000, settings)
    assert n < 54000 and numbers == [3, 10, 30]
    assert moments.seconds(wide, 54000, settings) <= 0.1 * 100
    assert moments.extent(wide, 54000, fusevae.Training(budget="1s"))[1] == []
