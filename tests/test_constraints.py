"""What must hold between columns holds in every sample, and data that break it themselves are refused."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest
import torch

from fusevae import Artifact, InputError, impute, read_data, sample, table_columns
from fusevae.cli import main
from fusevae.core.description import build, describe
from fusevae.modalities.tables.column import Column
from fusevae.modalities.tables.constraints import Constraint
from fusevae.modalities.tables.laws import laws_of
from fusevae.recipes import table_transformer, table_vae

rng = np.random.default_rng(0)
low, net = rng.integers(0, 50, 200), rng.integers(1, 90, 200)
tax = rng.integers(0, 9, 200)
FRAME = pandas.DataFrame(
    {
        **{"low": low, "high-end": low + rng.integers(0, 50, 200), "net": net, "tax": tax, "total": net + tax},
        "city": np.array(["Oslo", "Bergen", "Lima"])[low % 3],
        "land": np.array(["NO", "NO", "PE"])[low % 3],
        "code": rng.permutation(200) * 3 + 0.5,
        "day": (pandas.Timestamp("2024-01-01") + pandas.to_timedelta(low, unit="D")).strftime("%Y-%m-%d"),
    }
)
FRAME.loc[:30, "high-end"] = np.nan
ALL = [
    *("low <= high-end", "0 <= low < 60", "total = net + tax", "fixed(city, land)", "unique(code)"),
    *("day >= 2024-01-03", "city >= Lima"),
]


def untrained(recipe, constraints):
    torch.manual_seed(0)
    data = read_data(FRAME, test=0, constraints=constraints)
    small = {"width": 8, "heads": 2, "layers": 1} if recipe is table_transformer else {"hidden": (8,)}
    model = recipe.recipe(data.spec, **small).model
    x = data.train.batch(torch.arange(len(data.train)))[0]
    model.start_from(lambda: Artifact(model, data.spec).view(x))
    return Artifact(model.eval(), data.spec)


@pytest.mark.parametrize("recipe", [table_vae, table_transformer])
def test_every_sample_holds_what_must_hold(recipe):
    artifact = untrained(recipe, ALL[:5])
    free = pandas.DataFrame(table_columns(sample(untrained(recipe, []), 40), artifact.data))
    assert (free.total != free.net + free.tax).any() and (free.city.eq("Lima") != free.land.eq("PE")).any()
    found = pandas.DataFrame(table_columns(sample(artifact, 40), artifact.data))
    there = found["high-end"].notna()
    assert len(found) == 40 and (found.low <= found["high-end"])[there].all() and found.low.between(0, 59).all()
    assert (found.total == found.net + found.tax).all() and found.code.is_unique
    assert (found.city.eq("Lima") == found.land.eq("PE")).all()
    given = pandas.DataFrame(table_columns(sample(artifact, 5, {"net": 40, "land": "PE"}), artifact.data))
    assert set(given.net) == {40} and set(given.city) == {"Lima"} and (given.total == 40 + given.tax).all()
    again = build(describe(artifact.data))
    assert describe(again) == describe(artifact.data) and again.schema.constraints[3].seen


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("net <= tax", r"\d+ of 200 rows of the train part break 'net <= tax', row 1 first"),
        ("lo <= high-end", "'lo' is no column of the table and no number; did you mean 'low'"),
        ("total = net + taxes", "did you mean 'tax'"),
        ("low<=high-end", "expected 'a <= b'"),
        ("fixed(city, lnd)", "did you mean 'land'"),
        ("1 <= 2", "names no column"),
        ("day >= 2024", "expected a date of the form %Y-%m-%d"),
    ],
)
def test_a_constraint_that_cant_be_is_refused_in_a_line(constraint, words):
    with pytest.raises(InputError, match=words):
        read_data(FRAME, constraints=[constraint])


def test_dates_and_classes_are_held_against_those_of_their_column():
    mine = FRAME[(FRAME.low > 3) & (FRAME.city != "Bergen")]
    assert len(read_data(mine, constraints=ALL[5:], test=0).spec.schema.constraints) == 2
    with pytest.raises(InputError, match="break 'day >= 2024-01-03'"):
        read_data(FRAME, constraints=ALL[5:])


def test_what_hardly_ever_holds_ends_in_a_line_and_rejection_is_said(tmp_path, capsys):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    run = str(tmp_path / "run")
    tiny = ["--set", "recipe.hidden=[8]", "--set", "training.epochs=1", "--set", "data.constraints=['low <= high-end']"]
    assert main(["train", "table-vae", "--data", str(tmp_path / "t.csv"), "--output", run, *tiny]) == 0
    assert main(["sample", run, "-n", "50", "--output", str(tmp_path / "s.csv")]) == 0
    assert "% of the rows drawn were rejected, and drawn anew" in capsys.readouterr().err
    found = pandas.read_csv(tmp_path / "s.csv").dropna()
    assert len(found) and (found.low <= found["high-end"]).all()
    command = ["sample", run, "-n", "5", "--label", "low=49,high-end=9", "--output", str(tmp_path / "n.csv")]
    assert main(command) == 2 and "0 of the 5 wanted" in capsys.readouterr().err
    assert not (tmp_path / "n.csv").exists()


@pytest.mark.parametrize("recipe", [table_vae, table_transformer])
def test_what_is_filled_in_holds_what_must_hold_and_what_cant_is_said(recipe):
    artifact, holes = untrained(recipe, ALL[:4]), FRAME[31:][FRAME["high-end"][31:] > 30][:40].copy()
    holes["total"], holes["net"] = holes.total.astype(float), holes.net.astype(float)
    for i, name in enumerate(["total", "net", "low", "land"]):
        holes.loc[holes.index[i::4], name] = None
    found = impute(artifact, holes, steps=5, samples=3)
    for x in found.samples:
        full = pandas.DataFrame(table_columns(x, artifact.data))
        assert full.notna().all(axis=None) and (full.total == full.net + full.tax).all()
        assert (full.low <= full["high-end"]).all() and (full.city.eq("Lima") == full.land.eq("PE")).all()
        there = holes.reset_index(drop=True).notna()
        assert ((full == holes.reset_index(drop=True)) | ~there).all(axis=None)
    assert len(found.notes) == 1 and "of the draws broke a constraint and were drawn anew" in found.notes[0]
    holes.loc[holes.index[0], "low"], holes.loc[holes.index[0], "high-end"] = 49, 9
    notes = impute(artifact, holes[:4], steps=2, samples=1).notes
    assert "warning: 1 of 4 rows break a constraint, the first 0" in notes[-1]


def test_an_equation_is_solved_for_what_is_free():
    data = read_data(FRAME, test=0, constraints=ALL[2:3])
    (one,) = data.spec.schema.constraints
    names = data.spec.schema.names
    net, tax, total = map(names.index, ("net", "tax", "total"))
    x = torch.zeros(3, len(names), dtype=torch.float64)
    x[:, net], x[:, tax], x[:, total] = 30.0, 4.0, 77.0
    given = torch.zeros(3, len(names)).bool()
    given[1, total] = given[2, total] = given[2, tax] = True
    found = one.settled(x, given)
    assert found[0, [net, tax, total]].tolist() == [30, 4, 34]
    assert found[1, [net, tax, total]].tolist() == [73, 4, 77]  # the last that may have it: no tax is 47
    assert found[2, [net, tax, total]].tolist() == [73, 4, 77] and one.holds(found).all()


def test_gaps_in_some_rows_leave_the_others_as_they_are():
    columns = [Column("a"), Column("b")]
    x = torch.tensor([[i % 7.0, i % 7.0] for i in range(60)])
    x[::3, 1] = torch.nan
    assert Constraint("fixed(a, b)", columns, [[i, i] for i in range(7)]).holds(x).all()
    there = ~x.isnan().any(1)
    assert Constraint("unique(a, b)", columns).holds(x)[there].sum() == 7 and there.sum() == 40


def test_what_holds_in_all_rows_is_said_as_constraints_that_can_be_given(caplog):
    draw = np.random.default_rng(0)
    city, first, net, tax = (
        draw.integers(0, 30, 800),
        draw.integers(0, 500, 800),
        draw.gamma(2, 9, 800),
        draw.random(800),
    )
    frame = pandas.DataFrame(
        {
            "city": [f"c{c}" for c in city],
            "country": [f"k{c % 7}" for c in city],
            "begin": (np.datetime64("2021-01-01") + first).astype(str),
            "end": (np.datetime64("2021-01-01") + first + draw.integers(0, 90, 800)).astype(str),
            "net": net.round(2),
            "tax": tax.round(2),
            "total": (net.round(2) + tax.round(2)).round(2),
            "age": draw.integers(18, 90, 800),
        }
    )
    read_data(frame)
    (said,) = [r.getMessage() for r in caplog.records if "data.constraints" in r.getMessage()]
    texts = json.loads(said[said.index("='") + 2 : said.rindex("'")])
    assert texts == ["total = net + tax", "begin <= end", "fixed(city, country)"]
    caplog.clear()
    data = read_data(frame, constraints=texts)
    assert data.spec.schema.constrained and not caplog.records


def test_a_date_is_another_and_so_many_days():
    draw = np.random.default_rng(0)
    begin, days = np.datetime64("2020-01-01") + draw.integers(0, 900, 300), draw.integers(0, 40, 300)
    frame = pandas.DataFrame({"begin": begin, "end": begin + days, "days": days}).astype({"begin": str, "end": str})
    part = read_data(frame, test=0, validation=0).train
    columns, x = part.spec.schema.columns, part.batch(torch.arange(len(part)))[0]
    assert laws_of(columns, x.double().numpy()) == ["end = begin + days"]
    equation = Constraint("end = begin + days", columns)
    made = x[:9] + torch.tensor([0.0, 3.0, 0.0])
    assert equation.holds(x).all() and torch.equal(equation.settled(made, torch.zeros(3, dtype=torch.bool)), x[:9])


def test_chance_gaps_and_numbers_as_names_are_no_laws():
    draw = np.random.default_rng(1)
    counts = [Column(name, "int64", kind="count") for name in "abc"]
    x = draw.integers(0, 9, (500, 3)).astype(float)
    assert laws_of(counts, x) == [] and laws_of(counts, x[:3]) == []
    x[:, 2] = x[:, 0] + x[:, 1]
    x[::5, 0] = np.nan  # breaks nothing
    assert laws_of(counts, x) == ["c = a + b"]
    assert laws_of([Column(name, "int64", kind="count") for name in ("400", "420", "440")], x) == []
    x[-1, 2] += 1
    assert laws_of(counts, x) == ["a <= c", "b <= c"]
    unlike = np.column_stack([draw.integers(0, 9, 500), draw.integers(100, 900, 500)]).astype(float)
    assert laws_of(counts[:2], unlike) == []  # always less, and nobody's law
