"""Files from strangers: whatever an artifact, a configuration, a checkpoint or data hold, it is a result or one line,
and nothing large is taken before it is known to be what it says."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import fusevae
from fusevae.cli import main
from fusevae.core.budget import Budget
from fusevae.core.errors import InputError
from fusevae.core.untrusted import DEEPEST, MOST, from_json, from_yaml

TINY = ["--set", "training.epochs=0.5", "--set", "training.checkpoint_every=3", "--set", "training.log_every=3"]
Refused = Callable[..., str]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "binary-vae", "--output", str(folder), "--set", "recipe.hidden=[8]", *TINY]) == 0
    return folder


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command, which must end with a line and take little memory; returns the line."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object, code: int = 2) -> str:
        capsys.readouterr()
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        assert main([str(a) for a in arguments]) == code
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # in units of 1024 bytes
        assert time.perf_counter() - started < 20
        said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
        assert len(said) == 1 and said[0].startswith("error: "), said
        return said[0]

    return check


def parts(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    with safe_open(str(path), framework="pt") as file:
        return file.metadata(), load_file(path)


def described(run: Path, old: str, new: str) -> Path:
    """The artifact with something else in its description."""
    header, weights = parts(run / "model.safetensors")
    text, n = re.subn(old, new, header["artifact"], count=1)
    assert n == 1
    save_file(weights, "other.safetensors", header | {"artifact": text})
    return Path("other.safetensors")


HIDDEN = r"hidden:\n( *- \d+\n)+"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (HIDDEN, "hidden: [27000, 27000]\n", "far more than the weights"),
        (HIDDEN, "hidden: [100000, 100000]\n", "far more than the weights"),
        (HIDDEN, f"hidden: {[8] * 100_000}\n", "far more than the weights"),
        (HIDDEN, "hidden: [9]\n", "has shape"),
        (HIDDEN, "hidden: [0]\n", "above 0"),
        (HIDDEN, "hidden: [-1]\n", "negative dimension"),
        (HIDDEN, f"hidden: [{2**70}]\n", "MLP"),
        (HIDDEN, "hidden: [.inf]\n", "hidden"),
        ("dtype: uint8", "dtype: float99", "float99"),
        ("low: 0.0", "low: .nan", "finite"),
        (r"shape:\n( *)- 1\n", r"shape:\n\1- -1\n", "above 0"),
        (r"shape:\n( *)- 1\n", r"shape:\n\1- 99999999999999\n", "fit in memory"),
        ("^", LAUGHS, f"over {MOST:,} values"),
        ("^", MERGED, f"over {MOST:,} values"),
        ("^", "x: " + "[" * 50_000, f"over {DEEPEST} levels"),
        ("^", "x: &x [*x]\n", "to itself"),
        ("^", "class: Artifact\n", "'class' twice"),
        ("^", "1: 2\n", "as a name"),
        ("^", f"x: {'1' * 5000}\n", "no YAML"),
        ("^", "x: 2020-99-99\n", "no YAML"),
        ("^", "x: !!python/object/apply:os.system [ls]\n", "no YAML"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_description(refused: Refused, run: Path, old: str, new: str, says: str) -> None:
    assert says in refused("info", described(run, old, new))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.to(torch.int8), "stored as I8"),
        (lambda w: w.bool(), "stored as BOOL"),
        (lambda w: w * torch.nan, "aren't finite"),
        (lambda w: w.fill_(-torch.inf), "aren't finite"),
        (lambda w: w[..., None], "has shape"),
    ],
)
def test_weights(refused: Refused, run: Path, change: Callable[[torch.Tensor], torch.Tensor], says: str) -> None:
    header, weights = parts(run / "model.safetensors")
    name = next(name for name in weights if name.endswith("weight"))
    save_file(weights | {name: change(weights[name])}, "other.safetensors", header)
    error = refused("sample", "other.safetensors", "--output", "samples.npz")
    assert says in error and name in error
    assert not Path("samples.npz").exists()


def test_weights_that_are_missing_or_too_many_and_those_in_half(refused: Refused, run: Path) -> None:
    header, weights = parts(run / "model.safetensors")
    first = next(iter(weights))
    save_file({name: w for name, w in weights.items() if name != first}, "less.safetensors", header)
    assert first in refused("info", "less.safetensors")
    save_file(weights | {"\u202ename": torch.ones(2)}, "more.safetensors", header)
    assert "no place for" in refused("info", "more.safetensors")
    halves = {name: w.bfloat16() if w.is_floating_point() else w for name, w in weights.items()}
    save_file(halves, "half.safetensors", header)
    assert main(["info", "half.safetensors"]) == 0


@pytest.mark.parametrize("number", ["", "0", "-1", "²", "true", "[1]", "1.0", "9" * 5000])
def test_a_format_that_is_no_number(refused: Refused, run: Path, number: str) -> None:
    header, weights = parts(run / "model.safetensors")
    save_file(weights, "other.safetensors", header | {"format": number})
    refused("info", "other.safetensors")


def changed_header(data: bytes, change: Callable[[dict], object]) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def entries(header: dict) -> list[dict]:
    return [value for name, value in header.items() if name != "__metadata__"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:4],
        lambda d: d + b"more",
        lambda d: struct.pack("<Q", 2**63) + d[8:],
        lambda d: struct.pack("<Q", 10**8 + 1) + d[8:],
        lambda d: struct.pack("<Q", 0) + d[8:],
        lambda d: changed_header(d, lambda h: entries(h)[0].update(data_offsets=entries(h)[1]["data_offsets"])),
        lambda d: changed_header(d, lambda h: entries(h)[0].update(shape=[2**40, 2**40])),
        lambda d: changed_header(d, lambda h: entries(h)[0].update(shape=[-1])),
        lambda d: changed_header(d, lambda h: entries(h)[0].update(dtype="F4096")),
        lambda d: changed_header(d, lambda h: h.pop(next(n for n in h if n != "__metadata__"))),
        lambda d: changed_header(d, lambda h: h["__metadata__"].update(artifact=1)),
        lambda d: changed_header(d, lambda h: h.pop("__metadata__")),
        lambda d: d.replace(b"{", b"{" * 3000, 1),
    ],
)
def test_a_header(refused: Refused, run: Path, damage: Callable[[bytes], bytes]) -> None:
    Path("other.safetensors").write_bytes(damage((run / "model.safetensors").read_bytes()))
    refused("info", "other.safetensors")


def test_names_that_stand_twice_in_a_header(refused: Refused, run: Path) -> None:
    """The reader takes the last one; whichever it is, it has to fit."""
    data = (run / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    text = data[8 : 8 + length].rstrip()
    name = next(n for n in json.loads(text) if n != "__metadata__")
    more = text[:-1] + b"," + json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})[1:].encode()
    Path("other.safetensors").write_bytes(struct.pack("<Q", len(more)) + more + data[8 + length :])
    refused("info", "other.safetensors")


# ---------------------------------------------------------------- configurations, checkpoints, records


@pytest.mark.parametrize(
    "setting",
    [
        f"training.epochs={value}" for value in (".inf", ".nan", "-1", "1e400", "1e300", "[]", "true x", "9" * 5000)
    ]
    + ["training.betas=[1, 2]", "training.clip=-1", "training.patience=0", "training.accumulate=1000000000"]
    + ["training.validate_every=0", "training=3", "model=[]", "data.seed=x", "seed=1.5"],
)  # fmt: skip
def test_settings(refused: Refused, run: Path, setting: str) -> None:
    refused("train", run / "config.yaml", "--output", "out", "--set", setting)
    assert not Path("out").exists()


def test_a_model_larger_than_memory(refused: Refused, run: Path) -> None:
    for what, setting in (
        (run / "config.yaml", "model.decoder.net.hidden=[300000, 300000]"),
        ("binary-vae", "recipe.hidden=[300000, 300000]"),
    ):
        assert "free memory" in refused("train", what, "--output", "out", "--set", setting)
    assert not Path("out").exists()


def test_a_configuration(refused: Refused, run: Path) -> None:
    text = (run / "config.yaml").read_text()
    for changed in (
        b"", b"\xff\xfe", b"x: \x00", LAUGHS.encode(), ("x: " + "{a: " * 9999).encode(), (text + "\nseed: 1").encode(),
        text.replace("class: VAE", "class: [VAE]").encode(), text.replace("data:", "data: &d\n  x: *d").encode(),
    ):  # fmt: skip
        Path("my.yaml").write_bytes(changed)
        refused("train", "my.yaml", "--output", "out")
    with open("my.yaml", "wb") as file:
        file.truncate(2**33)  # no bytes on disk
    assert "at most" in refused("train", "my.yaml", "--output", "out")


def test_a_checkpoint_of_a_stranger(refused: Refused, run: Path) -> None:
    shutil.copytree(run, "run")
    bad: list[dict] = [
        {"step": -1},
        {"step": "1"},
        {"records": 1e9},
        {"best": []},
        {"rate_scale": None},
        {"stale": True},
    ]
    whole = [(place, *parts(place)) for place in Path("run/checkpoints").iterdir()]
    for values in [*({**json.loads(whole[0][1]["values"]), **change} for change in bad), [], "x", "[" * 10**5]:
        for place, header, tensors in whole:
            text = values if isinstance(values, str) else json.dumps(values)
            save_file(tensors, place, header | {"values": text})
        assert "every checkpoint in run/checkpoints is damaged" in refused("train", "--resume", "run")


def test_a_checkpoint_of_another_model(refused: Refused, run: Path) -> None:
    from fusevae.training.checkpoint import digest

    shutil.copytree(run, "run")
    for place in Path("run/checkpoints").iterdir():
        header, tensors = parts(place)
        name = next(n for n in tensors if n.startswith("game/"))
        tensors[name] = tensors[name].to(torch.int8)
        save_file(tensors, place, header | {"digest": digest(tensors)})
    assert "of another model" in refused("train", "--resume", "run")


@pytest.mark.parametrize(
    "line",
    [
        "[]", "3", '{"step": "x"}', '{"step": -1}', '{"step": true}', '{"epoch": 1}',
        '{"step": 1, "train": {"kl": {}}}', '{"step": 1, "step": 2}', '{"step": 1, "event": "went back"}',
        '{"step": 1, "event": "x", "says": []}',
        '{"step": 1, "says": "\\ud800"}', '{"step": 1' + "0" * 5000 + "}", "[" * 10**5, '{"step": 1, "diagnosis": 2}',
    ],
)  # fmt: skip
def test_a_record(refused: Refused, run: Path, line: str) -> None:
    shutil.copytree(run, "run")
    path = Path("run/metrics.jsonl")
    path.write_text(line + "}" * (not line.endswith("}")) + "\n" + path.read_text())
    assert "metrics.jsonl" in refused("info", "run")
    assert "metrics.jsonl" in refused("train", "--resume", "run")


def test_records_that_are_not_text(refused: Refused, run: Path) -> None:
    shutil.copytree(run, "run")
    Path("run/metrics.jsonl").write_bytes(b"\xff\xfe{}\n")
    assert "UTF-8" in refused("info", "run")


def test_figures_that_are_none(run: Path, tmp_path: Path) -> None:
    from fusevae.training.run import Run

    folder = shutil.copytree(run, tmp_path / "run")
    for text in ("", "[]", "{}", '{"n": 1}', '{"log_likelihood": 3, "n": "x", "support": []}'):
        (folder / "evaluation.json").write_text(text)
        with pytest.raises(InputError, match=r"evaluation\.json"):
            _ = Run.open(folder).evaluation


# ---------------------------------------------------------------- what is no file


def test_pipes_loops_and_folders_in_the_place_of_files(refused: Refused, run: Path) -> None:
    os.mkfifo("pipe.npz")
    os.mkfifo("pipe.safetensors")
    os.mkfifo("pipe.yaml")
    os.symlink("loop.npz", "loop.npz")
    Path("folder.yaml").mkdir()
    Path("texts").mkdir()
    os.mkfifo("texts/a.txt")
    Path("parts").mkdir()
    os.mkfifo("parts/train.parquet")
    for command in (
        ["info", "pipe.safetensors"], ["recipes", "--data", "pipe.npz"], ["train", "pipe.yaml", "--output", "out"],
        ["evaluate", run, "--data", "pipe.npz"], ["recipes", "--data", "texts"], ["recipes", "--data", "parts"],
        ["evaluate", run, "--extractor", "pipe.safetensors", "--samples", "500"],
    ):  # fmt: skip
        assert "a pipe or a device" in refused(*command)
    assert "a pipe or a device" in refused("recipes", "--data", "/dev/zero")
    assert "loop.npz" in refused("recipes", "--data", "loop.npz")
    assert "a folder" in refused("train", "folder.yaml", "--output", "out")
    assert "no artifact" in refused("info", "a\0b")


def test_what_may_not_be_read(refused: Refused, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("x.npz", x=np.zeros((20, 8, 8), np.uint8))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)  # root may read everything
    for command in (["recipes", "--data", "x.npz"], ["info", run], ["train", run / "config.yaml", "--output", "out"]):
        assert "may not be read" in refused(*command)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
    ],
)
def test_the_end_of_memory(refused: Refused, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    def end(options: object) -> int:
        raise error

    monkeypatch.setattr("fusevae.cli.recipes.recipes", end)
    assert says in refused("recipes", code=1)


# ---------------------------------------------------------------- data


def test_a_flipped_bit_is_noticed_where_there_is_a_checksum(refused: Refused) -> None:
    x = np.random.default_rng(0).integers(0, 255, (30, 8, 8), dtype=np.uint8)
    np.savez("x.npz", x=x)
    data = bytearray(Path("x.npz").read_bytes())
    data[data.index(x.tobytes()[:64]) + 5] ^= 1
    Path("x.npz").write_bytes(data)
    assert "CRC" in refused("recipes", "--data", "x.npz")
    Path("folder").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image).save(f"folder/{i}.png")
    data = bytearray(Path("folder/3.png").read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    Path("folder/3.png").write_bytes(data)
    assert "3.png" in refused("recipes", "--data", "folder")


def test_headers_of_arrays(refused: Refused) -> None:
    np.save("x.npy", np.zeros((30, 8, 8), np.float32))
    whole = Path("x.npy").read_bytes()
    (length,) = struct.unpack("<H", whole[8:10])
    header = whole[10 : 10 + length].decode()
    for old, new in (
        ("(30", "(-1"), ("(30", f"({10**20}"), ("{", "{{"), ("'shape'", "'shap'"), ("<f4", "|O"), ("(30", "((30,)"),
        ("(30, 8, 8)", "(" * 200), ("(30, 8, 8)", "30"), ("<f4", "<f99"),
    ):  # fmt: skip
        changed = header.replace(old, new).encode()
        damaged = whole[:8] + struct.pack("<H", len(changed)) + changed + whole[10 + length :]
        Path("y.npy").write_bytes(damaged)
        refused("recipes", "--data", "y.npy")
        with zipfile.ZipFile("y.npz", "w") as archive:
            archive.writestr("x.npy", damaged)
        refused("recipes", "--data", "y.npz")
    np.savez("z.npz", x=np.zeros((30, 8, 8)))
    os.rename("z.npz", "z.npy")
    assert "npz" in refused("recipes", "--data", "z.npy")


def test_damage_that_shows_when_a_column_is_read(refused: Refused) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    values = np.random.default_rng(0).normal(size=(500, 2))
    parquet.write_table(pyarrow.table({"a": values[:, 0], "b": values[:, 1]}), "x.parquet")
    data = bytearray(Path("x.parquet").read_bytes())
    data[4:60] = bytes(56)
    Path("x.parquet").write_bytes(data)
    assert "no whole parquet" in refused("recipes", "--data", "x.parquet")


def test_a_saved_dataset_that_is_damaged(refused: Refused) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a cat sits", "a dog runs"] * 20}).save_to_disk("saved")
    for name in ("dataset_info.json", "state.json"):
        kept = Path("saved", name).read_bytes()
        for changed in (b"", b"[]", kept[:-20], b"\xff" + kept):
            Path("saved", name).write_bytes(changed)
            refused("recipes", "--data", "saved")
        Path("saved", name).write_bytes(kept)


# ---------------------------------------------------------------- the parts


def test_a_budget_counts_what_would_be_made() -> None:
    small, large = torch.ones(3000), torch.ones(1, 3000)
    makes: list[Callable[[], object]] = [
        lambda: torch.empty(10**7), lambda: torch.zeros((4000, 4000)), lambda: torch.arange(10**8),
        lambda: torch.eye(9999), lambda: torch.full((5000, 5000), 1.0), lambda: nn.Linear(4000, 4000),
        lambda: small[:, None] + large, lambda: torch.outer(small, small), lambda: small[:, None] @ large,
        lambda: small.repeat(10_000), lambda: large.expand(3000, 3000).contiguous(),
        lambda: torch.linspace(0, 1, 10**8), lambda: small.new_zeros(10**8),
        lambda: torch.randperm(10**8), lambda: torch.tril(torch.ones(3000, 3000)), lambda: torch.cat([small] * 3000),
    ]  # fmt: skip
    for make in makes:
        with pytest.raises(InputError, match="too large"), Budget(2**24, 1000, "too large"):
            make()
    with pytest.raises(InputError, match="too many"), Budget(2**24, 100, "too many"):
        nn.ModuleList(nn.Linear(1, 1) for _ in range(1000))
    with Budget(2**24, 100, "neither"):
        net = nn.Linear(1000, 1000)
        nn.init.orthogonal_(net.weight[:50])
        assert net.weight.view(-1)[:10].tolist()


def test_texts_as_plain_data() -> None:
    assert from_yaml("{a: &x [1, 2], b: *x, c: ~}", "it") == {"a": [1, 2], "b": [1, 2], "c": None}
    shared = from_yaml("{a: &x {class: A}, b: *x}", "it")
    assert shared["a"] is shared["b"]  # one object that stands in two places
    deep = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    assert from_yaml(deep, "it") and from_json(deep, "it")
    for bad in ('{"a": 1, "a": 2}', "[" * 10**5, '"\\ud800"', "1" * 5000, "", "{"):
        with pytest.raises(InputError, match="no JSON"):
            from_json(bad, "it")


def test_what_the_library_saves_is_within_its_own_bounds() -> None:
    """Small weights beside large masks: what is built on the way counts, and has room."""
    flow = fusevae.Flow(512, "autoregressive", transforms=1, hidden=(8,))
    artifact = fusevae.core.artifact.Artifact(flow, fusevae.DataSpec((512,)))
    path = artifact.save(Path(os.environ["FUSEVAE_CACHE"]) / "flow.safetensors")
    assert fusevae.load(path).n_parameters == artifact.n_parameters


def test_a_name_that_is_too_long_for_a_file_is_no_kind_of_token(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("one two\n" * 30)
    command = ["train", "text-vae", "--data", str(tmp_path / "a.txt"), "--output", str(tmp_path / "run")]
    assert main([*command, "--set", f"data.tokens={'x' * 5000}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
