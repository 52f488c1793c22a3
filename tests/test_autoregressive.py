"""Autoregressive image models: what a pixel sees, that the walk over the pixels gives what whole passes give, and that
they fuse with latents."""

import itertools
import math

import pytest
import torch

import fusevae
from fusevae import (
    VAE,
    ConvDecoder,
    DataSpec,
    Flat,
    Gaussian,
    ImageTransformer,
    InputError,
    Normal,
    PixelCNN,
    PixelNet,
    Transformer,
)
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.nets.mlp import MLP
from fusevae.nets.transformer import rotate, turn


def sees(function, channels, height, width, at):
    """Which pixels of the image the output ``function(x)[..., at]`` depends on, by autograd: ``(height, width)``."""
    x = torch.randn(1, channels, height, width, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(x)[..., at[0], at[1]].sum(), x)
    return gradient[0].abs().sum(0) > 0


def half_square(height, width, at, reach):
    """What comes before ``at`` in raster order, no further than ``reach``."""
    i, j = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    before = (i < at[0]) | ((i == at[0]) & (j < at[1]))
    return before & (at[0] - i <= reach) & ((j - at[1]).abs() <= reach)


@pytest.mark.parametrize("kernels", [(3,), (7, 1), (3, 3, 3), (5, 3, 1, 3), (3, 1, 5)])
def test_a_pixel_sees_all_before_it_within_reach_and_nothing_else(kernels):
    net = PixelNet(2, 6, kernels)
    for at in [(0, 0), (0, 5), (4, 0), (5, 4), (8, 8), (7, 1)]:
        seen = sees(net, 2, 9, 9, at)
        assert torch.equal(seen, half_square(9, 9, at, net.reach)), (kernels, at)


def test_a_distribution_says_how_far_it_sees():
    p = PixelCNN((1, 9, 9), width=6, kernels=(5, 3, 1))
    x = (torch.rand(1, 1, 9, 9) < 0.5).float()
    at = (6, 4)
    changed = torch.zeros(9, 9, dtype=torch.bool)
    for i, j in itertools.product(range(9), repeat=2):
        other = x.clone()
        other[..., i, j] = 1 - other[..., i, j]
        logits = [p.head(p.layers(p.seen(v)), v)[0, 0, 0, at[0], at[1]] for v in (x, other)]
        changed[i, j] = logits[0] != logits[1]
    assert torch.equal(changed, half_square(9, 9, at, p.reach))


def test_channels_of_a_pixel_see_those_before_them_and_no_others():
    p = PixelCNN((3, 4, 4), "categorical", width=6, kernels=(3, 3), levels=5)
    x = torch.randint(0, 5, (1, 3, 4, 4)).float()
    seen = p.seen(x).detach().requires_grad_()
    for c in range(3):
        out = p.head(p.layers(seen), seen)[0, c, :, 2, 2].sum()
        (gradient,) = torch.autograd.grad(out, seen)
        own = gradient[0, :, 2, 2].view(3, -1).abs().sum(1) > 0
        assert own.tolist() == [before < c for before in range(3)]
        assert not gradient[0, :, 2, 3].any()


class WholePasses:
    """A walk that runs the whole net for every pixel."""

    def __init__(self, net, n, size, conditions):
        self.net, self.conditions, self.x = net, conditions, torch.zeros(n, net.inputs, *size)

    def row(self, i):
        self.i = i

    def at(self, j):
        return self.net(self.x, self.conditions)[:, :, self.i : self.i + 1, j : j + 1]

    def put(self, j, pixel):
        self.x[:, :, self.i, j] = pixel


KINDS = {
    "bernoulli": ((2, 7, 6), {}),
    "categorical": ((2, 5, 7), {"levels": 4}),
    "codes": ((1, 4, 4), {"kind": "categorical", "levels": 512}),
    "logistic": ((3, 6, 5), {"levels": 16, "low": -1.0, "high": 1.0}),
}


def strong(kind, **more):
    """A model whose pixels matter to one another, as after a training."""
    shape, settings = KINDS[kind]
    p = PixelCNN(shape, **{"kind": kind, "width": 8, "kernels": (5, 3, 1, 3), **settings, **more})
    for parameter in p.parameters():
        if parameter.dim() > 1:
            parameter.data *= 2
    return p


@pytest.mark.parametrize("given", ["nothing", "a vector and a label", "a map"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_walk_with_kept_activations_gives_the_same_pixels_as_whole_passes(kind, given):
    conditions, settings = (), {}
    if given == "a vector and a label":
        conditions, settings = (torch.randn(4, 3), torch.tensor([0, 2, -1, 1])), {"context": 3, "classes": 3}
    elif given == "a map":
        net = MLP(3, (2, *KINDS[kind][0][1:]), hidden=(4,))
        conditions, settings = (torch.randn(4, 3),), {"net": net}
    p = strong(kind, **settings)(*conditions)
    shape = (3,) if conditions else (3, 4)
    with noise.keyed(7):
        kept = p.sample(shape)
    with noise.keyed(7):
        whole = p.walk(shape, WholePasses)
    assert torch.equal(kept, whole)
    assert len(kept.unique()) > 1


@torch.no_grad()
def test_a_missing_label_is_an_unknown_one():
    p = PixelCNN((1, 3, 3), width=4, kernels=(3, 3), classes=2)
    x = (torch.rand(5, 1, 3, 3) < 0.5).float()
    unknown = torch.full((5,), -1)
    torch.testing.assert_close(p(None).log_prob(x), p(unknown).log_prob(x))
    assert not torch.allclose(p(torch.zeros(5, dtype=torch.long)).log_prob(x), p(unknown).log_prob(x))


@torch.no_grad()
def test_units_change_no_probability_of_pixel_values():
    a = PixelCNN((3, 3, 3), "logistic", width=4, kernels=(3, 3), levels=256, high=255.0)
    b = PixelCNN((3, 3, 3), "logistic", width=4, kernels=(3, 3), levels=256, low=-1.0, high=1.0)
    b.load_state_dict(a.state_dict())
    x = torch.randint(0, 256, (5, 3, 3, 3)).float()
    torch.testing.assert_close(a().log_prob(x), b().log_prob(2 * x / 255 - 1), rtol=1e-4, atol=1e-3)
    with noise.keyed(3):
        drawn = a().sample((4,))
    with noise.keyed(3):
        torch.testing.assert_close(2 * drawn / 255 - 1, b().sample((4,)))
    assert torch.equal(drawn, drawn.round()) and drawn.min() >= 0 and drawn.max() <= 255


@torch.no_grad()
def test_log_prob_is_the_same_in_parts_and_broadcasts_over_samples_before_the_batch(monkeypatch):
    p = strong("bernoulli", context=3)
    z, x = torch.randn(5, 4, 3), (torch.rand(4, 2, 7, 6) < 0.5).float()
    whole = p(z).log_prob(x)
    assert whole.shape == (5, 4)
    torch.testing.assert_close(whole[2], p(z[2]).log_prob(x))
    monkeypatch.setattr("fusevae.distributions.pixel_cnn.AT_ONCE", 3 * 7 * 6 * 8)
    torch.testing.assert_close(p(z).log_prob(x), whole)


@torch.no_grad()
def test_a_vae_with_a_pixel_cnn_as_decoder_bounds_its_exact_likelihood():
    decoder = PixelCNN((1, 2, 2), width=4, kernels=(3, 1), net=MLP(1, (2, 2, 2), hidden=(4,)))
    for parameter in decoder.parameters():
        parameter.data *= 2
    vae = VAE(Flat(Normal(1), Gaussian(MLP((1, 2, 2), 2), bounds=(0.0, 1.0))), decoder)
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(-1, 1, 2, 2)
    z = torch.linspace(-9, 9, 801)[:, None]
    joint = decoder(z[:, None]).log_prob(x).double() + Normal(1)().log_prob(z).double()[:, None]
    exact = torch.logsumexp(joint, 0) + math.log(18 / 800)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-4)
    draws = vae.trace(x, samples=(4000,)).log_weight.double()
    assert (draws.mean(0) < exact + 4 * draws.std(0) / math.sqrt(4000)).all()
    torch.testing.assert_close(torch.logsumexp(draws, 0) - math.log(4000), exact, rtol=0, atol=0.05)


@torch.no_grad()
def test_an_artifact_with_a_pixel_cnn_comes_back_and_samples_the_same(tmp_path):
    net = ConvDecoder(2, (3, 5, 6), channels=(4,))
    decoder = PixelCNN((1, 5, 6), width=4, kernels=(3, 1), net=net)
    vae = VAE(Flat(Normal(2), Gaussian(MLP((1, 5, 6), 4))), decoder)
    artifact = Artifact(vae, DataSpec((1, 5, 6), "uint8", 0, 1))
    artifact.save(tmp_path)
    again = fusevae.load(tmp_path)
    assert torch.equal(fusevae.sample(again, 3), fusevae.sample(artifact, 3))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PixelCNN((1, 4, 4), "gaussian"), "expected 'bernoulli'"),
        (lambda: PixelCNN((1, 4, 4), kernels=(4, 3)), "odd sizes"),
        (lambda: PixelCNN((1, 4, 4), kernels=(1, 3)), "at least 3"),
        (lambda: PixelCNN((1, 4, 4), levels=3), "take 'categorical'"),
        (lambda: PixelCNN((1, 4, 4), "categorical", levels=1), "at least 2"),
        (lambda: PixelCNN((1, 4, 4), net=MLP(2, (3, 5, 5))), r"expected \(channels, 4, 4\)"),
        (lambda: PixelCNN((1, 4, 4), context=2, net=MLP(2, (3, 4, 4))), "both context and net"),
        (lambda: PixelCNN((16,)), r"expected \(channels, height, width\)"),
        (lambda: ImageTransformer((16,)), r"expected \(channels, height, width\)"),
        (lambda: ImageTransformer((1, 4, 4), levels=1), "at least 2"),
        (lambda: Transformer(10, heads=4), "a multiple of 8"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, says):
    with pytest.raises(InputError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


# the transformer


def test_a_transformers_output_depends_on_its_own_input_and_all_before_it():
    net = Transformer(8, heads=2, layers=2)
    x = torch.randn(1, 6, 8, requires_grad=True)
    for t in range(6):
        (gradient,) = torch.autograd.grad(net(x)[0, t].square().sum(), x)
        assert (gradient[0].abs().sum(1) > 0).tolist() == [s <= t for s in range(6)]


@torch.no_grad()
def test_attention_depends_on_the_distance_of_two_positions_alone():
    query, key, frequency = torch.randn(1, 8), torch.randn(1, 8), Transformer(8, heads=1, layers=1).frequency

    def at(x, place):
        return rotate(x, *(table[-1:] for table in turn(frequency, place + 1)))

    products = [at(query, p + 3) @ at(key, p).T for p in range(5)]
    torch.testing.assert_close(torch.cat(products), products[0].expand(5, 1))


@pytest.mark.parametrize("classes", [0, 3])
@torch.no_grad()
def test_a_transformer_with_kept_keys_gives_the_same_pixels_as_whole_passes(classes):
    part = ImageTransformer((2, 4, 3), 5, -1.0, 1.0, width=16, heads=2, layers=2, context=3, classes=classes)
    for parameter in part.parameters():
        if parameter.dim() > 1:
            parameter.data *= 3
    label = (torch.tensor([0, 2, -1, 1]),) if classes else ()
    p = part(torch.randn(4, 3), *label)
    with noise.keyed(7):
        kept = p.sample((3,))
    with noise.keyed(7):
        whole = p.step((3,), part.net)
    assert torch.equal(kept, whole)
    assert len(kept.unique()) == 5


@torch.no_grad()
def test_a_marginal_image_transformer_starts_as_a_constant_model_and_keeps_its_start():
    torch.manual_seed(0)
    chances = torch.rand(2, 3, 4)
    x = torch.bernoulli(chances.expand(3000, -1, -1, -1))
    part = ImageTransformer((2, 3, 4), 2, width=16, heads=2, layers=1, marginal=True)
    part.start_from(lambda: x)
    shares = (x.sum(0) + 0.5) / (len(x) + 1)
    expected = torch.distributions.Bernoulli(shares).log_prob(x[:20]).sum((1, 2, 3))
    assert torch.allclose(part().log_prob(x[:20]), expected, atol=1e-4)
    assert torch.allclose(part().sample((4000,)).mean(0), shares, atol=0.05)
    part.start_from(lambda: 1 - x)  # a training that goes on
    assert torch.allclose(part().log_prob(x[:20]), expected, atol=1e-4)


@torch.no_grad()
def test_a_value_of_an_image_transformer_depends_on_those_before_it_channel_by_channel():
    part = ImageTransformer((2, 3, 3), 3, width=16, heads=2, layers=1)
    part.token.weight.mul_(50)
    x = torch.randint(0, 3, (1, 2, 3, 3)).float()

    def logits(x):
        tokens = x.long().movedim(1, -1).flatten(1)
        before = torch.cat([part.start.expand(1, 1, -1), part.token(tokens[:, :-1])], 1)
        return part.head(part.net(before + part.condition(None, None)))[0]

    base = logits(x)
    for c, i, j in itertools.product(range(2), range(3), range(3)):
        other = x.clone()
        other[0, c, i, j] = (x[0, c, i, j] + 1) % 3
        changed = (logits(other) - base).abs().amax(1) > 1e-6
        place = (3 * i + j) * 2 + c
        assert changed.tolist() == [t > place for t in range(18)]
