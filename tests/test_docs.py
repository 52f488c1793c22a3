"""What the documents claim is true: their code runs, their links lead somewhere, their figures are those measured."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fusevae import MLP, VAE, Bernoulli, Flat, Gaussian, Training, build, describe, fit
from fusevae.cli.parser import make_parser
from fusevae.training.recipes import recipes

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = ("README.zh.md", "CONTRIBUTING.md")  # whose code other tests run


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files_that_exist(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p) and p.name not in ELSEWHERE], ids=lambda p: p.name)
def test_code_runs_as_it_stands(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "fusevae.modalities.images.extractor.UPDATES", 10
    )  # what it says is the same after less training
    for code in blocks(page):
        exec(compile(code.replace('"10m"', '"1s"'), str(page), "exec"), {})


def test_the_readme_is_a_door():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_are_those_that_there_are(page):
    for block in re.findall(r"```(?:sh)?\n(.*?)```", page.read_text(), re.DOTALL):
        for line in re.findall(r"^(?:python -m )?fusevae (.*)", block.replace("\\\n", " "), re.MULTILINE):
            given = make_parser().parse_args(words := shlex.split(line, comments=True))
            for name in (given.what or "").split(",") if words[0] in ("train", "bench", "recipes") else ():
                assert not name or "/" in name or name in recipes(), line


def test_the_chinese_readme_is_in_step():
    here, there = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
    for what in (r"```.*?```", r"^#+ ", r"\]\(((?!README)[^)]*)\)", r"<!-- results -->.*<!-- end"):
        flags = re.DOTALL if "```" in what or "results" in what else re.MULTILINE
        assert re.findall(what, here, flags) == re.findall(what, there, flags), what


def test_the_first_prior_of_the_contributing_guide_is_a_density_and_trains(tmp_path):
    path = tmp_path / "logistic.py"
    path.write_text(blocks(ROOT / "CONTRIBUTING.md")[0])
    spec = importlib.util.spec_from_file_location("logistic", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["logistic"] = module
    spec.loader.exec_module(module)
    prior, _ = module.Logistic.examples()[0]
    z = torch.linspace(-30, 30, 60001)[:, None]
    assert torch.trapezoid(prior().log_prob(z).exp(), z[:, 0]).item() == pytest.approx(1, abs=1e-4)
    node = describe(prior)
    assert describe(build(node, trust=["logistic.Logistic"])) == node
    x = (torch.rand(64, 6) < 0.3).float()
    vae = VAE(Flat(module.Logistic(2), Gaussian(MLP(6, 4))), Bernoulli(MLP(2, 6)))
    fit(vae, x, training=Training(epochs=1, batch_size=16), quiet=True)


def test_the_steps_of_the_docs_page_are_where_it_says():
    text = (ROOT / "docs" / "how-a-vae-is-trained.md").read_text()
    for name, path in re.findall(r"`(\w+(?:\.\w+)?)`(?: in)?\s*\n?\s*\(?\[`[\w/.]+`\]\(\.\./([\w/.]+)\)", text):
        source = (ROOT / path).read_text()
        for part in name.split("."):
            assert re.search(rf"(def|class) {part}\b", source) or part == "noise", (name, path)


def test_the_table_of_figures_is_what_the_benchmarks_wrote():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "table.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
