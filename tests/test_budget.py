"""A time for the training: planned once, kept in the configuration, counted over its parts."""

from __future__ import annotations

import json
import math
import time
from types import SimpleNamespace

import pytest
import torch
import yaml
from test_run import node, write_table

import fusevae
from fusevae import (
    MLP,
    VAE,
    Experiment,
    Flat,
    Gaussian,
    InputError,
    Normal,
    Preprocessed,
    Source,
    Standardise,
    Training,
    fit,
)
from fusevae.cli import main
from fusevae.training import budget, checkpoint, configuration
from fusevae.training.needs import lacking, out_of_reach
from fusevae.training.progress import Progress
from fusevae.training.recipes import find
from fusevae.training.train import resume, train


@pytest.fixture
def timing(monkeypatch):
    """Steps of 1 s and validations of 5 s, in epochs of 10 steps; how often they were timed."""
    asked: list[int] = []

    def timed(experiment, data, device, steps, made=None, looks=True, most=None):
        asked.append(steps)
        return 1.0, 5.0, 10

    monkeypatch.setattr(budget, "timed", timed)
    return asked


def experiment(path, **settings) -> Experiment:
    vae = VAE(Flat(Normal(1), Gaussian(MLP(3, 2, (4,)))), Gaussian(MLP(1, 6, (4,))))
    return Experiment(vae, Source(str(path)), training=Training(batch_size=8, **settings))


def described(made: Experiment) -> dict:
    return fusevae.describe(made)


def test_the_command_line_plans_once_and_the_configuration_keeps_it(tmp_path, timing, capsys):
    table = write_table(tmp_path / "table.csv")
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump({k: v for k, v in node(table).items() if k != "data"}, sort_keys=False)
    )
    given = ["train", str(tmp_path / "c.yaml"), "--data", str(table), "--budget", "200s", "--importance-samples", "1"]
    assert main([*given, "--output", str(tmp_path / "a")]) == 0 and len(timing) == 2
    said = capsys.readouterr().err
    kept = configuration.read(tmp_path / "a" / "config.yaml")["training"]
    left = budget.USED * (200 - kept["beside"])
    wanted = int(left - 3 * 5)  # a tenth of the time for validations: 3 of them, one of the start among these
    assert f"planned for 200s: {wanted} steps of 1e+03 ms" in said
    assert (kept["budget"], kept["planned"], kept["epochs"]) == ("200s", True, pytest.approx(wanted / 10))
    assert kept["validate_every"] == -(-wanted // 3)
    again = ["train", str(tmp_path / "a" / "config.yaml"), "--output", str(tmp_path / "b"), "--importance-samples", "1"]
    assert main(again) == 0 and len(timing) == 2  # the plan is as it was
    folders = [tmp_path / "a", tmp_path / "b"]
    assert len({json.loads((f / "metrics.jsonl").read_text().splitlines()[-1])["step"] for f in folders}) == 1
    a, b = (fusevae.load(folder).state_dict() for folder in folders)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_part_of_a_planned_training_goes_on_with_the_same_plan(tmp_path, timing):
    table = write_table(tmp_path / "table.csv")
    stop = [lambda record: record["step"] < 30]
    settings = {"budget": "100s", "log_every": 10}
    whole, part = (experiment(table, **settings) for _ in range(2))
    torch.manual_seed(0)
    for one in (whole, part):  # the same weights at the start
        one.model.load_state_dict(whole.model.state_dict())
    whole = fit(whole, quiet=True, folder=tmp_path / "whole")
    fit(part, quiet=True, folder=tmp_path / "part", callbacks=stop)
    assert len(timing) == 4 and checkpoint.newest_values(tmp_path / "part" / "checkpoints")["seconds"] > 0
    found = resume(tmp_path / "part", quiet=True, importance_samples=1)
    assert len(timing) == 4 and found.finished and found.steps == whole.history.steps
    for a, b in zip(whole.distribution.parameters(), found.artifact.distribution.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_time_that_is_used_counts_and_more_may_be_given(tmp_path, capsys):
    table = write_table(tmp_path / "table.csv")
    made = described(experiment(table, epochs=1e5, budget=0.4, planned=True, log_every=10**6))
    run = train(made, tmp_path / "run", importance_samples=1, quiet=True)
    assert run.finished and 0 < run.steps < 1e6  # out of time
    state = checkpoint.newest_values(tmp_path / "run" / "checkpoints")
    assert state["late"] and state["seconds"] >= 0.4
    last = [record for record in run.metrics if record["step"] == run.steps]  # what is kept is judged at the end
    assert any("validation" in r for r in last) and any("diagnosis" in r for r in last)
    assert last[-1]["says"] == "out of time"
    again = resume(tmp_path / "run", importance_samples=1, quiet=True)
    assert again.finished and again.steps == run.steps  # not one step more
    with pytest.raises(InputError, match=r"used its time: give training\.budget"):
        resume(tmp_path / "run", settings=["training.epochs=2e5"], quiet=True)
    more = resume(tmp_path / "run", settings=["training.budget=0.7"], importance_samples=1, quiet=True)
    assert more.finished and more.steps > run.steps
    assert checkpoint.newest_values(tmp_path / "run" / "checkpoints")["seconds"] >= 0.7


def test_what_came_before_the_plan_and_what_comes_after_the_training_are_in_the_time(tmp_path, timing):
    made = experiment(write_table(tmp_path / "table.csv"))
    data, now = made.data.read(), time.monotonic()
    bare = budget.plan(made, data, 400)
    assert bare.beside == 5 and bare.steps == int(budget.USED * 395 - 7 * 5)  # the last look alone
    early, late = (budget.plan(made, data, 400, since=now - before) for before in (0, 200))
    assert late.beside == pytest.approx(early.beside + 200, abs=1)
    assert early.steps - late.steps == pytest.approx((1 - budget.VALIDATING) * budget.USED * 200, abs=5)
    after = budget.plan(made, data, 400, since=now, report=True).beside - early.beside
    assert budget.DRAWN < after <= budget.AFTER * 400 + 1
    least = budget.plan(made, data, 400, since=now - 400)  # a training has a part of it, and says that it will be late
    assert least.beside == 300 and least.steps == 90 and "it will be 1 min 4" in str(least)
    assert Training(budget=400, beside=late.beside).limit == 400 - late.beside
    assert Training().limit == math.inf


def test_a_report_is_of_the_examples_that_there_is_time_for(tmp_path, monkeypatch):
    from fusevae.evaluation import likelihood
    from fusevae.training import outcome

    now, asked = [0.0], []

    def slow(artifact, examples, importance_samples):
        asked.append(importance_samples)
        now[0] += 0.01 * len(examples) * importance_samples  # of an example and a sample

    monkeypatch.setattr(likelihood, "log_likelihood", slow)
    monkeypatch.setattr(likelihood.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(outcome.time, "monotonic", lambda: 0.0)
    vae = VAE(Flat(Normal(1), Gaussian(MLP(2, 2, (4,)))), Gaussian(MLP(1, 4, (4,))))
    data = fusevae.read_data(torch.randn(2000, 2), validation=0.0, test=0.5)
    artifact, held = fusevae.Artifact(vae, data.spec), data.held[0]
    assert len(held) == 1000

    def afforded(*given, most=100, models=1, **more):
        left = outcome.seconds_left(*given) if len(given) == 2 else given[0]
        found, k = likelihood.affordable([artifact] * models, held, most, left, **more)
        return len(found), k

    report = {"least": outcome.LEAST}
    assert afforded(None, math.inf, **report) == (1000, 100)
    assert afforded(1e5, math.inf, **report) == (1000, 100) and afforded(1200, math.inf, **report) == (1000, 10)
    half = pytest.approx(500, abs=1), 1
    assert afforded(200, math.inf, **report) == half  # what is left counts
    assert afforded(1e5, outcome.DRAWN + 20, **report) == half
    assert afforded(20, 0.0, **report) == (outcome.LEAST, 1)
    assert afforded(20.0) == (1000, 1) and afforded(1e5, most=1000) == (1000, 1000)  # all, where no part is asked for
    assert [afforded(60.0 * n, most=1000, models=n) for n in (1, 3)] == [(1000, 3)] * 2  # of several as of one
    assert set(asked) == {1}  # what is dear isn't tried for long


def test_a_density_takes_as_long_however_many_importance_samples_are_asked_for(monkeypatch):
    """An evaluation of a million rows was of ten times as many as there was time for."""
    from fusevae.evaluation import likelihood

    now = [0.0]

    def slow(artifact, examples, importance_samples):
        now[0] += 0.001 * len(examples)

    monkeypatch.setattr(likelihood, "log_likelihood", slow)
    monkeypatch.setattr(likelihood.time, "perf_counter", lambda: now[0])
    data = fusevae.read_data(torch.randn(2000, 2), validation=0.0, test=0.5)
    found, _ = likelihood.affordable([fusevae.Artifact(Normal(2), data.spec)], data.held[0], 100, 2.0, 100)
    assert len(found) == pytest.approx(500, abs=1)


def test_a_validation_that_takes_too_much_of_the_time_is_of_fewer_examples(monkeypatch):
    def timed(experiment, data, device, steps, made=None, looks=True, most=None):
        return 0.01, 4.0, 100

    monkeypatch.setattr(budget, "timed", timed)
    vae = VAE(Flat(Normal(1), Gaussian(MLP(2, 2, (4,)))), Gaussian(MLP(1, 4, (4,))))
    data = fusevae.read_data(torch.randn(5000, 2), validation=0.8, test=0.0)
    found = {seconds: budget.plan(Experiment(vae), data, seconds) for seconds in (20, 100, 400)}
    assert [one.validated for one in found.values()] == [500, 2000, None]
    assert found[20].validation_seconds == 0.5 and found[20].steps > 1700
    loop = budget.begun(Experiment(vae, training=Training(budget=20)), data)[1]
    assert len(loop.validation) == 500 and loop.settings.validated == 500
    assert found[20].settings()["validated"] == 500 and "validated" not in found[400].settings()


def test_a_training_with_a_budget_is_prepared_once_and_ends_in_it(tmp_path, monkeypatch):
    from fusevae.training import prepare

    table, begun = write_table(tmp_path / "table.csv"), time.monotonic()
    made, prepared = experiment(table), []
    ready, start = budget.ready, type(made.model).start_from
    monkeypatch.setattr(budget, "ready", lambda *given: prepared.append("ready") or ready(*given))
    monkeypatch.setattr(type(made.model), "start_from", lambda *given: prepared.append("start") or start(*given))
    found = fit(made, quiet=True, budget=3.0)
    assert time.monotonic() - begun < 3.5 and found.history.steps > 10  # some for a busy machine's last step
    assert sorted(prepared) == ["ready", "start"] and prepare.ready is ready


def test_what_is_timed_leaves_the_training_as_it_was(tmp_path):
    made = experiment(write_table(tmp_path / "table.csv"), epochs=2)
    data = made.data.read()
    parts = made.model, data, made.views, made.objective, made.training, 0
    one = budget.ready(*parts)
    before = {n: v.clone() for n, v in one.game.state_dict().items()}
    assert budget.timed(made, data, "cpu", 12, one)[0] > 0 and one.game.training is False
    assert all(torch.equal(v, before[n]) for n, v in one.game.state_dict().items())
    assert all(p.grad is None for p in one.game.parameters())


def test_steps_that_take_long_are_not_timed_for_longer_than_there_is(tmp_path, monkeypatch):
    made = experiment(write_table(tmp_path / "table.csv"))
    forward = type(made.model).trace

    def slow(model, *given, **more):
        if model.training:
            time.sleep(0.3)
        return forward(model, *given, **more)

    monkeypatch.setattr(type(made.model), "trace", slow)
    started = time.monotonic()
    found = budget.plan(made, made.data.read(), 2.0)
    assert found.step_seconds > 0.3 and time.monotonic() - started < 3.0  # twice a step and the one before; not 17


@pytest.mark.parametrize("value", ["soon", "0s", -1, 0, float("inf"), float("nan")])
def test_no_time_is_refused_in_a_line(value):
    with pytest.raises(InputError) as error:
        Training(budget=value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--budget", "soon"], "no time"),
        (["--budget", "5s", "--set", "training.epochs=3"], "leave out the other"),
        (["--budget", "1ms"], "no time"),
    ],
)
def test_the_command_line_refuses_in_a_line(words, says, tmp_path, capsys):
    assert main(["train", "binary-vae", *words, "--output", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line and not (tmp_path / "run").exists()


def test_epochs_and_a_budget_are_not_given_at_once():
    with pytest.raises(InputError, match="leave one out"):
        fit("binary-vae", budget="2s", training={"epochs": 3}, quiet=True)


# what is said before the time is spent


def shown(monkeypatch, capsys, total: int, each: float, **settings) -> str:
    """What a training of steps that take ``each`` seconds says."""
    now = [0.0]
    monkeypatch.setattr("fusevae.training.progress.time.monotonic", lambda: now[0])
    found = Progress(every=math.inf, **settings)
    with found.showing(total, 0):
        for step in range(1, 20):
            now[0] += 5 * each if step == 1 else each
            found.advance(step)
    return capsys.readouterr().err


def test_a_training_of_hours_says_so_at_its_start(monkeypatch, capsys):
    said = shown(monkeypatch, capsys, 10_000, 1.08)
    assert said.count("this will take about 2 h 59 min here (10,000 steps of 1.08e+03 ms): --budget 20m") == 1
    assert 'fit(..., budget="20m")' in shown(monkeypatch, capsys, 10_000, 1.08, python=True)
    assert not shown(monkeypatch, capsys, 1000, 1.0) and not shown(monkeypatch, capsys, 10_000, 1.0, quiet=True)


@pytest.mark.parametrize(
    ("recipe", "n", "settings", "says"),
    [
        ("gan", 40, {}, "needs some 200 examples, these are 40, which it learns by heart"),
        ("gan", 400, {"epochs": 5}, "this training has 30: give it training.epochs=333, or take"),
        ("diffusion", 400, {"epochs": 5, "budget": 60, "planned": True}, "give it some 1 h 6 min, or take"),
        ("gan", 400, {"epochs": 200}, None),
        ("conv-vae", 40, {"epochs": 1}, None),
        ("latent-diffusion", 400, {"epochs": 1}, None),  # of vectors: few are needed
    ],
)
def test_what_is_not_enough_is_said_with_what_would_be(recipe, n, settings, says):
    data = Source().read()
    data.train = data.train.subset(torch.arange(n))
    made = find(recipe)(data.spec)
    training = made.training.replaced(batch_size=64, **settings)
    total = max(1, round(training.epochs * (n // min(64, n))))
    lines = lacking(made.model, made.objective, data, training, total)
    assert len(lines) == (says is not None) and (says is None or says in lines[0])


def test_a_training_says_what_it_lacks_before_its_first_step():
    with pytest.warns(UserWarning, match="needs some 200 examples, these are 32"):
        fit("gan", torch.randint(0, 17, (40, 1, 8, 8), dtype=torch.uint8), training={"epochs": 1}, quiet=True)


@pytest.mark.parametrize(
    ("scale", "factor", "says"),
    [
        (1e4, 1.0, "fixed at 10000, the data's is 1.0"),
        (3.0, 1.0, "no training can be better than a constant model"),
        (1.5, 1.0, None),  # with the means known it would be
        (1e-3, 1.0, "fixed at 0.001, the data's standard deviation is up to"),
        (0.1, 1.0, None),
        ("net", 1e-6, "bounded at 0.000912, the data's is 1"),
        ("shared", 1e6, "bounded at 148, the data's standard deviation is up to"),
        ("net", 100.0, None),
    ],
)
def test_a_scale_that_is_out_of_reach_is_said(scale, factor, says):
    x = factor * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    decoder = Gaussian(MLP(1, Gaussian.outputs(4, scale)), scale)
    vae = VAE(Flat(Normal(1), Gaussian(MLP(4, 2))), decoder)
    found = out_of_reach(vae, x)
    assert found is None if says is None else says in found and "\n" not in found
    whole = Preprocessed([Standardise((4,))], vae)
    whole.start_from(lambda: x)
    seen = out_of_reach(whole, x)  # inside the preprocessing all are alike
    assert (seen is None) == (isinstance(scale, str) or 0.01 <= scale <= 1.6)


def test_batches_are_smaller_where_too_few_steps_would_fit(monkeypatch):
    seen = []

    def timed(experiment, data, device, steps, made=None, looks=True, most=None):
        seen.append(experiment.training.batch_size)
        return 0.1 * experiment.training.batch_size / 64, 0.0, len(data.train) // experiment.training.batch_size

    monkeypatch.setattr(budget, "timed", timed)
    data = Source().read()

    def make():
        vae = VAE(Flat(Normal(1), Gaussian(MLP((1, 8, 8), 2, (4,)))), Gaussian(MLP(1, (2, 8, 8), (4,))))
        return Experiment(vae, training=Training(batch_size=64))

    found = {seconds: budget.plan(make(), data, seconds, "cpu") for seconds in (10, 60, 600)}
    assert [one.batch_size for one in found.values()] == [16, 32, None]
    assert found[60].steps == 1140 and found[60].settings()["batch_size"] == 32
    assert "batch_size" not in found[600].settings() and "batches of 16" in str(found[10])
    assert found[60].epochs == pytest.approx(1140 / (len(data.train) // 32))
    seen.clear()
    budget.plan(make(), data, 10, "cpu")
    assert set(seen) == {16}  # a dear net isn't tried in batches that it will not have


def test_a_look_at_texts_is_timed_as_blocks_of_like_length_are(monkeypatch):
    from fusevae.data.examples import InMemory
    from fusevae.training import diagnosis

    lengths = torch.arange(3000) % 100 + 1
    held = InMemory(torch.zeros(3000, 1))
    held.lengths = lengths
    seen = []
    monkeypatch.setattr(held, "batch", lambda indices: seen.append(int(lengths[indices].max())) or (indices, None))
    loop = SimpleNamespace(validation=held, rank=0, processes=1, device=torch.device("cpu"), seed=0)
    diagnosis.held_out(loop, lambda name, batch, progress: {}, ["model"])
    assert seen == sorted(seen) and len(seen) == 30
    some = lengths[budget.middling(lengths, 500)]
    assert abs(some.max() - sum(seen) / 30) < 10  # filled up to the longest, each is as long
