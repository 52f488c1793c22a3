"""Flows alone on images: log-determinants against autograd, both ways, dequantization against exact probabilities."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal as TorchNormal

import fusevae
from fusevae import (
    MLP,
    VAE,
    Artifact,
    Bernoulli,
    DataSpec,
    Dequantize,
    Embedding,
    Flat,
    Flow,
    Gaussian,
    Glow,
    InputError,
    Normal,
    Normalise,
    Preprocessed,
    SlotError,
    Training,
    VariationalDequantize,
    build,
    describe,
)
from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.data.preprocessing import into_reals
from fusevae.distributions.gaussian_mixture import GaussianMixture
from fusevae.nets.invertible import ActNorm, Coupling, Mixing, MultiScale, Split, squeeze, unsqueeze
from fusevae.nets.mlp import Constant


def shaken(module):
    """Away from the start, where couplings are the identity; in float64."""
    for p in module.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    return module.double()


def jacobian(run, x):
    """log|det| of d run(x) / dx for one event."""
    return torch.linalg.slogdet(torch.autograd.functional.jacobian(run, x).reshape(x.numel(), x.numel()))[1]


LAYERS = {
    "activation norm": (lambda: ActNorm(4), 0),
    "mixing": (lambda: Mixing(4), 0),
    "coupling": (lambda: Coupling(3, 5), 0),
    "coupling with a context": (lambda: Coupling(4, 5, 2), 2),
    "split": (lambda: Split(4), 0),
    "split with a context": (lambda: Split(3, 2), 2),
    "even": (lambda: MultiScale((1, 4, 4), 3, 2, 5), 0),
    "colours, a context": (lambda: MultiScale((3, 4, 2), 3, 1, 5, 2), 2),
    "one odd side": (lambda: MultiScale((1, 5, 4), 3, 2, 5), 0),
    "two odd sides": (lambda: MultiScale((2, 3, 5), 3, 2, 5), 0),
    "odd after a level": (lambda: MultiScale((1, 6, 10), 3, 1, 5), 0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layers_log_determinant_is_that_of_autograds_jacobian_both_ways(name):
    make, k = LAYERS[name]
    layer = shaken(make())
    channels = {"coupling": 3, "split with a context": 3}.get(name, 4)
    shape = layer.shape if isinstance(layer, MultiScale) else (channels, 2, 3)
    x, context = torch.randn(2, *shape).double(), torch.randn(2, k).double() if k else None
    y, log_det = layer(x, context)
    back, log_det_back = layer.inverse(y, context)
    torch.testing.assert_close(back, x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(log_det_back, -log_det, rtol=1e-8, atol=1e-8)
    for i in range(2):
        given = context[i : i + 1] if k else None
        exact = jacobian(lambda v, given=given: layer(v[None], given)[0][0], x[i])
        torch.testing.assert_close(log_det[i], exact, rtol=1e-8, atol=1e-8)
        exact = jacobian(lambda v, given=given: layer.inverse(v[None], given)[0][0], y[i])
        torch.testing.assert_close(log_det_back[i], exact, rtol=1e-8, atol=1e-8)


def test_squeezing_moves_pixels_only():
    x = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    for factor in ((2, 1), (1, 1)):
        y = squeeze(x, factor)
        assert y.shape == (2, 3 * factor[0], 4 // factor[0], 5)
        assert torch.equal(unsqueeze(y, factor), x)
    block = squeeze(torch.arange(4.0).view(1, 1, 2, 2), (2, 2))
    assert block.flatten().tolist() == [0, 1, 2, 3]


FLOWS = {
    "glow": lambda net, k: Glow((1, 2, 4), steps=2, width=6, net=net, context=k),
    **{
        f"{structure}, {kind}": lambda net, k, structure=structure, kind=kind: Flow(
            (1, 2, 4), structure, kind, 3, (16,), net=net, context=k
        )
        for structure in ("autoregressive", "inverse", "coupling")
        for kind in ("affine", "spline")
    },
}


@pytest.mark.parametrize("given", [False, True], ids=["alone", "given"])
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_of_images_has_the_density_that_autograds_jacobian_gives_it(name, given):
    net, k = (MLP(3, Flow.outputs((1, 2, 4), 2)), 2) if given else (None, 0)
    flow = FLOWS[name](net, k)
    for p in flow.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    p = flow(torch.randn(3) if given else None)
    x = p.sample()
    assert x.shape == (1, 2, 4)
    remembered = p.log_prob(x)
    fresh = p.log_prob(x.clone())
    u = p.into.call_and_ladj(x.flatten())[0]
    exact = p.base.log_prob(u) + jacobian(lambda v: p.into.call_and_ladj(v)[0], x.flatten())
    assert fresh.item() == pytest.approx(exact.item(), abs=1e-4)
    assert remembered.item() == pytest.approx(exact.item(), abs=1e-4)
    back, log_det = p.into.inv.call_and_ladj(u)
    torch.testing.assert_close(back, x.flatten(), rtol=1e-4, atol=1e-4)
    assert log_det.item() == pytest.approx(-p.into.call_and_ladj(x.flatten())[1].item(), abs=1e-4)


def test_samples_of_a_glow_given_labels_and_their_densities_agree():
    glow = Glow((1, 4, 4), steps=2, width=6, net=Embedding(3, Glow.outputs((1, 4, 4), 4), std=0.5), context=4)
    for p in glow.layers.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    label = torch.tensor([0, 1, 2, -1])
    p = glow(label)
    x = p.sample((7,))
    assert x.shape == (7, 4, 1, 4, 4)
    remembered = p.log_prob(x)
    torch.testing.assert_close(glow(label).log_prob(x), remembered, rtol=1e-4, atol=1e-4)
    for i in range(4):
        alone = glow(label[i] if i < 3 else None)
        torch.testing.assert_close(alone.log_prob(x[:, i]), remembered[:, i], rtol=1e-4, atol=1e-4)
    assert (glow(label.flip(0)).log_prob(x) - remembered).abs().min() > 1e-3


def test_a_glow_starts_as_a_rotation_of_its_data():
    x = torch.randn(5, 3, 8, 6)
    u, log_det = MultiScale((3, 8, 6), 3, 4, 8)(x)
    torch.testing.assert_close(u.square().sum(1), x.flatten(1).square().sum(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_det, torch.zeros(5), rtol=0, atol=1e-3)


def test_only_even_axes_are_halved_and_what_cannot_be_is_refused():
    assert MultiScale((1, 28, 28), 3, 1, 4).last == (8, 7, 7)
    assert MultiScale((3, 32, 32), 3, 1, 4).last == (48, 4, 4)
    assert MultiScale((3, 13, 9), 3, 1, 4).last == (3, 13, 9)
    with pytest.raises(InputError, match="Crop, Resize"):
        Glow((1, 13, 9))
    with pytest.raises(InputError, match="Flow"):
        Glow((12,))
    with pytest.raises(InputError, match="add net="):
        Glow((1, 4, 4), context=2)


def test_a_glow_learns_what_the_best_gaussian_cannot():
    torch.manual_seed(0)
    wave = torch.linspace(0, math.pi, 4)
    angle = 2 * math.pi * torch.rand(3000, 1, 1, 1)
    x = (angle + wave[:, None] + wave).sin() + 0.2 * torch.randn(3000, 1, 4, 4)
    glow = Glow((1, 4, 4), steps=4, width=24)
    training = Training(epochs=15, batch_size=100, learning_rate=5e-3, average=0.95)
    artifact = fusevae.fit(
        glow, {"train": x[:2500], "validation": x[:50], "test": x[:50]}, training=training, quiet=True
    )
    held = x[2500:].flatten(1)
    best_gaussian = torch.distributions.MultivariateNormal(x[:2500].flatten(1).mean(0), x[:2500].flatten(1).T.cov())
    assert fusevae.log_likelihood(artifact, x[2500:]).mean() > best_gaussian.log_prob(held).mean() + 0.5
    drawn = fusevae.sample(artifact, 2000).flatten(1)
    torch.testing.assert_close(drawn.T.cov(), held.T.cov(), rtol=0, atol=0.12)


# dequantization


class Exact(Conditional):
    """A density over one real, skew within each integer's cell, whose integral over the cell is known."""

    def forward(self, *given):
        return torch.distributions.Independent(TorchNormal(torch.full((1,), 2.3), 0.4), 1)


def exact(x):
    p = TorchNormal(2.3, 0.4)
    return (p.cdf(x.double() + 1) - p.cdf(x.double())).log()[:, 0]


def bounds(step, x, n):
    """``n`` draws of the bound of each x."""
    with torch.no_grad(), noise.keyed(1):
        p, many = Preprocessed([step], Exact())(), x.expand(1000, *x.shape)
        return torch.cat([p.log_bound(many) for _ in range(n // 1000)]).double()


def test_learned_noise_bounds_the_probability_and_is_better_than_uniform_noise():
    torch.manual_seed(0)
    x = torch.arange(1.0, 4.0)[:, None]
    step = VariationalDequantize(Gaussian(MLP(1, 2, (16,))), 0, 4)
    model = Preprocessed([step], Exact())
    optimizer = torch.optim.Adam(step.parameters(), 1e-2)
    for _ in range(600):
        optimizer.zero_grad()
        (-model().log_bound(x.expand(64, 3, 1)).mean()).backward()
        optimizer.step()
    learned, uniform = bounds(step, x, 4000), bounds(Dequantize(), x, 4000)
    error = learned.std(0) / math.sqrt(4000)
    assert (learned.mean(0) <= exact(x) + 4 * error).all()
    assert (exact(x) - learned.mean(0) < 0.5 * (exact(x) - uniform.mean(0))).all()  # of the three cells, each
    torch.testing.assert_close(learned.logsumexp(0) - math.log(4000), exact(x), rtol=0, atol=0.02)


def test_a_standard_normal_is_uniform_noise():
    step = VariationalDequantize(Normal(2), 0, 4)
    with noise.keyed(0):
        y, log_det = step(torch.full((5000, 2), 3.0))
    torch.testing.assert_close(log_det, torch.zeros(5000), rtol=0, atol=1e-5)
    ranks = (y - 3).flatten().sort()[0]
    assert (ranks - torch.linspace(0, 1, 10_000)).abs().max() < 0.02  # Kolmogorov-Smirnov at 4.5e-4


def test_untrained_noise_is_an_evidence_bound_too():
    x = torch.arange(1.0, 4.0)[:, None]
    step = VariationalDequantize(Gaussian(Constant(2, std=0.3)), 0, 4)
    draws = bounds(step, x, 40_000)
    assert (draws.mean(0) <= exact(x)).all()
    torch.testing.assert_close(draws.logsumexp(0) - math.log(40_000), exact(x), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "q",
    [
        lambda: Gaussian(MLP((1, 2, 2), (2, 2, 2)), event_dim=3),
        lambda: Flow((1, 2, 2), "inverse", "affine", net=MLP((1, 2, 2), Flow.outputs(4, 2)), context=2),
        lambda: Glow((1, 2, 2), steps=1, width=4, net=MLP((1, 2, 2), Glow.outputs(4, 2)), context=2),
    ],
    ids=["Gaussian", "Flow", "Glow"],
)
def test_any_density_over_reals_can_be_the_noise_and_all_of_it_learns(q):
    model = Preprocessed(
        into_reals(DataSpec((1, 2, 2), "uint8", 0, 255), 1e-6, VariationalDequantize(q())),
        Flow((1, 2, 2), transforms=1),
    )
    for p in model.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    x = torch.randint(0, 256, (64, 1, 2, 2)).float()
    x[0], x[1] = 0, 255
    y, log_det = model.steps[0](x)
    assert torch.equal(model.steps[0].inverse(y), x)
    assert log_det.shape == (64,)
    model().log_bound(x).mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.any(), name
    node = describe(model)
    assert describe(build(node)) == node
    artifact = Artifact(model, DataSpec((1, 2, 2), "uint8", 0, 255))
    assert artifact.is_mass
    assert fusevae.log_likelihood(artifact, x.to(torch.uint8), importance_samples=7).isfinite().all()


def test_noise_that_cannot_be_learned_is_refused():
    with pytest.raises(SlotError, match="Gaussian, Flow, Glow"):
        VariationalDequantize(Bernoulli(MLP(1, 1)))
    with pytest.raises(SlotError, match="Gaussian, Flow, Glow"):
        VariationalDequantize(VAE.examples()[0][0])
    with pytest.raises(SlotError, match="no reparameterised samples"):
        VariationalDequantize(GaussianMixture(Constant(GaussianMixture.outputs(1, 2)), 2))(torch.zeros(1, 1))
    with pytest.raises(InputError, match="low end first"):
        VariationalDequantize(Gaussian(MLP(1, 2)), 3, 3)


@pytest.mark.parametrize("step", ["uniform", "variational"])
def test_every_importance_sample_of_a_vae_has_noise_of_its_own(step):
    """p(x) of a decoder that ignores z is known exactly, so the weighted bound must reach it."""
    dequantize = Dequantize() if step == "uniform" else VariationalDequantize(Gaussian(Constant(2, std=0.1)), 0, 4)
    decoder = Gaussian(MLP(1, 1, ()), scale=0.4)
    decoder.net.layers[0].weight.data.zero_()
    decoder.net.layers[0].bias.data.fill_(2.3)
    vae = VAE(Flat(Normal(1), Gaussian(MLP(1, 2, (3,)), bounds=(0.0, 1.0))), decoder)
    model = Preprocessed([dequantize, Normalise(0, 1)], vae)
    x = torch.arange(1.0, 4.0)[:, None]
    with torch.no_grad(), noise.keyed(0):
        trace = model.trace(x, samples=(3000,))
    assert trace.log_weight.shape == (3000, 3)
    torch.testing.assert_close(trace.log_weight.double().logsumexp(0) - math.log(3000), exact(x), rtol=0, atol=0.15)
    assert trace.log_weight.std(0).min() > 0
    artifact = Artifact(model, DataSpec((1,), "int64", 0, 4))
    found = fusevae.log_likelihood(artifact, x.long(), importance_samples=20_000)
    torch.testing.assert_close(found, exact(x), rtol=0, atol=0.08)


def test_the_benchmarks_figure_is_the_density_of_the_logits(monkeypatch):
    """Of independent Gaussians over unit scale, whose density of logits is known."""
    folder = Path(fusevae.__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("image_flows", folder / "image_flows.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    data = DataSpec((1, 2, 2), "uint8", 0, 255)
    model = Preprocessed(into_reals(data), Gaussian(Constant((2, 2, 2), std=0.3)))
    raw = torch.randint(0, 256, (500, 1, 2, 2), dtype=torch.uint8)
    with torch.no_grad(), noise.keyed("fit"):
        model.start_from(raw.float)
    mean, std = model.steps[-1].mean, model.steps[-1].std
    with torch.no_grad(), noise.keyed("one"):
        found = benchmark.logit_density(model, raw[:7])
    with torch.no_grad(), noise.keyed("one"):
        bound = model().log_bound(raw[:7].float())
    with noise.keyed("one"):
        pixel = (raw[:7].double() + noise.uniform((7, 1, 2, 2)).double()) / 256
    s = 1e-6 + (1 - 2e-6) * pixel
    y = torch.logit(s)
    p = model.model().base_dist
    known = TorchNormal(mean + std * p.mean, std * p.stddev).log_prob(y).flatten(1).sum(1)
    torch.testing.assert_close(found.double(), known, rtol=0, atol=2e-3)
    volume = ((1 - 2e-6) / 256 / (s * (1 - s))).log().flatten(1).sum(1)
    torch.testing.assert_close(bound.double(), known + volume, rtol=0, atol=5e-3)
