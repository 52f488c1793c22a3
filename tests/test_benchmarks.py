"""Every measurement still runs, and the tables know what to say of it; the list of the GPU's machine, too."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
#: of the other files, those of arms run in the benchmark that they belong to, and test_docs.py checks the table
SCRIPTS = [
    p
    for p in sorted(BENCHMARKS.glob("*.py"))
    if "__main__" in p.read_text() and p.name != "table.py" and not p.name.startswith("arm_")
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
    before = {p: p.stat().st_mtime_ns for p in (BENCHMARKS / "results").iterdir()}
    own = "start(main" not in script.read_text()  # those with arguments of their own
    smoke(monkeypatch, script, *([] if own else ["--results", str(tmp_path)]))
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
    device("--dry-run", timeout=300)


def device(*arguments: object, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run device.sh; what it says is shown where it fails."""
    command = ["bash", BENCHMARKS / "device.sh", *arguments]
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


SAVES = """
import pathlib, signal, sys, time
place, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
def save(*_):
    time.sleep(0.3)
    place.write_text(place.read_text() + " saved")
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
place.write_text((place.read_text() if place.exists() else "") + " started")
time.sleep(seconds)
place.write_text(place.read_text() + " ended")
"""


def test_work_on_another_machine_ends_in_time_is_saved_and_goes_on(tmp_path):
    """Items in their order; the done ones are skipped, the one that runs when time is over saves."""
    copy = tmp_path / "copy"  # of the script alone: what it runs here is no measurement
    (copy / "benchmarks").mkdir(parents=True)
    (copy / "benchmarks" / "device.sh").write_bytes((BENCHMARKS / "device.sh").read_bytes())
    (copy / "saves.py").write_text(SAVES)
    items = ["1 python saves.py first 0", "1 python saves.py second 60", "1 python -c 1/0", "40 python saves.py last 0"]
    (copy / "list").write_text("# seconds command\n" + "\n".join(items) + "\n")
    (copy / "torch.py").write_text("class cuda:\n    is_available = bool\n__version__ = '0'\n")

    def run(all_in: str) -> list[str]:
        (folder := copy / "out").mkdir(exist_ok=True)
        (folder / "log.txt").unlink(missing_ok=True)
        command = ["bash", "benchmarks/device.sh", "out"]
        environment = {**os.environ, "PYTHON": sys.executable, "LIST": "list", "SECONDS_IN_ALL": all_in}
        subprocess.run(command, cwd=copy, env=environment, timeout=60, check=True)
        return [
            " ".join(w for w in line.split() if w not in ("s:",))
            for line in (folder / "log.txt").read_text().splitlines()[1:]
        ]

    first = run("12")
    assert [line.split()[0] for line in first] == ["done", "not", "FAILED", "no"]
    assert (copy / "second").read_text() == " started saved"
    again = run("60")
    assert again[0] == "done before: python saves.py first" and (copy / "last").read_text() == " started ended"
    assert (copy / "first").read_text() == " started ended"
    with tarfile.open(copy / "out" / "results.tgz") as packed:
        names = packed.getnames()
    assert "logs/saves-py-second-60.txt" in names and "done/saves-py-last-0" in names
