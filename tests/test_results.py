"""Results: a figure is declared once, and stands everywhere as it was declared."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import torch

from fusevae import Artifact, DataSpec, Gaussian, InputError, Normal, evaluate, sample_quality
from fusevae.data.examples import InMemory
from fusevae.evaluation import comparison_page, report
from fusevae.evaluation.comparison import ModelResult, comparison
from fusevae.evaluation.features import Columns
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.quality import Quality, Reference
from fusevae.evaluation.results import LIKELIHOOD, SAMPLES, SECTIONS, Result, figure, part
from fusevae.evaluation.rows import rows, text
from fusevae.evaluation.scores import Likelihood, LogLikelihood
from fusevae.nets.mlp import Constant
from fusevae.training.outcome import to_json

X = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))


class Sharper(Quality):
    """A result of everything that there was, and one figure more."""

    sharpness: float = figure("sharpness", "lines", "high", form=".2f")


class Sharp(Judge):
    """Judges samples by that, too."""

    about = "eye"

    def __init__(self, reference: Judge) -> None:
        self.reference = reference

    def judge(self, artifact, kind="auto", seed=0):
        found = vars(self.reference.judge(artifact, kind, seed))
        return Sharper(**found, sharpness=float(artifact.n_parameters) + 0.25)


@pytest.fixture(scope="module")
def models():
    return {"normal": Artifact(Normal(2), DataSpec((2,))), "wide": Artifact(Gaussian(Constant(4)), DataSpec((2,)))}


@pytest.fixture(scope="module")
def found(models):
    whole = InMemory(X)
    return comparison(models, whole, Sharp(Reference(Columns(whole), whole, n=40)))


def test_a_new_metric_is_one_declaration(found, models, tmp_path):
    model = found.models["wide"]
    assert dict(model.lines())["sharpness"] == "4.25 lines"
    assert "sharpness" in repr(model) and "4.25 lines" in model._repr_html_()
    assert "\nsharpness in lines" in repr(found) and "<td>4.25</td>" in found._repr_html_()
    (row,) = (r for r in rows(found.models)[SAMPLES] if r.name.startswith("sharpness"))
    assert (row.name, row.cells, row.best) == ("sharpness in lines", ["0.25", "4.25"], set())  # what is chance?
    comparison_page.write(tmp_path / "page.html", found, models, InMemory(X))
    assert "<th>sharpness in lines</th><td>0.25</td><td>4.25</td>" in (tmp_path / "page.html").read_text()
    assert json.loads(to_json(found))["models"]["wide"]["quality"]["sharpness"] == 4.25


def test_a_new_figure_of_the_likelihood_is_on_the_report(models, tmp_path):
    class Rated(Likelihood):
        per_weight: float = figure("nats per weight", better="high", form=".1f")

    rated = Rated(**vars(evaluate(models["wide"], X)), per_weight=2.5)
    report.write(tmp_path / "report.html", report.Facts("title", rated, "test split", ""))
    page = (tmp_path / "report.html").read_text()
    assert "<span>nats per weight</span><b>2.5</b>" in page and "<th>nats per weight</th><td>2.5</td>" in page


def at(value, key):
    for name in key.split("."):
        value = value[name]
    return value


def test_json_holds_the_same_numbers_under_the_names_of_the_fields(models):
    likelihood = evaluate(models["wide"], X)
    quality = sample_quality(models["wide"], X, Columns(InMemory(X)), 40, train=X)
    for result in (likelihood, quality):
        again = json.loads(to_json(result))
        assert {f.name for f in fields(result)} <= set(again)
        for f in result.figures():
            assert f.value is None or at(again, f.key) == f.value


def test_what_is_no_number_is_null():
    assert json.loads(to_json(LogLikelihood(value=float("nan"), stderr=float("inf"))))["value"] is None


def test_json_of_a_model_among_several_is_flat(found):
    model = json.loads(to_json(found.models["normal"]))
    likelihood = found.models["normal"].log_likelihood
    assert (model["value"], model["stderr"], model["kind"]) == (likelihood.value, likelihood.stderr, "exact")


def of(value, support, **more):
    likelihood = None if value is None else LogLikelihood(value=value, stderr=0.1, kind="exact")
    return ModelResult(
        family="A", level="density", conditional=False, parameters=1, bytes=4, support=support,
        log_likelihood=likelihood, **more,
    )  # fmt: skip


def test_figures_over_different_supports_never_share_a_row():
    models = {"a": of(-1.0, "mass"), "b": of(-9.0, "R"), "c": of(None, "mass"), "d": of(-2.0, "mass", bits_per_dim=3.0)}
    first, second, bits = rows(models)[LIKELIHOOD]
    assert (first.values, first.best) == ([-1.0, None, None, -2.0], {0})
    assert (second.values, second.best) == ([None, -9.0, None, None], set())
    assert first.name.endswith("mass") and second.name.endswith("R") and bits.values == [None, None, None, 3.0]


class Three(Result):
    section = SAMPLES
    up: float | None = figure("up", better="high", default=None)
    down: float | None = figure("down", better="low", default=None)
    neither: float | None = figure("neither", default=None)


def test_the_direction_decides_what_is_best():
    class Known(Result):
        section = SAMPLES
        up: float = figure("up", better="high", error="error")
        down: float = figure("down", better="low", error="error")
        neither: float = figure("neither", error="error")
        error: float = 0.01

    a, b = Known(up=1.0, down=1.0, neither=1.0), Known(up=2.0, down=2.0, neither=2.0)
    assert [r.best for r in rows({"a": a, "b": b})[SAMPLES]] == [{1}, {0}, set()]
    assert [r.best for r in rows({"a": a, "b": a, "c": b})[SAMPLES]] == [{2}, set(), set()]  # two are equal
    assert [r.best for r in rows({"a": a})[SAMPLES]] == [set()] * 3
    a, b = Three(up=1.0, down=1.0, neither=1.0), Three(up=2.0, down=2.0, neither=2.0)
    assert [r.best for r in rows({"a": a, "b": b})[SAMPLES]] == [set()] * 3  # nobody knows what is chance


def test_what_can_not_be_told_apart_is_not_ranked():
    class Sure(Result):
        section = SAMPLES
        up: float = figure("up", better="high", interval="where", form=".1f")
        where: list[float] | None = None

    a, b, c = (Sure(up=v, where=[v - 1, v + 1]) for v in (1.0, 2.0, 4.5))
    best = [rows(each)[SAMPLES][0].best for each in ({"a": a, "b": b}, {"b": b, "c": c}, {"a": a, "b": b, "c": c})]
    assert best == [set(), {1}, {2}]
    assert rows({"b": b, "c": c})[SAMPLES][0].cells == ["2.0 [1.0 to 3.0]", "4.5 [3.5 to 5.5]"]
    assert rows({"a": a, "b": replace(b, where=None)})[SAMPLES][0].best == set()  # 2.0 is in the interval of a
    assert dict(a.lines())["up"] == "1.0 (95 % between 0.0 and 2.0)"
    table = text({"b": b, "c": c})
    assert "In brackets" in table and "In brackets" not in text({"a": replace(a, where=None)})


@pytest.mark.parametrize(
    ("value", "form", "says"),
    [
        (0.0004, ".3f", "0.00040"), (-0.0004, "+.3f", "-0.00040"), (0.0, ".3f", "0.000"), (0.0012, ".3f", "0.001"),
        (1234.5, ",.1f", "1,234.5"), (2e-9, ".3f", "2e-09"), (0.0002, ".1%", "0.020%"), (float("nan"), ".3f", "nan"),
    ],
)  # fmt: skip
def test_small_values_keep_digits_that_count(value, form, says):
    class One(Result):
        value: float = figure("a", form=form, of=SAMPLES)

    assert One(value=value).lines() == [("a", says)] and rows({"x": One(value=value)})[SAMPLES][0].cells == [says]


def test_rows_come_in_order_of_declaration_and_empty_ones_are_left_out():
    found = rows({"a": Three(neither=1.0), "b": Three(up=1.0)})[SAMPLES]
    assert [r.name for r in found] == ["up", "neither"] and [r.cells for r in found] == [["–", "1.0"], ["1.0", "–"]]
    assert rows({"a": Three()}) == {}


def test_sections_come_in_their_order_and_others_after_them(found):
    class More(ModelResult):
        extra: float = figure("extra", of="Elsewhere", form=".1f")

    more = More(**vars(found.models["wide"]), extra=1.0)
    titles = list(rows({"a": more}))
    assert titles[:-1] == [s for s in SECTIONS if s in titles] and titles[-1] == "Elsewhere"


def test_a_figure_stands_beside_that_of_real_examples_and_its_floor():
    class Whole(Three):
        real: Three = part(real=True)
        again: Three | None = part(of="Again", floor=True)

    whole = Whole(up=1.0, real=Three(up=3.0), again=Three(up=2.0, down=5.0))
    assert dict(whole.lines())["up"] == "1.0, reconstructions 2.0, real examples 3.0"
    found = rows({"a": whole, "b": replace(whole, again=None)})
    assert [(r.name, r.cells, r.real) for r in found[SAMPLES]] == [("up", ["1.0", "1.0"], "3.0")]
    assert [(r.name, r.cells) for r in found["Again"]] == [("up", ["2.0", "–"]), ("down", ["5.0", "–"])]


def test_a_mapping_is_a_figure_for_each_name_with_its_own_unit():
    class Means(Result):
        mean: dict[str, float] = figure("mean", {"weight": "g"}, of=SAMPLES, form=".1f", real="truth")
        truth: dict[str, float]

    found = Means(mean={"qed": 0.5, "weight": 80.0}, truth={"qed": 0.75})
    assert found.lines() == [("mean, qed", "0.5, real examples 0.8"), ("mean, weight", "80.0 g")]
    assert [r.name for r in rows({"a": found})[SAMPLES]] == ["mean, qed", "mean, weight in g"]


def test_an_error_and_a_note_stand_with_the_value():
    exact = LogLikelihood(value=-1.0, stderr=0.5, kind="exact")
    assert exact.lines() == [("log p(x)", "-1.000 ± 0.500 nats per example (exact)")]
    assert rows({"a": exact})[LIKELIHOOD][0].cells == ["-1.000 ± 0.500 (exact)"]


def test_a_bound_that_still_rises_says_so():
    rising = LogLikelihood(value=-88.0, kind="bound", bounds={1: -90.0, 10: -88.0})
    still = LogLikelihood(value=-88.0, kind="bound", bounds={1: -88.05, 10: -88.0})
    assert "still rising" in repr(rising) and "still rising" not in repr(still)
    one = LogLikelihood(value=-88.0, kind="bound", bounds={1: -88.0})
    assert "rising" not in repr(one) and "; take more samples" in repr(one)


def test_a_model_that_can_not_be_judged_has_a_note(models):
    class Refusing(Judge):
        about = "nothing"

        def judge(self, artifact, kind="auto", seed=0):
            raise InputError("no prior")

    found = comparison(models, X, Refusing())
    assert list(found.notes().values()) == ["no samples: no prior"] * 2 and SAMPLES not in rows(found.models)
