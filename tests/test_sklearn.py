"""The estimator keeps the contract of scikit-learn, and rows of any columns go in and out."""

from __future__ import annotations

import datetime
import pickle
import warnings
from decimal import Decimal

import numpy as np
import pandas
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from fusevae import InputError, read_data, sample
from fusevae.sklearn import GenerativeModel

TINY = {"options": {"latent": 2, "hidden": [4]}, "training": {"epochs": 1, "mend": False}, "importance_samples": 2}
rng = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {"age": rng.integers(18, 90, 60), "city": ["Oslo", "Lima", None] * 20, "x": rng.normal(size=60)}
)


@parametrize_with_checks([GenerativeModel(**TINY)])
def test_scikit_learns_own_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_a_frame_of_several_kinds_goes_in_and_out():
    model = GenerativeModel(**TINY, random_state=0).fit(FRAME)
    made = model.sample(20, random_state=1)
    assert list(made) == list(FRAME) and set(made.city.dropna()) <= {"Oslo", "Lima"} and made.age.dtype == np.int64
    full = model.impute(FRAME, steps=3)
    there = FRAME.notna()
    assert full.notna().all(axis=None) and ((full == FRAME) | ~there).all(axis=None)
    z = model.transform(FRAME)
    assert z.shape == (60, 2) and list(model.inverse_transform(z)) == list(FRAME)
    assert model.get_feature_names_out().tolist() == ["generativemodel0", "generativemodel1"]
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.score_samples(FRAME), model.score_samples(FRAME))
    frame = model.set_output(transform="pandas").transform(FRAME)
    assert list(frame) == ["generativemodel0", "generativemodel1"]


def test_latents_stand_in_a_pipeline():
    x = FRAME.drop(columns="x")
    found = cross_val_score(make_pipeline(GenerativeModel(**TINY), LogisticRegression()), x, FRAME.x > 0, cv=2)
    assert len(found) == 2 and not np.isnan(found).any()


def test_a_kind_can_be_said():
    model = GenerativeModel(**TINY, columns={"age": "categorical"}).fit(FRAME)
    assert next(c for c in model.artifact_.data.schema.columns if c.name == "age").kind == "categorical"
    with pytest.raises(ValueError, match="feature names"):
        model.transform(FRAME.rename(columns={"age": "Age"}))


def test_sparse_rows_and_cells_are_made_dense_a_few_at_a_time(monkeypatch):
    anndata, sparse = pytest.importorskip("anndata"), pytest.importorskip("scipy.sparse")
    from fusevae.modalities.tables.sparse import Matrix

    x = rng.poisson(1.5, (90, 7)).astype(np.float64)
    x[:, 0] += 1
    asked, rows = [], Matrix.rows
    monkeypatch.setattr(Matrix, "rows", lambda self, a, b: asked.append(b - a) or rows(self, a, b))
    monkeypatch.setattr("fusevae.modalities.tables.sparse.CELLS", 70)
    found = {}
    for kind in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        model = GenerativeModel(**TINY, random_state=0).fit(kind(x))
        found[kind] = model.transform(kind(x)), model.score_samples(kind(x))
        made = model.sample(5, random_state=0)
        assert made.format == "csr" and made.shape == (5, 7) and (made.toarray() == made.toarray().round()).all()
        assert model.impute(made) is made
    first, *others = found.values()
    assert all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))

    def names(form, values):
        return pandas.Index([form % v for v in values], dtype=object)

    obs = pandas.DataFrame({"batch": names("b%d", np.arange(90) % 2)}, index=names("cell%d", range(90)))
    genes = pandas.DataFrame(index=names("gene%d", range(7)))
    cells = anndata.AnnData(sparse.csr_matrix(x), obs=obs, var=genes)
    model = GenerativeModel("counts-vae", conditions=["batch"], **TINY, random_state=0).fit(cells)
    assert max(asked) <= 10  # of 90 rows
    z, made = model.transform(cells), model.sample(4, given={"batch": "b1"})
    assert z.shape == (90, 3) and made.var_names.tolist() == genes.index.tolist() and made.X.min() >= 0
    assert model.feature_names_in_.tolist() == genes.index.tolist() and len(model.score_samples(cells)) == 90
    assert np.array_equal(model.transform(cells[40:50]), z[40:50])
    other = cells.copy()
    other.obs["batch"] = other.obs["batch"].to_numpy()[::-1]
    assert not np.array_equal(model.transform(other), z)  # it is given the batch
    with pytest.raises(ValueError, match="feature names"):
        model.transform(cells[:, ::-1])
    with pytest.raises(ValueError, match="leave it out"):
        GenerativeModel(**TINY, columns={"x_0": "categorical"}).fit(sparse.csr_matrix(x))


def test_a_frame_comes_back_with_its_dtypes_orders_zones_and_index():
    size = pandas.CategoricalDtype(["small", "medium", "large"], ordered=True)
    frame = pandas.DataFrame(
        {
            "size": pandas.Series(["large", "small", None, "small"] * 10, dtype=size),
            "grade": pandas.Categorical([7, 1, 3, 1] * 10, [7, 3, 1], ordered=True),
            "n": pandas.array([1, None, 3, 4] * 10, dtype="Int64"),
            "flag": pandas.array([True, False, None, True] * 10, dtype="boolean"),
            "when": pandas.date_range("2020-10-24 20:00", periods=40, freq="h", tz="Europe/Oslo"),
            "x": rng.normal(size=40),
            "code": range(2**54, 2**54 + 40),
            "empty": np.nan,
        },
        index=pandas.Index(range(100, 140)),
    )
    model = GenerativeModel(**TINY, random_state=0).fit(frame)
    assert next(c for c in model.artifact_.data.schema.columns if c.name == "size").classes == list(size.categories)
    made, full = model.sample(30, random_state=0), model.impute(frame, steps=2)
    assert made.dtypes.drop("code").equals(frame.dtypes.drop("code")) and made["empty"].isna().all()
    assert full.dtypes.equals(frame.dtypes) and full.index.equals(frame.index)
    known = frame.notna()
    assert full[known].equals(frame[known]) and full.drop(columns="empty").notna().all(axis=None)
    made = pickle.loads(pickle.dumps(model)).sample(3)
    assert made["size"].cat.ordered and made["when"].dt.tz is not None


def test_objects_of_python_come_back_as_such():
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i % 40) for i in range(60)]
    frame = pandas.DataFrame(
        {
            "day": days,
            "at": [datetime.time(i % 24, 30) for i in range(60)],
            "pay": [Decimal(i % 9) / 4 for i in range(60)],
        }
    )
    model = GenerativeModel(**TINY, random_state=0).fit(frame)
    gaps = frame.head(9).copy()
    for i in range(3):
        gaps.iloc[i::3, i] = None
    for found in (model.sample(5), model.impute(gaps), pickle.loads(pickle.dumps(model)).sample(5)):
        kinds = [{*map(type, found[name])} for name in frame.columns]
        assert kinds == [{datetime.date}, {datetime.time}, {Decimal}]


def test_a_zone_is_said_once(caplog):
    times = pandas.date_range("2024-03-30", periods=40, freq="h", tz="Asia/Tokyo")
    frame = pandas.DataFrame({"t": times, "x": np.arange(40) / 7})
    model = GenerativeModel(**TINY, random_state=0).fit(frame)
    assert "zone Asia/Tokyo" in caplog.text
    caplog.clear()
    assert len(model.score_samples(frame.head(3))) == 3 and "zone" not in caplog.text


def test_polars_comes_back_as_polars_and_names_may_be_anything():
    polars = pytest.importorskip("polars")
    rows = {"s": ["low", "high"] * 20, "i": [1, None, 3, 4] * 10, "x": rng.normal(size=40)}
    frame = polars.DataFrame(rows).with_columns(polars.col("s").cast(polars.Enum(["low", "mid", "high"])))
    model = GenerativeModel(**TINY, random_state=0).fit(frame)
    made, full = model.sample(5), model.impute(frame, steps=2)
    assert made.schema == frame.schema and full.schema == frame.schema and not full["i"].null_count()
    assert full["i"].filter(frame["i"].is_not_null()).equals(frame["i"].drop_nulls())
    names = pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    pair = pandas.DataFrame(rng.normal(size=(30, 2)), columns=names)
    assert GenerativeModel(**TINY).fit(pair).sample(2).columns.equals(names)


def test_what_an_array_would_misread_is_missing_or_refused_in_a_line():
    x = np.ma.masked_array(rng.normal(size=(40, 2)), mask=np.arange(80).reshape(40, 2) % 5 == 0)
    x.data[x.mask] = 1e6
    model = GenerativeModel(**TINY, random_state=0).fit(x)
    assert np.nanmax(abs(model.sample(50, random_state=0))) < 100 and abs(model.impute(x, steps=2)).max() < 100
    pair = pandas.DataFrame(np.ones((4, 2)), columns=["a", "a"])
    fields = np.zeros(4, dtype=[("a", float), ("b", "U1")])
    times = np.full((4, 2), "2020-01-01", dtype="datetime64[D]")
    for wrong, why in ((pair, "two columns"), (fields, "fields a, b"), (times, "times"), ({"a": [1]}, "DataFrame")):
        with pytest.raises(ValueError, match=why) as said:
            GenerativeModel(**TINY).fit(wrong)
        assert "\n" not in str(said.value)


SAID = {
    "options": ({"options": "latent=2"}, "options='latent=2' was given: expected a mapping"),
    "a recipe's option": ({"options": {"latnet": 2}}, "recipe table-vae has no option 'latnet'; did you mean 'latent'"),
    "epochs": ({"training": {"epochs": "two"}}, "epochs is 'two', expected more than 0"),
    "a rate": ({"training": {"learning_rate": "1e-3"}}, "learning_rate is '1e-3', expected more than 0"),
    "validation": ({"validation": "0.1"}, "validation='0.1' was given: expected a fraction"),
    "an option without a name": ({"options": {3: 2}}, r"options=\{3: 2\} was given: expected a mapping by names"),
    "no kind": ({"columns": {"age": 3}}, "3 is no kind, 'categorical' say"),
    "a number for conditions": ({"conditions": 3}, "conditions=3 was given: expected names of columns"),
    "numbers for conditions": ({"conditions": [3]}, r"conditions=\[3\] was given: expected names of columns"),
    "a budget": ({"budget": [1]}, r"budget=\[1\] was given: expected seconds"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_given_in_another_type_is_refused_in_a_line(name):
    given, says = SAID[name]
    with pytest.raises(InputError, match=says) as said:
        GenerativeModel(**given).fit(FRAME)
    assert "\n" not in str(said.value)


def test_what_are_no_rows_or_no_latents_is_refused_in_a_line():
    for wrong, why in (("rows.csv", "read by pandas.read_csv"), ([["a", "b"]] * 9, "an array with words was given")):
        with pytest.raises(InputError, match=why):
            GenerativeModel(**TINY).fit(wrong)
    model = GenerativeModel(**TINY, conditions="city", random_state=0).fit(FRAME)  # one name, and no list of letters
    assert model.artifact_.data.conditions.names == ["city"]
    with pytest.raises(InputError, match=r"latents \(3, 5\) were given: expected \(n, 2\)"):
        model.inverse_transform(np.zeros((3, 5)))
    for wrong in (np.zeros(2), np.full((1, 2), np.nan), [["a", "b"]]):
        with pytest.raises(ValueError, match=r"2D array|NaN|convert"):
            model.inverse_transform(wrong)
    for n in (2.5, "3"):
        with pytest.raises(InputError, match="expected at least 1, a whole number"):
            model.sample(n)
    for steps in (0, "many"):
        with pytest.raises(InputError, match=f"steps={steps!r}: expected a whole number of at least 1"):
            model.impute(FRAME.assign(age=float("nan")), steps=steps)
    with pytest.raises(InputError, match="was given kind='mode': expected 'auto'"):
        sample(model.artifact_, 2, kind="mode")


@pytest.mark.parametrize("dtype", ["int64", "uint8", ">i2", "bool"])
def test_whole_numbers_in_an_array_stay_whole(dtype):
    rows = np.stack([rng.integers(0, 99, 60), rng.integers(5, 8, 60), rng.integers(0, 2, 60)], 1).astype(dtype)
    model = GenerativeModel(**TINY, random_state=0).fit(rows)
    made, own = model.sample(50), np.dtype(dtype).newbyteorder("=")
    assert made.dtype == own and ((rows.min(0) <= made) & (made <= rows.max(0))).all()
    assert model.inverse_transform(model.transform(rows[:3])).dtype == own
    holes = rows[:9].astype(float)
    holes[0, 0] = np.nan
    full = model.impute(holes, steps=2)
    assert full.dtype == own and np.array_equal(full[1:], rows[1:9])
    holes[3, 1] = 120.5  # is no such number, and stays
    assert model.impute(holes, steps=2)[3, 1] == 120.5


def test_whole_numbers_that_floats_confuse_are_refused():
    with pytest.raises(InputError, match=r"whole numbers beyond 2\^53"):
        GenerativeModel(**TINY).fit(np.arange(60).reshape(20, 3) + 2**60)


@pytest.mark.parametrize("kind", ["tables", "text", "molecules"])
def test_what_no_kind_of_data_can_read_is_refused_in_a_line(kind):
    for wrong, says in ((7, "the int in memory holds"), ([], "the list in memory holds"), (["a", None], "item 1")):
        with pytest.raises(InputError, match=says):
            read_data(wrong, modality=kind)
