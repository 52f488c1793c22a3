"""Tables: what is read is what was written, columns go by their names, and what a model makes has their form."""

from __future__ import annotations

import argparse
import csv
import re

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from pyarrow import parquet

import fusevae
from fusevae import Artifact, InputError, Normal, Standardise, impute, log_likelihood, read_data, sample, table_columns
from fusevae.cli import main
from fusevae.cli.parser import make_parser
from fusevae.core.description import build, describe
from fusevae.data.delimited import is_header
from fusevae.data.modality import modality
from fusevae.data.preprocessing import without_errors
from fusevae.data.source import read_examples
from fusevae.evaluation.features import Columns
from fusevae.modalities.tables.schema import Column, TableSchema
from fusevae.recipes import table_vae
from fusevae.training.recipes import find

rng = np.random.default_rng(0)
N = 300
SECONDS = 1_760_000_000 + rng.permutation(3600)[:N]
PEOPLE = pandas.DataFrame(
    {
        "age": rng.integers(18, 90, N),
        "children": rng.poisson(0.4, N),
        "income": np.exp(rng.normal(10, 1, N)).round(2),
        "smoker": rng.integers(0, 2, N),
    }
)
TIMES = pandas.DataFrame({"t": SECONDS, "value": np.sin(SECONDS / 600).round(4)})
TABLES = modality("tables")
TINY = ["--set", "recipe.hidden=[8]", "--set", "recipe.latent=2", "--set", "training.epochs=2"]


def whole(examples):
    return examples.batch(torch.arange(len(examples)))[0]


def rows_of(data, known=None, **settings):
    """All rows, and what they are."""
    found = read_examples(data, known, **settings)
    return whole(found), found.spec


def known(frame, **settings):
    return read_data(frame, validation=0, test=0, **settings).spec


def written(x, spec, path, beside=None):
    TABLES.write(x, spec, path, beside or {})
    return path


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "fusevae"]


# read and written


@pytest.mark.parametrize("frame", [PEOPLE, TIMES], ids=["people", "times"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy", ""])
def test_examples_are_written_as_they_came_and_read_back_the_same(frame, suffix, tmp_path):
    x, spec = rows_of(frame)
    place = written(x, spec, tmp_path / f"t{suffix}")
    again, _ = rows_of(place if suffix else place / "samples.csv", spec)
    assert torch.equal(x.double(), again.double())
    columns = table_columns(x, spec)
    assert list(columns) == list(frame)
    for name, values in columns.items():
        assert values.dtype == frame[name].dtype
        assert (values == frame[name].to_numpy()).all()
    if suffix == ".csv":
        assert place.read_text().split() == frame.to_csv(index=False).split()
    if suffix == ".parquet":
        pandas.testing.assert_frame_equal(pandas.read_parquet(place), frame)


def test_a_csv_a_parquet_file_and_a_frame_are_the_same_table(tmp_path):
    frame = pandas.concat([PEOPLE, TIMES.rename(columns={"t": "target"})], axis=1)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semicolon.csv", index=False, sep=";", quoting=csv.QUOTE_ALL, encoding="utf-8-sig")
    frame.to_parquet(tmp_path / "t.parquet")
    found = [read_data(tmp_path / f"t.{s}") for s in ("csv", "tsv", "parquet")]
    found += [read_data(tmp_path / "semicolon.csv"), read_data(frame), read_data(frame.convert_dtypes())]
    for other in found[1:]:
        assert describe(other.spec) == describe(found[0].spec)
        assert torch.equal(whole(other.train), whole(found[0].train))
    assert "target" in found[0].spec.schema.names
    spec = read_data(tmp_path / "t.parquet", conditions=["smoker"]).spec
    assert "smoker" not in spec.schema.names and spec.conditions.names == ["smoker"]


def test_seconds_within_an_hour_stay_different_in_and_out():
    splits = read_data(TIMES, validation=0, test=0)
    x, spec = whole(splits.train), splits.spec
    artifact = Artifact(Normal(2), spec)
    seen = artifact.view(x)
    assert seen.dtype == torch.float32
    assert len(seen[:, 0].unique()) == N and seen[:, 0].abs().max() < 3600
    assert torch.equal(artifact.restore(seen), x)
    drawn = sample(artifact, 50)
    assert drawn.dtype == torch.float64
    near = float(np.sort(SECONDS)[N // 2])
    assert ((drawn[:, 0] - near).abs() < 10).all() and (drawn[:, 0] == drawn[:, 0].round()).all()
    exact = artifact.distribution().log_prob((x - torch.tensor([near, 0.0], dtype=torch.float64)).float())
    assert np.allclose(log_likelihood(artifact, x), exact, rtol=1e-5)  # a shift has log-determinant 0
    assert np.array_equal(log_likelihood(artifact, x), log_likelihood(artifact, TIMES))
    again = build(describe(spec))
    assert again.schema.columns[0].offset == near and again.schema.columns[1].offset == 0


def test_what_float32_tells_apart_is_left_as_it_is():
    for frame in (PEOPLE, pandas.DataFrame(rng.normal(size=(20_000, 2)), columns=["a", "b"])):
        spec = known(frame)
        x, _ = rows_of(frame)
        assert not any(c.offset for c in spec.schema.columns)
        assert torch.equal(Artifact(Normal(x.shape[1]), spec).view(x), torch.tensor(frame.to_numpy(np.float32)))
    array = TIMES.to_numpy()
    assert torch.equal(rows_of(array)[0], torch.from_numpy(array))
    assert rows_of(rng.normal(size=(9, 2)))[0].dtype == torch.float32


def test_what_cant_be_told_apart_is_refused():
    two = np.arange(N) % 2 + 1 + 1e-12 * np.arange(N)  # no single shift brings both near to 0
    with pytest.raises(InputError, match="column a has 300 different values that float32 does not tell apart"):
        read_data(pandas.DataFrame({"a": two, "b": two}), validation=0, test=0)
    for big in (2**53, -(2**60)):
        with pytest.raises(InputError, match=r"row 3, column id is beyond 2\^53"):
            read_data(pandas.DataFrame({"id": [1, 2, 3, big, 5], "b": range(5)}))
    assert rows_of(pandas.DataFrame({"id": [1, 2**53 - 1], "b": [0, 1]}))[0][1, 0] == 2**53 - 1


def test_what_a_model_makes_has_the_form_of_the_columns(tmp_path):
    spec = known(PEOPLE)
    x = sample(Artifact(Normal(4), spec), 500)
    columns = table_columns(100 * x, spec)
    for c in spec.schema.columns:
        values = table_columns(x, spec)[c.name]
        assert values.dtype == PEOPLE[c.name].dtype
        assert values.min() >= PEOPLE[c.name].min() and values.max() <= PEOPLE[c.name].max()
        assert (np.round(values, 2) == values).all()
    assert columns["age"].dtype == np.int64
    mean = torch.tensor([[30.5, 1.0, 20.125, 0.25]])
    assert {k: v.tolist() for k, v in table_columns(mean, spec).items()} == {
        "age": [30.5],
        "children": [1],
        "income": [20.125],
        "smoker": [0.25],
    }  # no draw: told as it is
    flags = pandas.DataFrame({"on": [True, False, True], "z": [-1.5, 2.25, 0.0]})
    made = Artifact(Normal(2), known(flags)).restore(torch.tensor([[0.8, -7.126], [-3.0, 9.0]]))
    found = table_columns(made, known(flags))  # z has been below 0 and may lie anywhere
    assert found["on"].tolist() == [True, False] and found["z"].tolist() == [-7.13, 9.0]
    assert rows_of(written(x, spec, tmp_path / "s.csv"), spec)[0].tolist() == x.tolist()


def test_limits_are_those_of_the_training_rows_alone():
    frame = pandas.DataFrame({"a": np.arange(100), "b": np.arange(100) / 4})
    splits = read_data(frame, test=0.3, seed=3)
    train = whole(splits.train)
    assert splits.spec.schema.columns[0].low == train[:, 0].min()
    assert splits.spec.schema.columns[0].high == train[:, 0].max()
    assert (splits.spec.low, splits.spec.high) == (train.min(), train.max())


# headers


def numbers(*shape):
    return [[f"{v:.3f}" for v in row] for row in rng.normal(size=shape)]


@pytest.mark.parametrize(
    ("first", "body", "header", "sure"),
    [
        (["a", "b"], [["1", "2"]], True, True),
        (["1", "2"], [["3", "4"]], False, True),
        (["1", "2", "3"], [["4", "5", "6"]], False, True),
        ([str(w) for w in range(400, 720, 20)], numbers(50, 16), True, False),
        (["700.5", "650.5", "600.5"], numbers(50, 3), True, False),  # in order, and far from all below
        (["30", "17", "99"], numbers(50, 3), True, False),  # whole, and far
        ([str(i) for i in range(8)], [list("00010203")] * 20, True, False),  # what pandas numbers by itself
        (["0", "1", "0"], numbers(50, 3), False, True),
        (["0", "1"], numbers(50, 2), False, False),
        (["0.1", "0.2", "0.3"], [[f"{i}", f"{i + 1}", f"{i + 2}"] for i in range(20)], False, True),
        (["1.5", "", "2"], numbers(20, 3), False, True),  # a gap is no name
        (["5.1", "3.5", "iris"], [["4.9", "3.0", "iris"]] * 5, False, False),
        (["id", "400", "420"], [["1", "0.5", "0.7"]] * 5, True, False),
        (["good film", "1"], [["bad film", "0"]] * 5, True, False),
    ],
)
def test_headers(first, body, header, sure):
    assert is_header([first, *body]) == (header, sure)


def test_how_a_doubtful_first_row_was_read_is_said_in_a_line(tmp_path, caplog):
    names = [str(w) for w in range(400, 720, 20)]
    with open(tmp_path / "spectra.csv", "w", newline="") as file:
        csv.writer(file).writerows([names, *numbers(60, 16)])
    x, spec = rows_of(tmp_path / "spectra.csv")
    assert spec.schema.names == names and len(x) == 60
    (said,) = warnings(caplog)
    assert "400, 420, 440, ..." in said and "data.header=false" in said and "\n" not in said
    assert len(rows_of(tmp_path / "spectra.csv", header=False)[0]) == 61
    assert len(rows_of(tmp_path / "spectra.csv", header=True)[0]) == 60
    assert len(warnings(caplog)) == 1
    (tmp_path / "t.csv").write_text("0,1\n" + "\n".join(map(",".join, numbers(50, 2))))
    assert len(rows_of(tmp_path / "t.csv")[0]) == 51
    assert "taken for data (data.header=true" in warnings(caplog)[-1]


# columns by their names


def test_columns_go_by_their_names_not_their_places(tmp_path):
    spec = known(PEOPLE)
    artifact = Artifact(table_vae.recipe(spec, hidden=(8,)).model, spec)
    turned = PEOPLE[PEOPLE.columns[::-1]]
    turned.to_csv(tmp_path / "t.csv", index=False)
    for data in (turned, tmp_path / "t.csv", PEOPLE.to_numpy()):  # an array has no names
        assert np.array_equal(log_likelihood(artifact, PEOPLE), log_likelihood(artifact, data))
    test = read_data(PEOPLE, test_path=str(tmp_path / "t.csv")).test
    assert np.array_equal(whole(test).numpy(), PEOPLE.to_numpy())
    for data, words in (
        (PEOPLE.drop(columns="smoker"), "has no column 'smoker' for the model"),
        (PEOPLE.assign(height=1), "has a column 'height' that the model was not trained on"),
        (PEOPLE.rename(columns={"age": "Age"}), "no column 'age' for the model; did you mean 'Age'"),
        (PEOPLE.to_numpy()[:, :3], "rows of 3 columns: expected age, children, income, smoker"),
    ):
        with pytest.raises(InputError, match=words):
            log_likelihood(artifact, data)
    other = known(turned)
    with pytest.raises(InputError, match="in this order"):
        spec.check(other)


def test_gaps_are_filled_in_by_name_and_what_is_there_is_given_back(tmp_path):
    frame = pandas.concat([PEOPLE, TIMES], axis=1)
    spec = known(frame)
    torch.manual_seed(0)
    artifact = Artifact(table_vae.recipe(spec, hidden=(8,)).model, spec)
    artifact.distribution.start_from(lambda: artifact.view(rows_of(frame)[0]))
    holes = frame.astype("float64").head(20).mask(rng.random((20, 6)) < 0.3)
    turned = holes[holes.columns[::-1]]
    turned.to_csv(tmp_path / "t.csv", index=False)
    turned.to_parquet(tmp_path / "t.parquet")
    found = [impute(artifact, d, steps=8).samples for d in (holes, turned, tmp_path / "t.csv", tmp_path / "t.parquet")]
    found.append(impute(artifact, holes.to_numpy(), steps=8).samples)
    for other in found[1:]:
        assert torch.equal(found[0], other)
    there = holes.notna().to_numpy()
    assert (found[0].numpy()[:, there] == holes.to_numpy()[there]).all()
    times = found[0][..., 4]
    assert (times >= SECONDS.min()).all() and (times <= SECONDS.max()).all() and (times == times.round()).all()
    mean = impute(artifact, holes, steps=8).mean
    assert mean.dtype == torch.float64 and (mean[:, 4] >= SECONDS.min()).all()
    (tmp_path / "w.csv").write_text(",".join(frame) + "\n1,1,1,1,soon,1\n,1,1,1,2,1\n,1,1,1,3,1\n")
    with pytest.raises(InputError, match="row 2, column t is 'soon', no number"):
        impute(artifact, tmp_path / "w.csv")


# what is refused, or said


def text(folder, content, name="t.csv"):
    (folder / name).write_text(content)
    return folder / name


def test_between_semicolons_a_comma_is_a_decimal_point_where_it_can_be_no_other(tmp_path, caplog):
    rows = "".join(f"{i},5;1.{i}34,25;1,{i}00;x,y\n" for i in range(1, 10)) + "12;7;NA;z\n"
    data = read_data(text(tmp_path, "a;b;c;y\n" + rows), validation=0, test=0)
    assert data.spec.schema.names == ["a", "b", "c", "y"]
    x = data.train.batch(torch.arange(10))[0].double()
    assert sorted(x[:, 0].tolist()) == [*(i + 0.5 for i in range(1, 10)), 12.0]
    assert x[:, 1].min() == 7 and x[:, 1].max() == 1934.25
    assert x[:, 2].nan_to_num(-1).max() == pytest.approx(1.9)  # column a has decided
    assert "commas in column a, b are read as decimal points" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n3,1_0\n", "row 3, column b is '1_0', no number"),
        ('a,b\n1,2\n3,"1,000"\n', r"column b is '1,000', no number \(is it a decimal comma"),
        ("a;b\n1,500;2\n", r"column a holds no numbers; the first holds '1,500' \(is it a decimal comma"),
        ("a,b\n1,2\n3,inf\n", "column b is 'inf', NaN, infinite"),
        ("a,b\n", "has a header and no rows"),
        ("a,b,a\n1,2,3\n", "two columns of the name 'a'"),
        ("a,b\n1,2\n3\n", "row 3 has 1 cells"),
        ("a,b\n1,2\n3,1e39\n", "too large for float32"),
        ("a,b\nz,x\nz,x\n", "the same words in each row"),
    ],
)
def test_a_table_that_cant_be_read_truly_is_refused_in_a_line(content, words, tmp_path):
    with pytest.raises(InputError, match=words) as error:
        read_data(text(tmp_path, content), modality="tables", validation=0, test=0)
    assert "\n" not in str(error.value)


def test_frames_and_parquet_are_checked_like_text(tmp_path):
    frame = pandas.DataFrame({"a": [1.0, np.inf, 3.0], "b": [1, 2, 3]})
    frame.to_parquet(tmp_path / "t.parquet")
    for data in (frame, tmp_path / "t.parquet"):
        with pytest.raises(InputError, match="row 1, column a is 'inf'"):
            read_data(data)
    with pytest.raises(InputError, match="two columns of the name 'a'"):
        read_data(pandas.DataFrame(np.zeros((9, 2)), columns=["a", "a"]))
    with pytest.raises(InputError, match="columns parts hold neither numbers nor words nor dates"):
        read_data(pandas.DataFrame({"a": range(9), "parts": [[1, 2]] * 9}))


def test_splits_come_as_frames_and_as_nothing_else_beside_them():
    frame = pandas.DataFrame({"a": np.arange(50.0) + 0.5, "b": ["x", "y"] * 25})
    splits = read_data({"train": frame, "test": frame[40:]}, validation=0.2)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [40, 10, 10]
    assert torch.equal(whole(splits.test)[:, 0], torch.arange(40.0, 50) + 0.5)
    with pytest.raises(InputError, match="'train' is a DataFrame beside 'holdout', a DataFrame"):
        read_data({"train": frame, "holdout": frame})
    with pytest.raises(InputError, match="'train' is a DataFrame beside 'test', a ndarray"):
        read_data({"train": frame, "test": frame[["a"]].to_numpy()})
    with pytest.raises(InputError, match="the test part has no column 'b'"):
        read_data({"train": frame, "test": frame[["a"]]})


def test_rows_that_are_no_numbers_are_left_out_where_that_is_asked_for_and_counted(tmp_path, caplog):
    place = text(tmp_path, "a,kind,b\n1,x,2\ninf,y,3\n4,x,five\n6,y,7\n?,y,8\n")
    found = read_examples(place, skip_damaged=True, conditions=["kind"], columns=["a", "b"])
    x, y = found.batch(torch.arange(3))
    assert x.nan_to_num(-1).tolist() == [[1, 2], [6, 7], [-1, 8]] and y.tolist() == [0, 1, 1]
    assert "2 of 5 rows were left out, the first row 3" in warnings(caplog)[-1]


def test_a_cell_absurdly_far_off_is_said_and_takes_no_scale(tmp_path, caplog):
    a = rng.normal(size=600)
    b = 2 * a + 0.1 * rng.normal(size=600)
    frame = pandas.DataFrame({"a": np.where(np.arange(600) == 17, 1e12, a), "b": b})
    frame.to_csv(tmp_path / "t.csv", index=False)
    splits = read_data(tmp_path / "t.csv", validation=0, test=0)
    (said,) = warnings(caplog)
    assert "row 19, column a is 1e+12" in said
    x = whole(splits.train)
    step = Standardise((2,))
    step.fit(x.float())
    assert step.std[0] == pytest.approx(a.std(), rel=0.1) and step.mean[0].abs() < 0.2
    assert step.std[1] == pytest.approx(b.std(), rel=1e-5)
    assert Columns(splits.train).scale[0] == pytest.approx(a.std(), rel=0.1)


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("recipe", ["table-vae", "table-transformer", "maf", "made"])
def test_a_cell_absurdly_far_off_takes_no_likelihood(recipe, held_out):
    """In training it changes what others have by little; held out it costs nats by its logarithm, the
    least of a density with a tail of 1 / x."""
    a = np.random.default_rng(0).normal(size=(300, 2))
    far = np.where(np.arange(300)[:, None] == 17, 1e12, 1.0) * a
    frames = [pandas.DataFrame(x, columns=["a", "b"]) for x in (a, far)]
    spent = []
    for train, other in ((frames[0], frames[0]), (frames[0], frames[1]) if held_out else (frames[1], frames[0])):
        spec = read_data(train, validation=0, test=0).spec
        model = find(recipe)(spec).model
        model.start_from(lambda rows=train: torch.tensor(rows.to_numpy(), dtype=torch.float32))
        x = torch.tensor(other.to_numpy()).float()
        spent.append(log_likelihood(Artifact(model, spec), x, importance_samples=8).mean().item())
    assert spent[1] == pytest.approx(spent[0], abs=np.log(1e12) + 5 if held_out else 1.5)


@pytest.mark.parametrize("draw", [rng.normal, rng.standard_cauchy, lambda size: rng.random(size) < 0.01])
def test_ordinary_columns_keep_their_mean_and_deviation(draw):
    x = torch.from_numpy(np.asarray(draw(size=(5000, 3)), dtype=np.float64))
    mean, std = without_errors(x, x.mean(0), x.std(0, correction=0))
    assert torch.equal(mean, x.mean(0)) and torch.equal(std, x.std(0, correction=0))


def test_a_label_that_is_empty_is_not_known(tmp_path):
    place = text(tmp_path, "a,b,kind\n" + "1,2,x\n2,4,y\n3,5,\n" * 5)
    found = read_data(place, conditions=["kind"], validation=0, test=0)
    assert found.spec.modality == "tables" and found.spec.schema.names == ["a", "b"]
    assert found.spec.classes == ["x", "y"]
    assert found.train.batch(torch.arange(3))[1].tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    "name", ["t.txt", "t.smi", "t.jsonl", "t.npz", "i.png", "texts", "pictures", "items", "words.csv"]
)
def test_another_kind_of_data_is_refused_in_a_line(name, tmp_path):
    for other in ("t.txt", "t.smi", "t.jsonl"):
        (tmp_path / other).write_text('{"text": "CCO"}\n' * 9)
    (tmp_path / "words.csv").write_text("text\n" + "a film of great charm\n" * 9)
    np.savez(tmp_path / "t.npz", x=np.zeros((9, 4, 4)))
    from PIL import Image

    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "i.png")
    memory = {
        "texts": ["a film"] * 9,
        "pictures": np.zeros((9, 1, 4, 4), np.uint8),
        "items": torch.utils.data.TensorDataset(torch.zeros(9, 1, 4, 4), torch.zeros(9)),
    }
    with pytest.raises(InputError) as error:
        read_data(memory.get(name, tmp_path / name), modality="tables")
    assert "\n" not in str(error.value)


# drawn and judged


@pytest.mark.parametrize("columns", [1, 3, 100])
def test_drawing_never_fails(columns, tmp_path):
    for values in (rng.normal(size=(40, columns)), np.full((40, columns), 1.76e9), np.arange(40.0)[:, None] % 2 * 1e9):
        frame = pandas.DataFrame(np.broadcast_to(values, (40, columns)), columns=[f"c{i}" for i in range(columns)])
        x, spec = rows_of(frame)
        sheets = [*TABLES.portrait(x[:5], x, spec).values(), TABLES.pairs(x, x + 1, spec)]
        sheets += [TABLES.draw([("", x)], spec), TABLES.draw([("a", x[:1]), ("b", x[1:3])], spec)]
        for i, sheet in enumerate(sheets):
            assert sheet.beside(tmp_path / str(i)).stat().st_size > 0
            assert sheet.html("a table")


def test_rows_are_drawn_in_their_own_form():
    x, spec = rows_of(pandas.concat([PEOPLE, TIMES], axis=1))
    sheet = TABLES.draw([("", x[:1])], spec)
    first = PEOPLE.iloc[0]
    assert sheet.rows[0][:4] == [
        str(int(first.age)),
        str(int(first.children)),
        f"{first.income:.2f}",
        str(int(first.smoker)),
    ]
    assert sheet.rows[0][4] == str(SECONDS[0])


def test_columns_beside_rows_take_none_of_their_names(tmp_path):
    x, spec = rows_of(TIMES)
    found = pandas.read_csv(written(x[:3], spec, tmp_path / "t.csv", {"value": np.arange(3), "row": np.arange(3)}))
    assert list(found) == ["t", "value", "given_value", "row"]
    assert (found.value == TIMES.value[:3]).all()


def test_the_baseline_is_a_distribution():
    x, spec = rows_of(PEOPLE[["age"]].assign(age=PEOPLE.age / 7))
    baseline = TABLES.baseline(x, spec, "density")
    grid = torch.linspace(-60, 80, 20_001, dtype=torch.float64)[:, None]
    assert baseline.log_prob(grid).exp().sum().item() * 140 / 20_000 == pytest.approx(1, abs=1e-6)


def test_real_against_real_is_at_the_floor():
    people = PEOPLE.assign(income=np.log(PEOPLE.income), smoker=PEOPLE.smoker + PEOPLE.age / 100)
    # reals alone without a long tail: features are the columns
    splits = read_data(pandas.concat([people] * 3) / 7, test=0.5)
    reference = TABLES.reference(splits.test, splits, 200, None, "cpu", True)
    real = reference.real
    low = sample(Artifact(Normal(4), splits.spec), 200)
    from fusevae.evaluation.quality import compared

    made = compared(reference.features, reference.features_of_made(low))
    value = lambda found: found["energy"] if isinstance(found, dict) else found.energy  # noqa: E731
    assert abs(value(real)) < 0.05 < value(made)


# the commands


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs of two tables, barely trained, and the tables beside them."""
    folder = tmp_path_factory.mktemp("tables")
    PEOPLE.to_csv(folder / "people.csv", index=False)
    PEOPLE[PEOPLE.columns[::-1]].to_csv(folder / "reversed.csv", index=False)
    PEOPLE.drop(columns="smoker").to_csv(folder / "missing.csv", index=False)
    PEOPLE.assign(height=1).to_csv(folder / "more.csv", index=False)
    PEOPLE.astype(object).mask(rng.random(PEOPLE.shape) < 0.2).head(30).to_csv(folder / "gaps.csv", index=False)
    TIMES.to_csv(folder / "times.csv", index=False)
    for name in ("people", "times"):
        data = ["--data", str(folder / f"{name}.csv"), "--output", str(folder / name)]
        assert main(["train", "table-vae", *data, *TINY]) == 0
    return folder


FEW = ["--importance-samples", "5"]
USES = {
    "evaluate": [*FEW, "--json"],
    "compare": [*FEW, "--samples", "0", "--json"],
    "encode": ["--output", "z.csv"],
    "anomaly": [*FEW, "--output", "s.csv"],
    "reconstruct": ["--output", "r.csv"],
    "impute": ["--missing", "mask.npy", "--steps", "2", "--output", "i.csv"],
    "denoise": ["--noise", "0.5", "--steps", "2", "--output", "d.csv"],
    "interpolate": ["-n", "3", "--output", "p.csv"],
    "traverse": ["--output", "t.csv"],
    "neighbours": ["--output", "n.csv"],
    "map": ["-n", "50", "--output", "m.csv"],
    "fit-prior": ["--components", "2", "--output", "prior"],
}
#: with data of their own, or other models
NOT_OF_A_MODEL = {"train", "bench", "tune", "recipes", "optimize", "classify", "decode", "explore"}


def test_no_command_that_takes_data_is_left_out_here():
    (commands,) = (a.choices for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    taking = {name for name, one in commands.items() if "--data" in one._option_string_actions}
    assert taking == {*USES} | (NOT_OF_A_MODEL & taking)


@pytest.mark.parametrize("command", USES)
def test_every_command_finds_columns_by_their_names(command, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", np.arange(4) == 2)
    runs = [str(place / "people")] + [str(place / "people" / "model.safetensors")] * (command == "compare")
    runs += ["mixture"] * (command == "fit-prior")
    arguments, found = USES[command], []
    for name in ("people", "reversed"):
        capsys.readouterr()
        assert main([command, *runs, "--data", str(place / f"{name}.csv"), *arguments]) == 0
        told, output = capsys.readouterr().out, tmp_path / arguments[-1]
        if output.is_file():
            told = output.read_text()
        elif output.is_dir():
            told = str(sample(fusevae.load(output), 9).tolist())
            output = output.rename(tmp_path / name)
        found.append(re.sub(rf'"[^"]*{name}.csv"|"seconds[^,}}]*', "", told))
        output.unlink() if output.is_file() else None
    assert found[0] == found[1]
    for name, words in (("missing", "no column 'smoker'"), ("more", "has a column 'height'")):
        before = sorted(tmp_path.iterdir())
        assert main([command, *runs, "--data", str(place / f"{name}.csv"), *arguments]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and words in error
        assert sorted(tmp_path.iterdir()) == before


def test_gaps_are_filled_in_by_the_command(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    gaps = ["impute", str(place / "people"), "--missing", "nan", "--steps", "3", "--output", "i.csv"]
    assert main([*gaps, "--data", str(place / "gaps.csv")]) == 0
    filled, holes = pandas.read_csv("i.csv"), pandas.read_csv(place / "gaps.csv")
    assert list(filled) == list(PEOPLE) and filled.notna().all(axis=None)
    assert ((filled == holes) | holes.isna()).all(axis=None)
    holes, filled = ((place / "gaps.csv").read_text().split(), (tmp_path / "i.csv").read_text().split())
    for before, after in zip(holes, filled, strict=True):  # the very digits
        assert all(
            a in ("", b) or float(a) == float(b) for a, b in zip(before.split(","), after.split(","), strict=True)
        )
    capsys.readouterr()
    assert main([*gaps, "--data", str(place / "missing.csv")]) == 2
    assert "no column 'smoker'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_samples_have_names_and_dtypes_and_read_back_the_same(suffix, place, tmp_path):
    for name, frame in (("people", PEOPLE), ("times", TIMES)):
        output = tmp_path / f"{name}{suffix}"
        assert main(["sample", str(place / name), "-n", "40", "--output", str(output)]) == 0
        found = pandas.read_csv(output) if suffix == ".csv" else pandas.read_parquet(output)
        assert list(found) == list(frame)
        assert (found.dtypes == frame.dtypes).all()
        artifact = fusevae.load(place / name)
        assert torch.equal(rows_of(output, artifact.data)[0].double(), sample(artifact, 40).double())
    assert found.t.nunique() > 20 and found.t.between(SECONDS.min(), SECONDS.max()).all()


def test_the_schema_is_in_the_artifact(place):
    schema = fusevae.load(place / "people").data.schema
    assert isinstance(schema, TableSchema)
    assert [(c.name, c.dtype, c.decimals) for c in schema.columns] == [
        ("age", "int64", 0),
        ("children", "int64", 0),
        ("income", "float64", 2),
        ("smoker", "int64", 0),
    ]
    assert describe(Column("a", low=1.0)) == describe(build(describe(Column("a", low=1.0))))


def test_samples_have_no_more_decimals_than_the_data_of_eight_too(tmp_path):
    x = np.random.default_rng(0).random((60, 2))
    spec = known(pandas.DataFrame({"short": x[:, 0].round(8), "whole": x[:, 1]}))
    assert [c.decimals for c in spec.schema.columns] == [8, None]
    made = spec.schema.back(torch.rand(20, 2))
    lines = written(made, spec, tmp_path / "t.csv").read_text().splitlines()[1:]
    digits = [[len(cell.partition(".")[2]) for cell in line.split(",")] for line in lines]
    assert max(a for a, _ in digits) == 8 < max(b for _, b in digits)


def test_conditions_are_columns_of_samples_too(tmp_path):
    spec = known(PEOPLE.assign(kind=["x", "y"] * (N // 2)), conditions=["kind"])
    kind = np.array(["x", "y"])
    place = written(torch.ones(2, 4), spec, tmp_path / "t.csv", {"kind": kind})
    x, back = rows_of(place, spec)
    assert list(pandas.read_csv(place)) == [*PEOPLE, "kind"] and x.shape == (2, 4)
    assert read_examples(place, spec).batch(torch.arange(2))[1].tolist() == [0, 1] and back.conditions is not None


# tables as other tools write them


BODY = "0.5,7,x\n1.25,12,y\n-3.5,7,x\n" * 8


@pytest.mark.parametrize(
    "content",
    [
        ("a,b,kind\n" + BODY).encode("utf-16"),
        ("a,b,kind\n" + BODY).encode("utf-8-sig").replace(b"\n", b"\r\n"),
        ("a|b|kind\n" + BODY.replace(",", "|")).encode(),
        ("a,b,kind,\n" + BODY.replace("\n", ",\n")).encode(),  # a comma at the end of each line
        ("a,b,kind\n" + BODY.replace("\n", "\n  \n\n")).encode(),
        ("," + "a,b,kind\n" + "".join(f"{i},{row}\n" for i, row in enumerate(BODY.split()))).encode(),  # pandas' index
        ('"Unnamed: 0",a,b,kind\n' + "".join(f"{9 - i},{row}\n" for i, row in enumerate(BODY.split()))).encode(),
    ],
    ids=["utf-16", "bom and crlf", "bars", "commas at ends", "blank lines", "index", "unnamed"],
)
def test_the_same_table_however_it_is_written(content, tmp_path, caplog):
    (tmp_path / "t.csv").write_bytes(content)
    found = read_data(tmp_path / "t.csv", conditions=["kind"], validation=0, test=0)
    assert found.spec.schema.names == ["a", "b"] and found.spec.classes == ["x", "y"]
    assert [c.dtype for c in found.spec.schema.columns] == ["float64", "int64"]
    assert whole(found.train).tolist() == [[0.5, 7], [1.25, 12], [-3.5, 7]] * 8
    said = [line for line in warnings(caplog) if "numbers the rows" in line]
    assert len(said) == (1 if content[:1] in (b",", b'"') else 0)


def test_an_index_is_data_where_it_is_asked_for_or_the_model_has_it():
    frame = pandas.DataFrame({"Unnamed: 0": range(9), "a": np.arange(9) / 2})
    assert known(frame).schema.names == ["a"]
    spec = known(frame, columns=["Unnamed: 0", "a"])
    assert spec.schema.names == ["Unnamed: 0", "a"] and rows_of(frame, spec)[0].shape == (9, 2)
    assert known(frame.assign(**{"Unnamed: 0": [1, 1] + [2] * 7})).schema.names == ["Unnamed: 0", "a"]


def test_flags_are_flags_from_text_too(tmp_path):
    frame = pandas.DataFrame({"on": [True, False, True] * 5, "a": np.arange(15) / 4})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    specs = [known(data) for data in (frame, tmp_path / "t.csv", tmp_path / "t.parquet")]
    assert all(describe(spec) == describe(specs[0]) for spec in specs)
    x, spec = rows_of(tmp_path / "t.csv")
    assert written(x, spec, tmp_path / "s.csv").read_text().split() == frame.to_csv(index=False).split()
    holes = frame.astype(object).mask(np.eye(15, 2, dtype=bool))
    holes.to_csv(tmp_path / "h.csv", index=False)
    filled = impute(Artifact(table_vae.recipe(spec, hidden=(8,)).model, spec), tmp_path / "h.csv", steps=2).samples[0]
    assert (filled.numpy()[2:] == frame.astype(float).to_numpy()[2:]).all()
    classes = [known(data, conditions=["on"]).classes for data in (frame, tmp_path / "t.csv", tmp_path / "t.parquet")]
    assert classes == [["False", "True"]] * 3
    assert spec.replaced(conditions=["0", "1"]).conditions.read("True") == 1  # an artifact of before


LONG = 10**30


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([LONG, LONG + 1, LONG + 2], [str(LONG), str(LONG + 1), str(LONG + 2)]),
        ([2**63, 2**63 + 1, 2**63], [str(2**63), str(2**63 + 1)]),
        ([2**62, 2**62 + 1, 2**62], [str(2**62), str(2**62 + 1)]),
        ([2**60, 2**60 + 1, None], [str(2**60), str(2**60 + 1)]),
        ([0, 1, None], ["0", "1"]),
        (["x", "y", None], ["x", "y"]),
        ([True, False, None], ["False", "True"]),
        (["007", "8", None], ["007", "8"]),
    ],
)
def test_classes_are_the_same_from_a_frame_from_text_and_from_parquet(values, classes, tmp_path):
    frame = pandas.DataFrame({"a": np.arange(30) / 4, "kind": pandas.Series(values * 10, dtype=object)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frames = [frame, tmp_path / "t.csv"]
    if values[0] != LONG:
        kind = pyarrow.array(values * 10, pyarrow.uint64() if values[0] == 2**63 else None)
        parquet.write_table(pyarrow.table({"a": frame.a.to_numpy(), "kind": kind}), tmp_path / "t.parquet")
        frames.append(tmp_path / "t.parquet")
    for data in frames:
        found = read_data(data, conditions=["kind"], validation=0, test=0)
        assert found.spec.classes == classes
        wanted = [-1 if v is None else classes.index(str(v)) for v in values]
        assert found.train.batch(torch.arange(3))[1].tolist() == wanted


def test_a_minus_one_beside_classes_is_asked_about():
    x = rng.normal(size=(40, 2))
    for y in (np.array([-1, 0, 1, 2] * 10), torch.tensor([-1, 0] * 20)):
        with pytest.raises(InputError, match=r"label holds -1 beside 0.*data\.conditions=\[label:label\]"):
            read_data((x, y))
    assert read_data((x, np.array([-1, 0] * 20)), conditions="label:label").spec.classes == ["-1", "0"]
    assert read_data((x, np.array([-1, 1] * 20))).spec.classes == ["-1", "1"]
    assert read_data((x, np.array([np.nan, 0, 1, 2] * 10))).spec.classes == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        ("a  b\n1  2.5\n3  4.5\n", {}, r"the first holds '1  2.5' \(are these several numbers\? put commas"),
        ("a;b\n1,500;1\n2,250;2\n", {}, r"column a holds.*holds '1,500' \(is it a decimal comma"),
        ("a;b\n0,5;1\n1,5;2.0\n0,5;1,a\n", {}, r"column b is '1,a'"),
        ("a,b\n1,2\n3,4\n", {"columns": ["a", "a"]}, "column 'a' is named twice"),
        ("a,b\n1,2\n3,4\n", {"columns": ["a", "b"], "conditions": "a"}, "column 'a' is named twice"),
        ("".join(f"{LONG + i}.5,{i}\n" for i in range(9)), {}, "column x_0 holds 9 different numbers.*more digits"),
    ],
)
def test_what_is_no_table_of_numbers_says_why(content, settings, words, tmp_path):
    with pytest.raises(InputError, match=words) as error:
        read_data(text(tmp_path, content), **settings)
    assert "\n" not in str(error.value)


def test_a_column_written_as_a_code_is_said(tmp_path, caplog):
    read_data(text(tmp_path, "zip,a\n" + "01234,1.5\n50001,2.5\n" * 9))
    assert "column zip is written with leading zeros" in warnings(caplog)[-1]


def test_dates_of_a_frame_are_read_from_a_file_however_they_are_written(tmp_path):
    when = pandas.to_datetime("2024-01-31 23:59:58") + pandas.to_timedelta(np.arange(60) * 7321, unit="s")
    frame = pandas.DataFrame({"when": when, "zone": when.tz_localize("Europe/Oslo"), "x": np.arange(60) / 7})
    frame.loc[3, "when"] = None
    spec = known(frame)
    x = rows_of(frame, spec)[0]
    assert x.isnan().sum() == 1
    frame.to_csv(tmp_path / "plain.csv", index=False)
    frame.to_csv(tmp_path / "other.csv", index=False, date_format="%d.%m.%Y %H:%M:%S")
    for path in (tmp_path / "plain.csv", written(x, spec, tmp_path / "made.csv")):
        assert torch.equal(rows_of(str(path), spec)[0].nan_to_num(), x.nan_to_num())
    assert torch.equal(rows_of(str(tmp_path / "other.csv"), spec)[0][:, 0].nan_to_num(), x[:, 0].nan_to_num())


def test_samples_are_as_far_apart_as_the_data_are():
    """Incomes in steps of 500, prices of 5 cents, hundreds with gaps, weekly dates; what has no such step has none."""
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "income": (draw.lognormal(10, 0.5, 300) / 500).round().astype(int) * 500 + 250,
            "price": ((draw.gamma(2, 3, 300) / 0.05).round() * 0.05).round(2),
            "gap": np.where(draw.random(300) < 0.2, np.nan, draw.integers(0, 90, 300) * 100),
            "monday": (np.datetime64("2020-01-06") + 7 * draw.integers(0, 100, 300)).astype(str),
            "free": draw.integers(0, 1000, 300),
        }
    )
    data = fusevae.read_data(frame)
    assert [c.spacing for c in data.spec.schema.columns] == [500, 0.05, 100, 7, 0]
    for recipe in ("table-vae", "table-transformer"):
        model = fusevae.fit(recipe, data, training={"epochs": 1}, quiet=True)
        made = pandas.DataFrame(table_columns(fusevae.sample(model, 200), model.data))
        assert (made.income % 500 == 250).all() and (made.gap.dropna() % 100 == 0).all()
        assert (np.round(made.price * 20, 6) % 1 == 0).all() and (made.free % 2).any()
        assert set(pandas.to_datetime(made.monday).dt.day_name()) == {"Monday"}
