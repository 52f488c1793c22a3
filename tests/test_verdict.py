"""Is it good? Models that fail in one way each, made on purpose, and what is said of them."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from fusevae import Artifact, DataSpec, Level, Source
from fusevae.core.conditional import Conditional
from fusevae.data.examples import InMemory
from fusevae.evaluation.asked import of_classes
from fusevae.evaluation.features import Columns
from fusevae.evaluation.quality import Reference
from fusevae.evaluation.scores import Likelihood, LogLikelihood
from fusevae.evaluation.verdict import of_training, verdict
from fusevae.modalities.images.quality import PictureReference
from fusevae.modalities.tables.quality import TableReference
from fusevae.modalities.text.quality import TextReference

N = 300


class Drawn(Distribution):
    """Examples that a function draws, for labels where there are some."""

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, draw, shape, label):
        self.draw, self.label = draw, label
        super().__init__(() if label is None else label.shape, shape, validate_args=False)

    def sample(self, sample_shape=()):
        whole = self._extended_shape(sample_shape)
        lead = whole[: len(whole) - len(self.event_shape)]
        label = None if self.label is None else self.label.expand(lead).flatten()
        return self.draw(lead.numel(), label).view(whole)


class Sampler(Conditional):
    """What only draws."""

    level, has_mean = Level.SAMPLES, False

    def __init__(self, draw, shape, space="reals"):
        super().__init__()
        self.draw, self.shape, self.space = draw, shape, space

    def forward(self, label: Tensor | None = None) -> Distribution:
        return Drawn(self.draw, self.shape, label)


class Pixels(nn.Module):
    def features(self, x):
        return x.flatten(1) / 4


class Given(Sampler):
    """What is given conditions."""

    classes = 2


def some(x: Tensor, n: int) -> Tensor:
    return x[torch.randint(len(x), (n,))]


def names(judge, draw, spec, space="reals") -> list[str]:
    found = judge.judge(Artifact(Sampler(draw, spec.shape, space), spec))
    return [failing.name for failing in found.failings()]


@pytest.fixture(scope="module")
def digits():
    """Digits in which each is fresh: the halves of scikit-learn's, and a third that a model may draw."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(found.images, dtype=torch.float32)[order, None], torch.tensor(found.target)[order]
    spec = DataSpec((1, 8, 8), high=16.0)
    judge = PictureReference(Pixels(), InMemory(x[600:1200], None, spec), InMemory(x[:600], None, spec), N)
    return x, y, judge


def test_fresh_pictures_have_nothing_wrong(digits):
    x, _, judge = digits
    assert names(judge, lambda n, _: some(x[1200:], n), judge.others.spec) == []


@pytest.mark.parametrize(
    ("fails", "name"),
    [
        (lambda x, y: lambda n, _: some(x[:600], n), "copying"),
        (lambda x, y: lambda n, _: nn.functional.avg_pool2d(some(x[1200:], n), 3, 1, 1), "blurred"),
        (lambda x, y: lambda n, _: some(x[1200:], n) + 8 * torch.randn(n, 1, 8, 8), "noisy"),
        (lambda x, y: lambda n, _: some(x[1200:][y[1200:] < 5], n), "not covering the data"),
        (lambda x, y: lambda n, _: x[1200:].flatten().gather(0, torch.randint(597 * 64, (n * 64,))), "unlike the data"),
    ],
)
def test_pictures_that_fail_are_named(digits, fails, name):
    x, y, judge = digits
    assert name in names(judge, fails(x, y), judge.others.spec)


def test_rows_that_fail_are_named():
    x = torch.randn(1800, 4, generator=torch.Generator().manual_seed(1))
    x[:, 0] += 8 * (torch.arange(1800) % 2)
    spec = DataSpec((4,))
    train, held = InMemory(x[:600], None, spec), InMemory(x[600:1200], None, spec)
    judge, fresh = Reference(Columns(train), held, train, N), x[1200:]
    assert names(judge, lambda n, _: some(fresh, n), spec) == []
    assert "copying" in names(judge, lambda n, _: some(x[:600], n), spec)
    assert "not covering the data" in names(judge, lambda n, _: some(fresh[::2], n), spec)
    assert "unlike the data" in names(judge, lambda n, _: some(fresh, n) + 3 * torch.randn(n, 4), spec)


def test_one_class_of_many_that_is_never_drawn_is_named():
    kind = torch.arange(1800) % 8
    x = torch.randn(1800, 4, generator=torch.Generator().manual_seed(1)) + 9 * torch.stack([kind, kind**2 % 7] * 2, 1)
    spec = DataSpec((4,))
    train, held = InMemory(x[:600], None, spec), InMemory(x[600:1200], None, spec)
    judge, fresh = Reference(Columns(train), held, train, N), x[1200:]
    assert names(judge, lambda n, _: some(fresh, n), spec) == []
    assert names(judge, lambda n, _: some(fresh[kind[1200:] != 3], n), spec) == ["not covering the data"]


def test_mixed_rows_that_fail_are_named(tmp_path, monkeypatch):
    rows, draw = ["size,weight,colour,shape,kind"], random.Random(0)
    for _ in range(4000):
        kind, size = draw.choices(["usual", "rare"], [0.8, 0.2])[0], draw.gauss(5, 2)
        colour = draw.choice(["red", "green", "blue"] if kind == "usual" else ["black", "white", "blue"])
        rows.append(f"{size:.4f},{draw.gauss(2 * size, 1):.4f},{colour},{draw.choice(['round', 'flat'])},{kind}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    splits = Source(str(tmp_path / "t.csv"), conditions="kind", validation=0.2, test=0.2).read()
    monkeypatch.setattr(TableReference, "told_apart", lambda *given: (0.5, 0.1))  # boosted trees take seconds
    monkeypatch.setattr(TableReference, "learned", lambda *given: None)
    judge, spec = TableReference(splits.test, splits.train, N), splits.spec
    (seen, _), (fresh, label) = (p.batch(torch.arange(len(p))) for p in (splits.train, splits.validation))
    dull = torch.cat([torch.stack([some(fresh, len(fresh))[:, :2] for _ in range(5)]).mean(0), fresh[:, 2:]], 1)
    assert names(judge, lambda n, _: some(fresh, n), spec) == []
    assert "copying" in names(judge, lambda n, _: some(seen, n), spec)
    assert "blurred" in names(judge, lambda n, _: some(dull, n), spec)
    assert names(judge, lambda n, _: some(fresh[fresh[:, 2] != fresh[0, 2]], n), spec) == ["not covering the data"]

    def asked(n, wanted):
        return torch.stack([some(fresh[label == each], 1)[0] for each in (label[:n] if wanted is None else wanted)])

    conditional = (
        Artifact(Given(asked, spec.shape), spec),
        Artifact(Given(lambda n, _: some(fresh, n), spec.shape), spec),
    )
    found = [[failing.name for failing in judge.judge(each).failings()] for each in conditional]
    assert found == [[], ["condition ignored"]]


def test_texts_that_fail_are_named(tmp_path):
    words = (
        ["a", "the"],
        ["man", "dog", "child", "bird", "cat"],
        ["runs", "sits", "sings", "sleeps"],
        ["", "here", "now"],
    )
    texts = [" ".join((a, b, c, d)).strip() for a in words[0] for b in words[1] for c in words[2] for d in words[3]]
    more = [f"{text} with {other}" for i, text in enumerate(texts) for other in (texts[i - 1], texts[i - 7])]
    (tmp_path / "t.txt").write_text("\n".join(more) + "\n")
    splits = Source(str(tmp_path / "t.txt"), tokens="words", validation=0.3, test=0.3).read()
    held, fresh = splits.test, splits.validation.batch(torch.arange(len(splits.validation)))[0]
    known = splits.train.batch(torch.arange(len(splits.train)))[0]
    judge = TextReference(held, splits.train, 60)
    spaced = splits.spec, "sequences"
    assert names(judge, lambda n, _: fresh[torch.randperm(len(fresh))[:n]], *spaced) == []
    assert names(judge, lambda n, _: known[torch.randperm(len(known))[:n]], *spaced) == ["copying"]
    assert "not covering the data" in names(judge, lambda n, _: fresh[:2].repeat(n, 1)[:n], *spaced)

    def without_order(n: int, _: Tensor | None) -> Tensor:
        texts = [
            random.Random(i).sample(text.split(), len(text.split()))
            for i, text in enumerate(splits.spec.text(fresh[:n]))
        ]
        found = [torch.tensor(splits.spec.schema.vocabulary.encode(" ".join(text))) for text in texts]
        padded = nn.utils.rnn.pad_sequence(found, batch_first=True)
        return nn.functional.pad(padded, (0, fresh.shape[1] - padded.shape[1]))

    assert "unlike the data" in names(judge, without_order, *spaced)


def test_a_class_of_texts_that_is_never_drawn_is_told_though_words_mislead(tmp_path):
    from fusevae.evaluation.asked import Teller
    from fusevae.evaluation.variety import left_out

    rows = [f"w{i % 37} {('good', 'bad')[i % 2 ^ (i // 2 % 8 == 0)]} x{i % 41},{'ab'[i % 2]}" for i in range(1600)]
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    splits = Source(str(tmp_path / "t.csv"), conditions="label", validation=0.3, test=0.3).read()
    teller = Teller(splits.train)
    x, label = splits.validation.batch(torch.arange(400))
    found = [left_out(teller.shares(made, splits.test), len(made)) for made in (x, x[label.view(-1) == 1])]
    assert found[0] == [] and [each.evidence[:13] for each in found[1]] == ["label a: 0.0%"]


def test_texts_of_common_words_alone_are_blurred(tmp_path):
    draw, often = random.Random(0), [1 / (i + 1) for i in range(300)]
    texts = {" ".join(f"w{i}" for i in draw.choices(range(300), often, k=8)) for _ in range(400)}
    (tmp_path / "t.txt").write_text("\n".join(sorted(texts)) + "\n")
    splits = Source(str(tmp_path / "t.txt"), tokens="words", validation=0.3, test=0.3).read()
    judge, fresh, counts = TextReference(splits.test, splits.train, 80), whole(splits.validation), Counter[int]()
    counts.update(fresh.flatten().tolist())
    often = torch.tensor([token for token, _ in counts.most_common(12)])
    dull = torch.where(torch.isin(fresh, often), fresh, often[torch.randint(2, 6, fresh.shape)])
    spaced = splits.spec, "sequences"
    assert names(judge, lambda n, _: fresh[torch.randperm(len(fresh))[:n]], *spaced) == []
    assert "blurred" in names(judge, lambda n, _: dull[:n], *spaced)


def whole(part) -> Tensor:
    x = part.batch(torch.arange(len(part)))[0]
    return nn.functional.pad(x, (0, part.spec.shape[-1] - x.shape[-1]))


def test_molecules_that_fail_are_named(tmp_path):
    pytest.importorskip("rdkit", reason="needs rdkit: pip install 'fusevae[molecules]'")
    from fusevae.modalities.molecules.quality import MoleculeReference

    heads = ["C", "CC", "N", "O", "F", "Cl", "CN", "CO", "c1ccccc1", "C1CC1"]
    middles = ["C", "CC(=O)", "C(C)C", "NC", "C=C", "C(F)C", "CC(O)", "CSC"]
    parts = [a + b + c for a in heads for b in middles for c in ("O", "N", "Cl", "c1ccccc1", "C#N")]
    (tmp_path / "m.smi").write_text("\n".join(parts) + "\n")
    splits = Source(str(tmp_path / "m.smi"), validation=0.3, test=0.3).read()
    fresh, known = whole(splits.validation), whole(splits.train)
    judge = MoleculeReference(splits.test, splits.train, 100)
    spaced = splits.spec, "sequences"
    assert names(judge, lambda n, _: fresh[torch.randperm(len(fresh))[:n]], *spaced) == []
    assert names(judge, lambda n, _: known[torch.randperm(len(known))[:n]], *spaced) == ["copying"]
    assert "not covering the data" in names(judge, lambda n, _: fresh[:3].repeat(n, 1)[:n], *spaced)
    without = fresh[torch.tensor(["Cl" not in text for text in splits.spec.text(fresh)])]
    assert names(judge, lambda n, _: some(without, n), *spaced) == ["not covering the data"]
    broken = torch.where(torch.rand(fresh.shape) < 0.5, fresh, fresh[torch.randperm(len(fresh))])
    assert "unlike the data" in names(judge, lambda n, _: broken.roll(1, 1)[:n], *spaced)


def test_sounds_that_fail_are_named(tmp_path):
    import wave

    from fusevae.modalities.audio.judge import SoundReference

    draw = torch.Generator().manual_seed(2)
    time = torch.arange(1600) / 8000
    for i in range(400):
        pitch = (300 if i % 2 else 1500) * (1 + 0.3 * torch.rand((), generator=draw))
        loud = torch.exp(-time * (1 + 6 * torch.rand((), generator=draw)))
        sound = 8000 * loud * torch.sin(2 * torch.pi * pitch * time) + 50 * torch.randn(1600, generator=draw)
        with wave.open(str(tmp_path / f"{i:03}.wav"), "wb") as file:
            file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
            file.writeframes(sound.short().numpy().tobytes())
    splits = Source(str(tmp_path), validation=0.34, test=0.33).read()
    fresh, known, spec = whole(splits.validation), whole(splits.train), splits.spec
    judge = SoundReference(splits.test, splits, 60, "cpu", True)
    low = fresh[torch.fft.rfft(fresh.flatten(1).float()).abs().argmax(1) * 5 < 700]
    assert names(judge, lambda n, _: fresh[torch.randperm(len(fresh))[:n]], spec) == []
    assert "copying" in names(judge, lambda n, _: some(known, n), spec)
    assert "not covering the data" in names(judge, lambda n, _: some(low, n), spec)
    muffled = nn.functional.avg_pool1d(fresh, 15, 1, 7) * (fresh != 0)
    assert "blurred" in names(judge, lambda n, _: some(muffled, n), spec)
    noisy = fresh + 0.1 * torch.randn(fresh.shape)
    assert "unlike the data" in names(judge, lambda n, _: some(noisy, n), spec)


def test_sound_is_muffled_without_its_upper_bands_and_each_condition_is_told_for_itself():
    from fusevae.core.conditions import Conditions, Label
    from fusevae.modalities.audio.judge import SoundReference
    from fusevae.modalities.audio.quality import treble

    noise = 0.1 * torch.randn(8, 4000, generator=torch.Generator().manual_seed(0))
    muffled = nn.functional.avg_pool1d(noise, 9, 1, 4)
    assert (treble(noise, 8000) - treble(muffled, 8000)).min() > 6
    assert torch.allclose(treble(noise, 8000), treble(0.5 * noise, 8000), atol=0.1)  # however loud
    judge = SoundReference.__new__(SoundReference)
    judge.spec = DataSpec((4000,), conditions=Conditions([Label("digit", ["0", "1"]), Label("who", ["a", "b"])]))
    judge.label = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]).repeat(50, 1)
    judge.found, judge.real_found = torch.tensor([0.9, 0.5, 0.45]), torch.tensor([0.98, 0.97, 0.95])
    assert {name: found.ignored for name, found in judge._asked().items()} == {"digit": False, "who": True}


def test_a_class_that_is_never_drawn_is_told_though_others_are_mistaken_for_it():
    from fusevae.evaluation.variety import corrected, left_out

    draw = np.random.default_rng(0)

    def heard(true: np.ndarray) -> np.ndarray:
        return np.where(draw.random(len(true)) < 0.05, draw.integers(0, 10, len(true)), true)

    every, but_one = np.arange(400) % 10, np.arange(400) % 9
    true = np.arange(800) % 10
    seen = []
    for _ in range(20):
        told = heard(true)
        named = [left_out(corrected(heard(x), told, true, [*"0123456789"]), 400) for x in (every, but_one)]
        assert named[0] == []
        seen += [each.evidence.startswith("9: ") for each in named[1]]
    assert len(seen) >= 18 and all(seen)
    assert corrected(every, np.zeros(800), true, ["a"]) == {}  # what finds it everywhere tells nothing
    assert not left_out({"a": [0.0, 0.01]}, 400) and left_out({"a": [0.01, 0.1]}, 800)


def test_a_condition_of_uneven_classes_is_told_from_chance():
    wanted = np.arange(400) % 4 // 3.0  # three in four are of one class
    rare = np.flatnonzero(wanted)
    got = wanted.copy()
    got[rare[:40]] = 0
    ignored = np.random.default_rng(0).permutation(wanted)
    assert not of_classes(got, wanted, real=0.9).ignored and of_classes(ignored, wanted, real=0.9).ignored
    assert not of_classes(ignored, wanted, real=0.78).ignored  # nobody could tell


def evaluation(value: float, error: float) -> Likelihood:
    return Likelihood(
        parameters=1, bytes=4, support="", n=9, log_likelihood=LogLikelihood(value=value, stderr=error), seconds=0.0
    )


def test_what_training_showed_is_said():
    seen = {"train": {"elbo": -50.0}, "validation": {"elbo": -60.0}, "diagnosis": {"constant_model": -90.0}}
    assert [failing.name for failing in of_training([seen])] == ["overfitted"]
    for variance, found in ((0.5, []), (0.0, ["all alike"]), (None, [])):
        game = [{"critic/diagnosis": {"ordered": 1.0, "variance": v}} for v in (0.3, variance)]
        assert [failing.name for failing in of_training(game)] == (found if variance is not None else [])
    seen["train"] = {"elbo": -58.0}
    assert of_training([seen]) == []
    fell = {"train": {"elbo": -30.0}, "validation": {"elbo": -85.0}}
    assert [failing.name for failing in of_training([seen, fell])] == ["overfitted"]
    assert of_training([seen, fell, {"event": "kept"}]) == []  # the state of the first is what is left
    wide = [seen | {"train": {"elbo": -50.0}}]
    for final, wrong in {(-60.0, 4.0): True, (-60.0, 6.0): False, (-51.0, 0.1): False}.items():  # few, or one far off
        assert bool(of_training(wide, evaluation(*final))) == wrong

    def looked(values: dict[int, float]) -> list[dict[str, Any]]:
        return [{"step": step, "validation": {"elbo": value}} for step, value in values.items()]

    diagnosed = [{"diagnosis": {"constant_model": -100.0}}]
    rising = looked({0: -500.0, 50: -90.0, 90: -80.0, 120: -70.0}) + diagnosed
    (short,) = of_training(rising, evaluation(-70.0, 1.0))
    assert short.name == "too short" and "from step 90 to its end at step 120" in short.evidence
    assert "gained 10 nats, 33% of all" in short.evidence and of_training(rising) == []  # it may go on
    flat = looked({0: -500.0, 50: -72.0, 90: -71.0, 120: -70.0})
    assert of_training(flat + diagnosed, evaluation(-70.0, 1.0)) == []
    twice = {end: looked({0: -500.0, end: -70.0}) for end in (19, 5000)}  # of two looks nobody knows, but of few steps
    assert [[f.name for f in of_training(seen, evaluation(-70.0, 1.0))] for seen in twice.values()] == [
        ["too short"],
        [],
    ]
    for last, names in ((-77.5, ["too short"]), (-89.7, [])):  # unless training examples say it
        means = [
            {"step": step, "train": {"elbo": v}} for step, v in {100: -90.0, 200: (last - 90.0) / 2, 262: last}.items()
        ]
        seldom = looked({0: -99.0, 262: -79.0}) + means + diagnosed
        assert [failing.name for failing in of_training(seldom, evaluation(-79.0, 1.0))] == names
    dead = {"elbo": -95.0, "kl": 0.01, "units": {"z": 2}, "active_units": {"z": 0}, "codes": {}, "largest_kl": 0.01}
    found = of_training([{"diagnosis": dead | {"constant_model": -90.0, "mutual_information": 0.0}}])
    assert {failing.name for failing in found} == {"collapsed", "worse than a constant model"}
    little = {"elbo": -80.0, "kl": 1.1, "units": {"z": 2}, "active_units": {"z": 2}, "codes": {}, "largest_kl": 0.9}
    for told, n, names in ((0.44, 99, ["latents say little"]), (0.9, 99, []), (None, 99, []), (0.44, 2, [])):
        found = of_training([{"diagnosis": little | {"mutual_information": told, "examples": n}}])
        assert [failing.name for failing in found] == names
    several = little | {"mutual_information": 0.1, "examples": 99, "units": {"top": 2, "z1": 9}}
    assert of_training([{"diagnosis": several}]) == []  # what the lower level tells is not in it
    assert verdict([]) == ["nothing wrong was found"]
    assert "nothing wrong was found" not in verdict([], unjudged="do it")  # of what was not looked at
    assert verdict(found, unjudged="do it")[-1] == "samples were not judged: do it"


def test_how_widely_few_numbers_spread_is_not_said():
    from fusevae.evaluation.variety import width

    real = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert width(real, real[:2]) is None
    (found, sides) = width(real, real[:40])
    assert sides[0] < found < sides[1] < 3


def test_the_elbo_of_few_examples_is_below_their_likelihood():
    from fusevae import MLP, VAE, Artifact, Flat, Gaussian, Normal, evaluate

    encoder, decoder = MLP(1, 2, ()), MLP(1, 2, ())
    for net, weight in ((encoder, 0.5), (decoder, 1.0)):
        (linear,) = [module for module in net.modules() if isinstance(module, nn.Linear)]
        linear.weight.data, linear.bias.data = torch.tensor([[weight], [0.0]]), torch.zeros(2)
    vae = VAE(Flat(Normal(1), Gaussian(encoder)), Gaussian(decoder))  # q is 0.15 nats from N(x / 2, 1 / 2)
    x = math.sqrt(2) * torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    for seed in range(5):
        found = evaluate(Artifact(vae, DataSpec((1,))), x, importance_samples=300, seed=seed)
        assert 0.05 < found.log_likelihood.value - found.elbo < 0.25
