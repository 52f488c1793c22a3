"""Tables of any columns: the likelihood by column has its laws, and what goes in comes out in kind."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas
import pytest
import torch

import fusevae
from fusevae import Artifact, InputError, impute, log_likelihood, read_data, sample, table_columns
from fusevae.cli import main
from fusevae.core.description import build, describe
from fusevae.core.generation import GREEDY, generating
from fusevae.core.levels import bounds_as, log_bound
from fusevae.data.modality import modality
from fusevae.data.source import read_examples
from fusevae.distributions.mixed import Mixed
from fusevae.modalities.tables.agreement import kolmogorov, variation
from fusevae.modalities.tables.families import cells_of
from fusevae.modalities.tables.neighbours import Neighbours
from fusevae.modalities.tables.quality import TableQuality, TableReference
from fusevae.nets.cells import CellEncoder, Cells, Classes, Real, Whole
from fusevae.nets.mlp import MLP, Constant
from fusevae.recipes import maf, table_vae
from fusevae.training.outcome import draw_reconstructions, draw_samples

rng = np.random.default_rng(0)
N = 400
TABLES = modality("tables")


def made(n: int = N) -> pandas.DataFrame:
    """Every kind of column, with gaps; what is in one depends on others."""
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, n)
    day = pandas.Timestamp("2024-01-01") + pandas.to_timedelta(rng.integers(0, 365, n), unit="D")
    frame = pandas.DataFrame(
        {
            "city": np.array(["Oslo", "Lima", "=1+1"])[kind],
            "age": rng.integers(18, 90, n),
            "visits": rng.poisson(2 * kind),
            "paid": np.where(rng.random(n) < 0.5, 0.0, np.exp(rng.normal(3 + kind, 1, n)).round(2)),
            "height": (170 + 10 * rng.normal(size=n)).round(1),
            "day": day.strftime("%Y-%m-%d"),
            "member": rng.random(n) < 0.3,
            "always": "yes",
            "id": rng.permutation(n) + 1000,
        }
    )
    gone = rng.random(n) < 0.2
    frame.loc[gone, "city"] = None
    frame.loc[gone, "day"] = None
    frame.loc[rng.random(n) < 0.1, "height"] = np.nan
    return frame


FRAME = made()


def whole(examples):
    return examples.batch(torch.arange(len(examples)))[0]


def table_of(frame, **settings):
    splits = read_data(frame, validation=0, test=0, **settings)
    return whole(splits.train), splits.spec


def fitted(columns, x, outputs=3, k=2, **more):
    cells = Cells(columns)
    cells.fit(x)
    net = MLP(2, Mixed.outputs(cells, k), hidden=(4,))
    net.last.bias.data.normal_()
    return Mixed(net, cells, k, **more).eval()


# the likelihood


@pytest.mark.parametrize("least", [None, 0.0])
@torch.no_grad()
def test_whole_numbers_have_a_mass_that_sums_to_one_and_that_samples_follow(least):
    x = torch.from_numpy(rng.poisson(3, 500).astype(np.float32) * 4)[:, None]
    p = fitted([Whole([0.0, 8.0], least)], x)(torch.randn(2))
    values = torch.arange(-5000.0, 5000.0)[:, None]
    mass = p.log_prob(values).double().exp()
    assert mass.sum().item() == pytest.approx(1, abs=2e-4)
    assert least is None or mass[values[:, 0] < 0].sum() == 0
    drawn = p.sample((20_000,))[:, 0]
    assert torch.equal(drawn, drawn.round())
    likely = mass > 1e-3
    seen = torch.stack([(drawn == v).double().mean() for v in values[likely, 0]])
    error = (mass[likely] * (1 - mass[likely]) / 20_000).sqrt()
    assert ((seen - mass[likely]).abs() < 5 * error).all()


@torch.no_grad()
def test_a_row_of_several_kinds_has_density_times_mass_that_is_one_in_all():
    x = torch.stack(
        [torch.randint(0, 3, (600,)).float(), torch.randn(600).exp(), torch.randint(0, 9, (600,)).float()], 1
    )
    x[::2, 1] = 0.0
    part = fitted([Classes(3), Real([0.0]), Whole(least=0.0)], x)
    p = part(torch.randn(2))
    n, width = 2001, 40.0
    reals = torch.linspace(-width, width, n) + 1e-4
    total, spike = 0.0, 0.0
    for c, v in itertools.product(range(3), range(30)):
        rows = torch.stack([torch.full((n,), float(c)), reals, torch.full((n,), float(v))], 1)
        total += p.log_prob(rows).double().exp().sum().item() * 2 * width / (n - 1)
        spike += p.log_prob(torch.tensor([float(c), 0.0, float(v)])).exp().item()
    assert total + spike == pytest.approx(1, abs=0.02) and spike > 0.01
    drawn = p.sample((20_000,))
    assert (drawn[:, 1] == 0).double().mean().item() == pytest.approx(spike, abs=0.02)
    alone = torch.full((3,), torch.nan).repeat(3, 1)
    alone[:, 0] = torch.arange(3.0)
    seen = torch.bincount(drawn[:, 0].long(), minlength=3) / 20_000
    assert torch.allclose(p.log_prob(alone).exp(), seen, atol=0.02)
    assert p.log_prob(torch.tensor([3.0, 1.0, 0.0])) == p.log_prob(torch.tensor([0.5, 1.0, 0.0])) == -torch.inf
    assert not part.discrete and part.mixed and fitted([Whole()], x[:, 2:]).discrete


def test_missing_cells_contribute_nothing_and_get_no_gradient():
    x = torch.stack([torch.randint(0, 2, (50,)).float(), torch.randn(50), torch.randint(0, 9, (50,)).float()], 1)
    part = fitted([Classes(2), Real(), Whole()], x)
    p = part(torch.randn(50, 2))
    each = []
    for i in range(3):
        alone = torch.full_like(x, torch.nan)
        alone[:, i] = x[:, i]
        each.append(p.log_prob(alone))
    assert torch.allclose(sum(each), p.log_prob(x), atol=1e-5)
    assert (p.log_prob(torch.full_like(x, torch.nan)) == 0).all()
    out = torch.randn(50, Mixed.outputs(part.cells, 2), requires_grad=True)
    x[:, 1] = torch.nan
    row = type(p)(part, out, None)
    row.log_prob(x).sum().backward()
    numbers = out.grad[:, part.cells.total :].view(50, 3, 2, 2)
    assert out.grad.isfinite().all() and (numbers[..., 0] == 0).all() and (numbers[..., 1] != 0).any()


@pytest.mark.parametrize(
    "draw", [rng.normal, rng.standard_cauchy, rng.exponential, lambda size: rng.poisson(0.3, size)]
)
def test_a_columns_function_is_rising_and_its_slope_is_autograds(draw):
    x = torch.from_numpy(np.asarray(draw(size=2000), dtype=np.float32))[:, None]
    cells = Cells([Real()])
    cells.fit(x)
    at = (x[:200] * 1.3 + 0.01).requires_grad_()  # some beyond the ends
    y, slope = cells.heights(at)
    (wanted,) = torch.autograd.grad(y.sum(), at)
    assert torch.allclose(slope, wanted, rtol=1e-3) and (slope > 0).all()
    assert torch.allclose(cells.values(y), at, rtol=1e-3, atol=1e-3)
    assert cells.at.diff(dim=1).min() > 0 and cells.heights_at.diff(dim=1).min() > 0
    if len(x.unique()) > 1000:
        assert abs(cells.heights(x)[0].mean()) < 0.05 and cells.heights(x)[0].std() == pytest.approx(1, abs=0.1)


def test_a_start_is_what_the_columns_are_alone():
    x, spec = table_of(FRAME)
    baseline = TABLES.baseline(Artifact(fusevae.Normal(9), spec).view(x), spec, "mixed")
    i = spec.schema.names.index("city")
    alone = torch.full((3, 9), torch.nan)
    alone[:, i] = torch.arange(3.0)
    known = x[:, i][~x[:, i].isnan()]
    assert torch.allclose(baseline.log_prob(alone).exp(), torch.bincount(known.long()) / len(known), atol=0.01)


def test_numbers_that_come_again_have_a_mass_in_the_constant_model_too():
    """Numbers alone, one of them with a spike: a model with masses is never held against a density."""
    x = np.random.default_rng(0).normal(size=(400, 2))
    x[:200, 0] = 0.5
    splits = read_data(pandas.DataFrame(x, columns=["a", "b"]))
    model = fusevae.find("table-transformer")(splits.spec, width=4, heads=1, layers=1).model
    measure = Artifact(model, splits.spec).measure
    assert measure == "mixed"
    train = splits.train.batch(torch.arange(len(splits.train)))[0]
    constant = TABLES.baseline(splits.spec.typed(train), splits.spec, measure)
    spike = torch.tensor([[0.5 - splits.spec.schema.columns[0].offset, torch.nan]])
    assert constant.log_prob(spike).exp().item() == pytest.approx(0.5, abs=0.05)


def test_which_cells_are_missing_is_learned_beside_and_moves_nothing_else():
    torch.manual_seed(0)
    x = torch.randn(2000, 3)
    x[torch.rand(2000) < 0.3, :2] = torch.nan  # two columns together
    cells = Cells([Real(), Real(), Real()])
    cells.fit(x)
    part = Mixed(Constant(Mixed.outputs(cells, 1)), cells, 1, Constant(2), [0, 1])
    z = torch.randn(2000, 1, requires_grad=True)
    with_net = Mixed(MLP(1, Mixed.outputs(cells, 1)), cells, 1, MLP(1, 2), [0, 1])
    (with_net(z).surrogate(x).sum() - with_net(z).log_prob(x).sum()).backward()
    assert (z.grad == 0).all() and with_net.gaps.last.bias.grad.abs().sum() > 0
    optimizer = torch.optim.Adam(part.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        with bounds_as("surrogate"):
            (-log_bound(part(), x).mean()).backward()
        optimizer.step()
    gone = part().sample((4000,)).isnan()
    assert gone[:, 0].double().mean().item() == pytest.approx(0.3, abs=0.04)
    assert (gone[:, 0] == gone[:, 1]).double().mean() > 0.97 and not gone[:, 2].any()
    assert not part().whole.sample((100,)).isnan().any()
    with generating(GREEDY):
        assert torch.equal(part().sample((2,))[0], part().sample((2,))[1])


def test_the_encoder_is_told_what_is_missing_and_learns_without():
    cells = Cells([Classes(2), Real()])
    cells.fit(torch.tensor([[0.0, 1.0], [1.0, 2.0], [0.0, 3.0]]))
    features = cells.features(torch.tensor([[1.0, 2.0], [torch.nan, torch.nan]]))
    assert features[0, :3].tolist() == [0, 1, 1] and (features[1] == 0).all()
    net = CellEncoder(cells, MLP(cells.width, 2), hidden=0.5)
    x = torch.tensor([[1.0, 2.0]]).expand(500, 2)
    assert len(net.train()(x).unique(dim=0)) > 1 and len(net.eval()(x).unique(dim=0)) == 1


# the schema


def test_the_kind_of_each_column_is_inferred():
    _, spec = table_of(FRAME)
    assert {c.name: c.kind for c in spec.schema.columns} == {
        **{"city": "categorical", "age": "integer", "visits": "count", "paid": "skewed", "height": "continuous"},
        **{"day": "date", "member": "binary", "always": "constant", "id": "identifier"},
    }
    by_name = {c.name: c for c in spec.schema.columns}
    assert by_name["paid"].spikes == [0.0] and by_name["height"].decimals == 1
    assert by_name["city"].missing == pytest.approx(FRAME.city.isna().mean()) and by_name["day"].form == "%Y-%m-%d"
    lines = spec.schema.remarks(spec)
    assert len(lines) == 10 and any("made anew and never learned" in line for line in lines)
    assert describe(build(describe(spec))) == describe(spec)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_is_the_same_from_a_file_as_from_a_frame_and_comes_out_as_it_came(suffix, tmp_path):
    place = tmp_path / f"t.{suffix}"
    FRAME.to_parquet(place) if suffix == "parquet" else FRAME.to_csv(
        place, index=False, sep="\t" if suffix == "tsv" else ","
    )
    x, spec = table_of(place)
    other, theirs = table_of(FRAME)
    assert torch.equal(x.nan_to_num(-9), other.nan_to_num(-9)) and describe(spec) == describe(theirs)
    columns = table_columns(x, spec)
    for name, values in columns.items():
        wanted = FRAME[name]
        assert ((pandas.Series(values) == wanted) | wanted.isna()).all(), name
        assert (pandas.isna(values) == wanted.isna()).all(), name
        assert not pandas.api.types.is_numeric_dtype(wanted) or values.dtype == wanted.dtype, name
    TABLES.write(x, spec, tmp_path / "w.parquet", {})
    back = pandas.read_parquet(tmp_path / "w.parquet")
    assert torch.equal(table_of(back)[0].nan_to_num(-9), x.nan_to_num(-9))


def test_polars_and_dates_of_a_frame():
    polars = pytest.importorskip("polars")
    frame = FRAME.assign(day=pandas.to_datetime(FRAME.day))
    x, spec = table_of(frame)
    day = next(c for c in spec.schema.columns if c.name == "day")
    assert day.kind == "date" and day.step == 86_400
    out = table_columns(x, spec)["day"]
    assert ((out == frame.day) | frame.day.isna()).all() and (np.isnat(out) == frame.day.isna()).all()
    assert torch.equal(table_of(polars.from_pandas(FRAME))[0].nan_to_num(-9), table_of(FRAME)[0].nan_to_num(-9))


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["2024-01-31", "1999-12-01"], "%Y-%m-%d"),
        (["31.01.2024", "01.12.1999"], "%d.%m.%Y"),
        (["01/31/2024", "12/01/1999"], "%m/%d/%Y"),
        (["2024-01-31T07:30:00", "1999-12-01T00:00:59"], "%Y-%m-%dT%H:%M:%S"),
        (["07:30", "23:59"], "%H:%M"),
        (["3/1/2024", "12/11/1999"], "%-d/%-m/%Y"),
    ],
)
def test_dates_come_out_in_the_form_that_they_came_in(words, form):
    frame = pandas.DataFrame({"when": words * 20, "a": np.arange(40) / 7})
    x, spec = table_of(frame)
    assert spec.schema.columns[0].form == form and table_columns(x, spec)["when"].tolist() == frame.when.tolist()


@pytest.mark.parametrize(
    "words", [["1.5%", "2%"], ["$1,200.50", "$3"], ["3.5 €", "1 €"], ["(1.5)", "(2)"], ["−1.5", "−2"]]
)
def test_numbers_written_for_people_are_no_words(tmp_path, words):
    pandas.DataFrame({"v": words * 20, "a": np.arange(40) / 7}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=r"column v holds no numbers.*data.columns.v=categorical"):
        table_of(tmp_path / "t.csv")


def test_dates_of_two_readings_are_said_and_times_of_a_zone_are_times(caplog):
    frame = pandas.DataFrame({"when": ["03/04/2021", "05/06/2021"] * 20, "a": np.arange(40) / 7})
    frame["at"] = pandas.date_range("2021-01-01", periods=40, tz="Europe/Oslo")
    _, spec = table_of(frame)
    assert "may be %d/%m/%Y or %m/%d/%Y" in caplog.text and spec.schema.columns[2].kind == "date"


def test_a_kind_can_be_said(tmp_path):
    frame = pandas.DataFrame({"zip": [10115, 20095] * 30, "size": ["S", "L", "M"] * 20, "n": [1.0, 2.0, 4.0] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    said = {"zip": "categorical", "size": "S<M<L", "n": "integer"}
    for data in (frame, tmp_path / "t.csv"):
        x, spec = table_of(data, columns=said)
        assert [c.kind for c in spec.schema.columns] == ["categorical", "ordered", "integer"]
        assert spec.schema.columns[1].classes == ["S", "M", "L"] and x[:3, 1].tolist() == [0, 2, 1]
        assert x[:2, 0].tolist() == [0, 1] and table_columns(x, spec)["zip"][0] == "10115"
    for said, words in (
        ({"zap": "integer"}, "no column 'zap'"),
        ({"zip": "categorial"}, "did you mean 'categorical'"),
        ({"size": "S<M"}, "'L' is in the column"),
        ({"size": "integer"}, "row 2, column size is 'S', no number"),
        ({"size": "%d/%m/%Y"}, "no date of the form"),
    ):
        with pytest.raises(InputError, match=words):
            table_of(tmp_path / "t.csv", columns=said)


def test_identifiers_are_made_anew_in_samples_and_kept_in_what_is_filled_in(tmp_path):
    frame = pandas.DataFrame({"key": [f"c-{i:04}" for i in range(60)], "a": np.arange(60) / 7, "id": np.arange(60) + 5})
    x, spec = table_of(frame)
    assert [c.kind for c in spec.schema.columns] == ["identifier", "continuous", "identifier"]
    new = table_columns(spec.schema.back(torch.zeros(2, 3)), spec)
    assert new["key"].tolist() == ["c-0060", "c-0061"] and new["id"].tolist() == [65, 66]
    assert table_columns(x, spec)["id"].tolist() == frame.id.tolist()
    TABLES.write(x, spec, tmp_path / "t.csv", {"file": frame.key.to_numpy()})
    assert pandas.read_csv(tmp_path / "t.csv").key.tolist() == frame.key.tolist()


def test_a_class_that_a_model_does_not_know_is_said_and_taken_for_missing(caplog):
    _, spec = table_of(FRAME)
    other = FRAME.head(30).assign(city="Rome")
    found = whole(read_examples(other, spec))
    assert found[:, 0].isnan().all()
    assert "column city of the data holds classes 'Rome' that the model does not know, in 30 of 30 rows" in caplog.text


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_two_numbers_are_classes_of_these_however_they_are_written(dtype, tmp_path, caplog):
    two = np.array([-0.044641636506989144, 2.0], dtype)
    rows = pandas.DataFrame({"sex": two[np.arange(60) % 2], "x": np.arange(60) / 7})
    rows.loc[50, "sex"] = np.nan
    x, spec = table_of(rows)
    column = spec.schema.columns[0]
    assert column.kind == "binary" and x[:3, 0].tolist() == [0, 1, 0] and x[50, 0].isnan()
    model = table_vae.recipe(spec, hidden=(8,)).model
    model.start_from(lambda: Artifact(model, spec).view(x))
    made = fusevae.table_columns(fusevae.sample(Artifact(model.eval(), spec), 200), spec)["sex"]
    assert made.dtype == dtype and set(made[~np.isnan(made)].tolist()) == set(two.tolist())
    (tmp_path / "other.csv").write_text(f"x,sex\n1.5,2\n1.5,2.00\n1.5,{two[0]}\n1.5,0.7\n")
    assert whole(read_examples(tmp_path / "other.csv", spec))[:, 0].nan_to_num(-1).tolist() == [1, 1, 0, -1]
    assert "column sex of the data holds classes '0.7' that the model does not know" in caplog.text
    assert spec.schema.row({"sex": "2.0"})[0] == 1
    with pytest.raises(InputError, match=r"two numbers alone \(sex\)"):
        fusevae.fit(maf.recipe(spec, hidden=(8,)).model, read_data(rows), quiet=True)
    few = read_data(rows[:10], validation=0, test=0).spec.schema.columns[0]
    assert few.kind == "continuous"


def test_flags_beside_numbers_and_words_among_numbers_are_refused(caplog):
    def read(*cells):
        frame = pandas.DataFrame({"v": np.array([*cells] * 20, dtype=object), "x": np.arange(20 * len(cells)) / 7})
        return read_data(frame).spec.schema.columns[0]

    for cells in ((True, 2.5), (False, 1, None)):
        with pytest.raises(InputError, match="column v holds flags beside numbers: give one of the two"):
            read(*cells)
    with pytest.raises(InputError, match=r"column v holds numbers, such as 2\.5, and words, such as 'high'"):
        read(2.5, 7, "high", None)
    assert read(True, False, None).kind == "binary" and read(2.5, 7, 0.5, None).kind == "continuous"
    assert "among words" not in caplog.text and read("low", "high", 3).kind == "categorical"
    assert "column v holds numbers, such as 3, among words: taken for words" in caplog.text


def test_columns_go_by_name_and_other_models_refuse_what_they_cant_take():
    x, spec = table_of(FRAME)
    model = table_vae.recipe(spec, hidden=(8,)).model
    model.start_from(lambda: Artifact(model, spec).view(x))
    artifact = Artifact(model.eval(), spec)
    assert artifact.support == "mixed: density x mass over 2 + 5 columns"
    turned = FRAME[FRAME.columns[::-1]]
    values = [log_likelihood(artifact, data, importance_samples=3) for data in (FRAME, turned)]
    assert torch.equal(*values) and values[0].isfinite().all()
    with pytest.raises(InputError, match="no column 'age' for the model"):
        log_likelihood(artifact, FRAME.drop(columns="age"))
    with pytest.raises(InputError, match=r"words or dates \(city, day.*missing cells.*take table-vae"):
        fusevae.fit(maf.recipe(spec, hidden=(8,)).model, read_data(FRAME), quiet=True)
    holes = read_data(pandas.DataFrame({"a": [0.5, np.nan] * 30, "b": np.arange(60) / 7}))
    with pytest.raises(InputError, match=r"missing cells \(a\)"):
        fusevae.fit(maf.recipe(holes.spec, hidden=(8,)).model, holes, quiet=True)
    numbers = pandas.DataFrame({"a": np.arange(60), "b": np.arange(60) / 7})
    one = Artifact(maf.recipe(table_of(numbers)[1], hidden=(8,)).model, table_of(numbers)[1])
    assert one.support == "density on R^2"
    with pytest.raises(InputError, match=r"1 examples have missing values, the first 1 .*fill them in"):
        log_likelihood(one, pandas.DataFrame({"a": [1, 2], "b": [0.5, None]}))


# judged


def test_real_rows_are_at_the_floor_and_rows_without_dependence_are_found_out():
    splits = read_data(made(1500)[["city", "visits", "paid", "height"]], test=0.6)
    held = splits.test
    judge = TableReference(held, splits.train, 400)
    assert judge.real.shape > 0.93 and judge.real.c2st > 0.8 and 0.4 < judge.real.dcr < 0.6
    x = whole(held).double().numpy()[:400]
    apart = np.stack([np.random.default_rng(i).permutation(column) for i, column in enumerate(x.T)], 1)
    found = judge.scores(apart)
    assert found.shape > 0.93 and found.trend < judge.real.trend - 0.01 and found.c2st < judge.real.c2st - 0.1
    assert found.intervals["c2st"][1] < judge.real.c2st
    assert judge.real.precision > 0.8 and judge.real.coverage > 0.8 and judge.real.intervals["membership"][0] < 0.5
    few = judge.scores(x[:6].repeat(67, 0)[:400])
    copies = judge.scores(judge.train)
    assert few.precision > 0.8 and few.recall < 0.2 and few.coverage < 0.5
    assert copies.dcr > 0.9 and copies.membership > 0.95 and found.intervals["membership"][0] < 0.55

    def failings(scores):
        about = {"n": 400, "kind": "sample", "real": judge.real, "columns": {}, "pairs": {}}
        return [one.name for one in TableQuality(**vars(scores), **about).failings()]

    assert failings(copies) == ["copying"] and failings(few) == ["not covering the data"]
    assert failings(judge.real) == [] and failings(judge.scores(x + 1000)) != []
    assert kolmogorov(np.arange(4.0), np.arange(4.0) + 2) == 0.5 and variation(np.array([0, 1]), np.array([2, 3])) == 1


def test_distances_of_rows_are_sums_over_their_columns():
    rng = np.random.default_rng(0)
    rows = np.concatenate([100 + 7 * rng.normal(size=(60, 3)), rng.integers(1, 4, (60, 2))], 1)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    held, train = rows[:30], rows[30:]
    near = Neighbours(held, train, range(5), [False] * 3 + [True] * 2)
    spans = [np.nanmax(held[:, i]) - np.nanmin(held[:, i]) for i in range(3)]

    def apart(a, b):
        cells = [
            abs(x - y) / s if i < 3 else float(x != y)
            for i, (x, y, s) in enumerate(zip(a, b, [*spans, 1, 1], strict=True))
        ]
        return sum(
            float(np.isnan(x) != np.isnan(y)) if np.isnan(x + y) else c for x, y, c in zip(a, b, cells, strict=True)
        )

    exact = np.array([[apart(a, b) for b in train] for a in held])
    assert np.allclose(near.apart(held, train).numpy(), exact)
    assert (near.apart(rows, rows).diagonal() == 0).all()


def test_what_comes_again_and_again_is_given_back_to_the_last_digit():
    """Which float32 doesn't keep: next to it, all of a spike would lie on one side of that of the data."""
    spike, x = -0.03949338287409329, np.random.default_rng(0).normal(size=400) / 7
    frame = pandas.DataFrame({"x": np.where(np.arange(400) % 3 == 0, spike, x), "y": x[::-1]})
    data = read_data(frame, test=0)
    x = data.train.batch(torch.arange(len(data.train)))[0]
    found = fusevae.table_columns(data.spec.schema.back(data.spec.schema.into(x).float()), data.spec)["x"]
    assert data.spec.schema.columns[0].spikes == [spike] and (found == spike).mean() == pytest.approx(1 / 3, abs=0.03)


def test_what_is_decoded_at_once_is_bounded_by_the_classes_of_a_column(monkeypatch):
    words = pandas.DataFrame({"word": [f"w{i % 300}" for i in range(600)], "x": np.arange(600) / 7})
    data = read_data(words, test=0)
    artifact = Artifact(table_vae.recipe(data.spec, latent=2, hidden=(4,)).model, data.spec)
    sizes = []
    artifact.distribution.decoder.net.register_forward_hook(lambda _, given, out: sizes.append(out.numel()))
    log_likelihood(artifact, words[:50], importance_samples=100)
    assert max(sizes) > 1_000_000
    sizes.clear()
    monkeypatch.setattr("fusevae.evaluation.likelihood.OUTPUTS", 100_000)
    log_likelihood(artifact, words[:50], importance_samples=100)
    fusevae.impute(artifact, words[:50], torch.tensor([True, False]), steps=1, samples=20)
    assert max(sizes) <= 100_000


# from the command line


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    FRAME.to_csv(folder / "t.csv", index=False)
    FRAME.head(40).drop(columns="age").to_csv(folder / "less.csv", index=False)
    tiny = ["--set", "recipe.hidden=[16]", "--set", "recipe.latent=2", "--set", "training.epochs=6"]
    assert main(["train", "table-vae", "--data", str(folder / "t.csv"), "--output", str(folder / "run"), *tiny]) == 0
    splits = read_data(FRAME, conditions=["member"])
    model = table_vae.recipe(splits.spec, latent=2, hidden=(8,)).model
    fusevae.fit(model, splits, training=fusevae.Training(epochs=1), quiet=True).save(folder / "given")
    return folder


def test_samples_are_legal_and_have_the_form_of_the_data(place, tmp_path, capsys):
    output = tmp_path / "s.csv"
    assert main(["sample", str(place / "run"), "-n", "500", "--output", str(output)]) == 0
    found, data = pandas.read_csv(output), pandas.read_csv(place / "t.csv")
    assert list(found) == list(data) and (found.dtypes == data.dtypes).all()
    assert "written with an apostrophe" in capsys.readouterr().err
    assert set(found.city.dropna()) <= {"Oslo", "Lima", "'=1+1"} and set(found.always) == {"yes"}
    assert found.day.dropna().between("2024-01-01", "2024-12-31").all()
    assert found.age.between(18, 89).all() and (found.visits >= 0).all() and (found.paid == 0).mean() > 0.2
    assert (found.height.dropna() * 10 % 1).round(6).isin([0, 1]).all()
    assert found.id.tolist() == list(range(1400, 1900))
    missing = found.isna().mean()
    assert missing.city == pytest.approx(data.city.isna().mean(), abs=0.1) and missing.age == 0


def test_every_use_of_a_trained_model_works_on_a_mixed_table(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run, data = str(place / "run"), ["--data", str(place / "t.csv")]
    uses = {
        "evaluate": ["--importance-samples", "5", "--samples", "20", "--json"],
        "impute": [*data, "--missing", "nan", "--steps", "3", "--output", "i.csv"],
        "anomaly": [*data, "--importance-samples", "3", "--output", "a.csv"],
        "reconstruct": ["--output", "r.parquet"],
        "encode": ["--output", "z.csv"],
        "interpolate": ["-n", "2", "--output", "p.csv"],
    }
    for command, arguments in uses.items():
        assert main([command, run, *arguments]) == 0, command
        if command == "evaluate":
            told = json.loads(capsys.readouterr().out)
            assert told["support"] == "mixed: density x mass over 2 + 5 columns"
            assert {"shape", "trend", "c2st", "dcr", "real"} <= told["samples"].keys()
            assert 0 <= told["reconstructions"]["accuracy"] <= 1
    full, holes = pandas.read_csv("i.csv"), pandas.read_csv(place / "t.csv")
    assert full.notna().all(axis=None)
    assert ((full == holes.replace("=1+1", "'=1+1")) | holes.isna()).all(axis=None)
    assert main(["impute", run, *data, "--missing", "nan", "--steps", "3", "--output", "m.csv", "--kind", "mean"]) == 0
    assert main(["impute", run, *data, "--missing", "nan", "--steps", "3", "--output", "d.csv", "-n", "5"]) == 0
    several = pandas.read_csv("d.csv")
    assert several.draw.value_counts().to_dict() == dict.fromkeys(range(5), len(several) // 5)
    assert several[several.draw == 4].row.tolist() == list(range(len(several) // 5))
    assert main(["impute", run, *data, "--missing", "nan", "--output", "e.csv", "-n", "5", "--kind", "mean"]) == 2
    assert set(pandas.read_csv("m.csv").city) <= {"Oslo", "Lima", "'=1+1"}
    for command, words in (("denoise", "hold words"), ("evaluate", "no column 'age'")):
        more = (
            [*data, "--noise", "1", "--output", "d.csv"]
            if command == "denoise"
            else ["--data", str(place / "less.csv")]
        )
        assert main([command, run, *more]) == 2 and words in capsys.readouterr().err
    assert main(["sample", run, "--output", "s.npz"]) == 2 and "lose the words" in capsys.readouterr().err
    assert main(["compare", run, str(place / "run" / "model.safetensors"), "--samples", "20", "--json"]) == 0


def test_a_column_can_be_given(place, tmp_path):
    for label, flag in (("True", True), ("False", False)):
        output = tmp_path / f"{label}.csv"
        assert main(["sample", str(place / "given"), "-n", "9", "--label", label, "--output", str(output)]) == 0
        assert (pandas.read_csv(output).member == flag).all()


@pytest.fixture(scope="module")
def ordered(tmp_path_factory):
    """A table's transformer, hardly trained."""
    folder = tmp_path_factory.mktemp("ordered")
    FRAME.to_csv(folder / "t.csv", index=False)
    tiny = [
        x for o in ("recipe.width=8", "recipe.layers=1", "training.epochs=1", "recipe.heads=2") for x in ("--set", o)
    ]
    data = ["--data", str(folder / "t.csv"), "--output", str(folder / "run")]
    assert main(["train", "table-transformer", *data, *tiny]) == 0
    return folder / "run"


@pytest.mark.parametrize("which", ["ordered", "run"])
def test_any_columns_can_be_given(which, place, ordered, tmp_path, capsys):
    run, output = str(ordered if which == "ordered" else place / "run"), tmp_path / "s.csv"
    command = ["sample", run, "-n", "40", "--output", str(output), "--label"]
    for label, wanted in (
        ("city=Oslo,age=30", {"city": "Oslo", "age": 30}),
        ("paid=0, height=171.5", {"paid": 0.0, "height": 171.5}),
        ("day=2024-03-01,member=True,always=yes", {"day": "2024-03-01", "member": True, "always": "yes"}),
    ):
        assert main([*command, label]) == 0
        found, said = pandas.read_csv(output), capsys.readouterr().err
        assert len(found) == 40 and all((found[name] == value).all() for name, value in wanted.items())
        assert list(found) == list(FRAME) and len(found.drop(columns=[*wanted, "id"]).drop_duplicates()) > 20
        assert ("effective sample size" in said) == (which == "run")
    for label, words in (
        ("citty=Oslo", "did you mean 'city'"),
        ("city=Osl", "did you mean 'Oslo'"),
        ("age=30.5", "expected a whole number from 18 to 89"),
        ("paid=-1", "expected a number from 0"),
        ("day=01/03/2024", "expected a date of the form %Y-%m-%d"),
        ("id=7", "made anew"),
        ("always=no", "no such class"),
    ):
        before = output.read_bytes()
        assert main([*command, label]) == 2 and words in capsys.readouterr().err
        assert output.read_bytes() == before
    both = fusevae.load(place / "given")  # whose condition is another column
    rows = table_columns(sample(both, 9, "member=True,age=30"), both.data)
    assert set(rows["age"]) == {30} and "member" not in rows
    with pytest.raises(InputError, match="one for all samples"):
        sample(fusevae.load(run), 2, {"age": [30, 31]})


def test_what_is_drawn_for_given_columns_is_the_conditional_of_the_model():
    """Of a decoder that depends on the sign of z alone, p(second | first) is known: by weights it is met."""
    frame = pandas.DataFrame({"a": ["x", "y"] * 200, "b": ["u", "u", "v", "v"] * 100})
    data = read_data(frame, test=0)
    torch.manual_seed(0)
    model = table_vae.recipe(data.spec, latent=1, hidden=(2,)).model
    with torch.no_grad():
        net = model.decoder.net
        for parameter in net.parameters():
            parameter.zero_()
        first, last = [m for m in net.modules() if isinstance(m, torch.nn.Linear)]
        first.weight[:], last.weight[:] = torch.tensor([[50.0], [-50.0]]), 0.0
        # silu(50 |z|) is large: logits of "y" and "v" are bounded by what a sigmoid makes of them
        last.weight[1, 0], last.weight[0, 1], last.weight[3, 0], last.weight[2, 1] = 1.0, 1.0, 1.0, 1.0
    artifact = Artifact(model.eval(), data.spec)
    made = table_columns(sample(artifact, 4000), data.spec)
    both = (made["b"] == "v")[made["a"] == "y"].mean()
    given = table_columns(sample(artifact, 4000, {"a": "y"}), data.spec)
    assert set(given["a"]) == {"y"} and (given["b"] == "v").mean() == pytest.approx(both, abs=0.03)
    assert both > 0.9 > 0.6 > (made["b"] == "v").mean()


def test_a_flow_refuses_given_columns_and_the_transformer_fills_in_what_is_missing(ordered, tmp_path, capsys):
    numbers = pandas.DataFrame({"a": np.arange(60) / 3, "b": np.arange(60) / 7})
    one = Artifact(maf.recipe(table_of(numbers)[1], hidden=(8,)).model, table_of(numbers)[1])
    with pytest.raises(InputError, match="take table-transformer"):
        sample(one, 3, {"a": 0.5})
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    data = ["--data", str(tmp_path / "t.csv")]
    output = str(tmp_path / "i.csv")
    assert main(["impute", str(ordered), *data, "--missing", "nan", "--steps", "2", "--output", output]) == 0
    full = pandas.read_csv(output)
    assert full.notna().all(axis=None)
    assert ((full == FRAME.replace("=1+1", "'=1+1")) | FRAME.isna()).all(axis=None)
    capsys.readouterr()
    assert main(["evaluate", str(ordered), "--samples", "20", "--json"]) == 0
    assert {"shape", "trend", "c2st"} <= json.loads(capsys.readouterr().out)["samples"].keys()
    assert main(["anomaly", str(ordered), *data, "--output", str(tmp_path / "a.csv")]) == 0


def test_filled_in_classes_follow_what_is_there():
    torch.manual_seed(0)
    kind = rng.integers(0, 2, 800)
    words = {"kind": np.array(["a", "b"])[kind], "copy": np.array(["x", "y"])[kind]}
    frame = pandas.DataFrame(words | {"n": kind * 40 + rng.integers(0, 9, 800)})
    data = read_data(frame, test=0)
    model = table_vae.recipe(data.spec, latent=2, hidden=(32,)).model
    artifact = fusevae.fit(model, data, training=fusevae.Training(epochs=60, learning_rate=5e-3), quiet=True)
    holes = frame.head(100).assign(copy=None)
    found = table_columns(impute(artifact, holes, steps=30).mean, data.spec)
    assert (found["copy"] == frame["copy"].head(100)).mean() > 0.95
    made = table_columns(sample(artifact, 500), data.spec)
    assert ((made["kind"] == "a") == (made["n"] < 20)).mean() > 0.7  # independent columns: 0.5
    assert draw_samples(artifact, data.train)[0] and draw_reconstructions(artifact, data.train)


def test_what_a_recipe_knows_of_columns_is_in_its_description():
    _, spec = table_of(FRAME)
    model = table_vae.recipe(spec, hidden=(8,)).model
    again = build(describe(model))
    assert again.decoder.cells is again.latents.posterior.net.cells  # one object, in two places
    assert describe(again) == describe(model) and cells_of(spec.schema).total == again.decoder.cells.total


def test_an_order_is_read_from_categories_and_kept_in_parquet(tmp_path):
    size = pandas.CategoricalDtype(["small", "medium", "large"], ordered=True)
    frame = pandas.DataFrame({"x": np.arange(40) / 8, "size": pandas.Series(["large", None] * 20, dtype=size)})
    frame["plain"] = pandas.Categorical(["b", None, "a", "b"] * 10)
    frame.to_parquet(tmp_path / "a.parquet")
    found = []
    for data in (frame, tmp_path / "a.parquet"):
        splits = read_data(data, test=0, validation=0)
        columns = {c.name: c for c in splits.spec.schema.columns}
        assert columns["size"].kind == "ordered" and columns["size"].classes == ["small", "medium", "large"]
        assert columns["plain"].missing == 0.25  # which pyarrow gives as the last category
        found.append(splits.train.batch(torch.arange(40))[0])
        modality("tables").write(found[-1], splits.spec, tmp_path / "b.parquet", {})
        again = pandas.read_parquet(tmp_path / "b.parquet")
        assert again["size"].equals(frame["size"]) and again["plain"].isna().equals(frame["plain"].isna())
        words = read_examples(frame.assign(size=frame["size"].astype(object)), splits.spec)
        assert torch.equal(words.batch(torch.arange(40))[0].nan_to_num(9), found[-1].nan_to_num(9))
    assert torch.equal(found[0].nan_to_num(9), found[1].nan_to_num(9))
    with pytest.raises(InputError, match="small < medium < large"):
        read_data({"train": frame, "test": frame.assign(size="huge")})


def test_pictures_of_a_table_say_classes_and_dates_as_the_data_have_them():
    from fusevae.modalities.tables.pictures import histograms, scatter
    from fusevae.modalities.tables.schema import columns_of

    days = pandas.Series(pandas.date_range("2021-01-01", periods=600)).dt.strftime("%Y-%m-%d")
    frame = pandas.DataFrame({"made": days, "grade": [*"abc"] * 200, "size": np.linspace(0.1, 7.35, 600).round(2)})
    data = fusevae.read_data(frame, test=0)
    x, columns = data.train.batch(torch.arange(300))[0], columns_of(data.spec)
    drawn = {"h": histograms(x, x, columns), "s": scatter(x, x, columns)}
    for name, figure in drawn.items():
        figure.canvas.draw()
        made, grade, size = figure.axes
        said = [tick.get_text() for tick in made.get_xticklabels()]
        assert any(word.startswith(("2021-", "2022-")) for word in said), (name, said)
        assert {tick.get_text() for tick in grade.get_xticklabels()} == {"a", "b", "c"}
        assert not any("-0" in tick.get_text() for tick in size.get_xticklabels())
    aside = drawn["s"].axes[1].lines[-1].get_xydata()
    aside = aside[x[:, 1].numpy() == 0]
    assert abs(np.corrcoef(aside.T)[0, 1]) < 0.2  # dots of a class fill its square


def test_new_identifiers_are_none_of_the_data(tmp_path):
    long = [str(10**17 + 7 * i) for i in range(60)]
    rows = zip(long, [f"c{i:03}" for i in range(60)], [f"{i % 7}.5" for i in range(60)], strict=True)
    (tmp_path / "t.csv").write_text("id,key,a\n" + "".join(",".join(row) + "\n" for row in rows))
    _, spec = table_of(tmp_path / "t.csv")
    new = table_columns(spec.schema.back(torch.zeros(2, 3)), spec)
    assert new["key"].tolist() == ["c060", "c061"]
    assert len(set(new["id"]) | set(long)) == 62 and all(word.isdigit() and len(word) == 18 for word in new["id"])


def test_a_number_in_two_spellings_may_be_a_code_and_is_said(tmp_path, caplog):
    (tmp_path / "t.csv").write_text("version,a\n" + "".join(f"{v},{i}\n" for i, v in enumerate(["1.1", "1.10"] * 9)))
    table_of(tmp_path / "t.csv")
    assert "column version holds 1.1 and 1.10, taken for one number (data.columns.version=categorical" in caplog.text
