"""Runs that go on: one writer a folder, what is kept however a run ends, and one truth for steps and time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from test_run import copied, edit, node, trained, tree, write_table  # noqa: F401 (fixtures)

import fusevae
from fusevae import InputError, Run
from fusevae.cli import main
from fusevae.data.source import read_data
from fusevae.recipes.kept import CLOCK
from fusevae.training import checkpoint, configuration, diagnosis
from fusevae.training.identity import fingerprint
from fusevae.training.lock import LOCK, locked
from fusevae.training.loop import Loop


def stopping_at(step: int):
    """A callback that ends a training."""
    return lambda record: record["step"] < step


def refused(capsys, *arguments: object) -> str:
    """The one line with which bad input is refused."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    return error


# ---------------------------------------------------------------- one writer


def test_who_else_writes_into_a_folder_is_named_and_readers_are_not_hindered(copied, tmp_path, capsys):  # noqa: F811
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(node(tmp_path / "table.csv")))
    table = write_table(tmp_path / "table.csv")
    with locked(copied):
        me = f"process {os.getpid()} on "
        assert me in refused(capsys, "train", "--resume", copied)
        with pytest.raises(InputError, match=me):
            fusevae.resume(copied)
        assert main(["info", str(copied)]) == 0
        assert main(["sample", str(copied), "--output", str(tmp_path / "s.csv"), "-n", "3"]) == 0
    assert not (copied / LOCK).exists()
    with locked(tmp_path / "new"):
        assert me in refused(capsys, "train", tmp_path / "c.yaml", "--output", tmp_path / "new")
        assert me in refused(capsys, "fit-prior", copied, "mixture", "--output", tmp_path / "new")
        bench = ("bench", tmp_path / "c.yaml", "--data", table, "--budget", "1s", "--output", tmp_path / "new")
        assert me in refused(capsys, *bench, "--samples", 0)
        with pytest.raises(InputError, match=me):
            fusevae.fit(fusevae.Gaussian(fusevae.Constant(6)), torch.randn(40, 3), folder=tmp_path / "new", quiet=True)


def test_a_process_that_is_killed_lets_go(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from fusevae.training.lock import locked
with locked(Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | path) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"process {other.pid} on "), locked(tmp_path):
            pass
        other.kill()
    with locked(tmp_path):  # its file is still there
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} ")
    assert not (tmp_path / LOCK).exists()


# ---------------------------------------------------------------- the same data, the same settings


@pytest.mark.parametrize(
    "change", ["appended", "reordered", "a value", "the names of two columns", "one column's name"]
)
def test_data_that_are_not_what_they_were_are_refused(copied, change, tmp_path, capsys):  # noqa: F811
    table = write_table(tmp_path / "table.csv")
    edit(copied, "data", "path", value=str(table))
    head, *rows = table.read_text().splitlines()
    head = {"the names of two columns": "b,a,c", "one column's name": "a,b,d"}.get(change, head)
    if change == "appended":
        rows.append("1,2,3")
    elif change == "reordered":
        rows[5], rows[6] = rows[6], rows[5]
    elif change == "a value":
        rows[50] = "1,2,3"
    table.write_text("\n".join([head, *rows]) + "\n")
    before = tree(copied)
    says = "data.schema.columns" if "name" in change else "data of"
    error = refused(capsys, "train", "--resume", copied)
    assert says in error and "another --output" in error and str(copied) in error
    assert tree(copied) == before


def test_every_example_of_large_data_counts():
    x = torch.arange(60_000.0).view(30_000, 2)
    y = x.clone()
    y[12_346] += 1
    one, other = (read_data(values, validation=0, test=0).train for values in (x, y))
    assert fingerprint(one, 10_000) == fingerprint(other, 10_000)  # of earlier versions, which looked at some
    assert fingerprint(one, 30_000) != fingerprint(other, 30_000)


def test_data_given_in_python_have_to_be_the_same(tmp_path):
    x = torch.randn(80, 3)
    model = fusevae.Gaussian(fusevae.Constant(6))
    settings = {"training": {"epochs": 2, "batch_size": 20, "log_every": 1}, "quiet": True}
    fusevae.fit(model, x, folder=tmp_path / "run", callbacks=[stopping_at(3)], **settings)
    before = tree(tmp_path / "run")
    for other in (x.flip(0), x + 1, x.double(), x[:40], torch.cat([x, x])):
        with pytest.raises(InputError, match="data"):
            fusevae.resume(tmp_path / "run", other, quiet=True)
    assert tree(tmp_path / "run") == before
    assert fusevae.resume(tmp_path / "run", x.numpy(), quiet=True).history.finished


def test_a_loaded_model_says_the_same_after_another_was_fitted_from_it(tmp_path):
    x = torch.randn(80, 3) * 9 + 50
    model = fusevae.Preprocessed([fusevae.Standardise((3,))], fusevae.Gaussian(fusevae.Constant(6)))
    fusevae.fit(model, x, training={"epochs": 2}, quiet=True).save(tmp_path)
    loaded = fusevae.load(tmp_path)
    before = fusevae.log_likelihood(loaded, x)
    tuned = fusevae.fit(loaded.distribution, x / 100, training={"epochs": 2}, quiet=True)
    assert torch.equal(fusevae.log_likelihood(loaded, x), before)
    assert torch.equal(tuned.distribution.steps[0].mean, loaded.distribution.steps[0].mean)


# ---------------------------------------------------------------- what is kept


def test_without_a_checkpoint_nothing_begins_anew(copied, capsys):  # noqa: F811
    for path in (copied / "checkpoints").iterdir():
        path.unlink()
    before = tree(copied)
    error = refused(capsys, "train", "--resume", copied)
    assert "holds no checkpoint" in error and "metrics.jsonl shows 14 steps" in error
    with pytest.raises(InputError, match="holds no checkpoint"):
        fusevae.resume(copied)
    assert tree(copied) == before


def test_a_line_that_a_crash_cut_off_is_left_out(copied, trained, capsys):  # noqa: F811
    metrics = copied / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole + '{"step": 15, "ep')
    assert main(["info", str(copied)]) == 0
    fusevae.resume(copied, device="cpu", quiet=True)
    assert [r | {"seconds": 0} for r in Run.open(copied).metrics] == [
        r | {"seconds": 0} for r in Run.open(trained).metrics
    ]
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])  # one that a checkpoint counts
    capsys.readouterr()
    fusevae.resume(copied, device="cpu", quiet=True)
    assert f"has lost 1 of its {len(lines)} records" in capsys.readouterr().err
    assert len(Run.open(copied).metrics) == len(lines) - 1


@pytest.mark.parametrize(
    "line", ["{", "[1]", '{"step": "x"}', '{"step": 1, "epoch": []}', "[" * 100_000, '{"step": 1, "train": 3}', ""]
)
def test_a_malformed_line_in_the_middle_is_one_line(copied, capsys, line):  # noqa: F811
    metrics = copied / "metrics.jsonl"
    first, *rest = metrics.read_text().splitlines()
    metrics.write_text("\n".join([first, line, *rest]) + "\n")
    before = tree(copied)
    for command in (["info", copied], ["train", "--resume", copied]):
        assert "line 2 " in refused(capsys, *command)
    assert tree(copied) == before


class Gone:
    """stderr of a terminal that was closed."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    flush = fileno = write

    def isatty(self) -> bool:
        return True


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that close here")
def test_a_lost_terminal_stops_a_training_saved(tmp_path, monkeypatch, request):
    experiment = configuration.experiment(node(write_table(tmp_path / "table.csv")))
    whole = fusevae.fit(experiment, folder=tmp_path / "whole", quiet=True).state_dict()
    with monkeypatch.context() as patched:
        update = Loop._step

        def lost(self, batch):
            if self.step == 4:
                signal.raise_signal(signal.SIGHUP)
                signal.raise_signal(signal.SIGHUP)  # the terminal says so, and the shell
            return update(self, batch)

        patched.setattr(Loop, "_step", lost)
        patched.setattr(sys, "stderr", Gone())
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
        request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
        assert not fusevae.fit(experiment, folder=tmp_path / "cut").history.finished
    run = Run.open(tmp_path / "cut")
    assert run.steps == 5 and run.metrics[-1]["says"] == "interrupted"
    again = fusevae.resume(tmp_path / "cut", quiet=True).state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in again.items())
    assert [r | {"seconds": 0} for r in run.metrics[:-1]] == [
        r | {"seconds": 0} for r in Run.open(tmp_path / "whole").metrics[: len(run.metrics) - 1]
    ]


@contextlib.contextmanager
def room(size: int):
    """Files can't grow beyond a size, as on a disk that is full."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit for the size of files here")
@pytest.mark.parametrize("size", [100, 16_000])  # before anything is written, and once a training is done
def test_a_full_disk_ends_in_a_line_and_the_last_good_state_is_whole(copied, tmp_path, capsys, size):  # noqa: F811
    table = write_table(tmp_path / "table.csv")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(node(table)))
    resuming = ["train", "--resume", copied, "--set", "training.epochs=3"]
    commands = {
        "train": ["train", tmp_path / "c.yaml", "--output", tmp_path / "train"],
        "bench": ["bench", tmp_path / "c.yaml", "--data", table, "--budget", "0.3s", "--samples", 0, "--output",
                  tmp_path / "bench", "--importance-samples", 2],
        "resume": resuming,
        "s.csv": ["sample", copied, "-n", 2000, "--output", tmp_path / "s.csv"],
        "samples": ["sample", copied, "-n", 2000, "--output", tmp_path / "samples"],
    }  # fmt: skip
    if size == 100:
        commands["prior"] = ["fit-prior", copied, "mixture", "--components", 2, "--output", tmp_path / "prior"]
    weights = fusevae.load(copied).state_dict()
    for name, command in commands.items():
        capsys.readouterr()
        with room(size):
            assert main([str(word) for word in command]) == 1, name
        (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert "File too large" in error and str(tmp_path) in error
        assert not [
            path for path in tmp_path.rglob(".*") if path.is_file() and path.name != CLOCK
        ]  # nothing half written is left
        assert fusevae.load(copied).state_dict().keys() == weights.keys()
        assert checkpoint.read_newest(copied / "checkpoints").values["step"] in (14, 21)
    assert not (tmp_path / "s.csv").exists() and not (tmp_path / "samples").exists()
    if size == 100:
        assert main([str(word) for word in commands["prior"]]) == 0  # once there is room again
    elif Run.open(copied).configuration["training"]["epochs"] == 3:
        assert fusevae.resume(copied, quiet=True).history.steps == 21
    with contextlib.suppress(InputError):  # where it had come to its first checkpoint
        fusevae.resume(tmp_path / "train", quiet=True)
    assert size == 100 or Run.open(tmp_path / "train").steps == 14


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_figures_that_cannot_be_printed_are_a_failure(copied, monkeypatch, capsys):  # noqa: F811
    before = tree(copied)
    with open("/dev/full", "w") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        assert main(["evaluate", str(copied), "--importance-samples", "2", "--json"]) == 1
        with contextlib.suppress(OSError):
            full.close()
    assert "No space left" in capsys.readouterr().err and tree(copied) == before


# ---------------------------------------------------------------- one truth


def test_steps_and_seconds_are_the_same_wherever_they_are_said(tmp_path, capsys, monkeypatch):
    table = write_table(tmp_path / "table.csv")
    said = {k: v for k, v in node(table).items() if k != "data"}
    said["training"] = {**said["training"], "log_every": 19_997}  # so that it ends between two records
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(said))
    plan = fusevae.training.budget.Plan(20_000, 20_000 / 7, 9000, 1e-4, 1e-3, 10)  # more than the time allows
    monkeypatch.setattr("fusevae.recipes.trainings.plan", lambda *given: plan)
    command = ["bench", tmp_path / "c.yaml", "--data", table, "--budget", "0.4s", "--output", tmp_path / "bench"]
    assert main([*map(str, command), "--samples", "20", "--importance-samples", "2"]) == 0
    said = capsys.readouterr().err
    assert "plan: 1 training of 0.4 s, evaluation, about" in said
    run = Run.open(tmp_path / "bench/c")
    kept = json.loads((tmp_path / "bench/bench.json").read_text())["done"]["c"]
    compared = json.loads((tmp_path / "bench/comparison.json").read_text())["models"][str(run.path)]["training"]
    assert 0 < run.steps < 19_997
    assert (kept["steps"], kept["seconds"]) == (run.steps, run.seconds) == (compared["steps"], compared["seconds"])
    assert run.metrics[-1]["step"] == run.steps and run.metrics[-1]["says"] == "out of time"
    assert f"{run.steps:,} steps" in (run.path / "report.html").read_text()
    assert main(["info", str(run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["steps"] == run.steps


def test_diagnoses_cost_a_bounded_part_of_the_work(tmp_path):
    def diagnosed(epochs: float, **training) -> list[int]:
        settings = {"epochs": epochs, "batch_size": 20, **training}
        experiment = configuration.experiment(node(table)).replaced(training=fusevae.Training(**settings))
        return [r["step"] for r in fusevae.fit(experiment, quiet=True).history.records if "diagnosis" in r]

    table = write_table(tmp_path / "table.csv")
    assert diagnosed(1) == [7]  # a short training once, at its end
    steps = [0, *diagnosed(20, validate_every=1)]
    assert steps == [*range(0, 140, 14), 140]  # 20 held-out examples cost 1/3 of an update of 20, and 1 beside
    assert 1 + 20 / (diagnosis.PASSES * 20) <= diagnosis.SHARE * 14
