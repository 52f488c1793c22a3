"""Semi-supervised learning: a label that is known in part is a latent where it isn't."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import fusevae
from fusevae import (
    MLP,
    VAE,
    Affine,
    Bernoulli,
    DataSpec,
    Flat,
    Gaussian,
    InputError,
    LabelMixture,
    Normal,
    SemiSupervised,
    SlotError,
    Training,
    read_data,
)
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.data.examples import InMemory
from fusevae.training.batches import Batches

X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(6, 1)  # as many numbers as are drawn alike
K = 3


def mixture(seed: int = 0) -> LabelMixture:
    """Over two binary numbers, so that sums over x and an integral over z are exact."""
    torch.manual_seed(seed)
    vae = VAE(
        Flat(Normal(1), Gaussian(MLP(2, 2, (3,), classes=K), bounds=(0.0, 1.0))),
        Bernoulli(MLP(1, 2, (3,), classes=K)),
    )
    model = LabelMixture(vae, MLP(2, K, (4,)), K).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.5 * torch.randn(parameter.shape))
    return model


def exact(model: LabelMixture) -> Tensor:
    """log p(x | y), ``(n, K)``, by an integral over z."""
    z = torch.linspace(-9, 9, 4001)[:, None]
    log_z = Normal(1)().log_prob(z) + math.log(18 / 4000)
    each = [
        torch.stack([torch.logsumexp(model.model.decode(z, torch.tensor(y)).log_prob(x) + log_z, 0) for x in X])
        for y in range(K)
    ]
    return torch.stack(each, 1)


@torch.no_grad()
def test_the_bound_without_a_label_is_the_sum_over_all_by_hand():
    model = mixture()
    with noise.keyed(1):
        elbo = model.trace(X).elbo
    log_q, log_p = model.classify(X), model.frequencies.log_softmax(0)
    by_hand = torch.zeros(len(X))
    for y in range(K):
        with noise.keyed(1):
            given = model.model.trace(X, torch.full((len(X),), y)).elbo
        by_hand += log_q[:, y].exp() * (given + log_p[y] - log_q[:, y])
    torch.testing.assert_close(elbo, by_hand, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_with_every_label_it_is_the_bound_of_the_conditional_model_and_log_p_of_the_label():
    model, label = mixture(), torch.arange(len(X)) % K
    with noise.keyed(1):
        trace = model.trace(X, label)
        value = SemiSupervised(alpha=0.0)(trace, 1.0)
    with noise.keyed(1):
        given = model.model.trace(X, label).elbo
    torch.testing.assert_close(trace.elbo, given)
    torch.testing.assert_close(value, given + model.frequencies.log_softmax(0)[label])
    taught = SemiSupervised(alpha=2.0)(trace, 1.0) - value
    torch.testing.assert_close(taught, 2 * model.classify(X).gather(1, label[:, None])[:, 0])


@torch.no_grad()
def test_bounds_are_at_most_the_exact_value_and_importance_weights_reach_it():
    model, label = mixture(), torch.arange(len(X)) % (K + 1) - 1
    given = exact(model)
    whole = torch.logsumexp(given + model.frequencies.log_softmax(0), 1)
    wanted = torch.where(label < 0, whole, given.gather(1, label.clamp(min=0)[:, None])[:, 0])
    trace = model.trace(X, label, samples=(20_000,))
    assert (trace.elbo.mean(0) < wanted + 0.01).all()
    assert (trace.elbo.mean(0)[label < 0] < wanted[label < 0] - 0.01).any()
    weighted = torch.logsumexp(trace.log_weight, 0) - math.log(20_000)
    torch.testing.assert_close(weighted, wanted, atol=0.02, rtol=0)
    spec = DataSpec((2,), "uint8", 0, 1, [str(k) for k in range(K)])
    artifact = Artifact(model, spec)
    found = fusevae.log_likelihood(artifact, X.byte(), importance_samples=10_000)
    torch.testing.assert_close(found.float(), whole, atol=0.03, rtol=0)
    by_bound = fusevae.classify(artifact, X.byte(), by="bound", importance_samples=10_000)
    torch.testing.assert_close(by_bound.float(), (given + model.frequencies).softmax(1), atol=0.02, rtol=0)


@torch.no_grad()
def test_samples_have_the_labels_that_were_asked_for_or_the_frequencies_learned():
    model = mixture()
    given, grid = exact(model)[:4].exp(), X[:4]
    for label in (0, 2, -1):
        drawn = model(torch.full((20_000,), label)).sample()
        share = (drawn[:, None] == grid).all(-1).float().mean(0)
        wanted = given[:, label] if label >= 0 else given @ model.frequencies.softmax(0)
        torch.testing.assert_close(share, wanted, atol=0.02, rtol=0)


def test_what_is_learned_of_a_hidden_label_is_nothing():
    model = mixture().train()
    objective = SemiSupervised(1.0, 0.5, 1.0)

    def gradients(label: Tensor, hide: Tensor) -> list[Tensor]:
        with noise.keyed(2):
            value = objective(model.trace(X, torch.where(hide, -1, label)), 0.5).sum()
        return list(torch.autograd.grad(value, list(model.parameters())))

    hide = torch.arange(len(X)) % 3 > 0
    one, other = torch.arange(len(X)) % K, torch.arange(len(X)) // 2 % K
    other = torch.where(hide, other, one)
    assert not torch.equal(one, other)
    assert all(map(torch.equal, gradients(one, hide), gradients(other, hide)))
    shown = gradients(one, torch.zeros_like(hide))
    assert not all(map(torch.equal, shown, gradients(other, torch.zeros_like(hide))))


def test_the_worst_small_change_is_worse_than_any_and_the_target_is_held():
    model = mixture()
    objective = SemiSupervised(consistency=1.0, adversarial=0.2, entropy=0.0)
    with noise.keyed(3):
        value = objective(model.trace(X), 1.0)
    with noise.keyed(3):
        bound = SemiSupervised()(model.trace(X), 1.0)
    log_q = model.classify(X)
    angles = torch.linspace(0, 2 * math.pi, 200)
    around = 0.2 * torch.stack([angles.cos(), angles.sin()], 1)
    moved = model.classify(X[:, None] + around)
    worst = (log_q.exp() * log_q).sum(-1, keepdim=True) - (log_q[:, None].exp() * moved).sum(-1)
    found = bound - value
    assert (found < 1.05 * worst.amax(1) + 1e-5).all()
    assert found.mean() > 0.7 * worst.amax(1).mean() and found.mean() > 1.1 * worst.mean()
    with torch.no_grad():  # held-out examples are not changed
        with noise.keyed(3):
            held = objective(model.trace(X), 1.0)
        torch.testing.assert_close(held, bound.detach())
    (gradient,) = torch.autograd.grad(found.sum(), model.frequencies, allow_unused=True)
    assert gradient is None or not gradient.any()


def test_frequencies_are_learned_from_known_labels_alone():
    model, label = mixture().train(), torch.full((len(X),), -1)
    (gradient,) = torch.autograd.grad(
        SemiSupervised()(model.trace(X, label), 1.0).sum(), model.frequencies, allow_unused=True
    )
    assert gradient is None or not gradient.any()
    label[:6] = 2
    (gradient,) = torch.autograd.grad(SemiSupervised()(model.trace(X, label), 1.0).sum(), model.frequencies)
    wanted = 6 * (torch.eye(K)[2] - model.frequencies.softmax(0))
    torch.testing.assert_close(gradient, wanted)


def test_a_part_that_does_not_fit_is_refused_in_a_line():
    vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4))), Bernoulli(MLP(2, 4)))
    for wrong, says in ((lambda: LabelMixture(Normal(2), MLP(2, 3), 3), "no latents"),
                        (lambda: LabelMixture(vae, MLP(4, 1), 1), "at least two")):  # fmt: skip
        with pytest.raises(SlotError, match=says):
            wrong()
    with pytest.raises(InputError, match="take LabelMixture"):
        SemiSupervised()(vae.trace(torch.zeros(2, 4)), 0.0)
    with pytest.raises(InputError, match="no label of one column"):
        fusevae.classify(Artifact(vae, DataSpec((4,), high=1)), torch.zeros(2, 4))


# data


def test_rows_with_labels_are_drawn_more_often_and_others_at_most_once_an_epoch():
    y = torch.full((1000,), -1)
    y[::50] = 1
    examples = InMemory(torch.arange(1000)[:, None], y, DataSpec((1,), "int64", 0, 999, ["a", "b"]))
    batches = Batches(examples, Training(epochs=3, batch_size=40, labelled=0.25), 0)
    found = list(batches.since(0))
    assert len(found) == 75 and all((b.label >= 0).sum() == 10 for b in found)
    rows = torch.cat([b.x[b.label < 0] for b in found[:25]]).flatten()
    assert len(rows.unique()) == len(rows) == 25 * 30
    often = torch.cat([b.x[b.label >= 0] for b in found]).flatten().unique(return_counts=True)[1]
    assert len(often) == 20 and often.max() - often.min() <= 3  # in turns
    assert torch.equal(next(batches.since(40)).x, found[40].x)  # what a resumed training sees
    assert torch.cat([b.label >= 0 for b in found]).view(75, 40).any(0).all()  # anywhere in a batch
    plain = Batches(examples, Training(epochs=1, batch_size=40), 0)
    enough = Batches(examples, Training(epochs=1, batch_size=40, labelled=0.01), 0)
    assert torch.equal(next(plain.since(0)).x, next(enough.since(0)).x)


def test_labels_unknown_in_part_are_read_from_every_format(tmp_path, caplog):
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 255, (30, 8, 8), dtype=np.uint8), np.arange(30) % 3
    gaps = np.where(np.arange(30) % 5 == 0, y, -1)
    nan = np.where(gaps < 0, np.nan, gaps)
    np.savez(tmp_path / "minus.npz", x=images, y=gaps)
    np.savez(tmp_path / "nan.npz", x=images, y=nan)
    for i, image in enumerate(images):
        folder = tmp_path / "folder" / (f"class{y[i]}" if gaps[i] >= 0 else "unlabelled")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    with open(tmp_path / "t.csv", "w", newline="") as file:
        rows = (
            [*map(float, image[:2, 0]), "" if gap < 0 else f"c{gap}"] for image, gap in zip(images, gaps, strict=True)
        )
        csv.writer(file).writerows([["a", "b", "kind"], *rows])
    given = {
        "minus": (tmp_path / "minus.npz", {"unknown": -1}),
        "nan": (tmp_path / "nan.npz", {}),
        "csv": (tmp_path / "t.csv", {"conditions": ["kind"]}),
        "folder": (tmp_path / "folder", {"unknown": "unlabelled"}),
        "memory": ((images, gaps), {"unknown": "-1"}),
    }
    for name, (data, how) in given.items():
        found = read_data(data, validation=0, test=0, **how)
        label = found.spec.conditions.label
        assert len(label.classes) == 3 and label.known == pytest.approx(0.2), name
        known = found.train.batch(torch.arange(30))[1]
        assert (known >= 0).sum() == 6 and sorted(known[known >= 0].tolist()) == [0, 0, 1, 1, 2, 2], name
    assert "24 of 30 values are -1" in caplog.text
    with pytest.raises(InputError, match=r"data\.unknown=-1"):
        read_data(tmp_path / "minus.npz")
    with pytest.raises(InputError, match="also empty cells"):
        read_data((images, np.where(np.arange(30) == 0, np.nan, gaps)), unknown="-1")


def test_small_changes_keep_an_image_where_they_are_nothing_and_follow_their_settings():
    x = torch.rand(400, 2, 9, 7)
    assert torch.allclose(Affine(0.0, 0.0, 0.0)(x), x, atol=1e-5)
    dot = torch.zeros(400, 1, 9, 9)
    dot[:, :, 4, 4] = 1
    moved = Affine(0.0, 0.0, 0.25)(dot)
    places = torch.arange(9.0)
    rows, columns = ((moved.sum((1, d)) * places).sum(-1) / moved.sum((1, 2, 3)) - 4 for d in (3, 2))
    for by in (rows, columns):
        assert by.abs().max() < 2.3 and by.max() > 2 and by.min() < -2 and by.mean().abs() < 0.3
    assert Affine().eval()(x) is x
    with noise.keyed(0):
        whole = Affine()(x)
    with noise.keyed(0, rows=noise.Rows(2, 4, 400)):
        assert torch.equal(Affine()(x[2:4]), whole[2:4])


# from data to labels


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Three clusters in the plane, rings of two around each other, of which 9 of 300 rows have a label."""
    g = np.random.default_rng(0)
    y = np.arange(400) % 3
    x = np.stack([4 * np.cos(2.1 * y), 4 * np.sin(2.1 * y)], 1) + g.normal(size=(400, 2))
    label = np.where(np.arange(400) < 9, y, -1)
    folder = tmp_path_factory.mktemp("few")
    np.savez(folder / "few.npz", x_train=x[:300], y_train=label[:300], x_test=x[300:], y_test=y[300:])
    return folder / "few.npz"


def test_from_a_file_to_labels_on_the_command_line(few, tmp_path, capsys):
    run = str(tmp_path / "run")
    small = (
        "recipe.hidden=[32]",
        "recipe.latent=2",
        "training.epochs=20",
        "training.batch_size=60",
        "training.learning_rate=1e-2",
        "data.validation=0",
    )
    settings = [word for s in ("data.conditions=[y]", *small) for word in ("--set", s)]
    assert main(["train", "semi-vae", "--data", str(few), "--output", run, "--device", "cpu", *settings]) == 0
    said = capsys.readouterr()
    assert "classification error" in said.out and "291 of 300 values are -1" in said.err
    assert main(["evaluate", run, "--importance-samples", "5", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["classification"]["labelled"] == 100 and figures["classification"]["error"] < 0.1
    assert main(["classify", run, "--output", str(tmp_path / "labels.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["by"] == "classifier" and told["error"] == figures["classification"]["error"]
    with open(tmp_path / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = sum(row["y"] != row["given_y"] for row in rows) / len(rows)
    assert wrong == pytest.approx(told["error"]) and 0.33 < float(rows[0]["probability"]) <= 1
    assert main(["sample", run, "--label", "2", "-n", "5", "--output", str(tmp_path / "two.csv")]) == 0
    assert main(["info", run]) == 0
    assert "known of 0.03 of the training examples" in capsys.readouterr().out


def test_a_training_that_is_gone_on_with_ends_as_an_unbroken_one(few, tmp_path):
    data = read_data(few, conditions=["y"], unknown=-1, validation=0)
    how = {"options": {"hidden": (8,), "latent": 2}, "quiet": True, "device": "cpu"}
    training = {"epochs": 6, "batch_size": 60, "log_every": 7}
    whole = fusevae.fit("semi-vae", data, training=training, **how)
    stopped = fusevae.fit("semi-vae", data, training=training, callbacks=[lambda r: r["step"] < 14], **how)
    assert stopped.history.steps == 14 and not stopped.history.finished
    gone_on = fusevae.resume(stopped, quiet=True, device="cpu")
    assert all(map(torch.equal, whole.parameters(), gone_on.parameters()))
    again = fusevae.load(whole.save(tmp_path))
    x = data.test.batch(torch.arange(100))[0]
    assert torch.equal(fusevae.classify(again, x), fusevae.classify(whole, x))
    assert again.data.conditions.label.known == pytest.approx(0.03)


def test_a_conditional_model_tells_labels_apart_by_its_bound(few):
    data = read_data(few, conditions=["y"], unknown=-1, validation=0)
    vae = VAE(Flat(Normal(2), Gaussian(MLP(2, 4, (16,), "silu", 3))), Gaussian(MLP(2, 4, (16,), "silu", 3)))
    full = read_data({"train": (data.test.batch(torch.arange(100))[0], np.arange(300, 400) % 3)}, validation=0, test=0)
    artifact = fusevae.fit(
        vae,
        full,
        training={"epochs": 30, "batch_size": 25, "average": 0.9, "learning_rate": 1e-2},
        quiet=True,
        device="cpu",
    )
    x, y = full.train.batch(torch.arange(100))
    assert (fusevae.classify(artifact, x).argmax(1) == y).float().mean() > 0.9
    with pytest.raises(InputError, match="no classifier"):
        fusevae.classify(artifact, x, by="classifier")
