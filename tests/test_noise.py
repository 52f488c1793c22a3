"""Noise is keyed by seed, step and position in the batch: how many processes draw it changes nothing."""

import math

import pytest
import torch
from conftest import every
from torch import nn
from torch.nn import functional as F

from fusevae import (
    ELBO,
    VAE,
    Artifact,
    Bernoulli,
    DataSpec,
    Flat,
    Gaussian,
    GaussianMixture,
    InputError,
    Normal,
    Preprocessed,
    Training,
    fit,
)
from fusevae.core import noise
from fusevae.core.noise import Rows
from fusevae.core.vocabulary import END
from fusevae.data.preprocessing import Dequantize
from fusevae.distributions.waveform import Waveform
from fusevae.models.vae import VAE as VAEClass
from fusevae.nets.dropout import dropout
from fusevae.nets.mlp import MLP, Constant, Embedding
from fusevae.nets.recurrent import LSTM
from fusevae.nets.transformer import Transformer
from fusevae.training.players import Batch, Game, MaximumLikelihood

CUTS = [(0, 2, 6), (2, 3, 6), (3, 6, 6)]


def close(parts, whole, dim):
    """Equal but for the rounding of a product whose number of rows differs; texts may be of any length."""
    if dim < whole.dim() - 1:
        longest = max(p.shape[-1] for p in (*parts, whole))
        *parts, whole = (F.pad(p, (0, longest - p.shape[-1]), value=END) for p in (*parts, whole))
    torch.testing.assert_close(torch.cat(parts, dim), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@every
@torch.no_grad()
def test_drawing_a_batch_in_parts_draws_the_batch(part, given, shape):
    given = tuple(torch.randn(6, *g.shape[1:]) if g.is_floating_point() else torch.arange(6) % 2 for g in given)

    def draw(rows):
        with noise.keyed("step", 7, rows=rows):
            here = tuple(g[rows.start : rows.stop] for g in given)
            lead = shape if given else (*shape, rows.here)
            first = noise.sample(part(*here), lead)
            return first, noise.sample(part(*here), lead)  # a second draw is keyed too

    whole, parts = draw(Rows(0, 6, 6)), [draw(Rows(*cut)) for cut in CUTS]
    for i in (0, 1):
        close([p[i] for p in parts], whole[i], len(shape))
    assert not torch.equal(whole[0], whole[1]) or isinstance(part, Waveform)  # which draws nothing


@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
@every
def test_paths_are_drawn_in_parts_like_the_batch(part, given, shape):
    given = tuple(torch.randn(6, *g.shape[1:]) if g.is_floating_point() else torch.arange(6) % 2 for g in given)
    if not given or not part(*given).has_rsample:
        return

    def draw(rows):
        with noise.keyed(1, rows=rows):
            return noise.rsample(part(*(g[rows.start : rows.stop] for g in given)), shape)

    close([draw(Rows(*cut)) for cut in CUTS], draw(Rows(0, 6, 6)), len(shape))


@pytest.mark.parametrize("components", [2, 3, 6])
@torch.no_grad()
def test_a_mixture_under_several_latents_is_drawn_in_parts_whatever_its_size(components):
    part = GaussianMixture(MLP(2, GaussianMixture.outputs(1, components)), components)
    z = torch.randn(3, 6, 2)  # three samples of each of six examples

    def draw(rows):
        with noise.keyed(1, rows=rows):
            return noise.sample(part(z[:, rows.start : rows.stop]), (2,))

    close([draw(Rows(*cut)) for cut in CUTS], draw(Rows(0, 6, 6)), 2)


@torch.no_grad()
def test_nested_models_are_drawn_in_parts():
    inner = VAE(Flat(Gaussian(Embedding(3, 4, std=1.0)), Gaussian(MLP(2, 4))), Gaussian(MLP(2, 4)))
    outer = VAE(Flat(inner, Gaussian(MLP(4, 4))), Preprocessed([Dequantize()], Gaussian(MLP(2, 8))))
    label, x = torch.tensor([0, 1, 2, 0, -1, 1]), torch.randint(0, 5, (6, 4)).float()

    def draw(rows):
        here = slice(rows.start, rows.stop)
        with noise.keyed(1, rows=rows):
            return (
                noise.sample(outer(label[here]), (3,)),
                outer.trace(x[here], label[here], samples=(3,)).log_weight,
                outer.trace(x[here], label[here]).elbo[None],
            )

    whole, parts = draw(Rows(0, 6, 6)), [draw(Rows(*cut)) for cut in CUTS]
    for i in range(3):
        torch.testing.assert_close(torch.cat([p[i] for p in parts], 1), whole[i], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("prior", "posterior"), [(Normal(2), Gaussian(MLP(4, 4))), (Bernoulli(Constant(2)), Bernoulli(MLP(4, 2)))]
)
@torch.no_grad()
def test_a_trace_in_parts_is_the_trace_of_the_batch(prior, posterior):
    vae, x = VAEClass(Flat(prior, posterior), Bernoulli(MLP(2, 4))), (torch.rand(6, 4) < 0.5).float()

    def draw(rows):
        with noise.keyed(3, rows=rows):
            return vae.trace(x[rows.start : rows.stop], samples=(5,)).elbo.expand(5, -1)

    close([draw(Rows(*cut)) for cut in CUTS], draw(Rows(0, 6, 6)), 1)


def test_uniform_numbers_are_drawn_in_parts():
    def draw(rows):
        with noise.keyed(1, rows=rows):
            return noise.uniform((rows.here, 2, 3)), noise.uniform((rows.here,))

    whole, parts = draw(Rows(0, 6, 6)), [draw(Rows(*cut)) for cut in CUTS]
    for i in (0, 1):
        assert torch.equal(torch.cat([p[i] for p in parts]), whole[i])
        assert whole[i].unique().numel() == whole[i].numel()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_leaves_out_its_part_and_keeps_the_mean(rate):
    with noise.keyed(0):
        y = dropout(torch.ones(500, 400), rate)
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - rate)], abs=1e-3)
    assert (y == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    together = ((y[:, 1:] == 0) & (y[:, :-1] == 0)).float().mean().item()  # four masks come of one draw
    assert together == pytest.approx(rate**2, abs=0.005)
    assert torch.equal(dropout(y, rate, training=False), y) and torch.equal(dropout(y, 0.0), y)
    assert not dropout(y, 1.0).any()


@pytest.mark.parametrize("copies", [1, 3])
def test_dropout_of_a_part_is_that_of_the_batch_and_no_two_masks_are_alike(copies):
    x = torch.ones(copies, 6, 5, 7)

    def draw(rows):
        with noise.keyed("step", 1, rows=rows):
            here = x[:, rows.start : rows.stop].flatten(0, 1)
            layers = dropout(here, 0.5), dropout(here, 0.5)
            return [y.view(copies, rows.here, 5, 7) for y in layers], noise.uniform((rows.here,))

    whole, parts = draw(Rows(0, 6, 6)), [draw(Rows(*cut)) for cut in CUTS]
    for layer in (0, 1):
        assert torch.equal(torch.cat([p[0][layer] for p in parts], 1), whole[0][layer])
    assert torch.equal(torch.cat([p[1] for p in parts]), whole[1])  # what is drawn after it, too
    masks = torch.cat([y.flatten(0, 1).flatten(1) for y in whole[0]])
    with noise.keyed("step", 2):
        masks = torch.cat([masks, dropout(x[0], 0.5).flatten(1)])
    assert len(masks.unique(dim=0)) == len(masks)  # rows, layers and steps


NETS = {
    "dropout": lambda: nn.Sequential(nn.Linear(4, 9), nn.Dropout(0.4), nn.Linear(9, 2)),
    "alpha dropout": lambda: nn.Sequential(nn.SELU(), nn.AlphaDropout(0.4), nn.Linear(4, 2)),
    "functions": lambda: Own(),
    "transformer": lambda: Over(Transformer(4, 2, 2, dropout=0.4, causal=False)),
    "causal transformer": lambda: Over(Transformer(4, 2, 2, dropout=0.4)),
    "lstm": lambda: Over(LSTM(4, 2, dropout=0.4)),
}


class Over(nn.Module):
    """A net over sequences in the place of one over vectors."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.unflatten(-1, (1, 4)).expand(-1, 3, 4) * torch.tensor([[1.0], [2], [3]])).mean(1)[:, :2]


class Own(nn.Module):
    """A net of one's own, which draws by functions."""

    def forward(self, x):
        q = x[:, None, :, None].expand(-1, 2, -1, 3)
        h = F.scaled_dot_product_attention(q, q, q, dropout_p=0.4).mean((1, 3))
        return (F.dropout(h, 0.4, self.training) + torch.randn_like(h))[:, :2]


@pytest.mark.parametrize("net", NETS)
def test_whatever_net_draws_a_part_of_a_batch_computes_what_the_batch_does(net):
    model = VAE(Flat(Normal(1), Gaussian(NETS[net]())), Gaussian(MLP(1, 8)))
    x = torch.randn(6, 4)
    game = Game([MaximumLikelihood(Artifact(model, DataSpec((4,))), ELBO())]).train()

    def draw(rows):
        with noise.keyed(5, rows=rows):
            return game("model", Batch(x[rows.start : rows.stop]), 1.0)["model"][0] * rows.here / 6

    whole, parts = draw(Rows(0, 6, 6)), sum(draw(Rows(*cut)) for cut in CUTS)
    torch.testing.assert_close(parts, whole)


def test_a_net_whose_masks_no_place_can_be_told_of_is_refused_in_parts():
    net = nn.Sequential(nn.Linear(4, 2), nn.Identity())
    net[1].hidden = nn.LSTM(2, 2, 2, dropout=0.5)
    model, x = VAE(Flat(Normal(1), Gaussian(net)), Gaussian(MLP(1, 8))), torch.randn(40, 4)
    fit(model, x, training=Training(epochs=0.1), quiet=True)
    with pytest.raises(InputError, match=r"nn.LSTM has dropout=0.5.*nn.Dropout"):
        fit(model, x, training=Training(epochs=0.1, accumulate=2), quiet=True)


def test_a_key_gives_the_same_numbers_again_and_another_key_others():
    def draw(*parts):
        with noise.keyed(*parts):
            return noise.sample(Normal(3)())

    assert torch.equal(draw(0, "a"), draw(0, "a"))
    assert not torch.equal(draw(0, "a"), draw(0, "b"))
    assert not torch.equal(draw(1, 2), draw(12))


def test_the_rows_end_with_the_block_even_when_it_fails():
    with pytest.raises(ZeroDivisionError), noise.keyed(0, rows=Rows(0, 1, 6)):
        1 / 0  # noqa: B018
    with noise.keyed(0):
        assert noise.uniform((4,)).unique().numel() == 4


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_random_state_is_preserved(fails):
    state = torch.get_rng_state()
    try:
        with noise.preserved(), noise.keyed(5):
            noise.uniform((10,))
            if fails:
                raise ValueError
    except ValueError:
        pass
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_a_prior_without_a_batch_gives_each_example_its_own_latent():
    z = noise.sample_to(Normal(2)(), (1000,))
    assert z.unique(dim=0).shape == (1000, 2)
    label = torch.tensor([0, 1] * 500)
    p = Gaussian(Embedding(2, 2, std=3.0))(label)
    z = noise.sample_to(p, (5, 1000))
    for k in (0, 1):
        error = p.stddev[k].item() / math.sqrt(2500)
        assert z[:, label == k].mean().item() == pytest.approx(p.mean[k].item(), abs=5 * error)
