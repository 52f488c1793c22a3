"""The estimator keeps the contract of scikit-learn, and rows of any columns go in and out."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

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
