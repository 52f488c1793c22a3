"""Conditions that are followed: how nets are told, how samples are drawn towards them, how it is measured and said."""

from __future__ import annotations

import csv
import inspect
import math
import warnings

import numpy as np
import pytest
import torch
from test_recipes import some_data

import fusevae
from fusevae import (
    MLP,
    VAE,
    Artifact,
    Conditions,
    DataSpec,
    Diffusion,
    Flat,
    Gaussian,
    ImageTransformer,
    Label,
    LanguageModel,
    Normal,
    Number,
    PixelCNN,
    Training,
    Transformer,
    UNet,
    build,
    describe,
    fit,
    read_data,
    sample,
)
from fusevae.core import noise
from fusevae.core.generation import Generation, generating
from fusevae.core.levels import bounds_as, log_bound
from fusevae.core.vocabulary import END
from fusevae.evaluation.asked import Teller, as_asked, of_classes, of_numbers, remark
from fusevae.evaluation.judge import of_conditions
from fusevae.modalities.text.quality import TextReference
from fusevae.models.informed import Informed
from fusevae.nets.masked_conv import Walk
from fusevae.nets.mlp import Embedding, Told
from fusevae.nets.places import Places
from fusevae.nets.teller import Teller as Tells
from fusevae.training.players import MaximumLikelihood
from fusevae.training.recipes import find, recipes

NAN = float("nan")

# how a net is told


def test_a_number_bends_at_its_knots_and_goes_on_beyond_them() -> None:
    column = Number("size", 0.0, 1.0, knots=[0.0, 1.0, 3.0])
    net = Embedding(Conditions([column]), 1)
    with torch.no_grad():
        net.weight[:, 0] = torch.tensor([0.1, 5.0, 2.0, 1.0, -4.0])  # slope, unknown, start, the two pieces
    x = torch.tensor([-2.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0, NAN])[:, None]
    want = [1.8, 2.0, 2.55, 3.1, 1.2, -0.7, -0.1, 7.0]
    assert net(x)[:, 0].tolist() == pytest.approx(want, abs=1e-5)
    assert net(None).item() == pytest.approx(7.0)
    assert describe(build(describe(column))) == describe(column)


def test_knots_are_quantiles_of_what_is_known() -> None:
    values = torch.cat([torch.arange(801.0) ** 2, torch.full((50,), NAN)])
    knots = Number.fitted("size", values).knots
    assert knots == pytest.approx([(100.0 * i) ** 2 for i in range(9)])
    assert Number.fitted("one", torch.ones(99)).knots == [1.0] and Number.fitted("none", torch.zeros(0)).knots == []
    with pytest.raises(fusevae.InputError, match="expected rising numbers"):
        Number("size", knots=[1.0, 1.0])


@pytest.mark.parametrize("net", [Transformer(8, 2, 3), fusevae.LSTM(8, 3)])
def test_every_layer_is_told_the_label(net) -> None:
    model = LanguageModel(net, 5, classes=3, in_layers=True, context=2)
    model(torch.randn(4, 2), torch.tensor([0, 1, 2, -1])).log_prob(torch.tensor([[3, 4, 0]] * 4)).sum().backward()
    gradient = model.label.weight.grad.view(4, 3, 8)  # of each label, and of none; of each layer
    assert bool((gradient.abs().sum(-1) > 0).all())


def spots() -> tuple[torch.Tensor, torch.Tensor]:
    """Sixteen classes: a bright square in one of sixteen places, on a little noise."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(256) % 16
    x = (torch.rand(256, 8, 8, generator=draw) < 0.02).float()
    for image, label in zip(x, y.tolist(), strict=True):
        image[label // 4 * 2 :, label % 4 * 2 :][:2, :2] = 1.0
    return x[:, None], y


NETS = {
    "PixelCNN": lambda by: PixelCNN((1, 8, 8), width=8, kernels=(3, 3), classes=16, by_place=by),
    "ImageTransformer": lambda by: ImageTransformer((1, 8, 8), 2, 0.0, 1.0, 16, 2, 1, classes=16, by_place=by),
    "Diffusion": lambda by: Diffusion(UNet((1, 8, 8), (8, 16), classes=16, by_place=by), (1, 8, 8)),
}


@pytest.mark.parametrize("name", NETS)
def test_what_a_class_says_of_places_is_heard_within_a_few_dozen_steps(name) -> None:
    """Of nets that are told a label alike at every place hundreds of steps made nothing: of a hundred characters 944
    steps of a diffusion drew 6 % as asked, with a map for each label 913 steps 28 %, real ones 30 %."""
    x, y = spots()

    def nats(by: bool) -> float:
        """By which an image is likelier given its label than given another."""
        torch.manual_seed(0)
        model, order = NETS[name](by), torch.randint(len(x), (40, 64), generator=torch.Generator().manual_seed(1))
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        for rows in order:
            optimizer.zero_grad()
            with bounds_as("surrogate"):
                (-log_bound(model(y[rows]), x[rows]).mean()).backward()
            optimizer.step()

        def value(label) -> torch.Tensor:
            with torch.no_grad(), noise.keyed(0, "value"), bounds_as("surrogate"):
                return log_bound(model(label), x).mean()

        return (value(y) - value(y.roll(1))).item()

    plain, by_place = nats(False), nats(True)
    assert by_place > 3.0 and by_place > 5 * max(plain, 0.0)


@pytest.mark.parametrize("size", [(7, 7), (5, 9), (28, 28), (30, 17)])
def test_a_map_of_a_label_has_a_size_that_does_not_grow_with_the_image(size) -> None:
    net = Places(3, 2, size)
    found = net(torch.tensor([0, 2, -1]))
    assert found.shape == (3, 2, *size) and net(None).shape == (1, 2, *size)
    assert torch.allclose(found[2:], net(None), atol=1e-6) and math.prod(net.told.outputs) <= 2 * 8 * 8
    columns = Conditions([Label("a", ["x", "y"]), Number("b")])
    assert Places(columns, 2, size)(torch.tensor([[1.0, 0.5], [NAN, NAN]])).shape == (2, 2, *size)


def test_pixels_are_drawn_by_what_a_label_says_of_their_place() -> None:
    """The walk over the pixels sees what a whole pass sees."""
    torch.manual_seed(0)
    model = PixelCNN((1, 5, 6), width=4, kernels=(3, 3), classes=3, by_place=True)
    label, layers = torch.tensor([0, 1, 2, -1]), model.layers
    x = torch.rand(4, 1, 5, 6).round()
    conditions = layers.conditions(None, label, None)
    whole, walk = layers(model.seen(x), conditions), Walk(layers, 4, (5, 6), conditions)
    for i in range(5):
        walk.row(i)
        for j in range(6):
            assert torch.allclose(walk.at(j)[..., 0, 0], whole[:, :, i, j], atol=1e-5)
            walk.put(j, model.seen(x)[:, :, i, j])


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_columns_are_hidden_as_often_as_asked_and_half_of_the_time_together(share) -> None:
    spec = DataSpec((2,), conditions=Conditions([Number("a"), Number("b")]))
    artifact = Artifact(VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), Gaussian(MLP(1, 4, classes=spec.conditions))), spec)
    player = MaximumLikelihood(artifact, fusevae.ELBO(), share).train()
    with noise.keyed(0):
        hidden = player._forget_some(torch.zeros(40_000, 2)).isnan().double()
    assert hidden.mean(0).tolist() == pytest.approx([share, share], abs=0.01)
    rest = share / (2 - share)
    assert hidden.prod(1).mean().item() == pytest.approx(share / 2 + (1 - share / 2) * rest**2, abs=0.01)


@pytest.mark.parametrize("name", [n for n in recipes() if "conditional" in inspect.signature(find(n)).parameters])
def test_a_recipe_that_can_be_given_conditions_is_a_configuration_and_samples_by_them(name) -> None:
    data = some_data(name).spec
    both = Conditions([Label("kind", ["a", "b"]), Number("size", 1.0, 2.0, [0.0, 1.0, 2.0])])
    spec = data.replaced(conditions=both)
    made = find(name)(spec, conditional=True)
    assert describe(build(describe(made))) == describe(made)
    artifact = Artifact(made.model, spec, list(made.views))
    assert artifact.is_conditional and not Artifact(find(name)(spec, conditional=False).model, spec).is_conditional
    with generating(Generation(longest=3)):
        assert len(sample(artifact, 2, {"kind": ["a", "b"]})) == 2


def test_what_is_written_with_guidance_has_the_law_that_it_says() -> None:
    torch.manual_seed(0)
    model = LanguageModel(Transformer(8, 2, 1), 4, classes=2, in_layers=True, never_first=[END], longest=2).eval()
    torch.nn.init.normal_(model.label.weight, std=0.7)
    start, both = torch.zeros(1, 1, dtype=torch.long), [torch.tensor([1]), torch.tensor([-1])]
    known, unknown = (model.logits(start, [None, c])[0, 0].log_softmax(0) for c in both)
    want = (known + 1.5 * (known - unknown).nan_to_num()).softmax(0)
    model.guidance = 2.5
    with noise.keyed(0):
        x = model(torch.ones(20_000, dtype=torch.long)).sample()
    found = torch.bincount(x[:, 0], minlength=4) / len(x)
    assert torch.allclose(found, want, atol=0.015) and found[END] == 0
    assert (want - known.softmax(0)).abs().max() > 0.05
    with generating(Generation(beams=3)):
        assert model(torch.tensor([0, 1])).sample().shape[0] == 2


def test_guidance_goes_on_with_the_sequences_that_have_no_end() -> None:
    torch.manual_seed(1)
    model = LanguageModel(Transformer(8, 2, 2), 5, classes=2, in_layers=True, longest=30, guidance=1.7).eval()
    model.bias.data[END] = 0.5
    label = torch.arange(40) % 2
    with noise.keyed(0):
        x = model(label).sample()
    given = [None, label]

    def afresh(tokens, _):
        afresh.seen = torch.cat([afresh.seen, tokens], 1)
        parts = [model.logits(afresh.seen, [None, c]) for c in (label, torch.full_like(label, -1))]
        return parts[1] + 1.7 * (parts[0] - parts[1])

    afresh.seen = torch.zeros(40, 0, dtype=torch.long)
    with noise.keyed(0):
        assert torch.equal(model(label).write(torch.Size((40,)), Generation(), afresh), x)
    assert given[1] is label and x.shape[1] > 3


# how it is measured


def test_figures_of_numbers_and_classes() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 9, 200).astype(float)
    got = wanted + rng.normal(0, 3, 200).round()
    got[:5] = NAN
    found = of_numbers(got, wanted)
    assert found.rank_correlation == pytest.approx(spearmanr(got[5:], wanted[5:]).statistic) and found.n == 195
    low, high = found.intervals["rank_correlation"]
    assert low < found.rank_correlation < high and found.error < found.by_chance and not found.ignored
    assert of_numbers(np.ones(9), np.arange(9.0)).rank_correlation == 0
    assert of_numbers(rng.normal(size=200), wanted).ignored
    told = of_classes(np.tile([0, 1, 1, NAN], 20), np.tile([0.0, 1, 0, 0], 20), real=0.9)
    assert told.n == 60 and told.accuracy == pytest.approx(2 / 3) and told.chance == pytest.approx(2 / 3)
    assert (
        told.ignored
        and "--set decoder.guidance=3" in remark("mood", told, "decoder.guidance")
        and not of_classes(np.arange(2.0), np.arange(2.0), 0.9).ignored
    )
    assert "67% of 60, real examples in 90%" in remark("mood", told, None)


def test_conditions_are_told_by_what_learned_them_from_real_examples() -> None:
    rng = np.random.default_rng(0)
    kind, size = rng.integers(0, 2, 400), rng.normal(size=400)
    x = np.stack([kind + 0.1 * rng.normal(size=400), size**3], 1)
    data = read_data((x, {"kind": kind, "size": size, "noise": rng.normal(size=400)}), conditions=None)
    rows, label = data.test.batch(torch.arange(len(data.test)))
    found = Teller(data.train).as_asked(rows, label, data.test)
    assert found["kind"].accuracy == found["kind"].real_accuracy > 0.95
    assert found["size"].rank_correlation > 0.95 and found["size"].error < 0.2 * found["size"].by_chance
    assert abs(found["noise"].rank_correlation) < 0.5
    turned = Teller(data.train).as_asked(rows, label.roll(1, 0), data.test)
    assert turned["kind"].accuracy < 0.8 and turned["kind"].real_accuracy > 0.95 and turned["size"].ignored


def test_where_few_are_held_out_conditions_are_told_of_all_real_examples_in_turns() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(60) % 2
    data = read_data((np.stack([kind + 0.1 * rng.normal(size=60), rng.normal(size=60)], 1), {"kind": kind}))
    rows, label = data.test.batch(torch.arange(len(data.test)))
    found = Teller(data.train).as_asked(rows, label, data.test)["kind"]
    assert len(data.test) == 6 and found.n == 6 and found.real_accuracy > 0.9
    assert found.of.startswith("of 6 samples; real examples") and "of 54, each told" in found.of
    # a teller that knows its own examples by heart is not asked about them: of noise it knows nothing
    noise_ = read_data((rng.normal(size=(60, 2)), {"kind": rng.permutation(kind)}))
    rows, label = noise_.test.batch(torch.arange(len(noise_.test)))
    assert Teller(noise_.train).as_asked(rows, label, noise_.test)["kind"].real_accuracy < 0.75
    plain = Flat(Normal(2), Gaussian(MLP(2, 4, (4,), classes=2)))
    model = Artifact(VAE(plain, Gaussian(MLP(2, 2, (4,), classes=2), scale="shared")), data.spec)
    judged = of_conditions(model, data.train, data.test)
    assert judged is not None and judged.followed["kind"].n == judged.n == 100  # the six conditions, again and again
    assert of_conditions(Artifact(Normal(2), data.spec), data.train, data.test) is None


def test_properties_of_molecules_are_computed_not_learned() -> None:
    pytest.importorskip("rdkit")
    smiles = ["C" * n + end for n in range(1, 9) for end in ("", "O", "N", "Cl")]
    data = read_data(smiles * 3, tokens="smiles", conditions=["weight"])
    teller = Teller(data.train)
    x, label = data.test.batch(torch.arange(len(data.test)))
    found = teller.as_asked(x, label, data.test)["weight"]
    assert not teller.judges and found.rank_correlation == pytest.approx(1) and found.error < 0.01
    assert found.real_rank_correlation is None and found.real == 1


@pytest.fixture(scope="module")
def opinions(tmp_path_factory):
    """Two moods, each with words of its own, and sentences about either thing."""
    path, rng = tmp_path_factory.mktemp("opinions") / "x.csv", np.random.default_rng(0)
    words = {"good": ["fine", "grand", "lovely"], "bad": ["dull", "weak", "sad"]}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "mood"])
        for i in range(800):
            mood = ("good", "bad")[i % 2]
            thing = rng.choice(["film", "book", "plot"])
            writer.writerow([f"the {thing} was {rng.choice(words[mood])} and {rng.choice(words[mood])}", mood])
    return read_data(str(path), conditions=["mood"], tokens="words")


@pytest.mark.parametrize("name", ["text-vae", "text-transformer", "text-vae-lstm"])
def test_texts_have_the_class_that_they_are_asked_for(opinions, name) -> None:
    options = {"width": 32, "conditional": True} | ({"latent": 4} if "vae" in name else {})
    options |= {"heads": 2, "layers": 1} if "lstm" not in name else {}
    training = {"epochs": 4, "batch_size": 16, "learning_rate": 1e-2}
    model = fit(name, opinions, options=options, training=training, quiet=True)
    found = TextReference(opinions.test, opinions.train, 60).judge(model)
    assert found.labels == "of the real examples" and found.followed["mood"].real_accuracy == 1
    assert found.followed["mood"].accuracy > 0.9, found
    assert any(what == "mood, as asked: taken for the class" for what, _ in found.lines())


# how it is said


def test_a_condition_that_is_ignored_is_said_at_the_end_of_a_training() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(1000) % 2
    x = 3.0 * kind[:, None] + rng.normal(size=(1000, 2))
    data = read_data((x, kind))
    training = Training(epochs=14, batch_size=50, learning_rate=1e-2)

    def train(classes: int) -> tuple[Artifact, str]:
        posterior = Gaussian(MLP(2, 4, (16,), classes=2))
        model = VAE(Flat(Normal(2), posterior), Gaussian(MLP(2, 2, (16,), classes=classes), scale="shared"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return fit(model, data, training=training, quiet=True), " ".join(str(w.message) for w in caught)

    (ignores, said), (follows, nothing) = train(0), train(2)
    assert "the condition label is hardly followed: samples are taken for the label" in said
    assert next(r["says"] for r in ignores.history.records if r.get("event") == "condition") in said
    assert "hardly followed" not in nothing
    figures = [r["as_asked"]["label"] for r in follows.history.records if "as_asked" in r]
    assert len(figures) == 1 and figures[0]["accuracy"] > 0.85
    again = as_asked(follows, data.train, data.validation, 200, 0, 2000)
    assert again["label"].accuracy == figures[0]["accuracy"]
    assert as_asked(Artifact(Normal(2), data.spec), data.train, data.validation) == {}


# a term for what conditions tell of samples


def informed(weight: float = 1.0) -> Informed:
    latents = Flat(Gaussian(Told(3, 4, scale=1.0)), Gaussian(MLP(6, 4, (8,), classes=3)))
    torch.manual_seed(0)
    return Informed(latents, Gaussian(MLP(2, 12, (8,), classes=3)), Tells(MLP(6, 3, (8,)), 3), weight)


def test_what_tells_conditions_learns_from_examples_alone_and_samples_from_it() -> None:
    x, label = torch.randn(8, 6), torch.arange(8) % 3
    found = {}
    for weight in (0.0, 1.0):
        model = informed(weight)
        with noise.keyed(0):
            model.trace(x, label).auxiliary["asked"].mean().backward()
        found[weight] = {name: p.grad for name, p in model.named_parameters()}
    for name, each in found[1.0].items():
        if name.startswith("teller"):  # that samples are to be told teaches the teller nothing
            torch.testing.assert_close(each, found[0.0][name])
        else:
            moved = each is not None and bool(each.any())
            assert moved == name.startswith("decoder"), name
            assert found[0.0][name] is None or not found[0.0][name].any(), name
    model = informed().eval()
    assert not model.trace(x, label).auxiliary  # held-out examples have the bound and nothing else


def test_samples_are_told_alike_however_a_batch_is_cut() -> None:
    model, x, label = informed(), torch.randn(8, 6), torch.arange(8) % 3
    with noise.keyed(0):
        whole = model.trace(x, label).auxiliary["asked"]
    for start, stop in ((0, 3), (3, 8)):
        with noise.keyed(0, rows=noise.Rows(start, stop, 8)):
            part = model.trace(x[start:stop], label[start:stop]).auxiliary["asked"]
        torch.testing.assert_close(part, whole[start:stop])


def test_unknown_conditions_cost_nothing_and_each_class_what_it_should() -> None:
    columns = Conditions([Number("size", 10.0, 2.0), Label("kind", ["a", "b"]), Label("place", ["x", "y", "z"])])
    teller = Tells(MLP(3, Tells.outputs(columns), (4,)), columns)
    x, nan = torch.randn(4, 3), NAN
    label = torch.tensor([[8.0, 1.0, 2.0], [nan, nan, 2.0], [9.0, 1.0, nan], [9.0, nan, nan]])
    with torch.no_grad():
        found, out = teller(x, label), teller.net(x)
    kind, place = -out[:, :2].log_softmax(-1)[:, 1], -out[:, 2:].log_softmax(-1)[:, 2]
    torch.testing.assert_close(found, torch.stack([kind[0] + place[0], place[1], kind[2], torch.tensor(0.0)]))
    assert Tells(MLP(3, 2, (4,)), 2)(x, torch.tensor([0, 1, -1, -1]))[2:].tolist() == [0.0, 0.0]
