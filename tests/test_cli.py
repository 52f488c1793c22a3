"""The command line: what each command prints and writes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import fusevae
from fusevae.cli import SPINS, main

TINY = ["--set", "training.epochs=1", "--set", "training.batch_size=64", "--set", "recipe.hidden=[16]"]
SMALL = ["--set", "recipe.latent=4", "--set", "data.test=0.02"]
PICTURES = ("samples.png", "reconstructions.png", "curves.png")


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    source = str(Path(__file__).parents[1] / "src")
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "fusevae", *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional model of the digits, barely trained."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "logistic-vae", "--output", str(folder), *TINY, *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a table, and the table beside it."""
    place = tmp_path_factory.mktemp("table")
    rows = np.random.default_rng(0).normal(5, 2, (200, 3)).round(3)
    text = "a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows)
    (place / "table.csv").write_text(text)
    data = ["--data", str(place / "table.csv"), "--output", str(place / "run")]
    assert main(["train", "table-vae", *data, *TINY]) == 0
    return place


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three digits as a folder of images, in the range of the embedded ones."""
    from sklearn.datasets import load_digits

    (tmp_path / "images").mkdir()
    for i, image in enumerate(load_digits().images[:3]):
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "images" / f"{i}.png")
    return tmp_path / "images"


def same_weights(a: Path, b: Path) -> bool:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (a, b))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def one_object(capsys: pytest.CaptureFixture[str]) -> dict:
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_help_starts_at_once() -> None:
    assert command("--help").returncode == 0
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        command("--help")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.3


def test_help_and_recipes_import_nothing_heavy() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import sys, fusevae.cli\nfusevae.cli.main(['recipes'])\nprint('torch' in sys.modules)"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout  # fmt: skip
    assert "binary-vae" in found
    assert found.endswith("False\n")


def test_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json"]) == 0
    found = one_object(capsys)
    assert {"binary-vae", "logistic-vae", "table-vae"} <= set(found)
    assert "find" not in found
    assert all(found.values())
    assert main(["recipes"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(found)


def test_train_writes_a_run_that_explains_itself(run: Path) -> None:
    for name in (*PICTURES, "config.yaml", "metrics.jsonl", "model.safetensors", "evaluation.json", "report.html"):
        assert (run / name).stat().st_size > 0, name
    page = (run / "report.html").read_text()
    assert "samples were not judged" in page and "nothing wrong was found<" not in page
    assert page.count("data:image/png;base64,") == 7
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert "nats per example" in page
    assert "mass on {0..16}^1x8x8" in page
    assert f"--output {run}" in page
    node = yaml.safe_load((run / "config.yaml").read_text())
    assert node["training"]["epochs"] == 1
    assert node["data"]["test"] == 0.02
    assert node["model"]["class"] == "Preprocessed"
    for name in PICTURES:
        Image.open(run / name).verify()


def test_a_run_is_made_again_from_its_configuration(run: Path, tmp_path: Path) -> None:
    assert main(["train", str(run / "config.yaml"), "--output", str(tmp_path / "again")]) == 0
    assert same_weights(tmp_path / "again", run)


def test_settings_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [
        "training.epochs=0.2", "recipe.hidden=[8]", "model.decoder=ContinuousBernoulli", "views.0.mode=fixed",
        "objective={class: ELBO, free_bits: 0.1}", "objective.beta=Linear", "objective.beta.part=0.5", "views.1=Flip",
        "model.latents.prior={class: GaussianMixture, net: {class: Constant, outputs: 303}, components: 3}",
    ]  # fmt: skip
    arguments = [part for s in settings for part in ("--set", s)]
    output = ["--output", str(tmp_path / "run"), "--seed", "7", "--precision", "bfloat16", "--json"]
    assert main(["train", "binary-vae", *arguments, *output]) == 0, capsys.readouterr().err
    found = one_object(capsys)
    assert found["finished"]
    assert found["evaluation"]["log_likelihood"]["kind"] == "bound"
    node = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert node["seed"] == 7
    assert node["training"]["precision"] == "bfloat16"
    assert node["model"]["decoder"]["class"] == "ContinuousBernoulli"
    assert node["model"]["decoder"]["net"]["hidden"] == [8]
    assert [view["class"] for view in node["views"]] == ["Binarize", "Flip"]
    assert node["views"][0]["mode"] == "fixed"
    assert node["objective"]["beta"]["class"] == "Linear"


def test_short_yaml(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32))
    (tmp_path / "my.yaml").write_text(
        "model:\n  class: VAE\n  latents:\n    class: Flat\n    prior: {class: Normal, shape: 1}\n"
        "    posterior: {class: Gaussian, net: {class: MLP, inputs: 2, outputs: 2}}\n"
        f"  decoder: {{class: Gaussian, net: {{class: MLP, inputs: 1, outputs: 4}}}}\ndata: {tmp_path / 'data.npz'}\n"
        "training: {epochs: 2, batch_size: 16, learning_rate: 1e-3}\n"
    )
    assert (
        main(["train", str(tmp_path / "my.yaml"), "--output", str(tmp_path / "run"), "--set", "training.epochs=1"]) == 0
    )
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["training"]["epochs"] == 1


def test_from_takes_the_weights_of_another_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = ["--set", "training.learning_rate=1e-12", "--set", "training.average=0"]
    config, other = str(run / "config.yaml"), tmp_path / "other"
    assert main(["train", config, "--from", str(run), "--output", str(other), *still]) == 0
    before, after = (json.loads((folder / "evaluation.json").read_text()) for folder in (run, other))
    assert after["elbo"] == pytest.approx(before["elbo"], rel=1e-5)
    wider = ["--set", "recipe.hidden=[17]", "--set", "recipe.latent=4"]
    assert main(["train", "logistic-vae", "--from", str(run), "--output", str(tmp_path / "wider"), *wider]) == 2
    assert "has shape" in capsys.readouterr().err
    assert not (tmp_path / "wider").exists()


def test_stopped_and_resumed_is_as_never_stopped(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fusevae.training import loop

    folder = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        patched.setattr(loop.Loop, "_interrupted", lambda self, interrupt: self.step == 5)
        assert main(["train", str(run / "config.yaml"), "--output", str(folder), "--json"]) == 130
    captured = capsys.readouterr()
    assert f"fusevae train --resume {folder}" in captured.err
    assert not json.loads(captured.out)["finished"]
    assert (folder / "model.safetensors").exists()
    assert not (folder / "report.html").exists()
    assert main(["train", "--resume", str(folder)]) == 0
    assert same_weights(folder, run)
    assert (folder / "report.html").exists()
    assert main(["train", "--resume", str(folder), "--set", "training.batch_size=9"]) == 2
    assert "--from" in capsys.readouterr().err


def test_sample(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run), "-n", "5", "--label", "3", "--output", str(tmp_path / "s"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["kind"] == "mean"
    assert "means" in captured.err
    names = [f"{i:05d}.png" for i in range(5)]
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [*names, "grid.png", "metadata.csv"]
    with open(tmp_path / "s/metadata.csv", newline="") as file:
        assert list(csv.reader(file)) == [["file_name", "label"], *([name, "3"] for name in names)]
    first = Image.open(tmp_path / "s/00000.png")
    assert first.size == (8, 8)
    assert first.mode == "L"
    arrays = []
    for i, seed in enumerate((0, 0, 1)):
        path = tmp_path / f"{i}.npy"
        kind = ["--kind", "sample", "--seed", str(seed)]
        assert main(["sample", str(run), "-n", "4", *kind, "--output", str(path)]) == 0
        arrays.append(np.load(path))
    assert arrays[0].dtype == np.uint8
    assert arrays[0].shape == (4, 1, 8, 8)
    assert arrays[0].max() <= 16
    assert np.array_equal(arrays[0], arrays[1])
    assert not np.array_equal(arrays[0], arrays[2])
    for name in ("x.npz", "x.csv", "x.parquet", "x.png"):
        assert main(["sample", str(run), "-n", "4", "--output", str(tmp_path / name), "--precision", "bfloat16"]) == 0
    assert np.load(tmp_path / "x.npz")["x"].shape == (4, 1, 8, 8)


def test_sample_of_a_table(table: Path, tmp_path: Path) -> None:
    assert all((table / "run" / name).exists() for name in PICTURES)
    assert main(["sample", str(table / "run"), "-n", "7", "--output", str(tmp_path / "s")]) == 0
    with open(tmp_path / "s/samples.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["a", "b", "c"]
    assert len(rows) == 8
    assert all(abs(float(v)) < 100 for v in rows[1])


def test_reconstruct_and_encode(run: Path, images: Path, tmp_path: Path) -> None:
    bright = tmp_path / "bright"  # 0..240, where the embedded digits have 0..16
    bright.mkdir()
    for path in images.glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * 15).save(bright / path.name)
    assert main(["reconstruct", str(run), "--data", str(bright), "--output", str(tmp_path / "rec")]) == 2
    assert main(["reconstruct", str(run), "--data", str(images), "--output", str(tmp_path / "dark")]) == 0
    x = np.stack([np.asarray(Image.open(p)) for p in sorted(images.glob("*.png"))])
    np.savez(tmp_path / "x.npz", x=x.astype(np.int64), y=np.arange(3))
    data = ["--data", str(tmp_path / "x.npz")]
    assert main(["reconstruct", str(run), *data, "--output", str(tmp_path / "rec")]) == 0
    assert len(list((tmp_path / "rec").glob("*.png"))) == 4
    for name in ("z.npz", "z.csv", "z.parquet"):
        assert main(["encode", str(run), *data, "--output", str(tmp_path / name)]) == 0
    arrays = np.load(tmp_path / "z.npz")
    assert arrays["mean"].shape == arrays["scale"].shape == (3, 4)
    with open(tmp_path / "z.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "label", *(f"{name}_{i}" for name in ("mean", "scale") for i in range(4))]
    assert [(row["row"], row["label"]) for row in rows] == [("0", "0"), ("1", "1"), ("2", "2")]
    assert [float(row["mean_1"]) for row in rows] == pytest.approx(arrays["mean"][:, 1].tolist())
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "z.parquet").column_names == list(rows[0])


def test_evaluate(run: Path, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["evaluate", str(run), "--importance-samples", "10", "--json"]) == 0
    found = one_object(capsys)
    keys = {"n", "support", "log_likelihood", "elbo", "reconstruction", "kl", "bits_per_dim", "parameters", "seconds"}
    assert keys <= set(found)
    assert found["n"] == 36
    assert found["support"] == "mass on {0..16}^1x8x8"
    assert set(found["log_likelihood"]) >= {"value", "stderr", "kind", "importance_samples"}
    assert found["log_likelihood"]["value"] >= found["elbo"] - 1
    trained = json.loads((run / "evaluation.json").read_text())
    assert found["elbo"] == pytest.approx(trained["elbo"], rel=1e-5)  # the same examples
    monkeypatch.setattr("fusevae.cli.judge.PATIENT", 0.0)  # no time for more than one of each
    assert main(["evaluate", str(run), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["log_likelihood"]["importance_samples"] == 1
    assert "1 importance samples, as 1,000 would take long: ask for 1000 to have them" in said.err
    data = ["--data", str(table / "table.csv"), "--importance-samples", "5"]
    assert main(["evaluate", str(table / "run"), *data]) == 0
    out = capsys.readouterr().out
    assert "200" in out
    assert "density on R^3" in out
    assert "nats per example" in out
    assert main(["evaluate", str(table / "run"), "--importance-samples", "5", "--samples"]) == 0
    out, err = capsys.readouterr()
    assert "nats per example" in out and out.endswith("samples were not judged: see above\n")
    assert "nothing wrong was found\n" not in out  # of what was not looked at
    assert "no figures about samples: there are 20 real examples" in err


def test_compare(run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.safetensors"
    artifact = fusevae.load(run)
    for parameter in artifact.distribution.parameters():
        parameter.data.mul_(0.9)
    artifact.save(other)
    alone = ["--samples", "0"]
    assert main(["compare", str(run), str(other), "--importance-samples", "10", *alone, "--json"]) == 0
    found = one_object(capsys)
    (d,) = found["differences"]
    values = found["models"]
    assert d["value"] == pytest.approx(values[str(run)]["value"] - values[str(other)]["value"])
    assert d["interval"][0] < d["value"] < d["interval"][1]
    assert d["value"] > 0
    assert main(["evaluate", str(run), "--importance-samples", "10", "--json"]) == 0
    assert one_object(capsys)["log_likelihood"]["value"] == pytest.approx(values[str(run)]["value"])
    assert main(["compare", str(run), str(other), "--importance-samples", "5", *alone]) == 0
    assert "95 % between" in capsys.readouterr().out
    for runs in ([str(run)], [str(run), str(run)]):
        assert main(["compare", *runs]) == 2
        assert "at least two" in capsys.readouterr().err
    data = ["--data", str(table / "table.csv")]
    assert main(["compare", str(table / "run"), str(run), *data]) == 2


def test_info(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(run), "--json"]) == 0
    found = one_object(capsys)
    assert found["parameters"] > 0
    assert found["data"]["shape"] == [1, 8, 8]
    assert found["training"]["finished"]
    assert found["model"]["model"]["class"] == "VAE"
    assert found["conditional"]
    assert found["seed"] == 0
    assert main(["info", str(run)]) == 0
    out = capsys.readouterr().out
    assert "posterior: Gaussian" in out
    assert "mass on {0..16}^1x8x8" in out


def test_demo_takes_a_fresh_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fusevae.training.settings import Training

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fusevae.recipes.logistic_vae.Training", lambda **_: Training(epochs=0.2))
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "report.html").write_text("of another")
    assert main(["demo", "--json"]) == 0
    assert one_object(capsys)["run"] == "runs/demo-2"
    assert (tmp_path / "runs" / "demo-2" / "report.html").exists()
    assert (tmp_path / "runs" / "demo" / "report.html").read_text() == "of another"


def test_a_network_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_nets.py").write_text(
        "import torch, fusevae\n@fusevae.described\nclass Mine(torch.nn.Module):\n"
        "    def __init__(self, width: int = 4):\n        super().__init__()\n"
        "        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, width))\n"
        "    def forward(self, x, *rest):\n        return self.net(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    own = ["--set", "model.latents.posterior.net={class: my_nets.Mine, width: 8}", "--set", "recipe.latent=4", *TINY]
    assert main(["train", "binary-vae", *own, "--output", "run"]) == 2
    assert "--trust my_nets.Mine" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["train", "binary-vae", *own, "--output", "run", "--trust", "my_nets"]) == 0
    assert main(["info", "run"]) == 2
    assert "not trusted" in capsys.readouterr().err
    assert main(["sample", "run", "-n", "2", "--output", "s", "--trust", "my_nets.Mine"]) == 0


def test_json_alone_on_stdout_and_the_rest_on_stderr(tmp_path: Path) -> None:
    done = command("train", "logistic-vae", "--output", "run", *TINY, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["run"] == "run"
    assert "step" in done.stderr
    assert "evaluating" in done.stderr


def test_a_bug_is_not_hidden(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("fusevae.cli.judge.info", broken)
    with pytest.raises(KeyError):  # Python prints the traceback and ends with code 1
        main(["info", str(run)])


@pytest.mark.parametrize(("given", "spins"), [({}, SPINS), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)])
def test_threads_of_a_busy_machine_wait_asleep_unless_it_is_said_how(given: dict[str, str], spins: str | None) -> None:
    """Before torch, which reads it, is there."""
    code = "import os, sys; from fusevae.cli import main; print('torch' in sys.modules); main(['-']); "
    code += "print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(spins)]
