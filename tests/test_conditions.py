"""Conditions: named columns of classes and numbers together, from reading to sampling, in nets of one's own too."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import fusevae
from fusevae import MLP, VAE, Conditions, Flat, Gaussian, InputError, Label, Normal, Number, read_data
from fusevae.cli import main
from fusevae.core.conditions import forgotten
from fusevae.core.description import build, describe
from fusevae.data.conditions import Asked, as_column, fitted, parsed
from fusevae.evaluation.samples import conditions
from fusevae.nets.mlp import Embedding

BOTH = Conditions([Label("mood", ["bad", "good"]), Number("year", 2000.0, 8.0), Label("site", ["a", "b", "c"])])
NAN = float("nan")


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def test_every_way_to_give_them_is_the_same() -> None:
    want = torch.tensor([[1.0, 1999.0, NAN]]).expand(3, 3)
    series = pd.DataFrame({"year": [1999] * 3, "mood": ["good"] * 3})
    given = ["mood=good,year=1999", {"mood": "good", "year": 1999}, {"mood": ["good"] * 3, "year": 1999}, series]
    given += [want, want.numpy(), {"mood": pd.Series(["good"] * 3).tolist(), "year": np.full(3, 1999.0)}]
    for each in given:
        assert same(BOTH.given(each, 3), want), each
    assert same(build(describe(BOTH)).given("mood=good,year=1999", 3), want)
    assert BOTH.words(want[0]) == "mood=good,year=1999"
    values = BOTH.values(want)
    assert values["mood"].tolist() == ["good"] * 3 and values["site"].tolist() == [""] * 3
    assert same(BOTH.tensor(values), want)
    assert bool(forgotten(want).isnan().all())


def test_names_and_values_may_have_the_signs_between_them() -> None:
    odd = Conditions([Label("at, where", ["Paris, Texas", "Rome"]), Number("a=b", 0.0, 1.0), Number("a", 0.0, 1.0)])
    for given in ("at, where=Paris, Texas,a=b=0.5,a=2", "a=2, a=b=0.5, at, where=Paris, Texas"):
        assert torch.equal(odd.given(given, 1), odd.given({"at, where": "Paris, Texas", "a=b": 0.5, "a": 2}, 1))
    with pytest.raises(InputError, match="'b'"):
        odd.given("a=2,b=1", 1)
    data = read_data(pd.DataFrame({"Weight, kg": np.arange(40) / 7, "kind": ["u", "v"] * 20}), test=0)
    artifact = fusevae.fit("table-vae", data, options={"hidden": (4,)}, training={"epochs": 1}, quiet=True)
    assert set(fusevae.sample(artifact, 3, "Weight, kg=1.5")[:, 0].tolist()) == {1.5}


def test_numbers_far_beyond_the_training_are_said(caplog: pytest.LogCaptureFixture) -> None:
    known = Conditions([Label("mood", ["bad", "good"]), Number.fitted("year", torch.arange(1980.0, 2020.0))])
    model: Any = SimpleNamespace(data=SimpleNamespace(conditions=known), is_conditional=True)
    for year, says in ((2020, []), (NAN, []), (3000, ["year=3000 was asked for, in training it is 1980 to 2019"])):
        caplog.clear()
        conditions(model, {"mood": "good", "year": year}, 2)
        assert [record.getMessage().partition(": what")[0] for record in caplog.records] == says


def test_one_column_of_classes_is_labels_as_torch_has_them() -> None:
    one = Conditions([Label("digit", [str(k) for k in range(10)])])
    for each in (7, "7", "digit=7", {"digit": 7}, [7] * 4, np.full(4, 7), torch.full((4,), 7), pd.Series(["7"] * 4)):
        assert one.given(each, 4).tolist() == [7] * 4 and one.given(each, 4).dtype == torch.int64
    assert one.given([7, None, 3], 3).tolist() == [7, -1, 3]
    assert one.tensor({"digit": ["7", None, "", NAN]}).tolist() == [7, -1, -1, -1]
    assert forgotten(torch.tensor([3, 4])).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mood=fine", "unknown mood 'fine'; known are bad, good"),
        ("moood=good", "'moood' is no condition of the model; did you mean 'mood'"),
        ("good", "expected values by the names of columns, such as mood=bad,year=0.0"),
        ("year=now", "expected a number such as 2e"),
        ("year=inf", "'inf' was given: expected a number such as 2e"),
        ("mood=good,mood=bad", "mood was given twice"),
        ("mood=\u00b2", "unknown mood"),
        (3, "give each by its name"),
        (torch.zeros(3, 2), r"expected \(3, 3\)"),
        ({"mood": ["good"] * 2}, "2 conditions were given for 3"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(given, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        BOTH.given(given, 3)
    assert "\n" not in str(error.value)


def test_an_embedding_is_a_sum_over_columns() -> None:
    net = Embedding(BOTH, 4, std=1.0)
    x = torch.tensor([[1.0, 2008.0, 2.0], [NAN, NAN, NAN], [0.0, 2000.0, NAN]])
    w = net.weight
    rows = w[2:3] + torch.stack([w[0] + w[4] + w[8], w[1] + w[5] + w[9], w[3] + w[9]])
    assert torch.allclose(net(x), rows, atol=1e-5)
    assert torch.allclose(net(None), net(x)[1], atol=1e-5)


def test_kinds_are_told_by_values_unless_it_is_said() -> None:
    n = np.arange(30)
    part = {"few": n % 3, "many": n, "word": np.array(["b", "a"] * 15), "part": n / 7}

    def kinds(*names: str) -> list[str]:
        found = fitted({"train": part}, {}, Asked.of(list(names)))
        return [type(column).__name__ for column in found.columns]

    assert kinds("few", "many", "word", "part") == ["Label", "Number", "Label", "Number"]
    assert kinds("few:number", "many:label", "word", "part") == ["Number", "Label", "Label", "Number"]
    unasked = fitted({"train": {"label": n, "year": n}}, {}, Asked())  # of a DataFrame beside the examples, say
    assert [type(column).__name__ for column in unasked.columns] == ["Label", "Number"]
    with pytest.raises(InputError, match="holds text and was asked for as numbers"):
        fitted({"train": part}, {}, Asked.of(["word:number"]))
    assert parsed(["7", "-3"]).dtype == np.int64 and parsed(["007", "8"]).dtype.kind == "U"
    assert parsed(["1_0", "2"]).dtype.kind == "U" and np.isnan(parsed(["0.5", ""])[1])
    with pytest.raises(InputError, match="infinite"):
        as_column([0.5, np.inf], 2, "y")


def test_names_of_files_tell_them_by_a_pattern() -> None:
    found = Asked.of("{digit}_{speaker}_{take}").in_names(["0_george_1.wav", "7_jackson_12.wav"])
    assert found["digit"].tolist() == [0, 7] and found["speaker"].tolist() == ["george", "jackson"]
    assert found["take"].tolist() == [1, 12]
    with pytest.raises(InputError, match="is not named as conditions="):
        Asked.of("{a}_{b}").in_names(["plain.png"])
    of_a_model = replace(Asked.of("{a}_{b}"), optional=True)
    assert of_a_model.in_names(["plain.png", "plain.png"]) == {}  # of two folders
    assert of_a_model.in_names(["plain.png", "x_3.png"])["a"].tolist() == ["", "x"]


def test_moments_are_of_the_training_part_and_classes_of_all() -> None:
    x = np.arange(100.0).reshape(100, 1)
    splits = read_data((x, {"n": np.arange(100.0) + 0.5, "k": np.arange(100) % 5}), conditions=["n", "k"])
    number, label = splits.spec.conditions.columns
    rows = torch.cat([splits.train.batch(torch.arange(len(splits.train)))[1]])[:, 0]
    assert number.mean == pytest.approx(rows.double().mean().item()) and label.classes == list("01234")


def test_a_class_without_a_training_example_is_said_and_can_not_be_asked_for(caplog) -> None:
    x, y = np.zeros((20, 2)), np.array([0] * 19 + [1])
    for seed in range(20):
        caplog.clear()
        splits = read_data((x + np.random.default_rng(0).normal(size=x.shape), y), seed=seed)
        if 1 not in splits.train.batch(torch.arange(len(splits.train)))[1].tolist():
            assert "1 of 2 classes have no training example: 1" in caplog.text
            with pytest.raises(InputError, match="had no training example"):
                splits.spec.conditions.given(1, 3)
            return
    raise AssertionError("no seed left the class out")


@fusevae.described
class Own(nn.Module):
    """A decoder's net of one's own, which is given the class."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        self.net = nn.Linear(dims + 3, 2)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        if c is None:
            c = torch.full(z.shape[:-1], -1)
        told = nn.functional.one_hot(c.clamp(min=0), 3) * (c >= 0)[..., None]
        return self.net(torch.cat([z, told.expand(*z.shape[:-1], 3).to(z.dtype)], -1))


def test_a_network_of_ones_own_is_given_them_from_training_to_samples(tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(600) % 3
    x = torch.stack([4.0 * y - 4, -3.0 * y], 1) + 0.3 * torch.randn(600, 2, generator=generator)
    vae = VAE(Flat(Normal(2), Gaussian(MLP(2, Gaussian.outputs(2), (16,)))), Gaussian(Own(), scale="shared"))
    settings = {"epochs": 250, "learning_rate": 5e-2, "average": 0.9}
    artifact = fusevae.fit(vae, (x, y), objective=fusevae.ELBO(beta=20.0), training=settings, quiet=True)
    assert artifact.is_conditional
    again = fusevae.load(artifact.save(tmp_path), trust=[f"{__name__}.Own"])
    means = torch.stack([fusevae.sample(again, 500, label=k).mean(0) for k in range(3)])
    assert bool((means[1:, 0] > means[:-1, 0] + 0.5).all()) and bool((means[1:, 1] < means[:-1, 1] - 0.5).all())
    each = fusevae.sample(again, 1500, label=pd.Series([0, 1, 2] * 500)).view(500, 3, 2).mean(0)
    assert (each - means).abs().max() < 0.6
    # what is known of a class need not stand in the latent
    told = fusevae.log_likelihood(again, x[:90], y[:90], importance_samples=50).mean()
    assert told > fusevae.log_likelihood(again, x[:90], importance_samples=50).mean() + 0.3


def test_several_columns_from_the_command_line(tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    mood, year = rng.integers(0, 2, 400), rng.integers(1980, 2020, 400)
    rows = [f"{3 * m + e:.3f},{(y - 2000) / 5 + f:.3f},{'good' if m else 'bad'},{y}" for m, y, e, f in
            zip(mood, year, 0.2 * rng.normal(size=400), 0.2 * rng.normal(size=400), strict=True)]  # fmt: skip
    (tmp_path / "t.csv").write_text("a,b,mood,year\n" + "\n".join(rows) + "\n")
    run = str(tmp_path / "run")
    words = ["train", "maf", "--data", str(tmp_path / "t.csv"), "--output", run, "--set", "data.conditions=[mood,year]"]
    words += ["--set", "recipe.hidden=[32]", "--set", "recipe.transforms=2"]  # given them, since they are asked for
    assert main([*words, "--set", "training.epochs=40", "--set", "training.batch_size=50"]) == 0
    capsys.readouterr()
    means = {}
    for label in ("mood=good,year=2015", "mood=bad,year=1985", "year=2015", None):
        asked = ["--label", label] if label else []
        assert main(["sample", run, "-n", "300", "--output", str(tmp_path / "s.csv"), *asked, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["label"] == label
        table = pd.read_csv(tmp_path / "s.csv")
        means[label] = table[["a", "b"]].mean()
        (tmp_path / "s.csv").unlink()
        if label:
            assert set(table.columns) == {"a", "b", "mood", "year"}
    assert means["mood=good,year=2015"]["a"] > 2 > 1 > means["mood=bad,year=1985"]["a"]
    assert means["mood=good,year=2015"]["b"] > 1.5 and means["mood=bad,year=1985"]["b"] < -1.5
    assert means["year=2015"]["b"] > means[None]["b"] + 1
    assert main(["sample", run, "--label", "mood=fine", "--output", str(tmp_path / "s.csv")]) == 2
    assert "known are bad, good" in capsys.readouterr().err


def test_the_recipe_tells_what_its_data_are(tmp_path, capsys) -> None:
    rows = [f"the film is {('great', 'dull')[i % 2]} again,{('good', 'bad')[i % 2]},{1950 + i % 40}" for i in range(90)]
    (tmp_path / "r.csv").write_text("review,mood,year\n" + "\n".join(rows) + "\n")
    run = str(tmp_path / "run")
    words = ["train", "text-vae", "--data", str(tmp_path / "r.csv"), "--output", run, "--set", "data.tokens=words"]
    for setting in ("data.conditions=[mood,year]", "recipe.width=8", "recipe.heads=2", "training.epochs=1"):
        words += ["--set", setting]
    assert main(words) == 0
    capsys.readouterr()
    for label in ("mood=good,year=1999", "mood=bad", "year=1960"):
        assert main(["sample", run, "-n", "2", "--label", label]) == 0
        assert len(capsys.readouterr().out.splitlines()) >= 2
    assert fusevae.Run.open(run).configuration["data"]["modality"] == "text"
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "1.5,2\n" * 30)
    assert main(["train", "gan", "--data", str(table), "--output", str(tmp_path / "x")]) == 2
    assert "table-vae" in capsys.readouterr().err


def test_classes_are_given_by_their_names_or_in_a_tensor_by_their_places() -> None:
    year = Conditions([Label("year", ["1", "2", "10"])])
    for values in ([1, 10, 2], np.array([1, 10, 2]), np.array([1.0, 10.0, 2.0]), np.array(["1", "10", "2"])):
        assert year.given(values, 3).tolist() == [0, 2, 1]
    assert year.given(torch.tensor([1, 2, -1]), 3).tolist() == [1, 2, -1]
    assert year.given(np.array([1, -1, np.nan]), 3).tolist() == [0, -1, -1]
    assert Conditions([Label("sign", ["-1", "1"])]).given(np.array([-1, 1]), 2).tolist() == [0, 1]
    for values, words in ((torch.tensor([1, 10, 2]), "places of 3 classes"), (np.array([7, 1, 1]), "unknown year '7'")):
        with pytest.raises(InputError, match=words):
            year.given(values, 3)


def test_words_and_gaps_in_a_list_are_what_they_are() -> None:
    assert as_column(["a", None, "b", NAN], 4, "mood").tolist() == ["a", "", "b", ""]
    assert as_column([True, None], 2, "on").tolist() == ["True", ""]
    assert as_column(np.array([2**64 - 1, 1], dtype=np.uint64), 2, "id").tolist() == [str(2**64 - 1), "1"]
    with pytest.raises(InputError, match="mood holds int, str: expected numbers or text"):
        as_column(["a", 1], 2, "mood")
    with pytest.raises(InputError, match="mood holds list"):
        as_column(np.array([[1, 2], [3]], dtype=object), 2, "mood")
