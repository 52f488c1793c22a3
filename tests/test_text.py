"""Language models and text VAEs: what a sequence's probability is, and how sequences are written."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import fusevae
from fusevae import (
    LSTM,
    VAE,
    Flat,
    Gaussian,
    InputError,
    LanguageModel,
    Normal,
    SequenceEncoder,
    SlotError,
    Transformer,
)
from fusevae.core import noise
from fusevae.core.generation import GREEDY, Generation, generating
from fusevae.core.vocabulary import END, counted, joined, lengths
from fusevae.nets.sequence_encoder import TokenEmbedding, shares

V = 4


def models():
    torch.manual_seed(0)
    small = {"heads": 2, "layers": 2}
    found = {
        "transformer": LanguageModel(Transformer(8, **small), V, longest=6),
        "add": LanguageModel(Transformer(8, **small), V, context=3, longest=6),
        "prefix": LanguageModel(Transformer(8, **small), V, context=3, inject="prefix", places=2, longest=6),
        "cross": LanguageModel(Transformer(8, **small, cross=True), V, context=3, inject="cross", longest=6),
        "never first": LanguageModel(Transformer(8, **small), V, longest=6, never_first=[END, 3]),
        "lstm": LanguageModel(LSTM(8, 2), V, context=3, longest=6),
        "lstm-prefix": LanguageModel(LSTM(8, 2), V, context=3, inject="prefix", longest=6),
        "outputs": LanguageModel(LSTM(8, 2), V, context=3, longest=6, at_outputs=True),
        "prefix-outputs": LanguageModel(
            Transformer(8, **small), V, context=3, inject="prefix", places=2, longest=6, at_outputs=True
        ),
    }
    for model in found.values():
        for p in model.parameters():  # far from the uniform distribution
            p.data += 0.4 * torch.randn_like(p)
        model.bias.data[END] += 1.5  # most of what is written ends early, and isn't computed any further
    return [pytest.param(model.eval(), id=name) for name, model in found.items()]


MODELS = models()
every = pytest.mark.parametrize("model", MODELS)


def given(model, n=1):
    return (torch.randn(n, model.context, generator=torch.Generator().manual_seed(1)),) if model.context else ()


def sequences(length):
    """Every sequence up to a length: those that have ended, and those that go on."""
    x = torch.tensor(list(itertools.product(range(V), repeat=length)))
    return x[(x.masked_fill(~counted(x), END) == x).all(1)]


@every
@torch.no_grad()
def test_the_probabilities_of_all_sequences_up_to_a_length_sum_to_one(model):
    for length in (1, 3, 5):
        p = model(*(g[0] for g in given(model)))
        assert p.log_prob(sequences(length)).double().exp().sum().item() == pytest.approx(1, abs=1e-5)


@every
@torch.no_grad()
def test_neither_padding_nor_what_it_is_made_of_changes_a_value(model):
    p = model(*(g[0] for g in given(model)))
    x = torch.tensor([[3, 2, END], [2, END, END]])
    wide = torch.tensor([[3, 2, END, 3, 1, 2], [2, END, 1, 3, 3, END]])
    torch.testing.assert_close(p.log_prob(wide), p.log_prob(x), rtol=1e-5, atol=1e-6)


@every
@torch.no_grad()
def test_cached_generation_writes_the_same_tokens_as_whole_passes(model):
    p, shape = model(*given(model, 5)), (40,) if model.context else (200,)

    class Again:  # the logits of a whole pass each time, of all tokens so far
        def __init__(self):
            self.tokens = None

        def __call__(self, new, of):
            self.tokens = new if self.tokens is None else torch.cat([self.tokens, new], 1)
            return model.logits(self.tokens, of)

    for how in (Generation(), GREEDY, Generation(0.7, top_k=3, start=(3, 2)), Generation(top_p=0.9)):
        with noise.keyed(0), generating(how):
            cached = p.sample(shape)
        with noise.keyed(0):
            whole = p.write(torch.Size(shape) + p.batch_shape, how, Again())
        assert torch.equal(cached, whole)
        if how.start:
            assert (cached[..., :2] == torch.tensor(how.start)).all()


@every
@torch.no_grad()
def test_a_wide_enough_beam_finds_the_likeliest_sequence(model):
    p = model(*given(model, 2))
    x = sequences(4)
    best = x[p.log_prob(x[:, None]).argmax(0)] if model.context else x[p.log_prob(x).argmax()][None]
    with generating(Generation(beams=V**4, longest=4)):
        found = p.sample(() if model.context else (1,))
    assert torch.equal(joined([found, torch.zeros(0, 4, dtype=torch.long)]), best)


@torch.no_grad()
def test_what_a_limit_leaves_out_is_never_drawn():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    assert (Generation(top_k=2).limited(logits) > -torch.inf).tolist() == [True, True, False, False]
    assert (Generation(top_p=0.75).limited(logits) > -torch.inf).tolist() == [True, True, False, False]
    assert (Generation(top_p=0.85).limited(logits) > -torch.inf).tolist() == [True, True, True, False]
    assert (Generation(top_p=0.01).limited(logits) > -torch.inf).tolist() == [True, False, False, False]
    torch.testing.assert_close(Generation(temperature=0.5).limited(logits), 2 * logits)


@pytest.mark.parametrize(
    "settings", [{"temperature": -1}, {"temperature": math.nan}, {"top_p": 0}, {"top_p": 1.5}, {"top_k": -1}]
)
def test_a_setting_out_of_range_is_named(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        Generation(**settings)


def vae(net=lambda **kw: Transformer(8, 2, 1, **kw), **kw):
    encoder = net(causal=False) if net is not LSTM8 else net()
    return VAE(
        # a posterior at least as wide as the prior: importance weights are bounded
        Flat(Normal(2), Gaussian(SequenceEncoder(encoder, V, 4), bounds=(0.0, 1.0))),
        decoder=LanguageModel(net(), V, context=2, longest=6, **kw),
    ).eval()


def LSTM8(**kw):
    return LSTM(8)


@pytest.mark.parametrize("net", [lambda **kw: Transformer(8, 2, 1, **kw), LSTM8], ids=["transformer", "lstm"])
@torch.no_grad()
def test_the_importance_weighted_value_of_a_text_vae_is_the_integral_over_its_latent(net):
    model = vae(net)
    for p in model.parameters():
        p += 0.3 * torch.randn_like(p)
    model.latents.posterior.net.head.weight *= 0.2  # a posterior that is not far from the prior
    x = torch.tensor([[3, 2, 0], [2, 2, 2], [1, 0, 0]])
    n = 401
    axis = torch.linspace(-6, 6, n)
    z = torch.cartesian_prod(axis, axis)
    log_p = model.decoder(z[:, None]).log_prob(x) + model.latents.prior().log_prob(z)[:, None]
    exact = torch.logsumexp(log_p.double(), 0) + 2 * math.log(12 / (n - 1))
    weights = model.trace(x, samples=(200_000,)).log_weight.double()
    found = torch.logsumexp(weights, 0) - math.log(200_000)
    error = (weights - found).exp().std(0) / math.sqrt(len(weights))
    assert (error < 0.02).all()
    assert ((found - exact).abs() < 4.5 * error + 1e-4).all()


@pytest.mark.parametrize("net", [lambda **kw: Transformer(8, 2, 1, **kw), LSTM8], ids=["transformer", "lstm"])
@torch.no_grad()
def test_the_posterior_ignores_what_follows_the_end(net):
    posterior = vae(net).latents.posterior
    short, long = torch.tensor([[3, 2, 0]]), torch.tensor([[3, 2, 0, 1, 3, 0]])
    torch.testing.assert_close(posterior(short).mean, posterior(long).mean, rtol=1e-5, atol=1e-6)
    assert (posterior(short).mean - posterior(torch.tensor([[2, 3, 0]])).mean).abs().max() > 1e-4


def shared() -> VAE:
    """A VAE whose encoder is a bag of its decoder's words."""
    words = TokenEmbedding(V, 8)
    posterior = Gaussian(SequenceEncoder(Transformer(8, layers=0, causal=False), words, 4))
    return VAE(Flat(Normal(2), posterior), LanguageModel(Transformer(8, 2, 2), words, context=2, longest=6))


@torch.no_grad()
def test_a_decoder_that_is_told_a_latent_at_every_layer_starts_as_its_language_model():
    x, z = torch.tensor([[3, 2, 0], [2, 2, 2]]), torch.randn(5, 1, 2)
    for net in (lambda: Transformer(8, 2, 2), lambda: LSTM(8, 2)):
        decoder = LanguageModel(net(), V, context=2, longest=6).eval()
        alone = LanguageModel(decoder.net, V, longest=6).eval()
        alone.load_state_dict({k: v for k, v in decoder.state_dict().items() if not k.startswith("given.")})
        torch.testing.assert_close(decoder(z).log_prob(x), alone().log_prob(x).expand(5, 2), rtol=0, atol=5e-3)


@pytest.mark.parametrize("inject", ["add", "prefix", "cross"])
def test_what_is_given_at_the_outputs_moves_every_logit_whatever_was_read(inject):
    """Each by a map of its own: with all else of the given silent, the logits move alike at each place."""
    torch.manual_seed(0)
    net = Transformer(8, 2, 2, cross=inject == "cross")
    model = LanguageModel(net, V, 3, 2, inject, 2, longest=6, in_layers=True, at_outputs=True).eval()
    z, label = torch.randn(1, 3), torch.tensor([1])
    with torch.no_grad():
        rows, labels = model.given.weight.view(-1, 8, 3), model.label.weight.view(3, -1, 8)
        rows[:-1], rows[-1], labels[:, :-1] = 0, torch.randn(8, 3), 0
        tokens = torch.tensor([[END, 3, 2]])
        moved = model.logits(tokens, [z, label]) - model.logits(tokens, [0 * z, label])
        told = model.logits(tokens, [z, label]) - model.logits(tokens, [z, 1 - label])
        by_z = model.token.weight @ rows[-1] @ z[0]
        by_label = math.sqrt(8) * model.token.weight @ (labels[1, -1] - labels[0, -1])
    torch.testing.assert_close(moved[0], by_z.expand(3, V), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told[0], by_label.expand(3, V), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_decoder_that_is_told_at_its_outputs_too_starts_as_its_language_model():
    x, z = torch.tensor([[3, 2, 0], [2, 2, 2]]), torch.randn(5, 1, 2)
    decoder = LanguageModel(LSTM(8, 2), V, context=2, longest=6, at_outputs=True).eval()
    alone = LanguageModel(decoder.net, V, longest=6).eval()
    alone.load_state_dict({k: v for k, v in decoder.state_dict().items() if not k.startswith("given.")})
    torch.testing.assert_close(decoder(z).log_prob(x), alone().log_prob(x).expand(5, 2), rtol=0, atol=5e-3)


def test_the_recipes_of_texts_tell_their_decoders_at_the_outputs():
    data = fusevae.read_data(["a man rides a bike", "two dogs play"] * 20, tokens="words")
    for name in ("text-vae", "text-vae-lstm", "text-vq", "text-autoencoder", "text-transformer", "text-lstm"):
        model = fusevae.training.recipes.find(name)(data.spec).model
        assert getattr(model, "decoder", model).at_outputs, name


def test_at_that_start_the_latent_is_asked():
    torch.manual_seed(0)
    model, x = vae(), torch.tensor([[3, 2, 0], [2, 2, 2]])
    model.trace(x).elbo.sum().backward()
    assert model.decoder.given.weight.grad.abs().max() > 1e-3
    assert all(p.grad.any() for p in model.latents.posterior.net.head.parameters())
    z = torch.zeros(2, 2, requires_grad=True)
    assert torch.autograd.grad(model.decoder(z).log_prob(x).sum(), z)[0].any()


@torch.no_grad()
def test_a_transformer_without_layers_encodes_a_bag_of_words():
    encoder = shared().latents.posterior.net
    assert torch.equal(encoder.net(x := torch.randn(2, 3, 8)), x)
    one, other, more = ([3, 2, 2, 0], [2, 3, 2, 0], [3, 2, 2, 1, 0])
    found = [encoder(torch.tensor([tokens])) for tokens in (one, other, more)]
    torch.testing.assert_close(found[0], found[1])
    assert (found[0] - found[2]).abs().max() > 1e-4
    mean = encoder.scale * encoder.token.weight[one].mean(0)
    torch.testing.assert_close(found[0][0], encoder.head(mean))


def test_words_that_encoder_and_decoder_share_are_one_table_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    data = fusevae.read_data(["a man rides a bike", "two dogs play"] * 20, tokens="words")
    words = TokenEmbedding(data.spec.schema.vocabulary.size, 8)
    posterior = Gaussian(SequenceEncoder(Transformer(8, layers=0, causal=False), words, 4))
    model = VAE(Flat(Normal(2), posterior), LanguageModel(Transformer(8, 2, 1), words, context=2, longest=8))
    made = fusevae.fit(model, data, training={"epochs": 2, "batch_size": 8}, quiet=True)
    made.save(tmp_path)
    found = fusevae.load(tmp_path)
    for artifact in (made, found):
        table = artifact.distribution.decoder.token
        assert table is artifact.distribution.latents.posterior.net.token
        assert [id(p) for p in artifact.distribution.parameters()].count(id(table.weight)) == 1
    assert fusevae.describe(found.distribution) == fusevae.describe(made.distribution)
    values = [fusevae.log_likelihood(a, data.test, importance_samples=4) for a in (made, found)]
    assert torch.equal(*values)
    alone = fusevae.build(fusevae.describe(shared()))
    alone.decoder(torch.zeros(1, 2)).log_prob(torch.tensor([[3, 0]])).sum().backward()
    assert alone.latents.posterior.net.token.weight.grad.abs().max() > 0


@pytest.mark.parametrize("net", [lambda: Transformer(8, 2, 1, causal=False), lambda: LSTM(8)], ids=["tf", "lstm"])
@torch.no_grad()
def test_the_parts_of_a_text_average_to_the_whole_and_each_has_its_own_entries(net):
    parts = SequenceEncoder(net(), V, 6, parts=3)
    whole = SequenceEncoder(parts.net, V, 2)
    whole.load_state_dict(parts.state_dict())
    x = torch.tensor([[3, 2, 3, 2, 0, 1, 3], [2, 0, 0, 3, 0, 0, 0], [3, 3, 3, 3, 3, 3, 3]])  # 5, 2 and 7 tokens
    found = parts(x).view(3, 2, 3)  # entry p + 3 k is the k-th of part p
    torch.testing.assert_close(found.mean(2), whole(x), rtol=1e-5, atol=1e-6)
    assert (found[0, :, 0] - found[0, :, 2]).abs().max() > 1e-4
    torch.testing.assert_close(parts(x[:1, :5]), parts(x[:1]), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_part_is_the_mean_of_its_tokens():
    weights = shares(torch.ones(1, 6, dtype=torch.bool), 3)
    torch.testing.assert_close(weights[0], torch.eye(3).repeat_interleave(2, 1) / 2)
    torch.testing.assert_close(shares(torch.ones(1, 2, dtype=torch.bool), 4)[0].sum(1), torch.ones(4))


@pytest.mark.parametrize("how", [{}, {"memory": torch.randn(5, 3, 16)}, {"kept": 9}], ids=["self", "memory", "kept"])
def test_attention_in_bfloat16_has_the_gradient_of_float32_but_for_its_digits(how):
    """On a CPU it is computed in float32, whatever autocast says (seven times faster)."""
    torch.manual_seed(0)
    net, x = Transformer(16, 2, 2, cross="memory" in how), torch.randn(5, 9, 16)
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = net(x, **({"kept": net.keep(5, 9)} if "kept" in how else how))
        grads = torch.autograd.grad(out.float().square().mean(), list(net.blocks.parameters()), allow_unused=True)
        found.append(torch.cat([g.flatten() for g in grads if g is not None]))
    assert (found[1] - found[0]).norm() < 0.03 * found[0].norm()


def test_word_dropout_hides_words_in_training_alone():
    model = vae(word_dropout=0.5)
    x = torch.tensor([[3, 2, 3, 0]])
    assert model.decoder(torch.zeros(2)).log_prob(x) == model.decoder(torch.zeros(2)).log_prob(x)
    decoder = model.decoder.train()
    with noise.keyed(0):
        values = {round(decoder(torch.zeros(2)).log_prob(x).item(), 6) for _ in range(20)}
    assert len(values) > 1


def test_lengths_and_batches_of_sequences():
    x = torch.tensor([[2, 0, 3], [2, 3, 2], [0, 0, 0]])
    assert lengths(x).tolist() == [2, 3, 1] == counted(x).sum(1).tolist()
    assert joined([x, x[:, :2]]).tolist()[3:] == [[2, 0, 0], [2, 3, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LanguageModel(Transformer(8, 2, 1), 2), "vocabulary"),
        (lambda: LanguageModel(Transformer(8, 2, 1, causal=False), 5), "causal=True"),
        (lambda: LanguageModel(Transformer(8, 2, 1), 5, context=2, inject="cross"), "cross=True"),
        (lambda: SequenceEncoder(Transformer(8, 2, 1), 5, 4), "causal=False"),
        (lambda: LanguageModel(LSTM(8), TokenEmbedding(5, 6)), "6 numbers, the net has 8"),
        (lambda: SequenceEncoder(LSTM(8), 5, 4, parts=3), "parts is 3 for a vector of 4"),
        (lambda: SequenceEncoder(LSTM(8), 5, 4, parts=0), "parts is 0"),
    ],
)
def test_a_net_that_does_not_fit_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_a_prior_over_numbers_is_no_prior_over_sequences():
    text = LanguageModel(Transformer(4, 1, 1), V, longest=3)
    with pytest.raises(SlotError, match=r"sequences|discrete"):
        Flat(Normal(3), text)
