"""What a model starts from: the mean of the data, in place of 0."""

from __future__ import annotations

import math

import pytest
import torch

from fusevae import (
    MLP,
    VAE,
    Bernoulli,
    Categorical,
    Constant,
    ContinuousBernoulli,
    ConvDecoder,
    DiscretizedLogistic,
    FiniteScalar,
    Flat,
    Gaussian,
    LanguageModel,
    Normal,
    Quantized,
    SequenceEncoder,
    SpatialDecoder,
    Transformer,
    Vamp,
    fit,
)
from fusevae.nets.ladder import SubPixel
from fusevae.nets.outset import FEW
from fusevae.nets.quantizer import EVENLY


def still(net):
    """A net whose outputs are its last bias."""
    net.last.weight.data.zero_()
    return net


def started(p, x):
    p.start_from(lambda: x)
    return p(torch.zeros(1, 2))


def test_a_bernoulli_starts_as_the_constant_model():
    x = (torch.rand(500, 1, 4, 4) < torch.rand(1, 4, 4)).float()
    share = x.mean(0).clamp(1e-6, 1 - 1e-6)
    best = (x * share.log() + (1 - x) * (1 - share).log()).sum((1, 2, 3)).mean()
    found = started(Bernoulli(still(MLP(2, (1, 4, 4)))), x).log_prob(x).mean().item()
    assert found == pytest.approx(best.item(), abs=0.01)


def test_a_gaussian_starts_at_means_and_scales():
    x = torch.randn(5000, 3) * torch.tensor([0.1, 10.0, 50.0]) + torch.tensor([5.0, 0.0, -70.0])
    p = started(Gaussian(still(MLP(2, 6))), x)
    assert p.mean[0].tolist() == pytest.approx(x.mean(0).tolist(), rel=1e-4)
    assert p.stddev[0].tolist() == pytest.approx(x.std(0).tolist(), rel=1e-3)
    shared = started(Gaussian(still(MLP(2, 3)), scale="shared"), x)
    assert shared.stddev[0, 0].item() == pytest.approx(x.var(0).mean().sqrt().item(), rel=1e-3)


def test_a_continuous_bernoulli_starts_at_the_mean():
    x = torch.rand(500, 1, 2, 2) ** 3
    p = started(ContinuousBernoulli(still(MLP(2, (1, 2, 2)))), x)
    assert p.mean[0].flatten().tolist() == pytest.approx(x.mean(0).flatten().tolist(), abs=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.0, 1.0)])
def test_a_categorical_starts_at_the_shares(low, high):
    index = torch.multinomial(torch.tensor([0.1, 0.2, 0.3, 0.4]), 2000, replacement=True).view(-1, 2)
    x = low + (high - low) * index / 3
    p = started(Categorical(still(MLP(2, 8)), levels=4, low=low, high=high), x)
    for column in range(2):
        share = torch.bincount(index[:, column], minlength=4) / len(index)
        assert p.logits[0, column].exp().tolist() == pytest.approx(share.tolist(), abs=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("net", [MLP, ConvDecoder, "patches", SubPixel, SpatialDecoder])
def test_logistics_start_near_the_values(channels, net):
    """Better than before, and within a tenth of the entropy of independent pixels for a net with a bias for each."""
    x = (torch.rand(400, channels, 4, 4) ** 2 * 255).round() / 127.5 - 1
    out = DiscretizedLogistic.outputs((channels, 4, 4), 5)
    made = {
        MLP: lambda: MLP(2, out),
        ConvDecoder: lambda: ConvDecoder(2, out, (4,)),
        "patches": lambda: ConvDecoder(2, out, (4,), patch=2),
        SubPixel: lambda: SubPixel((2, 2, 2), out, 4),
        SpatialDecoder: lambda: SpatialDecoder(2, out, (4,)),
    }[net]()
    p = DiscretizedLogistic(still(made))
    given = torch.zeros(1, *(made.inputs if net in (SubPixel, SpatialDecoder) else (2,)))
    before = p(given).log_prob(x).mean()
    p.start_from(lambda: x)
    after = p(given).log_prob(x).mean()
    assert after > before
    # of the square of a uniform number the entropy in nats is log 256 + (1 - log 2) less than a nat
    assert after > -1.05 * 16 * channels * math.log(256)


def test_a_net_of_squares_of_pixels_starts_as_one_of_pixels():
    """Each pixel of a square has the outputs of all, whatever the sides are."""
    x = torch.rand(200, 3, 5, 7) * torch.tensor([0.2, 0.5, 1.0])[:, None, None]
    whole, squares = (started(Gaussian(still(ConvDecoder(2, (3, 5, 7), (4,), patch=p)), 1.0), x) for p in (1, 3))
    assert torch.allclose(whole.mean, squares.mean, atol=1e-6)
    assert torch.allclose(squares.mean, x.mean((0, 2, 3))[:, None, None].expand(3, 5, 7), atol=1e-5)


def test_a_language_model_starts_at_the_shares_of_tokens():
    x = torch.tensor([[2, 3, 0, 5], [2, 2, 2, 0]] * 50)  # what follows the end, 0, doesn't count
    p = LanguageModel(Transformer(8, heads=2, layers=1), vocabulary=6)
    p.start_from(lambda: x)
    share = p.bias.softmax(0)
    assert share[[0, 2, 3]].tolist() == pytest.approx([2 / 7, 4 / 7, 1 / 7], abs=0.01)
    assert share[5] < 0.01


def test_what_was_trained_stays_as_it_is():
    x = torch.rand(64, 3)
    net = MLP(2, 6)
    net.last.bias.data[0] = 1e-3
    before = net.last.bias.clone()
    Gaussian(net).start_from(lambda: x)
    assert torch.equal(net.last.bias, before)
    Gaussian(torch.nn.Linear(2, 6)).start_from(lambda: x)  # a net of one's own names no last layer


def test_a_start_takes_rows_from_all_of_the_data():
    x = torch.cat([torch.zeros(3 * FEW, 2), torch.ones(3 * FEW, 2)])  # in order
    p = started(Bernoulli(still(MLP(2, 2))), x)
    assert p.mean[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_pseudo_inputs_start_as_training_examples():
    x = torch.arange(40.0).view(20, 2) / 40
    posterior = Gaussian(MLP(2, 4))
    vamp = Vamp(posterior, 2, components=8)
    vae = VAE(Flat(vamp, posterior), decoder=Gaussian(MLP(2, 4)))
    vae.start_from(lambda: x)
    inside = x.clamp(0.05, 0.95)
    distances = torch.cdist(vamp.pseudo_inputs.detach(), inside).min(1)
    assert distances.values.max() < 1e-5
    assert len(set(distances.indices.tolist())) == 8
    before = vamp.raw.clone()
    vae.start_from(lambda: 1 - x)  # once
    assert torch.equal(vamp.raw, before)
    other = Vamp(posterior, 2, components=8)
    other.load_state_dict(vamp.state_dict())
    other.start_from(lambda: 1 - x)  # nor where it was trained elsewhere
    assert torch.equal(other.raw, before)


def test_fewer_examples_than_pseudo_inputs():
    vamp = Vamp(Gaussian(MLP(2, 4)), 2, components=8, bounds=None)
    vamp.start_from(lambda: torch.full((3, 2), 7.0))
    assert (vamp.raw == 7).all(1).sum() == 3


def test_a_training_starts_from_its_training_part():
    """The first record of a VAE on ink is that of a model which knows the mean."""
    x = (torch.rand(400, 1, 6, 6) < 0.05).to(torch.uint8)
    vae = VAE(Flat(Normal(2), Gaussian(MLP((1, 6, 6), 4))), Bernoulli(MLP(2, (1, 6, 6))))
    settings = {"epochs": 0.1, "batch_size": 100, "log_every": 1}
    found = [r["train"] for r in fit(vae, x, training=settings, quiet=True).history.records if "train" in r]
    entropy = 36 * -(0.05 * math.log(0.05) + 0.95 * math.log(0.95))
    assert found[0]["reconstruction"] > -1.6 * entropy  # from 0 it is -36 log 2, which is 3.5 times the entropy


def test_a_centred_encoder_sees_how_examples_differ_from_their_mean_and_an_inverted_set_as_the_same():
    torch.manual_seed(0)
    x = (torch.rand(50, 1, 2, 3) < 0.2).float()
    latents = Flat(Normal(2), Gaussian(MLP((1, 2, 3), 4, hidden=(5,), centred=True)))
    vae = VAE(latents, Bernoulli(MLP(2, (1, 2, 3), hidden=(5,))))
    net = latents.posterior.net
    plain = MLP((1, 2, 3), 4, hidden=(5,))
    plain.load_state_dict({name: v for name, v in net.state_dict().items() if name != "data_mean"})
    vae.start_from(lambda: x)
    assert torch.allclose(net(x), plain(x - x.mean(0)))
    vae.start_from(lambda: 1 - x)  # a training that goes on
    assert torch.allclose(net.data_mean, x.mean(0))


@pytest.mark.parametrize("parts", [1, 3])
@torch.no_grad()
def test_an_encoder_of_sequences_tells_as_much_as_was_asked_and_over_all_examples_is_the_prior(parts):
    torch.manual_seed(0)
    x, k = torch.randint(2, 40, (300, 9)), 6
    encoder = SequenceEncoder(Transformer(16, 2, 0, causal=False), 40, 2 * k, parts=parts, tells=4.0)
    latents = Flat(Normal(k), Gaussian(encoder))
    latents.start_from(lambda: x)
    q, other = latents.posterior(x), latents.posterior(x[:5])
    assert other.mean.std(0).min() > 0.1
    kl = torch.distributions.kl_divergence(q.base_dist, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert kl.mean().item() == pytest.approx(4.0, abs=0.02)
    entries = q.mean.view(300, k // parts, parts).transpose(1, 2).flatten(0, 1)  # of all parts, which share a layer
    moments = entries.T.cov(correction=0) + q.variance[0, : k // parts].diag()
    torch.testing.assert_close(moments, torch.eye(k // parts), rtol=0, atol=0.01)
    torch.testing.assert_close(entries.mean(0), torch.zeros(k // parts), rtol=0, atol=1e-4)


@torch.no_grad()
def test_codes_of_texts_begin_in_use_all_about_alike():
    torch.manual_seed(0)
    x, prior = torch.randint(2, 40, (3000, 9)), Categorical(Constant((16, 1, 3)), levels=16)
    usage = []
    for differs in (0.0, EVENLY):
        net = SequenceEncoder(Transformer(16, 2, 0, causal=False), 40, (2, 1, 3), differs=differs)
        latents = Quantized(net, FiniteScalar((4, 4)), prior)
        latents.start_from(lambda: x)
        _, terms, _ = latents.infer(x)
        share = torch.bincount(terms[0].z.long().flatten(), minlength=16) / terms[0].z.numel()
        usage.append(torch.exp(-torch.special.xlogy(share, share).sum()).item())
    assert usage[0] < 5 and usage[1] > 14  # perplexities, of 16
    before = net.head.weight.clone()
    latents.start_from(lambda: x[:50])
    assert torch.equal(net.head.weight, before)


@torch.no_grad()
def test_such_a_start_is_of_few_examples_too_and_what_was_trained_stays():
    encoder = SequenceEncoder(Transformer(16, 2, 0, causal=False), 40, 12, tells=4.0)
    encoder.start_from(lambda: torch.tensor([[2, 3, 0], [3, 4, 0], [2, 3, 0]]))
    assert encoder(torch.tensor([[5, 6, 0]])).isfinite().all()
    before = encoder.head.weight.clone()
    encoder.start_from(lambda: torch.randint(2, 40, (50, 4)))
    assert torch.equal(encoder.head.weight, before)
    still = SequenceEncoder(Transformer(16, 2, 0, causal=False), 40, 12)
    before = still.head.weight.clone()
    still.start_from(lambda: torch.randint(2, 40, (50, 4)))
    assert torch.equal(still.head.weight, before)
