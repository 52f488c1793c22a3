"""One-hot latents against enumeration: every code, its probability, and the exact bounds and gradients."""

import itertools
import math

import pytest
import torch
from torch.distributions import Independent, OneHotCategorical, kl_divergence

from fusevae import ELBO, IWAE, VAE, Flat, Gaussian, InputError, OneHotCategoricals
from fusevae.nets.mlp import MLP, Constant

N, K = 2, 3
CODES = torch.stack(
    [torch.eye(K)[list(chosen)] for chosen in itertools.product(range(K), repeat=N)]
)  # (K^N, N, K): every event


def model(temperature=0.67, std=1.0):
    return VAE(
        Flat(
            OneHotCategoricals(Constant((N, K), std=std)), OneHotCategoricals(MLP(2, (N, K), hidden=(5,)), temperature)
        ),
        Gaussian(MLP((N, K), 2, hidden=()), scale=0.7),
    )


def enumerated(vae, x):
    """log p(x), the exact ELBO, and log q of every code, for ``x`` of shape ``(batch, 2)``."""
    codes = CODES[:, None]
    joint = vae.decoder(codes).log_prob(x) + vae.latents.prior().log_prob(codes)
    log_q = vae.latents.posterior(x).log_prob(codes)
    return torch.logsumexp(joint, 0), (log_q.exp() * (joint - log_q)).sum(0), log_q


def close_to(draws, wanted, bound=4.5):
    error = draws.double().std(0) / math.sqrt(len(draws))
    assert ((draws.double().mean(0) - wanted.double()) / error.clamp(min=1e-7)).abs().max() < bound


def gradients(value, vae, retain_graph=False):
    part = vae.latents.posterior
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, part.parameters(), retain_graph=retain_graph)])


@pytest.mark.parametrize("temperature", [0.67, 0.1, None])
@torch.no_grad()
def test_the_bounds_are_those_of_the_enumerated_codes(temperature):
    vae, x = model(temperature).train(), torch.randn(4, 2)
    log_p, elbo, log_q = enumerated(vae, x)
    torch.testing.assert_close(log_q.exp().sum(0), torch.ones(4))
    assert (elbo < log_p).all()
    trace = vae.trace(x, samples=(20_000,))
    close_to(trace.elbo, elbo)
    close_to(trace.log_weight, elbo)
    close_to(trace.log_weight.exp(), log_p.exp())  # unbiased
    weight = trace.log_weight.exp()
    error = weight.std(0) / weight.mean(0) / math.sqrt(20_000)  # of the logarithm of their mean
    assert ((IWAE(20_000)(trace, 1.0) - log_p).abs() < 4.5 * error).all() and error.max() < 0.02
    few = trace.log_weight.view(4000, 5, 4).logsumexp(1) - math.log(5)  # of five samples: a bound, and tighter
    error = 4 * few.std(0) / math.sqrt(4000)
    assert (few.mean(0) < log_p + error).all() and (few.mean(0) > elbo - error).all()


@torch.no_grad()
def test_the_divergence_is_exact_for_each_variable():
    vae, x = model(), torch.randn(4, 2)
    q, p = vae.latents.posterior(x), vae.latents.prior()
    log_q, log_p = q.log_prob(CODES[:, None]), p.log_prob(CODES[:, None])
    exact = (log_q.exp() * (log_q - log_p)).sum(0)
    term = vae.trace(x).terms[0]
    assert term.kl.analytic and term.kl.per_dim.shape == (4, N)
    torch.testing.assert_close(term.kl.total, exact)
    theirs = [Independent(OneHotCategorical(logits=d.base_dist.log_p), 1) for d in (q, p)]
    torch.testing.assert_close(term.kl.total, kl_divergence(theirs[0], theirs[1].expand((4,))))
    torch.testing.assert_close(q.entropy(), theirs[0].entropy())
    uniform = OneHotCategoricals(Constant((N, K)))()
    torch.testing.assert_close(kl_divergence(q, uniform), N * math.log(K) - q.entropy())


@pytest.mark.parametrize("training", [True, False])
def test_samples_with_a_path_are_one_hot_exactly(training):
    part = OneHotCategoricals(MLP(2, (N, K)), temperature=0.5).train(training)
    z = part(torch.randn(500, 2)).rsample((7,))
    assert z.requires_grad
    assert z.unique().tolist() == [0.0, 1.0]
    assert (z.sum(-1) == 1).all()
    assert part(torch.randn(500, 2)).log_prob(z).isfinite().all()


def test_what_is_not_one_hot_has_no_probability():
    p = OneHotCategoricals(Constant((N, K)))()
    values = torch.tensor([[[1.0, 0, 0], [0.9, 0.1, 0]], [[1, 1, 0], [0, 0, 1]], [[0, 0, 0], [1, 0, 0]]])
    assert p.log_prob(values).tolist() == [-math.inf] * 3


def test_the_path_is_that_of_the_relaxed_sample():
    logits, temperature = torch.randn(5, K, requires_grad=True), 0.4
    torch.manual_seed(3)
    z = OneHotCategoricals(torch.nn.Identity(), temperature)(logits).rsample()
    torch.manual_seed(3)
    gumbel = -torch.log(-torch.log(torch.rand(5, K).clamp(1e-20, 1 - 1e-7)))
    relaxed = ((logits + gumbel) / temperature).softmax(-1)
    assert torch.equal(z.argmax(-1), relaxed.argmax(-1))
    weight = torch.randn(5, K)
    found, wanted = (torch.autograd.grad((y * weight).sum(), logits)[0] for y in (z, relaxed))
    torch.testing.assert_close(found, wanted)


def test_the_bias_of_the_path_vanishes_with_the_temperature_and_without_a_path_there_is_none():
    """The gradient of the exact ELBO, where reconstruction is linear in the code."""
    x = torch.randn(1, 2)

    def biases(temperature, draws):
        torch.manual_seed(1)
        vae = model(temperature)

        class Linear(torch.nn.Module):  # log p(x | z) = the sum of w over the chosen categories
            weight = torch.randn(N, K)

        codes, q = CODES[:, None], vae.latents.posterior
        log_q = q(x).log_prob(codes)
        wanted = gradients((log_q.exp() * (codes * Linear.weight).sum((-2, -1))).sum(), vae)
        found = []
        for _ in range(40):
            p = q(x.expand(draws, 2))
            z = p.rsample() if p.has_rsample else p.sample()
            value = (z * Linear.weight).sum((-2, -1))
            value = value if p.has_rsample else value.detach() * p.log_prob(z)
            found.append(gradients(value.mean(), vae))
        found = torch.stack(found).double()
        error = found.std(0) / math.sqrt(len(found))
        distance = (found.mean(0) - wanted).norm() / wanted.norm()
        return distance.item(), ((found.mean(0) - wanted) / error.clamp(min=1e-7)).abs().max().item()

    warm, cold, exact = biases(2.0, 2000), biases(0.1, 20_000), biases(None, 2000)
    assert warm[0] > 0.1 and warm[1] > 10
    assert cold[0] < 0.05
    assert exact[1] < 4.5


def test_clusters_are_found_by_one_variable():
    centers = torch.tensor([[-2.0, 0], [2, 0], [0, 2]])
    x = centers[torch.arange(150) % 3] + 0.2 * torch.randn(150, 2)
    vae = VAE(
        Flat(OneHotCategoricals(Constant((1, 3))), OneHotCategoricals(MLP(2, (1, 3), hidden=(16,)))),
        Gaussian(MLP((1, 3), 2, hidden=()), scale=0.5),
    )
    optimizer = torch.optim.Adam(vae.parameters(), 0.03)
    for _ in range(300):
        value = ELBO()(vae.trace(x), 1.0).mean()
        optimizer.zero_grad()
        (-value).backward()
        optimizer.step()
    with torch.no_grad():
        arrays = vae.encode(x)
        code = arrays["mode"].argmax(-1).view(50, 3)
        assert (code == code[0]).all()
        assert code[0].unique().numel() == 3
        assert (arrays["mean"].sum(-1) - 1).abs().max() < 1e-5
        best = math.log(1 / 3) - math.log(2 * math.pi * 0.25) - 0.2**2 / 0.25  # by centers known exactly, on average
        assert vae.trace(x, samples=(100,)).elbo.mean().item() == pytest.approx(best, abs=0.1)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(InputError, match=r"0\.67"):
        OneHotCategoricals(Constant((N, K)), temperature)
