"""Hierarchies of latents: their likelihood against an integral, their stability, their one top-down pass."""

import math

import pytest
import torch

import fusevae
from fusevae import IWAE, MLP, STL, VAE, Bernoulli, ConvLadder, DenseLadder, Flat, Gaussian, Ladder, Normal, SubPixel
from fusevae.core import noise


def shaken(model, by=0.3):
    for p in model.parameters():
        p.data.add_(by * torch.randn_like(p))
    return model


@torch.no_grad()
def test_the_importance_weighted_bound_reaches_the_integral_over_both_levels():
    ladder = Ladder(DenseLadder(2, latents=(1, 1), width=4))
    model = shaken(VAE(ladder, Bernoulli(MLP(4, 2, hidden=(3,)))))
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    n, net = 801, ladder.net
    z = torch.linspace(-9, 9, n)
    p1 = ladder._normal(*net.prior(0, net.start(None, None)))
    h = net.down(0, net.start(None, None).expand(n, -1), z[:, None])
    p2 = ladder._normal(*net.prior(1, h))  # one for each z1
    both = net.down(1, h.unsqueeze(1).expand(n, n, -1), z.view(1, n, 1).expand(n, n, 1))
    joint = p1.log_prob(z[:, None])[:, None] + p2.log_prob(z.view(n, 1, 1)).T
    joint = joint + 2 * math.log(18 / (n - 1))
    exact = torch.stack([torch.logsumexp((model.decoder(both).log_prob(e) + joint).flatten(), 0) for e in x])
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-3)
    trace = model.trace(x, samples=(40_000,))
    assert trace.log_weight.shape == trace.elbo.shape == (40_000, 4)
    weight = trace.log_weight.double().exp()
    assert ((weight.mean(0) - exact.exp()).abs() < 4 * weight.std(0) / 200 + 1e-3).all()
    assert (trace.elbo.mean(0) < exact + 0.01).all()
    drawn = model().sample((40_000,))
    for e, log_p in zip(x, exact, strict=True):
        assert (drawn == e).all(-1).float().mean().item() == pytest.approx(log_p.exp().item(), abs=0.012)


@torch.no_grad()
def test_every_prior_starts_at_the_standard_normal_whatever_is_above():
    ladder = Ladder(ConvLadder((1, 9, 12), levels=(2, 3), latent=2, width=8))
    _, terms, _ = ladder.infer(torch.randn(3, 1, 9, 12))
    assert [t.z.shape[1:] for t in terms] == [(2, 3, 3)] * 2 + [(2, 5, 6)] * 3
    for term in terms:
        assert term.p.mean.abs().max() == 0
        assert (term.p.stddev - torch.ones(())).abs().max() < 0.7  # the bounds of the scale are not quite symmetric


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: DenseLadder((1, 28, 28), latents=(8,) * 16, width=64), (1, 28, 28)),
        (lambda: ConvLadder((1, 28, 28), levels=(4, 5, 5), latent=2, width=12), (1, 28, 28)),
        (lambda: ConvLadder((3, 32, 32), levels=(6, 8), latent=2, width=12), (3, 32, 32)),
    ],
    ids=["16 dense", "14 on 28 x 28", "14 on 32 x 32"],
)
def test_many_levels_train_from_the_first_step_without_an_abnormal_update(net, shape):
    net = net()
    head = SubPixel(net.state, shape, hidden=8) if len(net.state) == 3 else MLP(64, shape, hidden=(64,))
    head.last.bias.data.fill_(1e-6)  # as if trained: all there is to learn is still to be learned
    model = VAE(Ladder(net), Bernoulli(head))
    lit = torch.rand(32, *(1 if d > 3 else d for d in shape)).repeat(1, 1, *shape[1:]) < 0.3  # all on or all off
    x = lit.float()
    training = fusevae.Training(epochs=25, batch_size=16, learning_rate=2e-3, average=0.9, log_every=5)
    from fusevae.training.prepare import prepare

    data = fusevae.read_data({"train": x, "validation": x[:4], "test": x[:4]})
    loop = prepare(model, data, (), fusevae.ELBO(), training, 0, "cpu")
    with torch.no_grad():
        before = model.trace(x).elbo.mean().item()
    loop.run()
    records = [r for r in loop.records if "train" in r]
    assert records[-1]["skipped"] <= 2  # of 50; the very first gradients are the largest
    assert not any("event" in r and r["event"] == "went back" for r in loop.records)
    assert records[-1]["train"]["elbo"] > 0.6 * before  # nats below zero: it learned a good part of what there is
    assert all(torch.tensor(r["train"]["elbo"]).isfinite() for r in records)


def test_a_latent_above_the_levels_may_be_of_any_kind():
    q = Gaussian(MLP(4, 4))
    ladder = Ladder(DenseLadder(4, latents=(3,), width=8, top=2), Flat(fusevae.Vamp(q, 4, components=5), q))
    model = VAE(ladder, Bernoulli(MLP(8, 4)))
    x = (torch.rand(6, 4) < 0.5).float()
    trace = model.trace(x, samples=(3,))
    assert [t.name for t in trace.terms] == ["top", "z1"]
    IWAE(3)(trace, 0.0).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with pytest.raises(fusevae.InputError, match="one level"):
        STL()(model.trace(x), 0.0)


@torch.no_grad()
def test_what_is_encoded_is_decoded_from_its_top_level():
    x = torch.rand(3, 1, 6, 6)
    net = ConvLadder((1, 6, 6), levels=(1,), latent=2, width=4)
    model = shaken(VAE(Ladder(net), Bernoulli(SubPixel(net.state, (1, 6, 6), 4))), 0.1)
    arrays = model.encode(x)
    torch.testing.assert_close(model.decode(arrays["z1_mean"]).mean, model.reconstruct(x).mean)
    several = Ladder(DenseLadder(4, latents=(2, 2), width=6))
    z = torch.randn(5, 2)
    assert torch.equal(several.complete(z), several.complete(z))  # levels below are means, not draws


@torch.no_grad()
def test_a_label_changes_what_is_generated_and_inferred():
    net = DenseLadder(4, latents=(2,), width=6, classes=3)
    model = shaken(VAE(Ladder(net), Gaussian(MLP(6, 4), scale="shared")))
    x, label = torch.randn(3, 4), torch.tensor([0, 1, -1])
    assert not torch.allclose(model.trace(x, label).kl, model.trace(x, None).kl)
    torch.testing.assert_close(model.encode(x, label)["z1_mean"][2], model.encode(x, None)["z1_mean"][2])
    with noise.keyed(0):
        a = model.generate((3,), torch.tensor([0, 0, 0])).mean
    with noise.keyed(0):
        b = model.generate((3,), torch.tensor([1, 1, 1])).mean
    assert not torch.allclose(a, b)


def test_a_size_without_a_level_is_refused():
    with pytest.raises(fusevae.InputError, match="at least one level"):
        ConvLadder((1, 8, 8), levels=(2, 0))
    assert Normal(2)().sample().shape == (2,)
