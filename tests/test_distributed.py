"""Two processes give what one gives, within rounding, under DDP and under FSDP2."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from distributed_worker import TEXTS, texts

WORKER = Path(__file__).with_name("distributed_worker.py")


def run(processes: int, *arguments: object) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), str(WORKER), *map(str, arguments)]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("game", ["vae", "seldom", "two_players"])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_give_the_result_of_one(tmp_path, game, parallel):
    run(1, game, parallel, tmp_path / "one")
    run(2, game, parallel, tmp_path / "two")
    one, two = (torch.load(tmp_path / n / "result.pt") for n in ("one", "two"))
    assert one["state"].keys() == two["state"].keys()
    for part in ("state", "held"):
        for name, value in one[part].items():
            torch.testing.assert_close(two[part][name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert len(one["records"]) == len(two["records"])


def test_one_process_does_not_wait_for_what_only_several_need():
    """Their imports take about a second of every start."""
    code = """
        import sys
        from fusevae import MLP, VAE, Bernoulli, Flat, Gaussian, Normal, Training, fit
        vae = VAE(Flat(Normal(2), Gaussian(MLP(6, 4))), Bernoulli(MLP(2, 6)))
        fit(vae, __import__("torch").ones(32, 6), training=Training(epochs=1), quiet=True)
        assert not {"torch.distributed.tensor", "torch.distributed.fsdp", "sympy"} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], check=True)


def test_two_processes_leave_out_what_one_leaves_out(tmp_path):
    """Dropout's masks are noise, keyed by the place in the batch: in transformers, their attention, and LSTMs."""
    for needed in ("tokenizers", "rdkit"):
        pytest.importorskip(needed)
    (tmp_path / "two").mkdir()
    run(2, "texts", "ddp", tmp_path / "two")
    found = torch.load(tmp_path / "two" / "result.pt")
    for recipe in TEXTS:
        alone = texts(recipe)
        alone.run()
        one, two = (
            torch.cat([t[n].flatten() for n in sorted(found[recipe])]) for t in (alone.state().tensors, found[recipe])
        )
        assert (one - two).norm() < 1e-5 * one.norm(), recipe


def test_who_loses_the_process_beside_it_says_so_in_a_line_and_how_to_go_on(tmp_path):
    folder = tmp_path / "run"
    settings = ["training.epochs=100000", "training.checkpoint_every=5", "recipe.hidden=[8]"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fusevae"]
    command += ["train", "logistic-vae", "--output", str(folder), *(w for s in settings for w in ("--set", s))]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as both:
        until = time.monotonic() + 200
        while not list(folder.glob("checkpoints/step-*[1-9]*")) and time.monotonic() < until:
            time.sleep(0.1)
        first = int((folder / ".lock").read_text().split()[1])  # one lock of both, which names the first process
        os.kill(first, signal.SIGKILL)
        said = both.communicate(timeout=100)[1]
    assert both.returncode
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert "another of the 2 processes was lost" in line and f"--resume {folder}" in line
    assert "gloo" not in said
