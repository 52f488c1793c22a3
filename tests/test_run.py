"""Runs: opened, gone on with, compared and benched from Python; what the commands write says what it is of."""

from __future__ import annotations

import ast
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import fusevae
from fusevae import InputError, Run
from fusevae.cli import main
from fusevae.evaluation.paths import choose_pairs
from fusevae.training import checkpoint
from fusevae.training.loop import Loop
from fusevae.training.recipes import find
from fusevae.training.settings import Training
from fusevae.training.train import resume, train

DIM = 3


def node(path: Path, **training):
    """A small VAE of a table."""
    net = {"class": "MLP", "hidden": [8]}
    return {
        "model": {
            "class": "VAE",
            "latents": {
                "class": "Flat",
                "prior": {"class": "Normal", "shape": 2},
                "posterior": {"class": "Gaussian", "net": {**net, "inputs": DIM, "outputs": 4}},
            },
            "decoder": {"class": "Gaussian", "net": {**net, "inputs": 2, "outputs": DIM}, "scale": "shared"},
        },
        "data": {"path": str(path), "test": 0.2},
        "training": {"epochs": 2, "batch_size": 20, "log_every": 10, "learning_rate": 0.01, **training},
    }


def write_table(path: Path, seed: int = 0) -> Path:
    x = np.random.default_rng(seed).normal(size=(200, DIM)).round(3)
    path.write_text("\n".join(["a,b,c", *(",".join(map(str, row)) for row in x)]) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 14 steps, 7 an epoch, whose last record is of 4 steps."""
    place = tmp_path_factory.mktemp("run")
    train(node(write_table(place / "table.csv")), place / "run", device="cpu", quiet=True, command="fusevae train x")
    return place / "run"


@pytest.fixture
def copied(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- opened


def test_a_run_knows_what_belongs_to_it(trained):
    run = Run.open(trained)
    assert (run.finished, run.steps, run.state.epochs) == (True, 14, 2)
    assert run.configuration["training"]["epochs"] == 2 and run.configuration["model"]["class"] == "VAE"
    assert (len(run.data.train), len(run.data.validation), len(run.data.test)) == (140, 20, 40)
    again = fusevae.evaluate(run.artifact, run.data.test, importance_samples=100)
    assert again.elbo == pytest.approx(run.evaluation.elbo, rel=1e-5)  # the examples that it was judged on
    assert [r["step"] for r in run.metrics if "train" in r] == [10, 14]
    assert run.judge(20).judge(run.artifact).n == 20  # the other half of the real ones say what is usual
    with pytest.raises(InputError, match="there are 30 real examples"):
        _ = run.reference
    assert "VAE on" in repr(run) and "14 steps" in repr(run) and repr(run).endswith("finished)")
    assert fusevae.sample(run.artifact, 5).shape == (5, DIM)


def test_what_a_killed_training_left_can_be_opened_but_not_sampled(copied, capsys):
    (copied / "model.safetensors").unlink()
    (copied / "report.html").unlink()
    run = Run.open(copied)
    assert not run.finished and run.steps == 14 and run.configuration["seed"] == 0 and len(run.data.test) == 40
    assert repr(run).endswith("not finished)")
    with pytest.raises(InputError, match=f"fusevae train --resume {copied}"):
        _ = run.artifact
    assert main(["sample", str(copied), "--output", str(copied.parent / "s.csv")]) == 2
    assert "--resume" in capsys.readouterr().err


def test_data_that_have_changed_are_not_taken_for_those_of_the_run(copied, capsys):
    table = write_table(copied.parent / "table.csv")
    text = (copied / "config.yaml").read_text().replace(str(Run.open(copied).source.path), str(table))
    (copied / "config.yaml").write_text(text)
    assert len(Run.open(copied).data.test) == 40  # elsewhere, but the same
    write_table(table, seed=1)
    with pytest.raises(InputError, match=r"training data of .* are not those"):
        _ = Run.open(copied).data
    assert main(["evaluate", str(copied), "--importance-samples", "2"]) == 2
    assert "give others by --data" in capsys.readouterr().err
    assert main(["evaluate", str(copied), "--importance-samples", "2", "--data", str(table)]) == 0


# ---------------------------------------------------------------- gone on with


def test_a_longer_training_goes_on_by_its_own_schedules_and_says_so(copied):
    before = Run.open(copied)
    assert main(["train", "--resume", str(copied), "--set", "training.epochs=5", "--set", "training.patience=9"]) == 0
    run = Run.open(copied)
    assert (run.steps, run.finished, run.state.went_back) == (35, True, 0)
    settings = Training(**{k: v for k, v in run.configuration["training"].items() if k != "class"})
    assert settings.epochs == 5 and settings.patience == 9
    records = [r for r in run.metrics if "train" in r]
    assert [r["step"] for r in records] == [10, 14, 20, 30, 35]
    for record in records:
        total = 14 if record["step"] <= 14 else 35
        rate = Training(epochs=2, learning_rate=0.01).rate((record["step"] - 1) / total)
        assert record["learning_rate"] == pytest.approx(rate)
    bounds = [-r["train"]["elbo"] for r in records]
    assert max(bounds) < 2 * min(bounds)  # each a mean over its own steps, 4, 5, 6 or 10
    says = [r["says"] for r in run.metrics if r.get("event") == "changed"]
    assert says[0] == "training.epochs 2 -> 5; its schedules go on from 40% of the training"
    assert says[1] == "training.patience None -> 9"
    assert run.metrics[: len(before.metrics)] == before.metrics
    config = (copied / "config.yaml").read_text().splitlines()
    assert config[0].endswith("fusevae train x") and config[1] == "# from step 14: training.epochs 2 -> 5"
    page = (copied / "report.html").read_text()
    assert "Step 14: training.epochs 2 -&gt; 5" in page and "35 steps" in page and "from step 14" in page


def test_what_is_set_to_what_it_is_changes_nothing(copied, trained):
    resume(copied, "cpu", quiet=True, settings=["training.epochs=2", "training.log_every=10"])
    assert (copied / "config.yaml").read_bytes() == (trained / "config.yaml").read_bytes()
    assert Run.open(copied).metrics == Run.open(trained).metrics
    weights = [fusevae.load(folder).state_dict() for folder in (copied, trained)]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


def test_what_is_interrupted_after_it_was_lengthened_is_not_finished(copied, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_interrupted", lambda self, interrupt: self.step == 17)
        assert not resume(copied, "cpu", quiet=True, settings=["training.epochs=4"]).finished
    run = Run.open(copied)
    assert not run.finished and run.steps == 17 and not (copied / "report.html").exists()
    assert resume(copied, "cpu", quiet=True).steps == 28
    assert [r["step"] for r in Run.open(copied).metrics if r.get("event") == "changed"] == [14]  # said once


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["model.decoder=Bernoulli"], "model.decoder can't be changed"),
        (["data.test=0.5"], "data.test can't be changed"),
        (["seed=1"], "seed can't be changed"),
        (["training.batch_size=5"], "training.batch_size can't be changed"),
        (["recipe.latent=5"], "recipe.latent can't be changed"),
        (["objective=IWAE"], "objective can't be changed"),
        (["training.epochs=1"], "2 are done"),
        (["training.epochs=-1"], "expected more than 0"),
        (["training.epochs"], "no setting"),
    ],
)
def test_what_would_be_another_training_is_refused(trained, capsys, settings, says):
    before = tree(trained)
    assert main(["train", "--resume", str(trained), *(w for s in settings for w in ("--set", s))]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert tree(trained) == before


def edit(folder: Path, *path: str, value) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("model", "decoder", "net", "hidden"), [9], r"model\.decoder\.net\.hidden \[8\] -> \[9\]"),
        (("training", "unlabelled"), 0.5, r"training\.unlabelled 0\.1 -> 0\.5"),
        (("views",), [{"class": "Binarize"}], "views"),
        (("seed",), 3, "seed 0 -> 3"),
        (("data", "seed"), 3, "training data of"),
        (("data", "test"), 0.0, "training data of"),
    ],
)
def test_what_was_edited_by_hand_into_another_training_is_refused(copied, path, value, says):
    edit(copied, *path, value=value)
    before = tree(copied)
    with pytest.raises(InputError, match=says):
        resume(copied, "cpu", quiet=True)
    assert tree(copied) == before


def test_what_was_edited_by_hand_and_may_be_has_to_be_asked_for(copied):
    edit(copied, "training", "epochs", value=3)
    before = tree(copied)
    with pytest.raises(InputError, match=r"training\.epochs 2 -> 3.*--set training\.epochs=3"):
        resume(copied, "cpu", quiet=True)
    assert tree(copied) == before
    resume(copied, "cpu", quiet=True, settings=["training.epochs=3"])
    run = Run.open(copied)
    assert run.steps == 21 and [
        "training.epochs 2 -> 3" in r["says"] for r in run.metrics if r.get("event") == "changed"
    ] == [True]


def test_patience_that_has_ended_a_training_has_to_be_given_too(tmp_path):
    table = write_table(tmp_path / "table.csv")
    impatient = node(table, patience=1, validate_every=1, learning_rate=3.0, epochs=9)
    steps = train(impatient, tmp_path / "run", device="cpu", quiet=True).steps
    assert steps < 63
    with pytest.raises(InputError, match=r"training\.patience, too"):
        resume(tmp_path / "run", "cpu", quiet=True, settings=["training.epochs=10"])
    both = ["training.epochs=10", "training.patience=null", "training.learning_rate=0.001"]
    assert resume(tmp_path / "run", "cpu", quiet=True, settings=both).steps == 70


def test_a_checkpoint_of_an_earlier_version_goes_on(trained, copied):
    for path in (copied / "checkpoints").iterdir():
        state = checkpoint.read(path)
        for key in ("identity", "looked"):
            del state.values[key]
        checkpoint.write(path.parent, state)
    assert resume(copied, "cpu", quiet=True, settings=["training.epochs=3"]).steps == 21
    assert checkpoint.newest_values(copied / "checkpoints")["identity"]["configuration"]["training"]["epochs"] == 3
    bounds = [-r["train"]["elbo"] for r in Run.open(copied).metrics if "train" in r]
    assert max(bounds) < 2 * min(bounds)


# ---------------------------------------------------------------- functions that Python can call


def test_bench_compare_and_with_prior_are_functions(tmp_path):
    table = write_table(tmp_path / "table.csv")
    for name, epochs in (("short", 1), ("long", 2)):
        config = {key: value for key, value in node(table, epochs=epochs).items() if key != "data"}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    recipes = [str(tmp_path / f"{name}.yaml") for name in ("short", "long")]
    settings = {"output": tmp_path / "bench", "samples": 20, "importance_samples": 2, "device": "cpu", "quiet": True}
    found = fusevae.bench(recipes, str(table), 0.5, **settings)
    assert found.finished and list(found.runs) == ["short", "long"] and found.refused == {}
    models = found.compared.comparison.models
    # half of the test and validation parts; the other half says what is usual
    assert all(model.quality.n == 20 for model in models.values())
    assert (tmp_path / "bench/comparison.html").exists()
    written = json.loads((tmp_path / "bench/comparison.json").read_text())
    assert list(written["models"]) == list(models) and written["budget"] == 0.5

    runs = [found.runs["short"], tmp_path / "bench/long"]
    again = fusevae.compare_runs(runs, samples=0, importance_samples=2, quiet=True).comparison
    values = [
        (a.log_likelihood.value, b.log_likelihood.value)
        for a, b in zip(again.models.values(), models.values(), strict=True)
    ]
    assert all(a == pytest.approx(b) for a, b in values)
    with pytest.raises(InputError, match="at least two runs"):
        fusevae.compare_runs([runs[0]] * 2)

    better = Run.open(runs[1]).with_prior("mixture", tmp_path / "prior", components=2, quiet=True)
    assert type(better.artifact.distribution.latents.prior).__name__ == "GaussianMixture"
    opened = Run.open(tmp_path / "prior")
    assert len(opened.data.test) == 20 and (tmp_path / "prior/samples.png").exists()  # the data of its parent
    with pytest.raises(InputError, match="holds a training already"):
        Run.open(runs[1]).with_prior("mixture", tmp_path / "prior")


def test_no_command_changes_its_options_or_makes_up_some():
    for path in Path(fusevae.__file__).parent.joinpath("cli").glob("*.py"):
        for part in ast.walk(ast.parse(path.read_text())):
            targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
            changed = [t for t in targets if isinstance(t, ast.Attribute) and getattr(t.value, "id", "") == "options"]
            assert not changed, f"{path.name}: {ast.unparse(part)}"
            made = isinstance(part, ast.Call) and getattr(part.func, "id", "") in ("Namespace", "setattr")
            assert not made or path.name == "__init__.py", f"{path.name}: {ast.unparse(part)}"


# ---------------------------------------------------------------- what is written says what it is of


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Untrained models of a folder of images, a table with a condition, and texts; each with its data."""
    place = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (place / "images" / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 255, (6, 6), np.uint8)).save(place / f"images/{name}/{i}.png")
    lines = [",".join([*map(str, row), "yes" if i % 3 else "no"]) for i, row in enumerate(rng.normal(size=(12, 3)))]
    (place / "table.csv").write_text("\n".join(["row,b,c,kind", *lines]) + "\n")  # one of its columns is called row
    texts = [f"{'a big' if i % 2 else 'one'} {'dog' if i % 3 else 'cat'} number {i}" for i in range(12)]
    (place / "texts.txt").write_text("\n".join(texts) + "\n")
    made = {
        "images": (place / "images", "logistic-vae", {"hidden": (8,), "latent": 2}, {}),
        "table": (place / "table.csv", "table-vae", {"hidden": (8,), "latent": 2}, {"conditions": "kind"}),
        "texts": (place / "texts.txt", "text", {}, {"tokens": "characters"}),
    }
    for name, (path, recipe, options, settings) in made.items():
        spec = fusevae.read_data(str(path), **settings, validation=0, test=0).spec  # all letters are known
        if recipe == "text":
            size, length = int(spec.high) + 1, spec.shape[0]
            net = fusevae.SequenceEncoder(fusevae.LSTM(8, 1), size, 4)
            decoder = fusevae.LanguageModel(fusevae.LSTM(8, 1), size, context=2, longest=length)
            model, views = fusevae.VAE(fusevae.Flat(fusevae.Normal(2), fusevae.Gaussian(net)), decoder), []
        else:
            experiment = find(recipe)(spec, **options)
            model, views = experiment.model, experiment.views
        fusevae.Artifact(model, spec, views).save(place / f"{name}.safetensors")
    return place, {name: (path, settings) for name, (path, _, _, settings) in made.items()}


def read(path: Path) -> dict[str, np.ndarray]:
    """Columns of a file by name."""
    if path.suffix == ".npz":
        return dict(np.load(path))
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return {k: np.array(v) for k, v in pyarrow.parquet.read_table(path).to_pydict().items()}
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, np.array(rows).T, strict=True))


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
@pytest.mark.parametrize("name", ["images", "table", "texts"])
@pytest.mark.parametrize("command", ["encode", "reconstruct", "map", "neighbours", "anomaly"])
def test_each_row_says_which_example_it_is_of(kinds, tmp_path, name, suffix, command):
    place, data = kinds
    path, settings = data[name]
    if command == "reconstruct" and name == "texts" and suffix == ".npz":
        return  # texts are no arrays
    more = {"map": ["-n", "5"], "neighbours": ["-n", "3", "-k", "2"]}.get(command, [])
    more += ["--reference", str(path), "--importance-samples", "2"] if command == "anomaly" else []
    output = tmp_path / f"o{suffix}"
    run = str(place / f"{name}.safetensors")
    assert main([command, run, "--data", str(path), "--output", str(output), "--device", "cpu", *more]) == 0
    found = read(output)
    whole = fusevae.read_data(str(path), **settings, validation=0, test=0).train
    rows = [int(r) for r in found["given_row" if name == "table" and "given_row" in found else "row"]]
    assert rows == whole.evenly({"map": 5, "neighbours": 3}.get(command, 12)).tolist()
    of = whole.subset(torch.tensor(rows))
    if name == "images":
        assert found["file"].tolist() == list(of.ids)
        words = [
            of.spec.classes[k] if isinstance(k, int) else k for k in found["label"].tolist()
        ]  # parquet has numbers
        assert words == of.beside()["label"].tolist()
        assert {Path(file).parent.name for file in found["file"]} == {"cat", "dog"}  # evenly over both
    elif name == "table":
        assert found["kind"].tolist() == of.beside()["kind"].tolist()
        columns = suffix != ".npz" and command == "reconstruct"  # one of which is called row, too
        assert ("given_row" in found) == columns
    else:
        own = found["given_text" if command == "reconstruct" else "text"].tolist()
        assert own == of.spec.text(of.batch(torch.arange(len(of)))[0])
    if command == "neighbours" and suffix == ".npz":
        near = whole.subset(torch.tensor(found["near_row"][0])).beside()
        assert all(found[f"near_{key}"][0].tolist() == list(value) for key, value in near.items())


def test_pairs_lie_evenly_over_the_data_and_share_no_example():
    label = torch.arange(100) // 10
    for same in (True, False):
        pairs = choose_pairs(label, 100, 10, same)
        assert len(pairs) == 10 and len({i for pair in pairs for i in pair}) == 20
        assert all((label[i] == label[j]) == same for i, j in pairs)
        assert {int(label[i]) for i, _ in pairs} == set(range(10))
    assert choose_pairs(label[:3], 3, 8, False) == [] and len(choose_pairs(None, 5, 8, False)) == 2
