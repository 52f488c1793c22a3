"""What a density is good for: imputation and denoising against exact posteriors, anomaly scores against exact ranks."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest, norm, spearmanr
from test_oracles import SIGMA, D, Line, Linear, Z
from torch import nn

import fusevae
from fusevae import (
    MADE,
    MLP,
    VAE,
    Artifact,
    Bernoulli,
    Binarize,
    Categorical,
    Crop,
    DataSpec,
    Dequantize,
    DiscretizedLogistic,
    Flat,
    FullGaussian,
    Gaussian,
    InputError,
    Normal,
    Normalise,
    Preprocessed,
    Standardise,
    anomaly,
    denoise,
    group_p_value,
    impute,
)
from fusevae.cli import density, main
from fusevae.evaluation import chain as chain_module
from fusevae.evaluation.anomaly import scores
from fusevae.evaluation.denoising import log_gaussian
from fusevae.modalities.images.modality import ImageSchema
from fusevae.recipes import logistic_vae, table_vae

N = 2000  # chains that see the same example: their last states are draws from one distribution


# exact posteriors


def conditional(mean, covariance, mask, x):
    """Mean and covariance of the missing part of a Gaussian vector given the rest."""
    a, b = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
    gain = covariance[a][:, b] @ torch.linalg.inv(covariance[b][:, b])
    return mean[a] + gain @ (x[b] - mean[b]), covariance[a][:, a] - gain @ covariance[b][:, a]


def assert_gaussian(draws, mean, covariance):
    """Draws ``(n, d)`` have this mean and covariance, up to five standard errors."""
    draws, n = draws.double(), len(draws)
    variance = covariance.diagonal()
    assert ((draws.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    error = ((variance[:, None] * variance + covariance**2) / n).sqrt()
    assert ((torch.cov(draws.T) - covariance).abs() < 5 * error).all()


def spec(dims=D):
    return DataSpec((dims,), "float32", -100, 100)


MASK = torch.tensor([True, False, True, False])


@pytest.mark.parametrize("wrong", [0.0, 0.4])
def test_imputed_values_follow_the_exact_conditional_whatever_q_is(wrong):
    m = Linear(wrong)
    x = m.x[:1].expand(N, -1)
    found = impute(Artifact(m.vae, spec()), x, MASK, samples=1, steps=60)
    exact = conditional(m.marginal.mean, m.marginal.covariance_matrix, MASK, m.x[0].double())
    assert_gaussian(found.samples[0][:, MASK], *exact)
    assert torch.equal(found.samples[0][:, ~MASK], x[:, ~MASK])
    assert (found.accepted.mean().item() > 0.999) is (wrong == 0)
    assert torch.allclose(found.mean[:, MASK].double().mean(0), exact[0], atol=0.05)


def test_intervals_of_several_draws_cover_what_was_hidden_as_often_as_they_say():
    """From the second smallest of 39 draws to the second largest is where a fortieth one is 36 times of 40."""
    m = Linear(0.4)
    x = m.marginal.sample((500,)).float()
    found = impute(Artifact(m.vae, spec()), x, MASK, samples=39, steps=40).samples[..., MASK].sort(0).values
    covered = ((found[1] <= x[:, MASK]) & (x[:, MASK] <= found[-2])).double().mean().item()
    assert abs(covered - 0.9) < 4 * math.sqrt(0.9 * 0.1 / 500)


@torch.no_grad()
def test_without_the_acceptance_a_wrong_q_gives_wrong_values():
    m = Linear(0.4)
    x = m.x[:1].expand(N, -1)
    redraw = lambda p, _: torch.where(MASK, p.sample(), x)  # noqa: E731
    *_, (last, _) = chain_module.chain(m.vae, x, None, redraw, steps=60, free=60)
    exact = conditional(m.marginal.mean, m.marginal.covariance_matrix, MASK, m.x[0].double())
    with pytest.raises(AssertionError):
        assert_gaussian(last[:, MASK], *exact)


def test_a_prior_that_is_only_an_evidence_bound_leaves_the_chain_exact():
    """The prior is a VAE of its own, whose marginal is known: N(0, V V' + I / 4)."""
    m, V = Linear(0.2), torch.tensor([[0.8], [-0.5]])
    inner = Line(1, Z, bias=False)
    with torch.no_grad():
        inner.weight.copy_(V)
    prior = VAE(Flat(Normal(1), Gaussian(MLP(Z, 2), bounds=(-1.0, 1.0))), Gaussian(inner, scale=0.5, event_dim=1))
    vae = VAE(Flat(prior, m.posterior), m.vae.decoder)
    covariance = m.W @ (V @ V.T + 0.25 * torch.eye(Z)) @ m.W.T + SIGMA**2 * torch.eye(D)
    found = impute(Artifact(vae, spec()), m.x[:1].expand(N, -1), MASK, samples=1, steps=80)
    exact = conditional(m.b.double(), covariance.double(), MASK, m.x[0].double())
    assert_gaussian(found.samples[0][:, MASK], *exact)


@pytest.mark.parametrize("wrong", [0.0, 0.15])
def test_denoised_values_follow_the_exact_posterior_whatever_q_is(wrong):
    """In the data's units, behind a standardisation; x = mean + std y, and the noise is on x."""
    m, sigma = Linear(wrong), 0.6
    step = Standardise((D,))
    step.mean.copy_(torch.tensor([1.0, -2.0, 0.0, 3.0]))
    step.std.copy_(torch.tensor([0.5, 1.0, 2.0, 1.0]))
    scale = torch.diag(step.std.double())
    mean, prior = step.mean + step.std * m.marginal.mean, scale @ m.marginal.covariance_matrix @ scale
    noisy = (step.mean + step.std * m.x[0]).double() + torch.tensor([0.5, -0.7, 0.2, 1.0])
    gain = prior @ torch.linalg.inv(prior + sigma**2 * torch.eye(D))
    exact = mean + gain @ (noisy - mean), prior - gain @ prior
    artifact = Artifact(Preprocessed([step], m.vae), spec())
    found = denoise(artifact, noisy.float().expand(N, -1), sigma, steps=100)
    assert_gaussian(found.samples[0], *exact)
    assert torch.allclose(found.mean.double().mean(0), exact[0], atol=0.05)


GRID = torch.linspace(-7, 7, 561)[:, None]  # of z


@torch.no_grad()
def log_joint(vae, states):
    """log p(x) of all states ``(s, *shape)`` of a VAE with one latent, by quadrature."""
    weight = Normal(1)().log_prob(GRID).double() + math.log(14 / 560)
    each = torch.stack([vae.decoder(GRID).log_prob(x.expand(len(GRID), *x.shape)) for x in states])
    return torch.logsumexp(each.double() + weight, 1)


def assert_frequencies(draws, states, log_p):
    """Draws ``(n, *shape)`` have these log-probabilities up to a constant, by five standard errors each."""
    p = log_p.softmax(0)
    same = (draws.flatten(1).float()[:, None] - states.flatten(1)[None]).abs().sum(-1) < 1e-3
    assert same.any(1).all()
    found = same.double().mean(0)
    assert ((found - p).abs() < 5 * (p * (1 - p) / len(draws)).sqrt() + 1e-3).all()
    assert (p > 0.02).sum() > 2  # it is no trivial distribution


def enumerable(decoder, shape, levels, scale=1.0):
    """A VAE whose encoder knows nothing of its decoder, the data's specification, and all states as integers."""
    vae = VAE(Flat(Normal(1), Gaussian(MLP(shape, 2, hidden=(4,)), bounds=(0.0, 1.0))), decoder)
    states = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape).float()
    return vae, DataSpec(shape, "uint8", 0, levels - 1), states


def steep(outputs, by=6):
    """A net whose outputs depend on z clearly."""
    net = MLP(1, outputs, hidden=(8,))
    with torch.no_grad():
        net.layers[-1].weight.mul_(by)
    return net


def bits():
    return enumerable(Bernoulli(steep(4)), (4,), 2)


def levels():
    return enumerable(Categorical(steep(8, 4), levels=4), (2,), 4)


def colours():
    shape = (3, 1, 1)
    decoder = DiscretizedLogistic(steep(DiscretizedLogistic.outputs(shape, 2)), 2, 3, 0.0, 2.0)
    return enumerable(decoder, shape, 3)


@pytest.mark.parametrize(
    ("model", "mask"), [(bits, [True, True, False, False]), (levels, [False, True])], ids=["bits", "levels"]
)
def test_imputed_values_have_the_frequencies_of_enumeration(model, mask):
    vae, data, states = model()
    mask, x = torch.tensor(mask), states[-2]
    with torch.no_grad():
        log_p = log_joint(vae, states)
    fits = (states == x)[:, ~mask].all(1)
    found = impute(Artifact(vae, data), x.to(torch.uint8).expand(N, -1), mask, samples=2, steps=80)
    assert found.samples.shape == (2, N, *data.shape)
    assert found.samples.dtype == torch.uint8
    assert_frequencies(found.samples.flatten(0, 1), states[fits], log_p[fits])


def test_flipped_bits_are_mended_with_the_probabilities_of_enumeration():
    vae, data, states = bits()
    noisy, p = states[5], 0.2
    flips = (states != noisy).sum(1)
    exact = log_joint(vae, states) + flips * math.log(p) + (4 - flips) * math.log(1 - p)
    found = denoise(Artifact(vae, data), noisy.to(torch.uint8).expand(N, -1), p, steps=40)
    assert_frequencies(found.samples[0], states, exact)


def rounded(noisy, states, sigma, high):
    """log p(noisy | x) of values that were rounded and cut off, by scipy's own distribution function."""
    cuts = np.array([-np.inf, *np.arange(0.5, high), np.inf])
    noisy, states = noisy.long().numpy(), states.double().numpy()
    mass = norm.cdf((cuts[noisy + 1] - states) / sigma) - norm.cdf((cuts[noisy] - states) / sigma)
    return torch.from_numpy(np.log(mass)).flatten(1).sum(1)


@pytest.mark.parametrize(("model", "sigma"), [(levels, 0.8), (levels, 0.4), (colours, 0.8), (colours, 0.5)])
def test_noisy_levels_are_mended_with_the_probabilities_of_enumeration(model, sigma):
    """Noise under a unit as well, where the density at an integer is far from the mass of what is rounded to it."""
    vae, data, states = model()
    noisy = states[len(states) // 2 - 1]
    exact = log_joint(vae, states) + rounded(noisy, states, sigma, data.high)
    found = denoise(Artifact(vae, data), noisy.to(torch.uint8).expand(N, *data.shape), sigma, steps=80)
    assert_frequencies(found.samples[0], states, exact)


@pytest.mark.parametrize("sigma", [1e-160, 1e-3, 0.05, 0.3, 1.0, 40.0, 1e4])
def test_the_mass_of_rounded_noise_is_that_of_scipy(sigma):
    artifact = Artifact(Normal(1), DataSpec((1,), "uint8", 0, 255))
    x, noisy = torch.tensor([[0, 3, 3, 3, 255, 250, 7, 3], [0, 3, 4, 2, 255, 255, 9, 0]]).byte()
    found = log_gaussian(noisy, x, sigma, artifact).numpy()
    ends = norm.logcdf(0.5 / sigma), norm.logcdf(-2.5 / sigma), norm.logcdf(-4.5 / sigma)
    assert found[[0, 4, 7, 5]] == pytest.approx([ends[0], ends[0], ends[1], ends[2]], rel=1e-9) or sigma < 1e-100
    inside = [norm.cdf(0.5 / sigma) - norm.cdf(-0.5 / sigma), *[norm.sf(0.5 / sigma) - norm.sf(1.5 / sigma)] * 2]
    wanted = [*inside, norm.sf(1.5 / sigma) - norm.sf(2.5 / sigma)]
    assert np.exp(found[[1, 2, 3, 6]]) == pytest.approx(wanted, rel=1e-7) and not np.isnan(found).any()


def test_dequantized_integers_are_mended_with_the_probabilities_of_enumeration():
    vae, data, states = enumerable(Gaussian(steep(2, 2), scale=0.4, event_dim=1), (2,), 4)
    model = Preprocessed([Dequantize(), Normalise(0, 4, -1, 1)], vae)
    with torch.no_grad():  # the mass of each integer given z; what lies outside 0 .. 3 counts at the ends
        edges = torch.tensor([-1e3, -0.5, 0.0, 0.5, 1e3])
        cdf = torch.distributions.Normal(vae.decoder(GRID).mean[..., None], 0.4).cdf(edges)
        mass = cdf.diff(dim=-1).double()
        prior = Normal(1)().log_prob(GRID).double()
        each = [(mass[:, 0, a] * mass[:, 1, b]).log() for a, b in states.long().tolist()]
        log_p = torch.logsumexp(torch.stack(each) + prior, 1)
    noisy = torch.tensor([3.0, 1.0])
    exact = log_p + rounded(noisy, states, 0.8, data.high)
    found = denoise(Artifact(model, data), noisy.to(torch.uint8).expand(N, -1), 0.8, steps=80)
    assert_frequencies(found.samples[0], states, exact)


class Shifted(nn.Module):
    """A linear net with an offset for each label."""

    def __init__(self, net, offset):
        super().__init__()
        self.net, self.offset, self.classes = net, offset, len(offset)

    def forward(self, x, label=None):
        return self.net(x) + (0 if label is None else self.offset[label])


def test_each_example_is_imputed_under_its_own_label():
    m = Linear()
    across = torch.linalg.qr(torch.cat([m.W, torch.eye(D)], 1))[0][:, Z]  # z given x stays what it is
    offset = torch.stack([torch.zeros(D), 3 * across])
    decoder = Gaussian(Shifted(m.vae.decoder.net, offset), scale=SIGMA, event_dim=1)
    artifact = Artifact(VAE(m.vae.latents, decoder), DataSpec((D,), "float32", -100, 100, ["0", "1"]))
    label = torch.arange(N) % 2
    found = impute(artifact, m.x[:1].expand(N, -1), MASK, label=label, samples=2, steps=60)
    for k in range(2):
        exact = conditional(m.b.double() + offset[k], m.marginal.covariance_matrix, MASK, m.x[0].double())
        assert_gaussian(found.samples[:, label == k].flatten(0, 1)[:, MASK], *exact)


# the space that chains run in


@pytest.fixture(scope="module")
def grey():
    decoder = Bernoulli(MLP(2, (1, 4, 4), hidden=(8,)))
    return VAE(Flat(Normal(2), Gaussian(MLP((1, 4, 4), 4, hidden=(8,)))), decoder)


@pytest.mark.parametrize("mode", ["dynamic", "fixed", "threshold"])
def test_what_is_observed_is_kept_and_what_lies_under_the_mask_is_not_looked_at(grey, mode):
    artifact = Artifact(grey, DataSpec((1, 4, 4), "uint8", 0, 255), [Binarize(mode)])
    x = torch.randint(0, 256, (7, 1, 4, 4), dtype=torch.uint8)
    mask = torch.rand(7, 1, 4, 4) < 0.5
    before = torch.random.get_rng_state()
    found = impute(artifact, x, mask, samples=3, steps=6)
    assert torch.equal(before, torch.random.get_rng_state())
    again = impute(artifact, torch.where(mask, 255 - x, x), mask, samples=3, steps=6)
    for a, b in zip(found[:3], again[:3], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(found.samples[:, ~mask], x[~mask].expand(3, -1))
    assert set(found.samples[:, mask].unique().tolist()) == {0, 255}
    assert torch.equal(found.mean[~mask], x[~mask].float())
    assert ((found.mean[mask] > 0) & (found.mean[mask] < 255)).any()
    other = impute(artifact, x, mask, samples=3, steps=6, seed=1)
    assert not torch.equal(found.samples, other.samples)


def test_masks_come_in_the_shapes_that_data_come_in(grey):
    artifact = Artifact(grey, DataSpec((1, 4, 4), "uint8", 0, 1, schema=ImageSchema()))
    x = torch.randint(0, 2, (3, 1, 4, 4), dtype=torch.uint8)
    half = torch.zeros(4, 4, dtype=torch.bool)
    half[2:] = True
    masks = [half, half[None], half.expand(3, 4, 4), half.expand(3, 1, 4, 4), half.numpy().astype(np.int64)]
    found = [impute(artifact, x, mask, steps=5).samples for mask in masks]
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_nan_means_missing_in_an_array_of_floats():
    m = Linear()
    x = m.x[:5].clone()
    x[MASK.expand(5, -1)] = torch.nan
    artifact = Artifact(m.vae, spec())
    found = impute(artifact, x.numpy(), steps=5)
    assert found.samples.isfinite().all()
    assert torch.equal(found.samples, impute(artifact, m.x[:5], MASK, steps=5).samples)
    with pytest.raises(InputError, match="nothing is missing"):
        impute(artifact, m.x)
    with pytest.raises(InputError, match="hold no NaN"):
        impute(artifact, torch.ones(2, D, dtype=torch.long))


def test_blocks_and_cuts_of_them_give_every_example_its_own_mask_and_noise(monkeypatch):
    """The far end of the data, past a block and cut into parts, is as near to its posterior as the first."""
    monkeypatch.setattr("fusevae.evaluation.likelihood.VALUES", 1000)
    m = Linear()
    x = m.marginal.sample((700,)).float()
    mask = torch.rand(700, D) < 0.5
    noisy = x + 0.01 * torch.randn_like(x)
    artifact = Artifact(m.vae, spec())
    filled = impute(artifact, x, mask, samples=2, steps=20)
    assert torch.equal(filled.samples[:, ~mask], x[~mask].expand(2, -1))
    some = filled.mean[mask]
    assert some.isfinite().all()
    mended = denoise(artifact, noisy, 0.01, steps=200)
    assert ((mended.mean - x).abs() < 0.1).float().mean() > 0.97


def test_denoising_without_a_clue_is_sampling_and_with_all_is_the_data():
    m = Linear()
    x = m.x[:1].expand(N, -1)
    found = denoise(Artifact(m.vae, spec()), x, 1e4, steps=60)
    assert_gaussian(found.samples[0], m.marginal.mean, m.marginal.covariance_matrix)
    sharp = denoise(Artifact(m.vae, spec()), x[:20], 0.05, steps=400)
    assert ((sharp.samples[0] - x[:20]).abs() < 0.3).all()


def refusals():
    vae = lambda decoder: VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), decoder)  # noqa: E731
    good = Artifact(vae(Gaussian(MLP(1, 2), scale=1.0)), DataSpec((2,)))
    binary = Artifact(vae(Bernoulli(MLP(1, 2))), DataSpec((2,), "uint8"))
    x, mask = torch.zeros(3, 2), torch.tensor([True, False])
    colour = Artifact(colours()[0], DataSpec((3, 1, 1), "uint8", 0, 2))
    image = VAE(Flat(Normal(1), Gaussian(MLP((1, 2, 2), 2))), Bernoulli(MLP(1, (1, 2, 2))))
    cropped = Artifact(image, DataSpec((1, 4, 4), "uint8", 0, 1), [Crop(2, 2)])
    pixels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    made = Artifact(vae(MADE(2, context=1)), DataSpec((2,), "uint8"))
    full = Artifact(vae(FullGaussian(MLP(1, FullGaussian.outputs(2)), 2)), DataSpec((2,)))
    return {
        "autoregressive": (lambda: impute(made, x.byte(), mask), "MADE as decoder .* take a model with Bernoulli"),
        "correlated": (lambda: denoise(full, x, 0.1), "FullGaussian as decoder"),
        "no latents": (lambda: impute(Artifact(Normal(2), DataSpec((2,))), x, mask), "one level of latents"),
        "cropped": (lambda: impute(cropped, pixels, torch.ones(4, 4)), "without a view that resizes or crops"),
        "shape": (
            lambda: impute(good, x, torch.ones(3, 3)),
            r"shape \(3, 3\), the data are 3 examples of shape \(2,\)",
        ),
        "empty": (lambda: impute(good, x, ~mask & mask), "nothing is missing"),
        "values": (lambda: impute(good, x, torch.tensor([0.0, 0.5])), "expected booleans"),
        "channels": (
            lambda: impute(colour, torch.zeros(2, 3, 1, 1).byte(), torch.tensor([1, 0, 0]).view(3, 1, 1)),
            "whole pixels",
        ),
        "no mask": (lambda: impute(binary, x.byte()), "hold no NaN"),
        "sigma": (lambda: denoise(good, x, 0.0), "standard deviation above 0"),
        "nan": (lambda: denoise(good, x, math.nan), "standard deviation above 0"),
        "flips": (lambda: denoise(binary, x.byte(), 0.5), "below 0.5"),
        "steps": (lambda: impute(good, x, mask, steps=0), "steps=0: expected a whole number of at least 1"),
        "data": (lambda: impute(good, torch.zeros(3, 3), mask), r"shape \(2,\)"),
        "reference": (lambda: anomaly(good, x, x[:1]), "two to compare with"),
    }


@pytest.mark.parametrize("case", refusals())
def test_what_can_not_be_done_is_refused(case):
    do, words = refusals()[case]
    with pytest.raises(InputError, match=words) as error:
        do()
    assert "\n" not in str(error.value)


# anomaly scores


def test_a_point_of_the_highest_density_is_untypical():
    """All examples of a Gaussian in many dimensions lie on a shell; none is near its mode (Nalisnick et al. 2019)."""
    artifact = Artifact(Normal(100), DataSpec((100,)))
    x = torch.cat([torch.zeros(1, 100), torch.randn(500, 100)])
    found = anomaly(artifact, x, reference=torch.randn(999, 100))
    exact = -0.5 * x.double().square().sum(1) - 50 * math.log(2 * math.pi)
    assert np.allclose(found["log_likelihood"], exact, rtol=1e-5)
    assert found["p_likelihood"][0] == 1
    assert found["p_typicality"][0] == 1 / 1000
    assert "distance" not in found
    entropy = 50 * math.log(2 * math.pi * math.e)
    assert np.allclose(found["typicality"], np.abs(-exact.numpy() - entropy), atol=2)


def test_p_values_of_usual_examples_are_uniform_and_ranks():
    m = Linear(0.2)
    artifact = Artifact(m.vae, spec())
    x, reference = m.marginal.sample((800,)).float(), m.marginal.sample((1200,)).float()
    found = anomaly(artifact, x, reference, importance_samples=20)
    usual = fusevae.log_likelihood(artifact, reference, importance_samples=20).numpy()
    ranks = (1 + (usual[None] <= found["log_likelihood"][:, None]).sum(1)) / (1 + len(usual))
    assert np.allclose(found["p_likelihood"], ranks)
    for name in ("p_likelihood", "p_typicality", "p_distance"):
        assert kstest(found[name], "uniform").pvalue > 1e-3, name


@pytest.mark.parametrize("m", [4, 20, 50, 200])
def test_p_values_are_uniform_however_small_the_reference(m):
    """Each is one of 1/(m + 1) .. 1 with the same probability; parts that depend on each other, of skewed tails."""
    draws, made = 400, torch.Generator().manual_seed(m)

    def drawn(n):
        z, gap = torch.randn(n, 4, generator=made).double().square(), torch.rand(n, generator=made).double()
        tokens = torch.randint(3, 30, (n,), generator=made).double()
        return {"log_p": -z.sum(1) - 2 * tokens, "kl": z[:, 0] + gap, "gap": gap, "tokens": tokens}

    found = [scores(drawn(1), drawn(m)) for _ in range(draws)]
    names = [name for name in found[0] if name.startswith("p_")]
    assert len(names) == 5
    for name in names:
        ranks = np.round(np.concatenate([one[name] for one in found]) * (m + 1))
        for part in (0.05, 0.1, 0.3, 0.6):
            k = math.floor(part * (m + 1))
            p = k / (m + 1)
            assert abs((ranks <= k).mean() - p) <= 4 * (p * (1 - p) / draws) ** 0.5, (name, part)


def test_what_is_odd_for_its_length_is_found_among_texts_of_any_length():
    """Letters drawn alike: -log p of T of them has mean T H and variance T s^2."""
    p = torch.tensor([0.05, 0.01, 0.44, 0.3, 0.15, 0.05], dtype=torch.float64)
    letters, made = p.log(), torch.Generator().manual_seed(0)
    entropy = -(p * letters).sum()
    deviation = (p * (letters + entropy).square()).sum().sqrt()

    def parts(n):
        tokens = torch.randint(5, 60, (n,), generator=made)
        log_p = torch.stack([letters[torch.multinomial(p, int(t), True, generator=made)].sum() for t in tokens])
        return {"log_p": log_p, "tokens": tokens.double()}

    x, reference = parts(1000), parts(4000)
    odd, tokens = 12, x["tokens"]
    tokens[odd], x["log_p"][odd] = 8.0, 7 * letters[1] + letters[0]  # the rarest letter, again and again
    found = scores(x, reference)
    exact = (-x["log_p"] - tokens * entropy) / tokens.sqrt() / deviation
    assert np.allclose(found["surprise_given_length"], exact, atol=0.15, rtol=0.05)
    assert np.allclose(found["surprise_per_token"], -x["log_p"] / tokens)
    assert spearmanr(found["log_likelihood"], tokens)[0] < -0.9
    assert abs(spearmanr(found["surprise_given_length"], tokens)[0]) < 0.12  # four standard errors
    assert found["p_surprise_given_length"][odd] == 1 / 4001 and found["p_likelihood"][odd] > 0.3
    impossible = {"log_p": torch.tensor([-torch.inf]).double(), "tokens": tokens[:1], "kl": tokens[:1]}
    impossible |= {"gap": torch.tensor([torch.nan]).double()}
    found = scores(impossible, reference | {"kl": reference["tokens"], "gap": reference["log_p"] ** 2})
    assert found["log_likelihood"] == -np.inf and all(found[n] == 1 / 4001 for n in found if n.startswith("p_"))
    same = {"log_p": x["log_p"], "tokens": torch.full_like(tokens, 9.0)}  # windows: of one length, the order of log p
    assert spearmanr(scores(same, same)["surprise_given_length"], -x["log_p"])[0] == pytest.approx(1)


@pytest.mark.parametrize("wrong", [0.0, 0.2])
def test_parts_that_do_not_fit_together_are_found_where_the_likelihood_is_usual(wrong):
    """x is moved so that the latent takes the blame of what the residual lacks: the likelihood stays what it was."""
    m = Linear(wrong)
    artifact = Artifact(m.vae, spec())
    reference = m.marginal.sample((1000,)).float()
    direction = m.W[:, 0] / m.W[:, 0].norm()  # one of the covariance's axes
    variance = float(direction.double() @ m.marginal.covariance_matrix @ direction.double())
    x = (m.b + direction * math.sqrt(D * variance)).expand(200, -1)  # x' C^-1 x = D, the mean of that over p
    found = anomaly(artifact, x, reference, importance_samples=100)
    assert (found["p_typicality"] > 0.5).all()
    assert np.isfinite(found["distance"]).all()
    assert np.median(found["p_distance"]) < np.median(found["p_typicality"]) / 3


def test_a_shift_too_small_for_an_example_is_seen_in_a_group():
    reference = torch.randn(2000)
    p = [group_p_value(torch.randn(20), reference, resamples=500, seed=i) for i in range(200)]
    assert kstest(p, "uniform").pvalue > 1e-3
    assert group_p_value(torch.randn(200) - 0.4, reference, resamples=1000) < 0.005
    assert group_p_value(torch.randn(200) + 0.4, reference, resamples=1000) < 0.005


def test_a_group_as_large_as_the_reference_is_as_uncertain():
    p = [group_p_value(torch.randn(200), torch.randn(40), resamples=500, seed=i) for i in range(200)]
    assert kstest(p, "uniform").pvalue > 1e-3


def test_labels_count_only_where_the_reference_has_them_too():
    m = Linear()
    offset = torch.tensor([[0.0] * D, [5.0] * D])
    decoder = Gaussian(Shifted(m.vae.decoder.net, offset), scale=SIGMA, event_dim=1)
    artifact = Artifact(VAE(m.vae.latents, decoder), DataSpec((D,), "float32", -100, 100, ["0", "1"]))
    x, label = m.x[:20], torch.ones(20, dtype=torch.long)
    plain = anomaly(artifact, x, m.x, importance_samples=10)
    assert np.array_equal(plain["log_likelihood"], anomaly(artifact, x, m.x, label, 10)["log_likelihood"])
    both = anomaly(artifact, x, (m.x, torch.zeros(len(m.x), dtype=torch.long)), label, 10)
    assert (both["log_likelihood"] < plain["log_likelihood"] - 5).all()


# the commands


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A model of the digits, with a configuration, and one of a table, both untrained; and data beside them."""
    place = tmp_path_factory.mktemp("runs")
    digits = DataSpec((1, 8, 8), "uint8", 0, 16, [str(k) for k in range(10)], ImageSchema())
    Artifact(logistic_vae.recipe(digits, hidden=(16,)).model, digits).save(place / "digits")
    (place / "digits" / "config.yaml").write_text("data: {class: Source, test: 0.02}\n")
    lines = [",".join(map(str, row)) for row in np.random.default_rng(0).normal(0, 1, (200, 3)).round(3)]
    (place / "table.csv").write_text("\n".join(["a,b,c", *lines]))
    table = fusevae.read_data(str(place / "table.csv")).spec
    Artifact(table_vae.recipe(table, hidden=(16,)).model, table).save(place / "table")
    (place / "gaps.csv").write_text("\n".join(["a,b,c", "1.5,,2", ",NA,3", *lines[:3]]))
    from sklearn.datasets import load_digits

    np.savez(place / "digits.npz", x=load_digits().images[:5].astype(np.uint8))
    mask = np.zeros((8, 8), bool)
    mask[4:] = True
    np.save(place / "mask.npy", mask)
    Image.fromarray(mask.astype(np.uint8) * 255).save(place / "mask.png")
    return place


FEW = ["--steps", "4"]


def test_impute_images(runs, tmp_path, capsys):
    data = ["--data", str(runs / "digits.npz"), *FEW]
    for mask in ("mask.npy", "mask.png"):
        capsys.readouterr()
        output = str(tmp_path / f"{mask}.npy")
        arguments = [*data, "--missing", str(runs / mask), "--output", output, "--json"]
        assert main(["impute", str(runs / "digits"), *arguments]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["n"] == 5 and facts["kind"] == "sample" and 0 <= facts["accepted"] <= 1
    found = [np.load(tmp_path / f"{mask}.npy") for mask in ("mask.npy", "mask.png")]
    assert np.array_equal(*found)
    raw = np.load(runs / "digits.npz")["x"]
    assert np.array_equal(found[0][:, 0, :4], raw[:, :4])
    assert found[0].max() <= 16
    kind = ["--missing", str(runs / "mask.npy"), "--kind", "mean", "--output", str(tmp_path / "folder")]
    assert main(["impute", str(runs / "digits"), *data, *kind]) == 0
    assert len(list((tmp_path / "folder").glob("*.png"))) == 6  # one shows all
    with open(tmp_path / "folder" / "metadata.csv", newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == list("01234")


def test_impute_the_empty_cells_of_a_table(runs, tmp_path):
    output = tmp_path / "full.csv"
    arguments = ["--data", str(runs / "gaps.csv"), "--missing", "nan", "--output", str(output), *FEW]
    assert main(["impute", str(runs / "table"), *arguments]) == 0
    with open(output, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["a", "b", "c"]
    values = np.array(rows[1:], float)
    assert values.shape == (5, 3)
    assert np.isfinite(values).all()
    assert values[0, 0] == 1.5 and values[0, 2] == 2 and values[1, 2] == 3
    (tmp_path / "text.csv").write_text("a,b,c\n1,2,3\n4,five,6\n")
    arguments = ["--data", str(tmp_path / "text.csv"), "--missing", "nan", "--output", str(output)]
    assert main(["impute", str(runs / "table"), *arguments]) == 2


def test_identifiers_are_kept_where_gaps_are_filled(tmp_path, capsys):
    lines = [f"A-{i:03},{x},b{i}x{i % 7}" for i, x in enumerate(np.random.default_rng(0).normal(size=40).round(3))]
    (tmp_path / "t.csv").write_text("\n".join(["key,x,other", *lines]))
    spec = fusevae.read_data(tmp_path / "t.csv").spec
    Artifact(table_vae.recipe(spec, hidden=(8,)).model, spec).save(tmp_path / "run")
    (tmp_path / "gaps.csv").write_text("key,x,other\nZ-9,,b\nZ-7,0.5,c\n")
    arguments = ["--data", str(tmp_path / "gaps.csv"), "--missing", "nan", "--output", str(tmp_path / "full.csv"), *FEW]
    assert main(["impute", str(tmp_path / "run"), *arguments]) == 0
    with open(tmp_path / "full.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == ["Z-9", "Z-7"] and rows[1]["x"] == "0.5" and rows[0]["x"]
    assert [row["other"] for row in rows] == ["b", "c"] and list(rows[0]) == ["key", "x", "other"]
    assert "is written empty" not in capsys.readouterr().err


def test_denoise_and_anomaly(runs, tmp_path, capsys):
    data = ["--data", str(runs / "digits.npz")]
    output = ["--output", str(tmp_path / "clean.npz")]
    assert main(["denoise", str(runs / "digits"), *data, "--noise", "2", *output, *FEW]) == 0
    assert np.load(tmp_path / "clean.npz")["x"].shape == (5, 1, 8, 8)
    capsys.readouterr()
    output = ["--output", str(tmp_path / "scores.csv"), "--importance-samples", "5", "--json"]
    assert main(["anomaly", str(runs / "digits"), *data, *output]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["n"] == 5 and 0 < facts["group_p_value"] <= 1
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == facts["columns"] and rows[0]["row"] == "0"
    assert len(rows) == 5
    reference = ["--reference", str(runs / "table.csv"), "--output", str(tmp_path / "scores.npz")]
    arguments = ["--data", str(runs / "table.csv"), *reference, "--importance-samples", "5"]
    assert main(["anomaly", str(runs / "table"), *arguments]) == 0
    assert "all together" in capsys.readouterr().out
    assert np.load(tmp_path / "scores.npz")["p_distance"].shape == (200,)


def test_anomaly_takes_fewer_importance_samples_where_they_would_take_long(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(density, "affordable", lambda artifacts, data, most, seconds: (data, most // 10))
    arguments = ["--data", str(runs / "digits.npz"), "--output", str(tmp_path / "a.csv")]
    assert main(["anomaly", str(runs / "digits"), *arguments]) == 0
    assert "10 importance samples, as 100 would take long: ask for 100 to have them" in capsys.readouterr().err
    assert main(["anomaly", str(runs / "digits"), *arguments[:2], "--output", str(tmp_path / "b.csv"),
                 "--importance-samples", "3"]) == 0  # fmt: skip
    assert "would take long" not in capsys.readouterr().err


def test_bad_input_is_refused_in_a_line_before_anything_is_written(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", np.ones((9, 9), bool))
    np.save("grey.npy", np.full((8, 8), 0.5))
    np.save("none.npy", np.zeros((8, 8), bool))
    np.savez("two.npz", a=np.ones((8, 8), bool), b=np.ones((8, 8), bool))
    Path("mask.txt").write_text("1")
    before = sorted(tmp_path.iterdir())
    digits = ["--data", str(runs / "digits.npz")]
    impute_digits = ["impute", str(runs / "digits"), *digits]
    table = ["impute", str(runs / "table"), "--data", str(runs / "table.csv")]
    for arguments, words in (
        ([*impute_digits, "--missing", "wide.npy", "--output", "o"], "the mask has shape (9, 9)"),
        ([*impute_digits, "--missing", "grey.npy", "--output", "o"], "expected booleans"),
        ([*impute_digits, "--missing", "none.npy", "--output", "o"], "nothing is missing"),
        ([*impute_digits, "--missing", "two.npz", "--output", "o"], "expected one array"),
        ([*impute_digits, "--missing", "mask.txt", "--output", "o"], "is no mask"),
        ([*impute_digits, "--missing", "away.npy", "--output", "o"], "no mask at"),
        ([*impute_digits, "--missing", "nan", "--output", "o"], "nothing is missing"),
        ([*impute_digits, "--output", "o"], "--missing"),
        ([*table, "--missing", "nan", "--output", "o.npy"], "nothing is missing"),
        ([*table, "--missing", "nan", "--output", "o.png"], "can't be written to o.png"),
        (["denoise", str(runs / "digits"), *digits, "--noise", "-1", "--output", "o"], "standard deviation above 0"),
        (["denoise", str(runs / "digits"), *digits, "--noise", "much", "--output", "o"], "--noise"),
        (["anomaly", str(runs / "digits"), *digits, "--output", "o.npy"], "ends in .npz"),
        (["anomaly", str(runs / "digits"), *digits, "--reference", "away", "--output", "o.csv"], "no data at away"),
    ):
        capsys.readouterr()
        assert main(arguments) == 2, arguments
        captured = capsys.readouterr()
        error = captured.err.splitlines()[-1]
        assert error.startswith("error: ") and words in error, error
        assert captured.out == ""
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.gpu
def test_on_a_gpu():
    m = Linear(0.4)
    artifact = Artifact(Preprocessed([Standardise((D,))], m.vae), spec()).to("cuda")
    exact = conditional(m.marginal.mean, m.marginal.covariance_matrix, MASK, m.x[0].double())
    found = impute(artifact, m.x[:1].expand(N, -1), MASK, samples=1, steps=60)
    assert_gaussian(found.samples[0][:, MASK], *exact)
    prior, noisy = m.marginal.covariance_matrix, m.x[0].double()
    gain = prior @ torch.linalg.inv(prior + 0.36 * torch.eye(D))
    found = denoise(artifact, m.x[:1].expand(N, -1), 0.6, steps=60)
    assert_gaussian(found.samples[0], m.marginal.mean + gain @ (noisy - m.marginal.mean), prior - gain @ prior)
    for model, amount in ((bits, 0.2), (colours, 0.8)):
        vae, data, states = model()
        x = states.to(torch.uint8)
        assert denoise(Artifact(vae, data).to("cuda"), x, amount, steps=5).mean.isfinite().all()
    scored = anomaly(artifact, m.x, m.x)
    assert np.isfinite(scored["distance"]).all()
