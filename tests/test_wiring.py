"""Laws of wiring: what stands between data, training, evaluation and command line passes on what it was given."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import math
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import concrete, every
from test_adversarial import loop as adversarial
from test_recipes import some_data
from torch import Tensor, nn

import fusevae
from fusevae import (
    ELBO,
    IWAE,
    MLP,
    VAE,
    VAEGAN,
    BetaTC,
    Capacity,
    ConvCritic,
    ConvEncoder,
    ConvGenerator,
    Cyclical,
    DataSpec,
    Flat,
    Gaussian,
    Generation,
    LanguageModel,
    Linear,
    Normal,
    Preprocessed,
    Training,
    Transformer,
    read_data,
)
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.steps import Step
from fusevae.data.examples import InMemory
from fusevae.data.modality import modality_of
from fusevae.data.preprocessing import Dequantize, Logit, Normalise, Reshape, Standardise
from fusevae.distributions.calibrated_levels import CalibratedLevels
from fusevae.evaluation.compare import summary
from fusevae.evaluation.features import Columns
from fusevae.evaluation.quality import Reference
from fusevae.evaluation.results import SAMPLES
from fusevae.modalities.images.views import Binarize, Crop, Flip
from fusevae.models.label_mixture import LabelMixture
from fusevae.nets.mlp import Constant
from fusevae.nets.quantizer import VectorQuantizer
from fusevae.nets.sequence_encoder import SequenceEncoder
from fusevae.objectives.beta import Beta
from fusevae.objectives.semi_supervised import SemiSupervised
from fusevae.training import configuration, prior
from fusevae.training.loop import Loop
from fusevae.training.prepare import prepare
from fusevae.training.recipes import find, recipes
from fusevae.training.run import Run
from fusevae.training.train import train

X = torch.randn(120, 4, generator=torch.Generator().manual_seed(3))


def vae(dims: int = 4) -> VAE:
    with noise.preserved():
        torch.manual_seed(1)
        return VAE(Flat(Normal(2), Gaussian(MLP(dims, 4, (8,)))), Gaussian(MLP(2, 2 * dims, (8,))))


def labelled() -> LabelMixture:
    with noise.preserved():
        torch.manual_seed(1)
        q, net = Gaussian(MLP(4, 4, (8,), classes=2)), MLP(2, 8, (8,), classes=2)
        return LabelMixture(VAE(Flat(Normal(2), q), Gaussian(net)), MLP(4, 2), 2)


def loop(model=None, objective=None, data=X, folder=None, seed=0, **settings) -> Loop:
    splits = data if hasattr(data, "train") else read_data(data, validation=0.2, test=0.2)
    settings = {"epochs": 5, "batch_size": 12, "log_every": 1, "validate_every": 10} | settings
    return prepare(model or vae(), splits, [], objective or ELBO(), Training(**settings), seed, "cpu", folder)


# ------------------------------------------------------------- which examples are seen where


class Seen(Step):
    """Remembers what it was fitted on, and what passed through it in training and in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.fits: list[Tensor] = []
        self.passed: dict[bool, list[Tensor]] = {True: [], False: []}

    def __deepcopy__(self, memo):  # that of the average writes into the same lists
        found = Seen()
        found.fits, found.passed = self.fits, self.passed
        return found

    def fit(self, x):
        self.fits.append(x.clone())

    def forward(self, x):
        self.passed[self.training].append(x.clone())
        return x, 0.0

    def inverse(self, y):
        return y


def numbers(found: list[Tensor]) -> set[int]:
    """The numbers of the examples, which stand in their first column."""
    return {int(n) for x in found for n in x.flatten(1)[:, 0].tolist()}


def numbered(n: int = 120) -> Tensor:
    return torch.cat([torch.arange(n)[:, None].float(), torch.randn(n, 3)], 1)


def test_what_is_fitted_sees_the_training_part_alone_and_each_part_is_used_for_what_it_is(monkeypatch):
    step, x = Seen(), numbered()
    data = read_data(x, validation=0.2, test=0.2)
    train, validation, test = (
        numbers([p.batch(torch.arange(len(p)))[0]]) for p in (data.train, data.validation, data.test)
    )
    assert len(train | validation | test) == len(train) + len(validation) + len(test) == 120
    kind, baselines = modality_of(data.spec), []
    made = type(kind).baseline
    monkeypatch.setattr(type(kind), "baseline", lambda self, x, *rest: baselines.append(x) or made(self, x, *rest))
    fitted = Standardise((4,))
    run = loop(Preprocessed([step, fitted], vae()), data=data, epochs=2, validate_every=3)
    assert numbers(step.fits) == train == numbers(baselines)
    kept = torch.stack([v for v in x if int(v[0]) in train])
    torch.testing.assert_close(fitted.mean, kept.mean(0))
    torch.testing.assert_close(fitted.std, kept.std(0, correction=0))
    step.passed[True].clear(), step.passed[False].clear()
    run.run()
    assert numbers(step.passed[True]) <= train
    assert numbers(step.passed[False]) == validation


def test_a_run_is_judged_on_the_test_part_and_a_prior_is_fitted_to_the_training_part(tmp_path, monkeypatch):
    np.savez(tmp_path / "table.npz", x=numbered().numpy())
    node = fusevae.describe(
        fusevae.Experiment(vae(), fusevae.Source(str(tmp_path / "table.npz"), test=0.25), training=Training(epochs=1))
    )
    run = train(node, tmp_path / "run", quiet=True, importance_samples=3)
    data = run.source.read()
    assert len(data.test) == 30
    here = Run.open(tmp_path / "run")
    again = fusevae.evaluate(here.artifact, data.test, importance_samples=3)
    assert here.evaluation.log_likelihood.value == pytest.approx(again.log_likelihood.value, rel=1e-6)
    assert torch.equal(here.held[0].rows(), data.test.rows()) and here.held[1] == "test split of the run"
    seen = []
    fit_prior = prior.fit_prior
    monkeypatch.setattr(prior, "fit_prior", lambda a, x, *rest: seen.append(x) or fit_prior(a, x, *rest))
    here.with_prior("mixture", tmp_path / "prior", components=2, quiet=True)
    assert torch.equal(seen[0].rows(), data.train.rows())


@pytest.mark.parametrize("tokens", ["characters", "words"])
def test_a_vocabulary_holds_what_the_training_part_holds(tokens):
    texts = [f"a {c} and {c} and {c}" for c in map(chr, range(0x4E00, 0x4E00 + 40))]
    data = read_data(texts, tokens=tokens, validation=0.2, test=0.2)
    own = {}
    for part in (data.train, data.validation, data.test):
        said = "".join(data.spec.text(part.batch(torch.arange(len(part)))[0]))
        own[len(part)] = {c for c in said if c >= chr(0x4E00)}
    assert len(own[24]) == 24 and own[8] == {"\N{REPLACEMENT CHARACTER}"}


def test_what_is_known_of_a_table_comes_from_the_training_part():
    """Ranges, decimals and offsets of columns and the moments of a condition: held-out rows change nothing of them."""
    draw = np.random.default_rng(0)
    columns = {"count": draw.integers(0, 9, 60), "size": draw.normal(size=60).round(2), "year": 1990 + draw.random(60)}
    frame = pd.DataFrame(columns)
    data = read_data(frame, conditions=["year"], validation=0.2, test=0.2)
    held = torch.cat([data.validation.rows(), data.test.rows()]).numpy()
    frame.loc[held, "count"] += 500
    frame.loc[held, ["size", "year"]] += 1e3 + draw.random((len(held), 2))
    again = read_data(frame, conditions=["year"], validation=0.2, test=0.2)
    before, after = (fusevae.describe(d.spec) for d in (data, again))
    assert all(after[key] == before[key] for key in ("schema", "conditions", "low", "high"))
    assert torch.equal(again.test.rows(), data.test.rows())


def test_examples_keep_their_labels_through_every_split():
    x = numbered()
    data = read_data((x, torch.arange(120) % 7), validation=0.2, test=0.2)
    for part in (data.train, data.validation, data.test, data.train.subset(torch.tensor([5, 2, 9]))):
        raw, label = part.batch(torch.arange(len(part)).flip(0))
        assert torch.equal(raw[:, 0].long() % 7, label)
    for batch in loop(data=data).batches.since(0):
        assert torch.equal(batch.x[:, 0].long() % 7, batch.label)


def test_an_epoch_sees_each_example_once_and_the_next_in_another_order():
    run = loop(data=numbered(), epochs=3, batch_size=9)
    each = [batch.x[:, 0].long().tolist() for batch in run.batches.since(0)]
    assert len(each) == run.total == 24
    epochs = [list(itertools.chain(*each[i : i + 8])) for i in (0, 8, 16)]
    assert all(len(set(e)) == 72 for e in epochs)
    assert len({tuple(e) for e in epochs}) == 3
    assert [b.x[:, 0].long().tolist() for b in run.batches.since(11)] == each[11:]
    assert [b.x[:, 0].long().tolist() for b in loop(data=numbered(), seed=1, batch_size=9).batches.since(0)] != each


# ------------------------------------------------------------- schedules


class Spy(Beta):
    """A schedule that remembers where it was asked."""

    def __init__(self, inner: Beta) -> None:
        self.inner, self.asked = inner, []

    def __call__(self, progress):
        if torch.is_grad_enabled():
            self.asked.append(progress)
        return self.inner(progress)


SCHEDULES = [Linear(0.2, 3.0, 0.6), Linear(2.0, 0.5, 1.0), Cyclical(0.1, 2.0, 3), Cyclical(cycles=2, ramp=1.0)]


def test_every_class_of_schedules_is_tried():
    assert {type(s) for s in SCHEDULES} == set(concrete(Beta))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=fusevae.describe)
def test_a_schedule_is_followed_over_a_whole_training(schedule):
    """The value of each step is the formula of the step's own figures; the validation's is that of the end."""
    run = loop(objective=ELBO(beta=schedule))
    run.run()
    steps = [r for r in run.records if "train" in r]
    assert [r["step"] for r in steps] == list(range(1, run.total + 1))
    for record in steps:
        figures, beta = record["train"], schedule((record["step"] - 1) / run.total)
        assert figures["objective"] == pytest.approx(figures["reconstruction"] - beta * figures["kl"], rel=1e-5)
    for record in (r["validation"] for r in run.records if "validation" in r):
        assert record["objective"] == pytest.approx(record["reconstruction"] - schedule(1.0) * record["kl"], rel=1e-5)


def test_every_objective_that_takes_a_schedule_asks_it_at_each_step():
    takers = [c for c in concrete(fusevae.Objective) if "Beta" in str(inspect.signature(c).parameters.get("beta"))]
    assert {ELBO, IWAE, BetaTC} <= set(takers)
    for objective in takers:
        spy = Spy(Linear())
        run = loop(labelled() if objective is SemiSupervised else None, objective=objective(beta=spy), epochs=2)
        spy.asked.clear()
        run.run()
        assert spy.asked == [step / run.total for step in range(run.total)], objective.__name__


def test_a_capacity_grows_by_its_formula():
    objective = Capacity(capacity=3.0, part=0.5)
    assert [objective._schedule(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.5, 3.0, 3.0]
    objective._schedule = spy = Spy(objective._schedule)
    run = loop(objective=objective)
    spy.asked.clear()
    run.run()
    assert spy.asked == [step / run.total for step in range(run.total)]


@pytest.mark.parametrize("settings", [{}, {"warmup": 0.0}, {"warmup": 0.5, "final_learning_rate": 0.3}])
def test_the_learning_rate_of_each_step_is_that_of_its_formula(settings):
    run = loop(learning_rate=0.01, **settings)
    warmup, last = settings.get("warmup", 0.02), settings.get("final_learning_rate", 0.01)
    used, step = [], run.optimizers["model"].step
    run.optimizers["model"].step = lambda rate: used.append(rate) or step(rate)
    run.run()

    def rate(t: float) -> float:
        if t < warmup:
            return 0.01 * max(t / warmup, 1e-3)
        return 0.01 * (last + (1 - last) * (1 + math.cos(math.pi * (t - warmup) / (1 - warmup))) / 2)

    expected = [rate(step / run.total) for step in range(run.total)]
    assert used == pytest.approx(expected)
    assert [r["learning_rate"] for r in run.records if "train" in r] == pytest.approx(expected)


@pytest.mark.parametrize(("steps", "part"), [(2, 0.4), (1, 0.9)])
def test_the_encoder_moves_alone_as_often_as_asked(steps, part):
    run = loop(encoder_steps=steps, encoder_part=part, epochs=5)
    alone = together = 0
    for step in range(run.total):
        moving = [n for n, p in run.game.players.items() if p.moves(step, step / run.total)]
        assert len(moving) == 1
        first = step / run.total < part
        assert (moving == ["encoder"]) == (first and step % (steps + 1) != steps)
        alone, together = alone + (moving == ["encoder"]), together + (moving == ["model"])
    assert alone / (alone + together) == pytest.approx(part * steps / (steps + 1), abs=0.06)


# ------------------------------------------------------------- what a record says


def test_the_figures_of_a_step_are_those_of_its_batch_weights_and_noise():
    """Computed again by hand, from the weights before the step; of several steps, their mean."""
    run, several = loop(epochs=2), loop(epochs=2, log_every=3)
    several.run()
    update, expected = run.average.update, []
    artifact = run.game.players["model"].artifact
    batches = run.batches.since(0)

    def by_hand() -> None:
        if run.step == run.total:
            return
        with torch.no_grad(), noise.preserved(), noise.keyed(0, "step", run.step, "model"):
            trace = artifact.distribution.trace(next(batches).x)
            expected.append(trace.elbo.mean().item())

    def updated(step: int) -> None:
        update(step)
        run.step += 1
        by_hand()
        run.step -= 1

    run.average.update = updated
    by_hand()
    run.run()
    found = [r["train"]["elbo"] for r in run.records if "train" in r]
    assert found == pytest.approx(expected, rel=1e-5)
    threes = [r["train"]["elbo"] for r in several.records if "train" in r]
    assert threes == pytest.approx([statistics.fmean(found[i : i + 3]) for i in range(0, len(found), 3)], rel=1e-5)


def test_seed_and_step_key_the_noise():
    def drawn(run: Loop) -> list[float]:
        found = []
        run._losses = lambda *given: found.append(noise.uniform((12,))[0].item()) or losses(*given)
        losses = Loop._losses.__get__(run)
        run.run()
        return found

    first, again, other = drawn(loop()), drawn(loop()), drawn(loop(seed=1))
    assert first == again
    assert len({*first, *other}) == 2 * len(first)


# ------------------------------------------------------------- labels


class Told(MLP):
    """A net that remembers which labels it was given, in training and in evaluation."""

    log: dict[bool, list[Tensor]] = {}

    def forward(self, x, label=None, *others):
        self.log.setdefault(self.training, []).append(label.clone())
        return super().forward(x, label)


def conditional(net: type = Told) -> VAE:
    with noise.preserved():
        torch.manual_seed(1)
        return VAE(
            Flat(Normal(2), Gaussian(net(4, 4, (8,), classes=3))),
            Gaussian(MLP(2, 8, (8,), classes=3)),
        )


LABELLED = (X, torch.arange(120) % 3)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_labels_are_hidden_as_often_as_asked_and_in_training_only(share):
    Told.log = {}
    run = loop(conditional(), data=LABELLED, epochs=60, batch_size=72, unlabelled=share)
    Told.log = {}
    run.run()
    labels = torch.cat(Told.log[True])
    error = 5 * math.sqrt(share * (1 - share) / len(labels))
    assert (labels == -1).float().mean().item() == pytest.approx(share, abs=error or 1e-9)
    assert len(labels) > 4000
    assert not (torch.cat(Told.log[False]) == -1).any()


def test_a_game_hides_labels_too():
    images = torch.rand(48, 1, 8, 8)

    class Encoder(ConvEncoder):
        def forward(self, x, label=None):
            found.append((self.training, label.clone()))
            return super().forward(x, label)

    found: list[tuple[bool, Tensor]] = []
    posterior = Gaussian(Encoder((1, 8, 8), 4, (4,), blocks=0, classes=3))
    model = VAE(Flat(Normal(2), posterior), Gaussian(ConvGenerator(2, (1, 8, 8), (4,), groups=2), scale="optimal"))
    data = read_data((images, torch.arange(48) % 3), validation=0.0, test=0.0)
    loop(model, VAEGAN(ConvCritic((1, 8, 8), (4,))), data, epochs=10, unlabelled=0.5).run()
    labels = torch.cat([label for training, label in found if training])
    assert (labels == -1).float().mean().item() == pytest.approx(0.5, abs=0.15)


@pytest.fixture(scope="module")
def told() -> Artifact:
    """A conditional model whose every part depends much on its label."""
    artifact = Artifact(conditional(MLP), read_data((X, ["a", "b", "c"] * 40), validation=0.0, test=0.0).spec)
    with torch.no_grad(), noise.preserved():
        torch.manual_seed(0)
        for name, p in artifact.named_parameters():
            p.add_(torch.randn_like(p) if "label" in name else 0.0)
    return artifact


def by_label(artifact: Artifact) -> dict[str, list]:
    """What every use gives for each of the three labels, the data and the seed the same."""
    x, ones = X[:6], torch.ones(6, dtype=torch.long)
    uses = {
        "sample": lambda k: fusevae.sample(artifact, 6, label=k),
        "log_likelihood": lambda k: fusevae.log_likelihood(artifact, x, k * ones, importance_samples=2),
        "evaluate": lambda k: torch.tensor(fusevae.evaluate(artifact, x, k * ones, importance_samples=2).elbo),
        "encode": lambda k: torch.from_numpy(fusevae.encode(artifact, x, k * ones)["mean"]),
        "reconstruct": lambda k: fusevae.reconstruct(artifact, x, k * ones),
    }
    return {name: [use(k) for k in range(3)] for name, use in uses.items()}


def test_a_condition_arrives_wherever_it_is_given(told):
    for use, (a, b, c) in by_label(told).items():
        assert not torch.equal(a, b) and not torch.equal(b, c) and not torch.equal(a, c), use
    labels = [0] * 300 + [1] * 200 + [0, 1] * 10
    many = fusevae.sample(told, 520, label=labels)
    for k in (0, 1):
        mine = torch.tensor(labels) == k
        assert torch.equal(many[mine], fusevae.sample(told, 520, label=k)[mine])


def test_a_condition_arrives_at_each_part_in_training():
    """The gradient of every part's table of labels lies in the rows of the labels that were seen."""
    model = conditional(MLP)
    model.trace(X[:6], torch.tensor([0, 0, 2, 2, 0, 2])).elbo.sum().backward()
    tables = {name: p.grad for name, p in model.named_parameters() if "label" in name and p.dim() == 2}
    assert len(tables) == 2
    for name, grad in tables.items():
        seen = grad.abs().sum(1) > 0
        assert seen.sum() == 2, name


# ------------------------------------------------------------- log-determinants


def chain(seed: int) -> list[Step]:
    """Some steps in a random order and with random numbers, for values in (0, 1)."""
    draw = np.random.default_rng(seed)
    steps: list[Step] = []
    for _ in range(draw.integers(2, 6)):
        kind = draw.integers(4)
        if kind == 0:
            low, high = sorted(draw.uniform(-3, 3, 2))
            steps.append(Normalise(low - 0.1, high + 0.1, -float(draw.uniform(0, 2)), float(draw.uniform(0.1, 3))))
        elif kind == 1:
            steps.append(Standardise((6,)))
            steps[-1].mean.copy_(torch.from_numpy(draw.normal(size=6)))
            steps[-1].std.copy_(torch.from_numpy(draw.uniform(0.2, 3, 6)))
        elif kind == 2:
            steps += [Reshape((6,), (2, 3)), Reshape((2, 3), (6,))]
        else:  # its values have to lie within (0, 1)
            steps += [Squash(), Logit(float(draw.uniform(0.01, 0.3)))]
    return [step.double() for step in steps]


class Squash(Step):
    def forward(self, x):
        y = x.sigmoid()
        return y, (y * (1 - y)).log().flatten(1).sum(1)

    def inverse(self, y):
        return y.logit()


@pytest.mark.parametrize("seed", range(12))
def test_log_determinants_of_a_chain_add_up_to_autograds_and_the_chain_is_undone(seed):
    steps, x = chain(seed), torch.rand(3, 6, dtype=torch.float64)
    inner = Normal(6).double()
    whole = Preprocessed(steps, inner)
    y, logdet = whole.into(x)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda v: whole.into(v[None])[0][0], x[i])
        assert logdet[i].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-8)
    torch.testing.assert_close(whole.back(y), x)
    torch.testing.assert_close(whole().log_prob(x), inner().log_prob(y) + logdet)
    cut = len(steps) // 2  # a chain in two, one inside the other, is the chain
    nested = Preprocessed(steps[:cut], Preprocessed(steps[cut:], inner))
    torch.testing.assert_close(nested().log_prob(x), whole().log_prob(x))
    steps, x, model = [step.float() for step in steps], x.float(), vae(6)
    with noise.preserved():
        traces = []
        for made in (Preprocessed(steps, model), Preprocessed(steps[:cut], Preprocessed(steps[cut:], model))):
            with noise.keyed(0):
                traces.append(made.trace(x))
    assert traces[0].elbo.tolist() == pytest.approx(traces[1].elbo.tolist(), rel=1e-3)
    inside = traces[0].likelihood.log_prob(y.float())
    assert traces[0].reconstruction.tolist() == pytest.approx((inside + logdet).tolist(), rel=1e-3)


# ------------------------------------------------------------- weights and modes of evaluation


def texts() -> fusevae.Splits:
    return read_data(["abba", "bac", "caab", "ab", "cc", "bcb"] * 10, tokens="characters", validation=0.2, test=0.2)


@pytest.fixture(scope="module")
def writer() -> Artifact:
    """A VAE of texts that leaves out half of what it can."""
    with noise.preserved():
        torch.manual_seed(2)
        encoder = Gaussian(SequenceEncoder(Transformer(8, 2, 1, dropout=0.5, causal=False), 5, 4))
        net = Transformer(8, 2, 2, dropout=0.5)
        decoder = LanguageModel(net, 5, context=2, word_dropout=0.3, dropout=0.5, longest=5)
        for p in decoder.parameters():
            p.data.mul_(3)
        return Artifact(VAE(Flat(Normal(2), encoder), decoder), texts().spec)


def test_no_use_of_a_model_leaves_anything_out(writer):
    data = texts().test
    uses = {
        "sample": lambda: fusevae.sample(writer, 40),
        "log_likelihood": lambda: fusevae.log_likelihood(writer, data, importance_samples=2),
        "evaluate": lambda: torch.tensor(fusevae.evaluate(writer, data, importance_samples=2).elbo),
        "encode": lambda: torch.from_numpy(fusevae.encode(writer, data)["mean"]),
        "reconstruct": lambda: fusevae.reconstruct(writer, data),
    }
    for name, use in uses.items():
        writer.eval()
        expected = use()
        writer.train()
        assert torch.equal(use(), expected), name


def test_figures_keep_the_order_of_their_examples(writer):
    """Those of like length are computed together, and each is written where its example stands."""
    x = read_data(["abba", "b", "caab", "ab", "c", "bcb"], tokens="characters", validation=0.0, test=0.0).train
    alone = Artifact(LanguageModel(Transformer(8, 2, 1), 5, longest=5), x.spec)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    each, mixed = (fusevae.log_likelihood(alone, part) for part in (x, x.subset(order)))
    torch.testing.assert_close(mixed, each[order])
    assert len(each.unique()) == 6
    means, turned = (fusevae.encode(writer, part)["mean"] for part in (x, x.subset(order)))
    np.testing.assert_allclose(turned, means[order.numpy()], rtol=1e-5, atol=1e-6)


def test_validation_is_of_the_averaged_weights_in_evaluation_mode_with_the_newest_statistics():
    class Normed(MLP):
        def __init__(self, *given, **settings):
            super().__init__(*given, **settings)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x, label=None, *others):
            modes.add(self.training and not torch.is_grad_enabled())
            return super().forward(nn.functional.dropout(self.norm(x), 0.5, self.training), label)

    modes: set[bool] = set()
    model = VAE(Flat(Normal(2), Gaussian(Normed(4, 4, (8,)))), Gaussian(MLP(2, 8, (8,))))
    run = loop(model, average=0.9, epochs=6, validate_every=10**6, learning_rate=0.01)
    modes.clear()
    run.run()
    assert modes == {False}
    said = [r["validation"] for r in run.records if "validation" in r]
    held = run.validation.batch(torch.arange(len(run.validation)))[0]

    def elbo(model: nn.Module) -> float:
        with torch.no_grad(), noise.preserved(), noise.keyed(0, "validation", 0, "model"):
            return model.eval().trace(held).elbo.mean().item()

    result = run.result().players["model"].artifact.distribution
    assert len(said) == 2 and said[1]["elbo"] == pytest.approx(elbo(result), rel=1e-5)
    ours, theirs = (m.latents.posterior.net.norm for m in (result, model))
    assert torch.equal(ours.running_mean, theirs.running_mean) and bool(ours.running_mean.any())
    assert elbo(result) != pytest.approx(elbo(model), rel=1e-4)  # the weights in training


def test_a_resumed_training_knows_the_best_and_takes_the_newest_state(tmp_path):
    settings = {
        "patience": 50,
        "learning_rate": 0.05,
        "final_learning_rate": 1.0,
        "validate_every": 2,
        "checkpoint_every": 5,
    }
    whole = loop(folder=tmp_path / "whole", epochs=6, **settings)
    whole.run()
    cut = loop(folder=tmp_path / "cut", epochs=6, **settings)
    cut.callbacks = [lambda record: record["step"] < 31 and None]
    assert not cut.run()
    again = loop(folder=tmp_path / "cut", epochs=6, **settings)
    assert again.resume() and again.step == cut.step == 31
    assert again.best.keys() == cut.best.keys() and all(torch.equal(again.best[k], cut.best[k]) for k in cut.best)
    again.run()
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.result().state_dict().values(), again.result().state_dict().values(), strict=True)
    )
    steps = [[r["step"] for r in run.records if "validation" in r] for run in (whole, again)]
    assert steps[0] == steps[1] == list(range(0, whole.total + 1, 2))


@every
def test_a_mass_is_called_a_mass_and_a_density_a_density(part, given):
    """Whatever the dtype of the data; but a density over dequantized integers is one of these integers' mass."""
    assert Artifact(part, DataSpec((2,))).is_mass == part.discrete
    if not part.discrete and part.space == "reals":
        integers = DataSpec((2,), "uint8", 0, 255)
        assert Artifact(Preprocessed([Dequantize()], part), integers).is_mass
        assert not Artifact(part, integers).is_mass


# ------------------------------------------------------------- figures


def test_an_evaluation_is_the_mean_of_the_likelihoods_of_its_examples(told):
    x, labels = X[:30], torch.arange(30) % 3
    for k in (1, 4, 25):
        each = fusevae.log_likelihood(told, x, labels, importance_samples=k, seed=3)
        found = fusevae.evaluate(told, x, labels, importance_samples=k, seed=3).log_likelihood
        assert found.value == pytest.approx(each.mean().item(), rel=1e-9)
        assert found.stderr == pytest.approx(each.std().item() / math.sqrt(30), rel=1e-6)
        assert found.bounds[k] == pytest.approx(found.value)


def test_an_interval_of_a_difference_holds_it_about_as_often_as_it_says(told):
    """Of 400 comparisons of 30 examples each, 95 %."""
    draws = torch.randn(400, 2, 30, dtype=torch.float64) + torch.tensor([0.7, 0.0], dtype=torch.float64)[:, None]
    held = 0
    for a, b in draws:
        ((low, high),) = (d.interval for d in summary({"a": told, "b": told}, {"a": a, "b": b})[1])
        held += low < 0.7 < high
    assert 0.91 < held / 400 < 0.985


def test_whatever_has_a_direction_is_better_for_the_better_model():
    real = InMemory(torch.randn(900, 2))
    judge = Reference(Columns(real), real, real, 300)
    good, bad = (
        dict(_directed(judge.judge(Artifact(fixed(mean, scale), real.spec))))
        for mean, scale in ((0.0, 1.0), (9.0, 0.2))
    )
    assert {"fid", "kid", "energy", "precision", "recall", "coverage"} <= good.keys()
    for key, (better, value) in good.items():
        assert (value > bad[key][1]) == (better == "high") and value != bad[key][1], key


def fixed(mean: float, scale: float) -> Gaussian:
    net = Constant(2)
    net.value.data.fill_(mean)
    return Gaussian(net, scale=scale)


def _directed(result):
    """Each figure of samples that has a direction, by its key."""
    return (
        (f.key, (f.better, f.value)) for f in result.figures() if f.better and f.of == SAMPLES and f.value is not None
    )


# ------------------------------------------------------------- seeds, settings and the command line


def test_samples_are_of_their_seed_and_none_comes_twice(told, writer):
    first = fusevae.sample(told, 600, seed=4)
    assert len(first.unique(dim=0)) == 600
    assert torch.equal(fusevae.sample(told, 600, seed=4), first)
    assert not (first[:, None] == fusevae.sample(told, 600, seed=5)).all(-1).any()
    cold, colder = (fusevae.sample(writer, 50, seed=1, generation=Generation(temperature=t)) for t in (1.0, 0.3))
    assert len(cold.unique(dim=0)) > len(colder.unique(dim=0)) + 5


def test_a_likelihood_is_of_its_seed(told):
    likelihoods = [fusevae.log_likelihood(told, X[:9], importance_samples=2, seed=s) for s in (0, 0, 1)]
    assert torch.equal(likelihoods[0], likelihoods[1]) and not torch.equal(likelihoods[0], likelihoods[2])


def test_more_threads_change_a_training_only_by_rounding():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            run = loop(epochs=2)
            run.run()
            found.append([r["train"]["elbo"] for r in run.records if "train" in r])
    finally:
        torch.set_num_threads(before)
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def another(value: object, kind: str) -> object:
    """A value that a setting has not by default."""
    if isinstance(value, bool):
        return not value
    if kind.startswith("Literal"):
        return next(v for v in ("bfloat16", "fsdp") if f"'{v}'" in kind)
    if isinstance(value, tuple):
        return tuple(0.5 * v for v in value) or ("decoder",)
    return 7 if value is None else value + 1 if isinstance(value, int) else 0.5 * value or 0.25


def test_every_setting_of_a_training_arrives_and_all_of_them_together():
    node = fusevae.describe(fusevae.Experiment(vae()))
    asked = {n: another(p.default, p.annotation) for n, p in inspect.signature(Training).parameters.items()}
    settings = [f"training.{name}={list(v) if isinstance(v, tuple) else v}" for name, v in asked.items()]
    for given in (settings, *([one] for one in settings)):
        made = configuration.experiment(configuration.override(node, given)).training
        for name in (s.partition("=")[0].removeprefix("training.") for s in given):
            assert getattr(made, name) == asked[name] != getattr(Training(), name)


@pytest.fixture(scope="module")
def folder(told, tmp_path_factory):
    place = tmp_path_factory.mktemp("told")
    np.savez(place / "data.npz", x=X[:20].numpy(), y=np.array(["a", "b"] * 10))
    told.save(place / "run")
    return place


def test_the_options_of_a_command_arrive(folder, told, capsys):
    def sampled(*options: str) -> np.ndarray:
        place = folder / f"{len(list(folder.iterdir()))}.npz"
        assert main(["sample", str(folder / "run"), "-n", "5", "--output", str(place), *options]) == 0
        return np.load(place)["x"]

    capsys.readouterr()
    for options, given in (
        (["--seed", "3"], {"seed": 3}),
        (["--label", "b", "--seed", "1"], {"label": "b", "seed": 1}),
    ):
        assert np.array_equal(sampled(*options), fusevae.sample(told, 5, **given).numpy())
    assert not np.array_equal(sampled("--set", "distribution.decoder.bounds=[-9, -8]"), sampled())
    command = ["evaluate", str(folder / "run"), "--data", str(folder / "data.npz"), "--seed", "2"]
    capsys.readouterr()
    assert main([*command, "--importance-samples", "7", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    given = fusevae.evaluate(told, X[:20], torch.arange(20) % 2, importance_samples=7, seed=2).log_likelihood
    assert (said["log_likelihood"]["value"], said["log_likelihood"]["importance_samples"]) == (given.value, 7), said


# ------------------------------------------------------------- accumulation


TINY = {
    "latent": 4, "width": 16, "hidden": (16,), "channels": (8,), "layers": 1, "heads": 2, "components": 3, "blocks": 1,
    "transforms": 2, "levels": 1, "depth": 1, "dropout": 0.3, "word_dropout": 0.3, "codes": 8, "samples": 3, "parts": 2,
}  # fmt: skip


def gradients(run: Loop) -> dict[str, Tensor]:
    """Of a step in the middle, when all play."""
    run.step, found = run.total // 2, {}
    batch = next(run.batches.since(run.step))
    for who, optimizer in run.optimizers.items():

        def keep(rate: float, who: str = who, optimizer=optimizer) -> None:
            moved = {n: p.grad for n, p in optimizer.parameters.items() if p.grad is not None}
            found.update({f"{who}/{n}": grad.clone() for n, grad in moved.items()})

        optimizer.step = keep
    for who, player in run.game.players.items():
        if player.moves(run.step, 0.5):
            run._move(who, batch)
    return found


def close(whole: dict[str, Tensor], parts: dict[str, Tensor]) -> bool:
    one, several = (torch.cat([g[k].flatten() for k in whole]) for g in (whole, parts))
    return bool((one - several).norm() < 1e-4 * one.norm())


@pytest.mark.parametrize("game", ["gan", "wasserstein gan", "conditional residual gan", "gan of a vae"])
def test_a_critics_batch_is_its_parts(game):
    """The generator's latents, the dequantization and the points between of a penalty."""
    whole, parts = (gradients(adversarial(game, accumulate=n, unlabelled=0.5)) for n in (1, 3))
    assert whole.keys() == parts.keys() and close(whole, parts)


def test_what_went_wrong_is_named_for_a_player_that_moves_with_another():
    data, made = some_data("speech-codec"), find("speech-codec")
    experiment = made(data.spec, width=4, stages=2, codes=4)
    settings = experiment.training.replaced(batch_size=8, epochs=1)
    run = prepare(experiment.model, data, experiment.views, experiment.objective, settings, 0, "cpu")
    run.step = run.total  # the last step has the critics in it
    assert "objective.opponent" in run._cause("critic")


@pytest.mark.parametrize("view", [Binarize(), Crop(6, 5), Flip()], ids=lambda v: type(v).__name__)
def test_what_a_view_draws_of_a_part_is_what_it_draws_of_the_batch(view):
    x = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    view.spec(DataSpec((1, 8, 8), "uint8", 0, 255))
    seen = []
    for start, stop in ((0, 12), (0, 5), (5, 12)):
        with noise.preserved(), noise.keyed(0, rows=noise.Rows(start, stop, 12)):
            seen.append(view.train()(x[start:stop]))
    assert torch.equal(seen[0], torch.cat(seen[1:]))
    assert not torch.equal(seen[0][:5], seen[2][:5])


@pytest.mark.parametrize("name", recipes())
def test_a_batch_is_its_parts_whatever_is_drawn(name):
    """Every draw is for a place in the batch, so the gradient of a batch is that of its parts."""
    data, recipe = some_data(name), find(name)
    taken = inspect.signature(recipe).parameters
    options = {k: v for k, v in TINY.items() if k in taken and type(taken[k].default) is type(v)}
    if "conditional" in taken:
        options["conditional"] = data.spec.conditions is not None
    with noise.preserved():
        torch.manual_seed(0)
        made = recipe(data.spec, **options)
        for p in made.model.parameters():  # what begins at zero tells nothing
            p.data.add_(0.05 * torch.randn_like(p))
    for m in made.model.modules():  # what follows the statistics of a batch follows those of its parts: held still
        if isinstance(m, VectorQuantizer):
            m._follow = lambda *given: None
        if isinstance(m, Gaussian) and m.scale == "optimal":
            m.scale, m.sigma = 0.5, torch.tensor(0.5)
        if isinstance(m, CalibratedLevels):
            m.best = lambda square: torch.tensor(0.5)

    def run(parts: int) -> Loop:
        training = made.training.replaced(epochs=1, batch_size=6, accumulate=parts, unlabelled=0.5, encoder_steps=0)
        experiment = copy.deepcopy(made)
        return prepare(experiment.model, data, made.views, experiment.objective, training, 0, "cpu")

    whole, parts = gradients(run(1)), gradients(run(3))
    assert whole.keys() == parts.keys()
    if not made.objective.batch_level:  # it compares the examples that are together with each other
        assert close(whole, parts)


def test_the_mutants_are_of_this_code():
    """Each old text of ``benchmarks/mutants.yaml`` stands once in its file, and the tests that are named exist."""
    root = Path(__file__).parent.parent
    listed = yaml.safe_load((root / "benchmarks" / "mutants.yaml").read_text(encoding="utf-8"))
    assert len({m["name"] for m in listed}) == len(listed) >= 36
    for m in listed:
        text = (root / "src" / "fusevae" / m["file"]).read_text(encoding="utf-8")
        assert text.count(m["old"]) == 1 and m["new"] != m["old"], m["name"]
        for test in m["tests"]:
            file, _, name = test.partition("::")
            assert not name or f"def {name}(" in (root / "tests" / file).read_text(encoding="utf-8"), test
