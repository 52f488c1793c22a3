"""Bad input: a line that names the remedy, exit code 2, and nothing written; a full disk leaves the last good state."""

from __future__ import annotations

import errno
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from fusevae.cli import main
from fusevae.cli.write import Output
from fusevae.core.spec import DataSpec
from fusevae.modalities.images.modality import ImageSchema

TINY = ["--set", "training.epochs=1", "--set", "recipe.hidden=[8]"]
Refused = Callable[..., str]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command in a folder of its own, and returns its one line on stderr."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert code == 2, captured.err
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1, captured.err
        assert sorted(tmp_path.rglob("*")) == before
        return captured.err

    return check


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "binary-vae", "--output", str(folder), *TINY]) == 0
    return folder


def train(refused: Refused, *arguments: object, what: str = "binary-vae") -> str:
    return refused("train", what, "--output", "run", *TINY, *arguments)


def folder_of(tmp_path: Path, *sizes: tuple[int, int]) -> Path:
    place = tmp_path / "images"
    place.mkdir()
    for i, size in enumerate(sizes):
        noise = np.random.default_rng(i).integers(0, 255, (size[1], size[0]))
        Image.fromarray(noise.astype(np.uint8)).save(place / f"{i}.png")
    return place


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# ---------------------------------------------------------------- data


def test_missing_file(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").touch()
    assert "did you mean 'mnist.npz'" in train(refused, "--data", "mnits.npz")


def test_empty_folder(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert "holds no images" in train(refused, "--data", "images")


def test_a_table_in_parts(refused: Refused, tmp_path: Path) -> None:
    import pandas

    frame = pandas.DataFrame({"year": [2019, 2020] * 20, "x": np.arange(40) / 7})
    frame.to_parquet(tmp_path / "parts", partition_cols=["year"])
    said = train(refused, "--data", "parts")
    assert "is a table in parts (year=2019, ...)" in said and "pandas.read_parquet('parts')" in said


def test_truncated_image(refused: Refused, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder_of(tmp_path, *[(8, 8)] * 12)
    damage(place / "3.png")
    error = train(refused, "--data", "images")
    assert "3.png" in error
    assert "--skip-damaged" in error
    assert main(["train", "binary-vae", "--data", "images", "--output", "run", *TINY, "--skip-damaged"]) == 0
    assert "3.png" in capsys.readouterr().err
    assert "3.png" in refused("encode", "run", "--data", "images", "--output", "z.npz")  # what a user asks for anew
    assert main(["encode", "run", "--data", "images", "--output", "z.npz", "--skip-damaged"]) == 0
    assert np.load("z.npz")["mean"].shape == (11, 50)
    assert main(["evaluate", "run", "--importance-samples", "2"]) == 0  # the run's own data are read as it read them


def test_images_of_different_sizes(refused: Refused, tmp_path: Path) -> None:
    folder_of(tmp_path, (8, 8), (9, 8))
    error = train(refused, "--data", "images")
    assert "1.png" in error
    assert "data.size" in error


@pytest.mark.parametrize("bad", [np.inf, -np.inf])  # NaN is a missing cell
def test_not_finite(refused: Refused, bad: float) -> None:
    x = np.zeros((30, 4), np.float32)
    x[7, 2] = bad
    np.save("x.npy", x)
    assert "values are NaN, infinite" in train(refused, "--data", "x.npy", what="table-vae")


def test_labels_that_do_not_match(refused: Refused) -> None:
    np.savez("x.npz", x=np.zeros((30, 8, 8), np.uint8), y=np.zeros(29, np.int64))
    error = train(refused, "--data", "x.npz", what="conditional-vae")
    assert "30" in error
    assert "29" in error


def test_no_labels_for_a_conditional_model(refused: Refused) -> None:
    np.savez("x.npz", x=np.arange(30 * 64, dtype=np.uint8).reshape(30, 8, 8))
    assert "needs labels" in train(refused, "--data", "x.npz", what="conditional-vae")


def test_wrong_shape_for_a_saved_model(refused: Refused, run: Path) -> None:
    np.savez("x.npz", x=np.arange(30 * 81, dtype=np.uint8).reshape(30, 9, 9))
    for command in (["evaluate", run], ["encode", run, "--output", "z.npz"], ["reconstruct", run, "--output", "rec"]):
        error = refused(*command, "--data", "x.npz")
        assert "(1, 8, 8)" in error
        assert "(1, 9, 9)" in error


def test_a_configuration_that_does_not_fit_the_data(refused: Refused, run: Path) -> None:
    np.savez("x.npz", x=np.arange(30 * 81, dtype=np.uint8).reshape(30, 9, 9))
    error = refused("train", run / "config.yaml", "--data", "x.npz", "--output", "run")
    assert "(1, 9, 9)" in error


def test_the_data_of_a_run_are_gone(refused: Refused, tmp_path: Path) -> None:
    np.savez("x.npz", x=np.arange(30 * 64, dtype=np.uint8).reshape(30, 8, 8))
    assert main(["train", "binary-vae", "--data", "x.npz", "--output", "run", *TINY]) == 0
    os.rename("x.npz", "moved.npz")
    assert "x.npz" in refused("evaluate", "run")


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("trainng.epochs=3", "did you mean 'training'"),
        ("training.epoch=3", "did you mean 'epochs'"),
        ("training.epochs=many", "training.epochs"),
        ("training.epochs=0", "epochs is 0"),
        ("training.average=1.5", "average"),
        ("seed=x", "seed"),
        ("recipe.latents=3", "did you mean 'latent'"),
        ("recipe.latent=many", "recipe.latent"),
        ("model.decoder=Bernouli", "did you mean 'Bernoulli'"),
        ("model.decoder=Linear", "model.decoder"),
        ("model.decoder.net.hidden=[-3]", "mend"),
        ("model.latents.prior.shape.deep=3", "model.latents.prior.shape"),
        ("views.4=Flip", "views"),
        ("data.validation=2", "validation"),
        ("data.seeds=2", "did you mean 'seed'"),
        ("training.epochs", "path=VALUE"),
        ("model={", "YAML"),
        ("views.0.mode=sometimes", "sometimes"),
    ],
)
def test_settings(refused: Refused, setting: str, says: str) -> None:
    assert says in train(refused, "--set", setting)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("model.latents.posterior=Bernoulli", "Bernoulli as posterior is a mass on discrete values"),
        (
            "model.latents.posterior={class: Gaussian, scale: optimal, net: {class: MLP, inputs: 64, outputs: 50}}",
            "can't stand as a posterior",
        ),
    ],
)
def test_a_part_that_the_mathematics_of_its_slot_refuses(refused: Refused, setting: str, says: str) -> None:
    assert says in train(refused, "--set", setting)


def test_unknown_recipe(refused: Refused) -> None:
    assert "did you mean 'binary-vae'" in train(refused, what="binary-vea")


def test_yaml(refused: Refused, tmp_path: Path) -> None:
    for text, says in (
        ("model: [", "no YAML"),
        ("- 1", "expected the keys"),
        ("training: {epochs: 1}", "has no model"),
        ("model: {class: VEA}", "did you mean 'VAE'"),
        ("model: {class: Normal, shape: 3}\nobjctive: 3", "did you mean 'objective'"),
    ):
        (tmp_path / "my.yaml").write_text(text)
        assert says in refused("train", "my.yaml", "--output", "run")
    assert "no configuration" in refused("train", "your.yaml", "--output", "run")
    said = refused("train", "binary-vae", "--output", "run", "--set", "data.conditions={digit}_{speaker}")
    assert "quote it where it is a text: 'data.conditions=\"...\"'" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "did you mean 'train'"),
        (["train"], "needs a recipe"),
        (["train", "binary-vae"], "--output"),
        (["train", "binary-vae", "--output", "r", "--sed", "1"], "--sed"),
        (["train", "binary-vae", "--output", "r", "--device", "gpu"], "gpu"),
        (["train", "binary-vae", "--output", "r", "--precision", "float8"], "float8"),
        (["train", "--resume", "nowhere"], "no run"),
        (["info", "nowhere"], "no artifact"),
        ([], "COMMAND"),
    ],
)
def test_arguments(refused: Refused, arguments: list[str], says: str) -> None:
    assert says in refused(*arguments)


def test_use_of_a_run(refused: Refused, run: Path, tmp_path: Path) -> None:
    assert "no condition" in refused("sample", run, "--label", "3", "--output", "s")
    assert "above 0" in refused("sample", run, "-n", "0", "--output", "s")
    assert "above 0" in refused("evaluate", run, "--importance-samples", "0")
    assert ".parquet" in refused("encode", run, "--data", "x.npz", "--output", "folder")
    assert "the model's data are images" in refused("encode", run, "--text", "a", "--output", "z.npz")
    np.savez("arrays.npz", x=np.zeros(3))
    assert "holds arrays and no model" in refused("info", "arrays.npz")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    assert "not empty" in refused("sample", run, "--output", "full")
    assert "is a file" in refused("sample", run, "--output", "full/mine")
    assert "is a file, below" in refused("sample", run, "--output", "full/mine/x.csv")
    assert "can't be written to x.json" in refused("sample", run, "--output", "x.json")
    np.save(tmp_path / "x.npy", np.arange(128, dtype=np.uint8).reshape(2, 8, 8) // 8)
    for command in ("reconstruct", "anomaly", "neighbours"):
        assert "is what is read (--data)" in refused(command, run, "--data", "x.npy", "--output", tmp_path / "x.npy")
    weights = run / "model.safetensors"
    assert "is what is read (RUN)" in refused("sample", weights, "--output", weights)
    np.save(tmp_path / "x.npy", np.arange(128).reshape(2, 8, 8) // 8 - 5)
    assert "these are int64 in [-5, 10]" in refused("evaluate", run, "--data", "x.npy")


# ---------------------------------------------------------------- places and artifacts


@pytest.mark.parametrize("name", ["samples", "run.2", "run.2.samples", ".kept"])
def test_a_folder_may_have_points_in_its_name(name: str, tmp_path: Path) -> None:
    Output(str(tmp_path / name)).check(DataSpec((1, 8, 8), "uint8", 0, 255, schema=ImageSchema()))


def test_what_is_read_is_not_written_over(refused: Refused, run: Path, tmp_path: Path) -> None:
    data = tmp_path / "mine.csv"
    data.write_text("a,b\n1,2\n")
    (tmp_path / "link.csv").symlink_to(data)
    for output in (data, tmp_path / "link.csv"):
        assert "is what is read (--data)" in refused("encode", run, "--data", data, "--output", output)
    assert "is what is read (--data)" in refused("train", "--data", tmp_path, "--output", tmp_path)
    assert data.read_text() == "a,b\n1,2\n"
    for command in (["sample", str(run)], ["train", "--data", str(data)]):
        assert "mine.csv is a file, below which" in refused(*command, "--output", data / "more" / "x.npz")


def test_a_folder_that_a_refusal_made_is_not_left(refused: Refused, run: Path, tmp_path: Path) -> None:
    assert main(["fit-prior", str(run), "pixel-cnn", "--output", str(tmp_path / "a" / "b")]) == 2
    assert not (tmp_path / "a").exists()
    for output in ("a.mp3", "a.doc"):
        assert f"can't be written to {output}" in refused("sample", run, "--output", output)


def test_an_output_that_holds_another_run(refused: Refused, run: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    error = refused("train", "binary-vae", "--output", run)
    assert f"--resume {run}" in error
    assert "another --output" in error
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    (tmp_path / "file").touch()
    assert "is a file" in refused("train", "binary-vae", "--output", "file")


def test_a_pickle(refused: Refused, tmp_path: Path) -> None:
    for name, save in (("a", lambda path: torch.save({"a": torch.ones(2)}, path)), ("b", dump_pickle)):
        save(tmp_path / f"{name}.safetensors")
        assert "pickle" in refused("sample", f"{name}.safetensors", "--output", "s")
    dump_pickle(tmp_path / "data.pkl")
    assert "pickle" in train(refused, "--data", "data.pkl")


def dump_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def rewritten(run: Path, path: Path, **header: str) -> Path:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(str(run / "model.safetensors"), framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(run / "model.safetensors"), path, metadata | header)
    return path


def test_an_artifact_of_a_newer_version(refused: Refused, run: Path, tmp_path: Path) -> None:
    path = rewritten(run, tmp_path / "new.safetensors", format="99", fusevae="9.0")
    assert "upgrade" in refused("info", path)


def test_an_artifact_with_a_class_from_outside(refused: Refused, run: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    with safe_open(str(run / "model.safetensors"), framework="pt") as file:
        text = file.metadata()["artifact"].replace("class: VAE", "class: stranger_module.VAE")
    (tmp_path / "stranger_module.py").write_text("raise SystemExit('it was imported')")
    path = rewritten(run, tmp_path / "strange.safetensors", artifact=text)
    assert "--trust stranger_module.VAE" in refused("info", path)


def test_damaged_artifacts(refused: Refused, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes((run / "model.safetensors").read_bytes())
    damage(path)
    assert "truncated" in refused("info", path)
    path.write_bytes(b"")
    assert "safetensors" in refused("info", path)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, path)
    assert "not written by fusevae" in refused("info", path)


# ---------------------------------------------------------------- a disk that fills up


FULL = "No space left on device"


@pytest.mark.parametrize(
    ("at", "error"), [(1, OSError(errno.ENOSPC, FULL)), (3, SafetensorError(f"I/O error: {FULL} (os error 28)"))]
)
def test_a_full_disk(
    run: Path,
    tmp_path: Path,
    at: int,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the checkpoint number ``at`` on, nothing can be written; what was there is whole, and goes on later."""
    from safetensors import torch as safetensors

    folder, written = tmp_path / "run", []
    save = safetensors.save_file

    def full(tensors: dict[str, torch.Tensor], path: str, **kwargs: object) -> None:
        written.append(path)
        if len(written) > at:
            Path(path).write_bytes(b"half")
            raise error
        save(tensors, path, **kwargs)

    config = ["train", str(run / "config.yaml"), "--output", str(folder), "--set", "training.checkpoint_every=3"]
    with monkeypatch.context() as patched:
        patched.setattr(safetensors, "save_file", full)
        assert main(config) == 1
    said = capsys.readouterr().err
    assert "error: " in said
    assert FULL in said
    assert "Traceback" not in said
    left = sorted(p.name for p in (folder / "checkpoints").iterdir())
    assert left == [f"step-{step:09d}.safetensors" for step in range(max(0, (at - 2) * 3), at * 3, 3)]
    assert main(["train", "--resume", str(folder)]) == 0
    ours, theirs = (load_file(place / "model.safetensors") for place in (folder, run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert "validation" in json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])  # of the start
