"""Every measurement still runs, and the tables know what to say of it; the list of the GPU's machine, too."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
#: of the other files, those of arms and cells run in the benchmark that they belong to; test_docs.py checks the table
SCRIPTS = [
    p
    for p in sorted(BENCHMARKS.glob("*.py"))
    if "__main__" in p.read_text()
    and p.name not in ("table.py", "zoo_cell.py", "minutes_cell.py")
    and not p.name.startswith("arm_")
]


def smoke(monkeypatch, script: Path, *arguments: str) -> None:
    """Run a benchmark's smoke in this process, which has everything imported."""
    monkeypatch.setattr(sys, "argv", [str(script), "--smoke", *arguments])
    monkeypatch.syspath_prepend(BENCHMARKS)
    code = None
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        code = end.code
    assert not code, code


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_benchmark_runs_and_its_figures_have_a_row(script, tmp_path, monkeypatch):
    if script.stem == "explorer" and shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    before = {p: p.stat().st_mtime_ns for p in (BENCHMARKS / "results").iterdir()}
    own = "start(main" not in script.read_text()  # those with arguments of their own begin in a process of their own
    if own:
        done = subprocess.run([sys.executable, script, "--smoke"], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    else:
        smoke(monkeypatch, script, "--results", str(tmp_path))
    monkeypatch.syspath_prepend(BENCHMARKS)
    import table

    written = [json.loads(p.read_text()) for p in tmp_path.glob("*.json")]
    for record in written:
        assert table.rows(record["benchmark"], record["figures"])
    assert own or written or list(tmp_path.glob("*.png"))
    assert {p: p.stat().st_mtime_ns for p in (BENCHMARKS / "results").iterdir()} == before


def test_figures_of_two_processors_are_a_range(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import table

    def record(cpu: str, figure: str, date: str):
        return {"hardware": {"cpu": cpu, "cores": 2}, "date": date}, ("speed (batch 9)", figure, "at least 0.9")

    old, new = record("Old", "1.05 (3 ms)", "2026-01-01"), record("New", "0.85 (1 ms)", "2026-02-01")
    records, row = table.over_processors([new, old])
    assert [r["hardware"]["cpu"] for r in records] == ["Old", "New"]
    assert row == ("speed (batch 9)", "0.85 (1 ms) (New, 2 cores) to 1.05 (3 ms) (Old, 2 cores)", "at least 0.9")
    assert table.over_processors([old]) == ([old[0]], old[1])
    assert table.number("-1,286.7 ± 0.7 nats") == -1286.7


# the machine with a GPU


def test_the_list_of_the_machine_with_a_gpu_is_of_commands_that_run():
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["bash", BENCHMARKS / "device.sh", "--dry-run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


SAVES = """
import pathlib, signal, sys, time

place, seconds = pathlib.Path("runs/kind", sys.argv[1], "said"), float(sys.argv[2])
place.parent.mkdir(parents=True, exist_ok=True)

def say(word):
    with place.open("a") as file:
        file.write(word + " ")

def save(*_):
    time.sleep(0.3)
    say("saved")
    sys.exit(130)

signal.signal(signal.SIGTERM, save)
say("started")
time.sleep(seconds)
say("ended")
"""
ITEMS = ["1 python saves.py first 0", "1 python saves.py second 60", "1 python -c 1/0", "40 python saves.py last 0"]


def test_work_on_other_machines_ends_in_time_is_saved_and_goes_on(tmp_path):
    """Items in their order; the done ones are skipped, the one that runs when time is over saves."""

    def machine(name: str, seconds: str) -> list[str]:
        """What a bare machine says of each item; only the folder of results comes from the one before."""
        here = tmp_path / name
        (here / "benchmarks").mkdir(parents=True)
        (here / "benchmarks" / "device.sh").write_bytes((BENCHMARKS / "device.sh").read_bytes())
        (here / "saves.py").write_text(SAVES)
        (here / "list").write_text("\n".join(["# seconds command", *ITEMS, ""]))
        environment = {**os.environ, "PYTHON": sys.executable, "LIST": "list", "SECONDS_IN_ALL": seconds}
        command = ["bash", "benchmarks/device.sh", tmp_path / "out"]
        done = subprocess.run(
            command, cwd=here, env=environment, timeout=60, check=True, capture_output=True, text=True
        )
        return done.stdout.splitlines()[-len(ITEMS) :]

    said = machine("one", "12")
    assert [line.split()[0] for line in said] == ["done", "not", "FAILED", "no"]
    assert (tmp_path / "one/runs/kind/second/said").read_text() == "started saved "
    assert [line.split(":")[0].split()[0] for line in machine("two", "60")] == ["done", "not", "FAILED", "done"]
    for name, words in {"first": "started ended ", "second": "started saved " * 2, "last": "started ended "}.items():
        assert (tmp_path / "two/runs/kind" / name / "said").read_text() == words
    with tarfile.open(tmp_path / "out" / "results.tgz") as packed:
        assert {"logs/saves-py-second-60.txt", "done/saves-py-last-0"} <= set(packed.getnames())
