"""Oracles: what theory gives in closed form, beside what the library computes."""

import math

import pytest
import torch
from conftest import points
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

import fusevae
from fusevae import (
    MADE,
    VAE,
    Artifact,
    Bernoulli,
    ContinuousBernoulli,
    DataSpec,
    Flat,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    LowRankGaussian,
    Normal,
    Vamp,
)
from fusevae.core import noise
from fusevae.core.kl import kl
from fusevae.distributions.calibrated_levels import CalibratedLevels
from fusevae.distributions.discretized_logistic import DiscretizedLogistic
from fusevae.distributions.vamp import log_normals
from fusevae.evaluation import blocks as blocks_module
from fusevae.evaluation import likelihood
from fusevae.nets.masked import MaskedMLP
from fusevae.nets.mlp import MLP, Constant
from fusevae.objectives.elbo import ELBO
from fusevae.objectives.stl import STL

D, Z, SIGMA = 4, 2, 0.5


class Line(nn.Linear):
    """A linear layer that a condition may be given to."""

    def forward(self, x, *others):
        return super().forward(x)


class Affine(nn.Module):
    """Linear mean, constant log-scale (through the inverse of the smooth bound)."""

    def __init__(self, mean: nn.Linear, raw: torch.Tensor) -> None:
        super().__init__()
        self.mean, self.raw, self.outputs = mean, nn.Parameter(raw), (2 * mean.out_features,)

    def forward(self, x, *others):
        mean = self.mean(x)
        return torch.cat([mean, self.raw.expand_as(mean)], -1)


def raw_for(scale, bounds=(-7.0, 5.0)):
    middle, half = sum(bounds) / 2, (bounds[1] - bounds[0]) / 2
    return middle + half * torch.atanh((torch.as_tensor(scale).log() - middle) / half)


class Linear:
    """A VAE whose likelihood and posterior are known: p(z) = N(0, I), p(x | z) = N(W z + b, s^2 I).

    The columns of W are orthogonal, so that the true posterior has the diagonal covariance that q has too."""

    def __init__(self, wrong: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(1)
        basis = torch.linalg.qr(torch.randn(D, Z, generator=generator))[0]
        self.W, self.b = basis * torch.tensor([1.5, 0.7]), torch.randn(D, generator=generator)
        precision = torch.eye(Z) + self.W.T @ self.W / SIGMA**2
        self.covariance = torch.linalg.inv(precision)
        self.gain = self.covariance @ self.W.T / SIGMA**2
        encode, decode = nn.Linear(D, Z), Line(Z, D)
        with torch.no_grad():
            encode.weight.copy_(self.gain + wrong * torch.randn(Z, D, generator=generator))
            encode.bias.copy_(-encode.weight @ self.b + wrong)
            decode.weight.copy_(self.W)
            decode.bias.copy_(self.b)
        scale = self.covariance.diagonal().sqrt() * (1 + wrong)
        self.posterior = Gaussian(Affine(encode, raw_for(scale)), event_dim=1)
        self.vae = VAE(Flat(Normal(Z), self.posterior), Gaussian(decode, scale=SIGMA, event_dim=1))
        self.marginal = MultivariateNormal(self.b.double(), (self.W @ self.W.T + SIGMA**2 * torch.eye(D)).double())
        self.x = self.marginal.sample((50,)).float()
        self.exact = self.marginal.log_prob(self.x.double())

    @property
    def gap(self):
        """KL(q || p(z | x)) of each example, in closed form."""
        q = self.posterior(self.x)
        mean = (self.x - self.b) @ self.gain.T
        truth = MultivariateNormal(mean, self.covariance)
        return kl_divergence(MultivariateNormal(q.mean, torch.diag_embed(q.variance)), truth).double()


@torch.no_grad()
def test_with_the_true_posterior_every_sample_gives_the_exact_likelihood():
    m = Linear()
    trace = m.vae.trace(m.x, samples=(5,))
    torch.testing.assert_close(trace.log_weight.double(), m.exact.expand(5, -1), rtol=0, atol=1e-4)
    elbo = m.vae.trace(m.x, samples=(20_000,)).elbo.double()
    error = elbo.std(0) / math.sqrt(len(elbo))
    assert ((elbo.mean(0) - m.exact).abs() < 5 * error + 1e-4).all()


def test_without_the_score_the_gradient_vanishes_at_the_true_posterior():
    m = Linear()
    for objective, small in ((STL(), True), (ELBO(), False)):
        trace = m.vae.trace(m.x)
        value = objective(trace, 0) if small else trace.log_weight
        found = torch.autograd.grad(value.mean(), list(m.posterior.parameters()))
        assert all(bool((g.abs() < 1e-4).all()) for g in found) is small


@torch.no_grad()
def test_the_gap_of_one_sample_is_the_kl_to_the_true_posterior():
    m = Linear(wrong=0.2)
    for values in (m.vae.trace(m.x, samples=(20_000,)).elbo, m.vae.trace(m.x, samples=(20_000,)).log_weight):
        error = values.double().std(0) / math.sqrt(len(values))
        assert (m.gap > 0.05).all()
        assert ((m.exact - values.double().mean(0) - m.gap).abs() < 5 * error).all()


@torch.no_grad()
def test_importance_weighting_tightens_the_bound_to_within_a_hundredth_of_a_nat():
    m = Linear(wrong=0.1)
    artifact = Artifact(m.vae, DataSpec((D,), "float32", -100, 100))
    gaps, errors = [], []
    for k in (1, 10, 100, 1000):
        values = torch.stack([fusevae.log_likelihood(artifact, m.x, importance_samples=k, seed=s) for s in range(12)])
        gap = (m.exact - values).mean(1)
        gaps.append(gap.mean().item())
        errors.append(gap.std().item() / math.sqrt(len(gap)))
        assert gap.mean() > -4 * gap.std() / math.sqrt(len(gap))  # below the exact value
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] == pytest.approx(m.gap.mean().item(), abs=5 * errors[0])
    assert abs(gaps[-1]) < 0.01


def test_training_drives_the_elbo_to_the_optimum():
    """The best ELBO is the maximum likelihood of probabilistic PCA (Tipping & Bishop 1999), which is known."""
    truth = Linear()
    x = truth.marginal.sample((2000,)).float()
    encode, decode = nn.Linear(D, Z), Line(Z, D)
    model = VAE(
        Flat(Normal(Z), Gaussian(Affine(encode, torch.zeros(Z)), event_dim=1)),
        Gaussian(decode, scale="shared", event_dim=1),
    )
    training = fusevae.Training(epochs=20, batch_size=100, learning_rate=0.05, average=0.9, validate_every=1000)
    trust = fusevae.fit(
        model, {"train": x, "validation": x[:100], "test": x[:100]}, training=training, quiet=True, device="cpu"
    )
    covariance = torch.cov(x.double().T, correction=0)
    values = torch.linalg.eigvalsh(covariance).flip(0)
    noise_variance = values[Z:].mean()
    log_det = values[:Z].log().sum() + (D - Z) * noise_variance.log()
    best = -0.5 * (D * math.log(2 * math.pi) + log_det + D)
    found = fusevae.log_likelihood(trust, x, importance_samples=200).mean()
    elbo = trust.distribution.trace(x, samples=(50,)).elbo.mean()
    assert found < best + 1e-3
    assert found == pytest.approx(best.item(), abs=0.02)
    assert elbo.item() == pytest.approx(best.item(), abs=0.02)


# divergences


def numerical_kl(q, p, discrete):
    x, weight = points(q, discrete)
    log_q, log_p = q.log_prob(x).double(), p.log_prob(x).double()
    return (weight * log_q.exp() * (log_q - log_p)).sum().item()


def one(cls, outputs, **kw):
    return cls(Constant(outputs, std=1.0), **kw)


@pytest.mark.parametrize(
    ("q", "p", "discrete", "analytic"),
    {
        "Gaussian || Normal": (lambda: one(Gaussian, 2), lambda: Normal(1), False, True),
        "Gaussian || Gaussian in two dimensions": (lambda: one(Gaussian, 4), lambda: one(Gaussian, 4), False, True),
        "FullGaussian || Gaussian": (
            lambda: one(FullGaussian, 5, dims=2),
            lambda: one(Gaussian, 4),
            False,
            True,
        ),
        "LowRankGaussian || Normal": (
            lambda: one(LowRankGaussian, 6, dims=2, rank=1),
            lambda: Normal(2),
            False,
            True,
        ),
        "FullGaussian || GaussianMixture": (
            lambda: one(FullGaussian, 5, dims=2),
            lambda: one(GaussianMixture, 15, components=3),
            False,
            False,
        ),
        "Bernoulli || Bernoulli": (lambda: one(Bernoulli, 4), lambda: one(Bernoulli, 4), True, True),
        "ContinuousBernoulli": (lambda: one(ContinuousBernoulli, 1), lambda: one(ContinuousBernoulli, 1), False, True),
        "Gaussian || GaussianMixture": (
            lambda: one(Gaussian, 2),
            lambda: one(GaussianMixture, 9, components=3),
            False,
            False,
        ),
    }.values(),
)
@torch.no_grad()
def test_the_kl_equals_the_integral(q, p, discrete, analytic):
    q, p = q()(), p()()
    z = q.sample((40_000,))
    found = kl(q, p, z)
    exact = numerical_kl(q, p, discrete)
    assert found.analytic is analytic
    if analytic:
        assert found.total.item() == pytest.approx(exact, abs=1e-4)
    estimate = (q.log_prob(z) - p.log_prob(z)).double()
    assert estimate.mean().item() == pytest.approx(exact, abs=5 * estimate.std().item() / 200)
    if not analytic:
        torch.testing.assert_close(found.total.double(), estimate)


def test_the_kl_of_bernoullis_broadcasts_over_the_batch():
    q, p = Bernoulli(MLP(2, 3))(torch.randn(5, 2)), Bernoulli(Constant(3, std=1.0))()
    a, b = q.mean, p.mean
    found = kl(q, p, q.sample()).per_dim
    torch.testing.assert_close(found, a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log())


# families


def test_the_mixture_is_what_its_numbers_say():
    part = GaussianMixture(Constant(GaussianMixture.outputs(1, 2)), components=2)
    with torch.no_grad():
        part.net.value.copy_(
            torch.stack([torch.tensor([0.3, 0.7]).log(), torch.tensor([-2.0, 3.0]), raw_for([0.5, 2.0])], 1).flatten()
        )
        p = part()
    x = torch.tensor([[-2.0], [0.0], [3.0]])
    density = sum(
        w * torch.exp(-0.5 * ((x[:, 0] - m) / s) ** 2) / (s * math.sqrt(2 * math.pi))
        for w, m, s in ((0.3, -2, 0.5), (0.7, 3, 2))
    )
    torch.testing.assert_close(p.log_prob(x), density.log())
    assert p.mean.item() == pytest.approx(0.3 * -2 + 0.7 * 3)


@torch.no_grad()
def test_a_mixture_of_distant_components_has_the_known_entropy():
    part = GaussianMixture(Constant(GaussianMixture.outputs(1, 2)), components=2)
    part.net.value.copy_(torch.tensor([0.0, -100.0, raw_for(1.0), 0.0, 100.0, raw_for(1.0)]))
    p = part()
    x = p.sample((50_000,))
    entropy = -p.log_prob(x).double()
    assert entropy.mean().item() == pytest.approx(
        math.log(2) + 0.5 * math.log(2 * math.pi * math.e), abs=5 * entropy.std().item() / 223
    )


def direct_logistic(raw, x, components, levels, low=-1.0, high=1.0):
    """log p of one value by the formula as it stands in the paper, in float64."""
    logits, means, scales = raw.double().split(components)
    s = (-2.5 + 4.5 * torch.tanh((scales - 1.5 + 2.5) / 4.5)).exp()
    half = (high - low) / (levels - 1) / 2
    upper = torch.sigmoid((x + half - means) / s) if x < high - half else torch.ones_like(s)
    lower = torch.sigmoid((x - half - means) / s) if x > low + half else torch.zeros_like(s)
    return torch.logsumexp(logits.log_softmax(0) + (upper - lower).log(), 0)


def test_discretized_logistics_equal_the_direct_formula():
    part = DiscretizedLogistic(Constant(6, std=1.0), components=2, levels=16, low=0.0, high=15.0)
    with torch.no_grad():
        part.net.value[2:4] = torch.tensor([3.0, 9.0])
        part.net.value[4:] = torch.tensor([1.0, 3.0])
        p = part()
        for level in range(16):
            direct = direct_logistic(part.net.value, float(level), 2, 16, 0.0, 15.0).item()
            assert p.log_prob(torch.tensor([float(level)])).item() == pytest.approx(direct, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("scale", [-30.0, -3.0, 0.0, 3.0, 30.0])
@pytest.mark.parametrize("mean", [-50.0, 0.0, 50.0])
def test_discretized_logistics_are_finite_in_the_tails(scale, mean):
    part = DiscretizedLogistic(Constant(6), components=2, levels=256)
    with torch.no_grad():
        part.net.value[2:4] = mean
        part.net.value[4:] = scale
    x = torch.tensor([-1.0, -1 + 2 / 255, 0.0 + 1 / 255, 1 - 2 / 255, 1.0])[:, None]
    log_p = part().log_prob(x)
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert part.net.value.grad.isfinite().all()
    every = torch.linspace(-1, 1, 256)[:, None]
    assert part().log_prob(every).double().exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_one_of_many_levels_can_be_all_but_certain():
    part = DiscretizedLogistic(Constant(3), components=1, levels=2**16)  # the scale was 30 bins at least
    with torch.no_grad():
        part.net.value[:] = torch.tensor([0.0, -1 + 2000 / 65535, -30.0])
    assert part().log_prob(torch.tensor([-1 + 2000 / 65535])).item() > -0.1


@pytest.mark.parametrize("logit", [0.0, 1e-7, 1e-4, 0.004, 0.09, 0.11, 0.9, 1.1, 5.0, 15.0, 30.0, 100.0, 1e4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_continuous_bernoulli_is_a_density_with_its_gradient_whatever_the_logit(logit, sign):
    part = ContinuousBernoulli(Constant(1))
    with torch.no_grad():
        part.net.value.fill_(sign * logit)
    value = part.net.value.detach().double().item()
    p = part()
    x = torch.tensor([[0.0], [1e-3], [0.3], [0.5], [1.0]])
    log_partition = (
        math.log(math.expm1(abs(value)) / abs(value))
        if 1e-3 < abs(value) < 300
        else (value**2 / 24 + abs(value) / 2 if abs(value) <= 1e-3 else abs(value) - math.log(abs(value)))
    )
    log_partition -= abs(value) if value < 0 else 0  # A(-l) = A(l) - l
    exact = torch.tensor([v * value - log_partition for v in x.double()[:, 0].tolist()])
    torch.testing.assert_close(p.log_prob(x).double(), exact.double(), rtol=2e-6, atol=2e-6)
    if abs(value) > 1:
        mean = 1 / -math.expm1(-value) - 1 / value if value > -300 else -1 / value
    else:
        mean = 0.5 + value / 12 - value**3 / 720 + value**5 / 30240 - value**7 / 1209600
    (gradient,) = torch.autograd.grad(p.log_prob(x).sum(), part.net.value)
    assert gradient.item() == pytest.approx((x.sum() - 5 * mean).item(), abs=1e-5)
    assert p.mean.item() == pytest.approx(mean, abs=1e-6)
    drawn = p.rsample((20_000,))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    variance = p.variance.item()
    assert variance > 0
    assert drawn.double().mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / 20_000) + 1e-6)
    assert drawn.double().var().item() == pytest.approx(variance, rel=0.1)
    (path,) = torch.autograd.grad(drawn.mean(), part.net.value)
    assert path.item() == pytest.approx(variance, rel=0.1)  # d mean / d logit is the variance


def test_the_optimal_scale_is_that_of_the_profile_likelihood():
    part = Gaussian(MLP(2, 3), scale="optimal").train()
    given, x = torch.randn(6, 2), torch.randn(6, 3)
    parameters = list(part.net.parameters())
    total = part(given).log_prob(x).sum()
    mean = part.net(given)
    variance = ((x - mean) ** 2).mean()  # the profile: sigma as a function of the mean
    profile = -0.5 * (x.numel() * (2 * math.pi * variance).log() + ((x - mean) ** 2).sum() / variance)
    assert total.item() == pytest.approx(profile.item(), rel=1e-5)
    for found, wanted in zip(
        torch.autograd.grad(total, parameters), torch.autograd.grad(profile, parameters), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    for factor in (0.9, 1.1):  # it is a maximum
        other = torch.distributions.Normal(mean, variance.sqrt() * factor).log_prob(x).sum()
        assert other < total
    part.eval()
    torch.testing.assert_close(part.variance, variance.detach())
    kept = torch.distributions.Normal(mean, part.variance.sqrt()).log_prob(x + 1).sum(-1)
    torch.testing.assert_close(part(given).log_prob(x + 1), kept)


def test_calibrated_levels_are_the_counts_at_their_means_and_move_these_as_an_optimal_scale():
    part = CalibratedLevels(Constant(4), levels=3, bins=3).train()
    with torch.no_grad():
        part.net.value.copy_(torch.tensor([-1.0, 0.0, 0.5, 7.0]))  # at a bin, at one, between two, beyond the last
    x = torch.tensor([[-1.0, 0.0, 0.0, 1.0]] * 3 + [[0.0, 0.0, 1.0, 1.0]])
    total = part().log_prob(x).sum()
    square = (x - part.net.value) ** 2
    profile = -0.5 * x.numel() * square.mean().log()
    found, wanted = (torch.autograd.grad(value, part.net.value)[0] for value in (total, profile))
    torch.testing.assert_close(found, wanted)
    assert part.counts.tolist() == [[3, 1, 0], [0, 4 + 3 / 2, 1 / 2], [0, 3 / 2, 1 / 2 + 4]]
    part.counts *= 1e6  # what the first values count is nothing beside
    p = part.eval()()
    wanted = [3 / 4, 5.5 / 6, (5.5 / 6 + 1.5 / 6) / 2, 4.5 / 6]
    assert p.log_prob(torch.tensor([-1.0, 0.0, 0.0, 1.0])).item() == pytest.approx(
        math.log(math.prod(wanted)), abs=1e-4
    )
    assert p.mean.tolist() == pytest.approx([-3 / 4, 0.5 / 6, (0.5 + 4.5) / 12, 4.5 / 6], abs=1e-4)


def test_calibrated_levels_count_in_training_alone_and_only_the_last_batches():
    part = CalibratedLevels(Constant(2), levels=3, bins=3).train()
    for _ in range(2000):
        part().log_prob(torch.zeros(5, 2))
    assert part.counts.sum().item() == pytest.approx(20 * 10, rel=1e-3)
    before = part.counts.clone()
    with torch.no_grad():
        part().log_prob(torch.ones(5, 2))
    part.eval()().log_prob(torch.ones(5, 2))
    assert torch.equal(part.counts, before)


def test_an_optimal_scale_follows_the_batches_in_any_p_slot():
    prior = Gaussian(Constant(2), scale="optimal")
    vae = VAE(Flat(prior, Gaussian(MLP(3, 4))), Gaussian(MLP(2, 3), scale=1.0)).train()
    trace = vae.trace(torch.randn(500, 3))
    _ = trace.elbo
    z = trace.terms[0].z
    assert prior.variance.item() == pytest.approx(((z - prior.net.value) ** 2).mean().item(), rel=1e-4)


# evaluation


def mass_artifact():
    vae = VAE(Flat(Normal(1), Gaussian(MLP((1, 2, 3), 2, hidden=(8,)))), Bernoulli(MLP(1, (1, 2, 3), hidden=(8,))))
    return Artifact(vae, DataSpec((1, 2, 3), "float32", 0, 1)), (torch.rand(40, 1, 2, 3) < 0.5).float()


def byte_artifact():
    decoder = DiscretizedLogistic(
        MLP(1, DiscretizedLogistic.outputs((6,), 2)), components=2, levels=256, low=0, high=255
    )
    vae = VAE(Flat(Normal(1), Gaussian(MLP(6, 2))), decoder)
    return Artifact(vae, DataSpec((6,), "uint8", 0, 255)), torch.randint(0, 256, (40, 6), dtype=torch.uint8)


def test_an_evaluation_says_what_the_issue_asks_for():
    artifact, x = byte_artifact()
    found = fusevae.evaluate(artifact, x, importance_samples=7)
    each = fusevae.log_likelihood(artifact, x, importance_samples=7)
    value = found.log_likelihood.value
    assert (found.n, found.log_likelihood.kind, found.log_likelihood.importance_samples) == (
        40,
        "bound",
        7,
    )
    assert value == pytest.approx(each.mean().item())
    assert found.log_likelihood.stderr == pytest.approx(each.std().item() / math.sqrt(40))
    assert found.bits_per_dim == pytest.approx(-value / 6 / math.log(2))
    assert found.elbo == pytest.approx(found.reconstruction - found.kl)
    assert found.kl == pytest.approx(sum(found.kl_per_dimension["z"]))
    assert found.parameters == sum(p.numel() for p in artifact.distribution.parameters())


def test_an_exact_density_needs_no_samples_and_has_no_parts():
    x = torch.randn(30, 2)
    found = fusevae.evaluate(Artifact(Normal(2), DataSpec((2,))), x)
    assert found.log_likelihood.kind == "exact"
    assert found.log_likelihood.importance_samples is None
    assert (found.elbo, found.kl, found.bits_per_dim) == (None, None, None)
    assert found.log_likelihood.value == pytest.approx(Normal(2)().log_prob(x).mean().item())


def test_an_evaluation_is_the_same_for_a_seed_and_leaves_the_callers_random_state():
    artifact, x = mass_artifact()
    state = torch.get_rng_state()
    first, again, other = (fusevae.log_likelihood(artifact, x, importance_samples=5, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


@torch.no_grad()
def test_how_the_data_are_cut_changes_nothing_but_the_noise(monkeypatch):
    artifact, x = mass_artifact()
    exact = Artifact(Normal((1, 2, 3)), artifact.data)
    vae = artifact.distribution
    z = torch.linspace(-10, 10, 2001)[:, None]
    joint = vae.decoder(z[:, None]).log_prob(x).double() + Normal(1)().log_prob(z).double()[:, None]
    truth = torch.logsumexp(joint, 0) + math.log(0.01)
    whole = fusevae.log_likelihood(exact, x)
    for block, values in ((500, 2**20), (7, 2**20), (40, 600), (7, 600)):
        monkeypatch.setattr(blocks_module, "BLOCK", block)
        monkeypatch.setattr(likelihood, "VALUES", values)
        assert torch.equal(fusevae.log_likelihood(exact, x), whole)
        found = fusevae.log_likelihood(artifact, x, importance_samples=1000)
        torch.testing.assert_close(found, truth, rtol=0, atol=0.15)
        assert (found - truth).mean().abs().item() < 0.03


@pytest.mark.parametrize(("n", "k"), [(40, 3), (3, 1000), (40, 100), (1, 7)])
def test_what_is_decoded_at_once_is_bounded_whatever_n_and_k_are(monkeypatch, n, k):
    artifact, x = mass_artifact()
    limit = 60
    monkeypatch.setattr(likelihood, "VALUES", limit * 6)
    rows = []
    artifact.distribution.decoder.register_forward_hook(lambda _m, _a, p: rows.append(p.batch_shape.numel()))
    fusevae.log_likelihood(artifact, x[:n], importance_samples=k)
    assert max(rows) <= limit
    assert sum(rows) == n * k


@torch.no_grad()
def test_elbo_of_one_importance_sample_is_the_monte_carlo_elbo():
    m = Linear(wrong=0.1)
    artifact = Artifact(m.vae, DataSpec((D,), "float32", -100, 100))
    found = fusevae.log_likelihood(artifact, m.x, importance_samples=1)
    with noise.keyed(0, "importance", 0, 0, 0):
        trace = m.vae.trace(m.x, samples=(1,))
    term = trace.terms[0]
    by_hand = (trace.reconstruction + term.log_p - term.log_q)[0].double()
    torch.testing.assert_close(found, by_hand, rtol=0, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize(
    ("objective", "claims"),
    [
        (ELBO(), True),
        (ELBO(beta=3.0), True),
        (ELBO(free_bits=1.5), True),
        (ELBO(free_bits=4.0, per="whole"), True),
        (ELBO(beta=0.1), False),
    ],
)
@torch.no_grad()
def test_what_says_it_is_a_bound_is_below_the_exact_likelihood(objective, claims):
    m = Linear(wrong=0.1)
    value = objective(m.vae.trace(m.x, samples=(5000,)), 0.5).double()
    below = m.exact - value.mean(0) + 4 * value.std(0) / math.sqrt(5000) > 0
    assert objective.is_bound(0.5) is claims
    assert bool(below.all()) is claims


# priors


@torch.no_grad()
def test_a_vamp_prior_is_the_mixture_of_the_posterior_at_its_inputs():
    q = Gaussian(MLP(3, 4))
    prior = Vamp(q, 3, components=6)
    z = 3 * torch.randn(20, 5, 2)
    u = prior.pseudo_inputs
    assert u.min() >= 0 and u.max() <= 1
    by_hand = torch.stack([q(u[k]).log_prob(z).double() for k in range(6)]).exp().mean(0).log()
    torch.testing.assert_close(prior().log_prob(z).double(), by_hand, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(prior().mean, q(u).mean.mean(0))


@torch.no_grad()
def test_labels_that_a_posterior_does_not_see_change_nothing_of_its_vamp_prior(monkeypatch):
    """Labelled data, a model without conditions: the mixture must not be spread over the batch, which is dear."""
    prior = fusevae.Vamp(Gaussian(MLP(3, 4)), 3, components=5)
    z, label = torch.randn(7, 4, 2), torch.tensor([0, 1, 2, -1])
    alone = prior().log_prob(z)
    monkeypatch.setattr(torch.distributions.Normal, "log_prob", None)  # of each example with each component
    torch.testing.assert_close(prior(label).log_prob(z), alone)


@torch.no_grad()
def test_a_vamp_prior_given_labels_is_a_mixture_for_each():
    q = Gaussian(MLP(3, 4, classes=2))
    prior = Vamp(q, 3, components=6, bounds=None)
    label = torch.tensor([0, 1, 1])
    z = torch.randn(5, 3, 2)
    p = prior(label)
    for i in range(3):
        one = prior(label[i : i + 1])
        torch.testing.assert_close(p.log_prob(z)[:, i], one.log_prob(z[:, i : i + 1])[:, 0])
        by_hand = torch.stack([q(u, label[i]).log_prob(z[:, i]) for u in prior.pseudo_inputs]).exp().mean(0).log()
        torch.testing.assert_close(p.log_prob(z)[:, i], by_hand, rtol=1e-4, atol=1e-5)
    assert p.sample((7,)).shape == (7, 3, 2)


@torch.no_grad()
def test_a_kernel_smooths_a_vamp_prior_as_noise_on_what_its_components_give():
    """A convolution: the density is the mean of the mixture's at z less noise of the kernel's width."""
    torch.manual_seed(0)
    q = Gaussian(MLP(3, 4))
    plain, prior = Vamp(q, 3, components=6), Vamp(q, 3, components=6, kernel=2)
    prior.raw.copy_(plain.raw)
    prior.log_width.copy_(torch.tensor([0.0, -9.0]))
    z, noise = torch.randn(6, 2), torch.randn(20_000, 1, 2) * prior.log_width.exp()
    smoothed = plain().log_prob(z - noise).double().exp().mean(0).log()
    torch.testing.assert_close(prior().log_prob(z).double(), smoothed, rtol=0.02, atol=0.02)
    drawn, noisy = prior().sample((20_000,)), plain().sample((20_000,)) + noise[:, 0]
    torch.testing.assert_close(drawn.var(0), noisy.var(0), rtol=0.05, atol=0)


@torch.no_grad()
def test_narrow_components_far_from_zero_keep_their_precision():
    mean, scale = 50 + torch.randn(4, 3), torch.full((4, 3), 1e-3)
    z = mean + 1e-3 * torch.randn(4, 3)
    exact = torch.distributions.Normal(mean.double(), scale.double()).log_prob(z.double()).sum(-1)
    torch.testing.assert_close(log_normals(z, mean, scale).diagonal().double(), exact, rtol=1e-4, atol=1e-4)


def test_a_vae_whose_prior_is_made_of_its_posterior_is_saved_whole(tmp_path):
    q = Gaussian(MLP(4, 4))
    vae = VAE(Flat(Vamp(q, 4, components=5), q), Bernoulli(MLP(2, 4)))
    Artifact(vae, DataSpec((4,), "float32", 0, 1)).save(tmp_path)
    found = fusevae.load(tmp_path).distribution
    assert found.latents.prior.posterior is found.latents.posterior
    x = torch.ones(3, 4)
    with noise.keyed(0):
        mine = vae.trace(x).log_weight
    with noise.keyed(0):
        torch.testing.assert_close(found.trace(x).log_weight, mine)


# likelihoods that can be trusted


def test_the_bounds_by_samples_rise_to_the_likelihood():
    m = Linear(wrong=0.1)
    artifact = Artifact(m.vae, DataSpec((D,), "float32", -100, 100))
    found = fusevae.evaluate(artifact, m.x, importance_samples=2000).log_likelihood
    assert list(found.bounds) == [1, 10, 100, 1000, 2000]
    assert found.bounds[2000] == pytest.approx(found.value)
    assert found.bounds[1] < found.bounds[100] < found.value + 0.05
    assert found.value == pytest.approx(m.exact.mean().item(), abs=0.02)
    exact = fusevae.evaluate(Artifact(Linear().vae, DataSpec((D,), "float32", -100, 100)), m.x, importance_samples=50)
    assert exact.log_likelihood.effective_samples == pytest.approx(50, rel=1e-3)  # all weights are equal
    assert found.effective_samples < 2000


def test_annealing_gives_the_exact_likelihood_whatever_q_is():
    m = Linear(wrong=1.0)  # a posterior that is far off
    artifact = Artifact(m.vae, DataSpec((D,), "float32", -100, 100))
    found = fusevae.annealed_likelihood(artifact, m.x, steps=100, chains=64)
    gap = m.exact - found
    assert gap.mean().item() == pytest.approx(0, abs=0.02)
    weighted = fusevae.log_likelihood(artifact, m.x, importance_samples=64)
    assert (m.exact - weighted).mean() > 2 * gap.mean().abs()


def test_annealing_agrees_with_importance_weighting_on_a_model_that_can_be_integrated():
    vae = VAE(Flat(Normal(1), Gaussian(MLP(3, 2), bounds=(-1.0, 1.0))), Bernoulli(MLP(1, 3)))
    x = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    z = torch.linspace(-8, 8, 4001)[:, None]
    with torch.no_grad():
        log_joint = vae.decoder(z[:, None]).log_prob(x).double() + Normal(1)().log_prob(z).double()[:, None]
        exact = torch.logsumexp(log_joint, 0) + math.log(16 / 4000)
    artifact = Artifact(vae, DataSpec((3,), "float32", 0, 1))
    weighted = fusevae.log_likelihood(artifact, x, importance_samples=20_000)
    torch.testing.assert_close(weighted, exact, rtol=0, atol=0.02)
    found = fusevae.annealed_likelihood(artifact, x, steps=100, chains=128)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02)


def test_the_sandwich_holds_the_likelihood_of_simulated_data():
    m = Linear()
    artifact = Artifact(m.vae, DataSpec((D,), "float32", -100, 100))
    rough = fusevae.annealed_sandwich(artifact, n=50, steps=5, chains=4)
    fine = fusevae.annealed_sandwich(artifact, n=50, steps=150, chains=32)
    assert abs(fine["gap"]) < 0.05 < rough["gap"]


@pytest.mark.parametrize(
    "model", [Normal(2), VAE(Flat(Bernoulli(Constant(2)), Bernoulli(MLP(2, 2))), Bernoulli(MLP(2, 2)))]
)
def test_annealing_refuses_what_it_can_not_move_in(model):
    with pytest.raises(fusevae.InputError, match="annealing"):
        fusevae.annealed_likelihood(Artifact(model, DataSpec((2,), "float32", 0, 1)), torch.zeros(2, 2))


def test_models_are_compared_as_pairs():
    """Two Gaussians, and a mass whose figures mean something else."""
    x = torch.randn(400, 2)
    wide, narrow = (Artifact(Gaussian(Constant(2), scale=s), DataSpec((2,))) for s in (1.5, 1.0))
    found = fusevae.compare({"wide": wide, "narrow": narrow}, x)
    (d,) = found.differences
    each = [fusevae.log_likelihood(a, x) for a in (wide, narrow)]
    assert d.value == pytest.approx((each[0] - each[1]).mean().item())
    assert d.stderr == pytest.approx((each[0] - each[1]).std().item() / 20)
    assert d.interval[1] < 0
    mass = Artifact(Bernoulli(Constant(2)), DataSpec((2,), "uint8", 0, 1))
    with pytest.raises(fusevae.InputError, match="different supports"):
        fusevae.compare({"a": wide, "b": mass}, x)
    with pytest.raises(fusevae.InputError, match="at least two"):
        fusevae.compare({"a": wide}, x)


# autoregressive


@pytest.mark.parametrize("context", [0, 2])
def test_an_output_of_a_masked_net_sees_only_what_comes_before_it(context):
    net = MaskedMLP(5, 3, hidden=(16, 12), context=context, activation="tanh")
    x = torch.randn(5, requires_grad=True)
    given = (torch.randn(context, requires_grad=True),) if context else ()
    out = net(x, *given)
    for d in range(5):
        (seen,) = torch.autograd.grad(out[d].sum(), x, retain_graph=True)
        assert bool((seen[d:] == 0).all()) and bool((seen[:d] != 0).all())
        if given:
            assert bool((torch.autograd.grad(out[d].sum(), given[0], retain_graph=True)[0] != 0).all())


def test_made_learns_a_distribution_that_is_not_a_product():
    """Two coins that always agree, and a third that is their opposite in nine cases of ten: entropy is known."""
    first = (torch.rand(4000, 1) < 0.5).float()
    third = torch.where(torch.rand(4000, 1) < 0.9, 1 - first, first)
    x = torch.cat([first, first, third], 1)
    training = fusevae.Training(epochs=20, batch_size=100, learning_rate=0.02, average=0.9)
    artifact = fusevae.fit(MADE(3, hidden=(16,)), {"train": x, "test": x[:100]}, training=training, quiet=True)
    entropy = math.log(2) - 0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert -fusevae.log_likelihood(artifact, x).mean().item() == pytest.approx(entropy, abs=0.02)
    drawn = fusevae.sample(artifact, 2000)
    assert (drawn[:, 0] == drawn[:, 1]).float().mean() > 0.98
