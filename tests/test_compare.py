"""One table and one page of models of any family; and which recipe is best in the same time."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Independent

import fusevae
from fusevae import MLP, VAE, Artifact, Bernoulli, Binarize, DataSpec, Flat, Gaussian, InputError, Level, Normal
from fusevae.cli import main
from fusevae.core.conditional import Conditional
from fusevae.core.conditions import Conditions, Label
from fusevae.core.durations import duration
from fusevae.core.levels import BoundOnly
from fusevae.data.examples import InMemory
from fusevae.data.source import Source
from fusevae.evaluation import comparison_page
from fusevae.evaluation.comparison import LatentsSummary, comparison, latents, short_names
from fusevae.evaluation.features import Columns
from fusevae.evaluation.quality import Reference
from fusevae.evaluation.results import LIKELIHOOD, NONE
from fusevae.evaluation.rows import rows
from fusevae.evaluation.scores import size
from fusevae.nets.mlp import Constant, Embedding
from fusevae.training.budget import plan

SHAPE = (1, 8, 8)
SPEC = DataSpec(SHAPE, "uint8", 0, 16)


class Noise(Conditional):
    """A model that only samples."""

    level = Level.SAMPLES

    def forward(self, *conditions):
        return Independent(TorchBernoulli(torch.full(SHAPE, 0.4)), 3)


class Loose(Conditional):
    """A model with no more than a bound."""

    level, discrete = Level.BOUND, True

    def __init__(self):
        super().__init__()
        self.p = Bernoulli(Constant(SHAPE))

    def forward(self, *conditions):
        return _Loose(self.p())


class _Loose(BoundOnly):
    def __init__(self, p):
        super().__init__(p.batch_shape, p.event_shape, validate_args=False)
        self.p = p

    def sample(self, sample_shape=torch.Size()):
        return self.p.sample(sample_shape)

    def log_bound(self, value):
        return self.p.log_prob(value) - 1 + 0.0 * torch.rand(())


class Flattest(Conditional):
    """An exact density over grey values, so over another support than those of binarized images."""

    def forward(self, *conditions):
        zeros = torch.zeros(SHAPE)
        return Independent(torch.distributions.Normal(zeros + 8, zeros + 6), 3)


class Names(HTMLParser):
    """Tags that close as they open, and the text of headings and cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "th", "td", "b"):
            self.text.append(data)


@pytest.fixture(scope="module")
def digits():
    return fusevae.read_data(None)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    vae = VAE(Flat(Normal(2), Gaussian(MLP(SHAPE, 4))), Bernoulli(MLP(2, SHAPE)))
    return {
        "vae": Artifact(vae, SPEC, [Binarize()]),
        "noise": Artifact(Noise(), SPEC, [Binarize()]),
        "loose": Artifact(Loose(), SPEC, [Binarize()]),
        "pixels": Artifact(Bernoulli(Constant(SHAPE)), SPEC, [Binarize()]),
        "flat": Artifact(Flattest(), SPEC),
    }


@pytest.fixture(scope="module")
def found(models, digits):
    reference = Reference(Columns(digits.train), digits.test, digits.train, 60)
    return comparison(models, digits.test, reference, importance_samples=3), reference


def test_models_of_every_level_stand_in_one_table(found, models):
    table, _ = found
    each = table.models
    assert table.n == 180 and table.support is None
    assert [m.level for m in each.values()] == ["evidence", "samples", "bound", "density", "density"]
    kinds = [m.log_likelihood and m.log_likelihood.kind for m in each.values()]
    assert kinds == ["bound", None, "bound", "exact", "exact"]
    assert each["loose"].log_likelihood.value == pytest.approx(each["pixels"].log_likelihood.value - 1)
    assert each["pixels"].log_likelihood.value == pytest.approx(-64 * np.log(2), rel=1e-4)
    assert each["noise"].log_likelihood is None and each["noise"].latents is None
    assert all(m.quality.n == 60 for m in each.values())
    assert each["vae"].quality.kind == "mean" and each["noise"].quality.kind == "sample"
    assert each["vae"].quality.floor > 0 and each["noise"].quality.floor is None
    assert each["vae"].latents.dims == 2 and each["vae"].reconstruction.ssim < 1
    assert each["vae"].parameters * 4 <= each["vae"].bytes == size(models["vae"].distribution)


def test_likelihoods_over_different_supports_share_no_row_and_no_difference(found):
    table, _ = found
    pairs = {frozenset((d.model, d.minus)) for d in table.differences}
    assert pairs == {frozenset(p) for p in (("vae", "loose"), ("vae", "pixels"), ("loose", "pixels"))}
    likelihood = [r for r in rows(table.models)["Likelihood of held-out data"] if r.name.startswith("log p")]
    assert len(likelihood) == 2
    binarized, grey = (r.cells for r in likelihood)
    assert [c == NONE for c in binarized] == [False, True, False, False, True]
    assert [c == NONE for c in grey] == [True, True, True, True, False]
    assert "binarized" in likelihood[0].name and "(exact)" in binarized[3] and "(bound)" in binarized[2]


def test_likelihoods_given_labels_share_no_row_and_no_difference_with_those_that_are_not():
    """A model that is told the digit needs fewer nats: that is no better model."""
    columns = Conditions([Label("digit", ["zero", "one"])])
    spec = DataSpec((2,), "float32", -9, 9, columns)
    alone, told = (Artifact(m, spec) for m in (Normal(2), Gaussian(Embedding(columns, 4))))
    x, digit = torch.randn(6, 2), torch.tensor([0, 1, -1, 1, -1, 0])
    models = {"alone": alone, "told": told, "told too": told}
    table = comparison(models, InMemory(x, digit, spec))
    assert [m.given for m in table.models.values()] == [None, *["digit (known of 4 of 6)"] * 2]
    assert [(d.model, d.minus) for d in table.differences] == [("told", "told too")]
    first, second = (r for r in rows(table.models)["Likelihood of held-out data"] if r.name.startswith("log p"))
    assert first.cells[1:] == [NONE, NONE] and second.cells[0] == NONE
    assert second.name.endswith("density on R^2, given digit (known of 4 of 6)") and first.name.endswith("R^2")
    with pytest.raises(InputError, match=r"given nothing, that of told digit .known of 4 of 6.; leave the labels out"):
        fusevae.compare(models, InMemory(x, digit, spec))
    assert fusevae.evaluate(told, x, digit).given == "digit (known of 4 of 6)"
    assert dict(fusevae.evaluate(told, x, digit.abs()).lines())["given"] == "digit"
    assert fusevae.evaluate(alone, x, digit).given is None and fusevae.evaluate(told, x).given is None
    nothing = comparison(models, InMemory(x, None, spec))
    assert len(nothing.differences) == 3 and fusevae.compare(models, x).n == 6


def test_a_mass_and_a_density_of_the_same_numbers_are_never_subtracted():
    spec = DataSpec((2,), "float32", 0, 1)
    models = {"mass": Artifact(Bernoulli(Constant(2)), spec), "density": Artifact(Normal(2), spec)}
    x = (torch.rand(6, 2) < 0.5).float()
    table = comparison(models, x)
    assert table.support is None and table.differences == [] and not any(r.best for r in rows(table.models)[LIKELIHOOD])
    with pytest.raises(InputError, match="different supports"):
        fusevae.compare(models, x)


def test_a_comparison_goes_on_without_samples_where_there_are_too_few_to_hold_them_against(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(300, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    tiny = ["--set", "training.epochs=0.5", "--set", "recipe.hidden=[8]", "--data", str(tmp_path / "x.npy")]
    assert main(["train", "table-vae", "--output", str(tmp_path / "a"), *tiny]) == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    capsys.readouterr()
    runs = [str(tmp_path / name) for name in ("a", "b")]
    assert main(["compare", *runs, "--importance-samples", "2", "--json"]) == 0
    captured = capsys.readouterr()
    assert "there are 30 real examples" in captured.err and "--samples 30" in captured.err
    found = json.loads(captured.out)
    assert "--samples 30" in found["judge"] and all(m["quality"] is None for m in found["models"].values())
    assert main(["evaluate", runs[0], "--samples"]) == 0  # there is a likelihood
    assert "--samples 30" in capsys.readouterr().err
    assert main(["compare", *runs, "--importance-samples", "2", "--samples", "30"]) == 0
    table = capsys.readouterr().out
    assert " to " in next(line for line in table.splitlines() if line.startswith("FID")) and "In brackets" in table


def test_a_small_test_part_judges_samples_together_with_the_validation_part():
    from fusevae.evaluation.judge import reference

    data = fusevae.read_data(torch.randn(800, 3))
    found = reference(data, 2000, None, "cpu", True)
    assert len(data.test) == len(data.validation) == 80 and found.n == 80
    assert "test and validation split (160 examples, as 80 are few)" in found.about
    rows = torch.cat([found.half.batch(torch.arange(80))[0], found.others.batch(torch.arange(80))[0]])
    ours = {tuple(row) for row in rows.tolist()}
    assert ours == {
        tuple(row) for part in (data.test, data.validation) for row in part.batch(torch.arange(80))[0].tolist()
    }
    alone = reference(data, 2000, None, "cpu", True, fusevae.read_data(torch.randn(1000, 3)).test)
    assert alone.n == 50 and "real ones" not in alone.about
    many = reference(fusevae.read_data(torch.randn(1000, 3)), 2000, None, "cpu", True)
    assert many.n == 50 and "real ones" not in many.about


def test_the_best_cell_is_that_of_the_right_direction(found):
    sections = rows(found[0].models)
    fid = next(r for r in sections["Samples"] if r.name == "FID")
    low, high = fid.intervals[first := fid.values.index(min(fid.values))]
    apart = all(a > high for i, (a, _) in enumerate(fid.intervals) if i != first)
    assert fid.best == ({first} if apart else set()) and low < fid.values[first] < high
    likelihood = sections["Likelihood of held-out data"][0]
    assert likelihood.best == {likelihood.values.index(max(v for v in likelihood.values if v is not None))}
    assert all(not r.best for r in sections["Model"])


def test_the_page_holds_everything_and_needs_nothing(found, models, digits, tmp_path):
    table, reference = found
    with_refusal = replace(table, refused={"other": "it does <not> fit"})
    comparison_page.write(tmp_path / "page.html", with_refusal, models, digits.test, reference, "A title", {"seed": 0})
    text = (tmp_path / "page.html").read_text()
    for outside in ("http://", "https://", "<script", "<link", "<not>"):
        assert outside not in text
    assert text.count("data:image/png;base64,") == 6 + 5 + 1  # samples and real ones, neighbours, reconstructions
    words = Names(text).text
    for heading in ("Samples", "Reconstructions", "Is it copying?", "Mind this", "FID", "vae", "flat"):
        assert heading in words
    again = tmp_path / "again.html"
    comparison_page.write(again, with_refusal, models, digits.test, reference, "A title", {"seed": 0})
    assert again.read_text() == text  # the same seed


def test_a_page_of_a_table(tmp_path):
    x = torch.randn(300, 3)
    whole = fusevae.read_data(x, validation=0, test=0).train
    models = {
        "exact": Artifact(Normal(3), DataSpec((3,), "float32", -4, 4)),
        "vae": Artifact(
            VAE(Flat(Normal(1), Gaussian(MLP(3, 2))), Gaussian(MLP(1, 6))), DataSpec((3,), "float32", -4, 4)
        ),
    }
    reference = Reference(Columns(whole), whole, whole)
    table = comparison(models, whole, reference, importance_samples=3)
    assert table.support == "density on R^3" and len(table.differences) == 1
    assert abs(table.models["exact"].quality.energy) < 0.05
    assert table.models["vae"].reconstruction.psnr is None
    comparison_page.write(tmp_path / "page.html", table, models, whole, reference)
    assert (tmp_path / "page.html").read_text().count("data:image/png") == 3


def test_an_autoencoder_without_a_prior_has_a_note(digits):
    rae = fusevae.RAE(fusevae.Deterministic(MLP(SHAPE, 3)), Gaussian(MLP(3, SHAPE), scale="shared"))
    artifact = Artifact(rae, SPEC)
    reference = Reference(Columns(digits.train), digits.test)
    (model,) = comparison({"rae": artifact}, digits.test, reference).models.values()
    assert model.quality is None and "fit-prior" in model.notes[0]
    assert model.latents == LatentsSummary(dims=3)
    assert latents(artifact, digits.test).dims == 3


def test_models_of_other_data_are_refused(models, digits):
    with pytest.raises(InputError, match="was made for"):
        comparison({"a": models["vae"], "b": Artifact(Normal(2), DataSpec((2,)))}, digits.test)


def test_short_names():
    assert short_names(["x/a", "y/a"]) == {"x/a": "x/a", "y/a": "y/a"}


# ---------------------------------------------------------------- the command line


@pytest.fixture(autouse=True)
def quick_extractor(monkeypatch):
    monkeypatch.setattr("fusevae.modalities.images.extractor.UPDATES", 10)
    monkeypatch.setattr(
        "fusevae.modalities.images.extractor.USUAL", fusevae.Training(epochs=0.2, batch_size=64, learning_rate=3e-3)
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    tiny = ["--set", "training.epochs=0.5", "--set", "recipe.hidden=[8]", "--set", "recipe.latent=2"]
    for recipe in ("binary-vae", "logistic-vae"):
        assert main(["train", recipe, "--output", str(folder / recipe), *tiny]) == 0
    return [str(folder / recipe) for recipe in ("binary-vae", "logistic-vae")]


def test_compare_writes_a_table_a_page_and_json(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    few = ["--samples", "40", "--importance-samples", "2"]
    assert main(["compare", *runs, *few, "--output", str(page), "--json"]) == 0
    out = capsys.readouterr().out
    table = json.loads(out)
    assert out.count("\n") == 1 and table["differences"] == [] and table["support"] is None
    model = table["models"][runs[1]]
    assert model["kind"] == "bound" and model["quality"]["accuracy"] is not None
    assert model["training"]["steps"] > 0 and model["training"]["seconds"] > 0
    assert page.read_text().count("data:image/png") == 6
    assert main(["compare", *runs, *few]) == 0
    out = capsys.readouterr().out
    assert "Reconstruction of held-out data" in out and "logistic-vae" in out
    for bad, says in ((["--output", "page.png"], ".html"), (["--samples", "-1"], "above 0")):
        assert main(["compare", *runs, *bad]) == 2
        assert says in capsys.readouterr().err


def test_compare_and_evaluate_weigh_as_many_samples_as_take_a_minute_the_same_of_all_models(runs, monkeypatch, capsys):
    from fusevae.evaluation import likelihood

    asked = []
    monkeypatch.setattr(likelihood, "sample_seconds", lambda artifact, data: asked.append(artifact) or 1.9 / len(data))
    monkeypatch.setattr(likelihood, "DRAWS", 0)
    paths = list(map(str, runs))
    assert main(["compare", *paths, "--samples", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["importance_samples"] == 30 and len(asked) == len(paths)  # of two models two minutes
    assert main(["compare", *paths, "--samples", "0"]) == 0
    assert "30 importance samples, as 1,000 would take long" in capsys.readouterr().err
    assert main(["evaluate", paths[0]]) == 0
    assert "30 importance samples, as 1,000 would take long" in capsys.readouterr().err
    assert main(["compare", *paths, "--samples", "0", "--importance-samples", "3"]) == 0
    captured = capsys.readouterr()
    assert "would take long" not in captured.err


def test_evaluate_samples(runs, capsys):
    few = ["--importance-samples", "2"]
    assert main(["evaluate", runs[0], "--samples", "30", *few, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"]["n"] == 30 and found["samples"]["kind"] == "mean"
    assert found["samples"]["copying"]["examples"] > 1000
    assert found["reconstructions"]["ssim"] < 1 and found["bytes"] > 0 and found["log_likelihood"]["kind"] == "bound"
    assert main(["evaluate", runs[0], "--samples", "30", *few, "--kind", "sample"]) == 0
    out = capsys.readouterr().out
    assert "30 samples" in out and "PSNR" in out and "copies 100 %" in out
    assert main(["evaluate", runs[0], "--extractor", "x.pt"]) == 2
    assert "--samples" in capsys.readouterr().err
    assert main(["evaluate", runs[0], "--samples", "--extractor", "x.pt"]) == 2
    assert "no TorchScript" in capsys.readouterr().err
    assert main(["evaluate", str(Path(runs[0], "model.safetensors")), "--samples", "--data", "x.npz"]) == 2


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("0.5m", 30)])
def test_durations(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "m", "20 minutes", "1.2.3s", "0s", "-5s"])
def test_what_is_no_duration(text):
    with pytest.raises(InputError, match="no time"):
        duration(text)


def test_a_plan_fits_the_time_and_counts_what_happens_in_a_part_of_it(monkeypatch):
    data = Source().read()

    def make(**settings):
        vae = VAE(Flat(Normal(2), Gaussian(MLP(SHAPE, 4))), Bernoulli(MLP(2, SHAPE)))
        return fusevae.Experiment(vae, views=[Binarize()], training=fusevae.Training(**settings))

    found = plan(make(), data, 20, "cpu")
    assert found.steps * found.step_seconds + 20 * found.validation_seconds < 20
    assert found.steps * found.step_seconds > 0.7 * 20
    per_epoch = len(data.train) // (found.batch_size or 128)  # smaller where a busy machine has slow steps
    assert found.epochs == pytest.approx(found.steps / per_epoch)
    assert found.settings()["epochs"] == found.epochs
    assert None not in found.settings().values()  # of what the time asks to be changed, which a busy machine decides
    monkeypatch.setattr("fusevae.training.budget.timed", lambda *_, **__: (0.01, 1.0, 10))  # dear to validate
    found = plan(make(), data, 20, "cpu")
    validations = found.steps / found.validate_every
    assert validations <= 4 and found.steps * 0.01 + validations <= 20
    monkeypatch.setattr("fusevae.training.budget.timed", lambda *_, **__: (30.0, 1.0, 10))
    with pytest.raises(InputError, match="give more time"):
        plan(make(), data, 20, "cpu")


def tiny_recipes(folder: Path) -> list[str]:
    """Two recipes that fit the digits and one for tables of three columns, as files."""
    found = []
    for name, decoder in (("wide", 16), ("narrow", 4)):
        vae = VAE(
            Flat(Normal(2), Gaussian(MLP(SHAPE, 4, (decoder,)))),
            Bernoulli(MLP(2, SHAPE, (decoder,))),
        )
        node = fusevae.describe(fusevae.Experiment(vae, views=[Binarize()]))
        del node["data"]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(node))
        found.append(f"{name}.yaml")
    vae = VAE(Flat(Normal(1), Gaussian(MLP(3, 2))), Gaussian(MLP(1, 6)))
    (folder / "other.yaml").write_text(yaml.safe_dump(fusevae.describe(fusevae.Experiment(vae))))
    return [*found, "other.yaml"]


def test_a_training_that_had_nearly_all_its_steps_has_no_note_that_its_time_was_over(monkeypatch):
    from types import SimpleNamespace

    from fusevae.evaluation.of_model import TrainingCost
    from fusevae.recipes.trainings import Work

    work = Work(Path(), None, {}, {}, {"plans": {"a": {}, "b": {}}, "asked": {}}, "cpu", (), True, None)
    monkeypatch.setattr(work, "_planned", lambda name: 100)
    monkeypatch.setattr(work, "settled", lambda name: False)
    models = {n: SimpleNamespace(training=TrainingCost(steps=k), notes=[]) for n, k in (("b/a", 95), ("b/b", 80))}
    work.told(SimpleNamespace(comparison=SimpleNamespace(models=models)))
    assert [m.notes for m in models.values()] == [[], ["stopped at step 80 of 100: out of time"]]


def test_bench_trains_each_recipe_for_the_same_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    what = ",".join(tiny_recipes(tmp_path))
    command = ["bench", what, "--budget", "1.5s", "--samples", "20", "--importance-samples", "2", "--output", "b"]
    from fusevae.training import loop

    with monkeypatch.context() as patched:  # stopped in the first training
        patched.setattr(loop.Loop, "_interrupted", lambda self, _: self.folder is not None and self.step == 7)
        assert main(command) == 130
    said = capsys.readouterr().err
    assert "fusevae bench" in said and "other is left out" in said
    kept = json.loads(Path("b/bench.json").read_text())
    assert list(kept["plans"]) == ["wide"]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    table = json.loads(captured.out)
    assert "wide: going on" in captured.err
    assert json.loads(Path("b/bench.json").read_text())["plans"]["wide"] == kept["plans"]["wide"]
    assert list(table["models"]) == ["b/wide", "b/narrow"] and list(table["refused"]) == ["other"]
    assert "does not take examples" in table["refused"]["other"]
    config = yaml.safe_load(Path("b/wide/config.yaml").read_text())
    assert config["training"]["epochs"] == pytest.approx(kept["plans"]["wide"]["epochs"])
    for model in table["models"].values():
        steps, planned = model["training"]["steps"], model["training"]["plan"]["steps"]
        assert steps >= 0.9 * planned or "out of time" in model["notes"][0]
        assert model["quality"]["n"] == 20 and model["value"] < 0
    assert len(table["differences"]) == 1
    page = Path("b/comparison.html").read_text()
    assert Names(page).text and "other" in page and page.count("data:image/png") == 6
    assert json.loads(Path("b/comparison.json").read_text())["budget"] == 1.5
    before = {p: p.stat().st_mtime_ns for p in Path("b").rglob("model.safetensors")}
    assert main(command) == 0  # nothing is left to train
    assert {p: p.stat().st_mtime_ns for p in Path("b").rglob("model.safetensors")} == before
    capsys.readouterr()
    assert main([*command, "--seed", "1"]) == 2
    assert "another seed" in capsys.readouterr().err


def test_a_training_stops_at_the_time_whatever_was_planned(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    what = tiny_recipes(tmp_path)[0]
    slow = plan

    def far_too_many(*arguments):
        found = slow(*arguments)
        found.steps, found.epochs = 10**6, 10**6 / 11
        return found

    monkeypatch.setattr("fusevae.recipes.trainings.plan", far_too_many)
    assert main(["bench", what, "--budget", "1s", "--samples", "0", "--output", "b", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"].values()
    assert 0 < model["training"]["steps"] < 10**6
    assert re.search("out of time", model["notes"][0]) and model["quality"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["binary-vea"], "did you mean 'binary-vae'"),
        (["binary-vae", "--budget", "soon"], "no time"),
        (["binary-vae,binary-vae"], "given twice"),
        (["binary-vae", "--data", "nowhere.npz"], "nowhere.npz"),
        (["binary-vae", "--device", "gpu"], "gpu"),
        (["binary-vae", "--output", "full"], "holds no bench"),
        (["binary-vae", "--output", "full/file"], "is a file"),
        (["binary-vae", "--data", "table.csv", "--samples", "0"], "no recipe fits"),
        (["binary-vae", "--extractor", "nowhere.pt"], "no TorchScript"),
        (["nowhere.yaml"], "no configuration"),
    ],
)
def test_bad_input_is_refused_before_any_work(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "table.csv").write_text("a,b\n" + "1.5,2.5\n-3.5,4.5\n" * 20)
    before = sorted(tmp_path.rglob("*"))
    budget = [] if "--budget" in arguments else ["--budget", "1s"]
    assert main(["bench", *arguments, *budget]) == 2
    captured = capsys.readouterr()
    assert says in captured.err.splitlines()[-1] and captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before
