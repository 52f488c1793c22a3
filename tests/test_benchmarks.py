"""Every measurement still runs, and the tables know what to say of it; the list of the GPU's machine, too."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = [p for p in sorted(BENCHMARKS.glob("*.py")) if '__name__ == "__main__"' in p.read_text()]
PARTS = {"table.py": "test_docs.py checks it", **{p.name: "of the benchmark of that name" for p in SCRIPTS if p.name.startswith("arm_")}}


def smoke(monkeypatch, script: Path, results: Path, *arguments: str) -> None:
    """Run a benchmark's smoke in this process, which has everything imported."""
    monkeypatch.setattr(sys, "argv", [str(script), *arguments, "--smoke", "--results", str(results)])
    monkeypatch.syspath_prepend(BENCHMARKS)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.name not in PARTS], ids=lambda p: p.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_benchmark_runs_and_its_figures_have_a_row(script, tmp_path, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in (BENCHMARKS / "results").iterdir()}
    smoke(monkeypatch, script, tmp_path)
    written = [json.loads(p.read_text()) for p in tmp_path.glob("*.json")]
    import table

    for record in written:
        assert table.rows(record["benchmark"], record["figures"])
    assert written or list(tmp_path.glob("*.png"))
    assert {p: p.stat().st_mtime_ns for p in (BENCHMARKS / "results").iterdir()} == before
