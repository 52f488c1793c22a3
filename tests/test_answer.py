"""The verdict says what the figures say; a time for everything is kept, whatever is killed; settings are tuned."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
import time
from pathlib import Path

import pytest
import torch
import yaml

import fusevae
from fusevae import MLP, VAE, Bernoulli, Binarize, Flat, Gaussian, Normal
from fusevae.cli import main
from fusevae.core.errors import InputError
from fusevae.evaluation import rows
from fusevae.evaluation.compare import Difference
from fusevae.evaluation.comparison import Comparison
from fusevae.evaluation.intervals import interval
from fusevae.evaluation.likeness import Distances
from fusevae.evaluation.of_model import LatentsSummary, ModelResult, TrainingCost
from fusevae.evaluation.quality import Copying, Quality
from fusevae.evaluation.scores import LogLikelihood
from fusevae.recipes import rounds
from fusevae.recipes.candidates import Candidate, Cost
from fusevae.recipes.kept import Clock
from fusevae.recipes.ranges import ranges_of
from fusevae.training.recipes import find

SHAPE = (1, 8, 8)


def model(values: torch.Tensor | None = None, support: str = "mass on {0, 1}^64", fid=None, ms=1.0, copies=0.0, **more):
    """A model's typed figures: log p(x) of each example, an FID with its interval."""
    quality = likelihood = None
    if values is not None:
        error = values.std().item() / math.sqrt(len(values))
        likelihood = LogLikelihood(value=values.mean().item(), stderr=error, kind="bound")
    if fid is not None:
        sides = {"fid": [0.9 * fid, 1.1 * fid]}
        other = {"kid": 0.0, "energy": 0.0, "precision": 0.5, "recall": 0.5, "density": 1.0, "coverage": 0.5}
        near = Copying(nearer=0.5, closest=copies, intervals={"closest": [copies, copies]}, examples=100)
        quality = Quality(
            n=500, intervals=sides, fid=fid, **other, kind="sample", extractor="x", seconds_per_sample=ms / 1000,
            real=Distances(n=500, intervals={}, fid=1.0, **other), copying=near, reconstructions=None,
        )  # fmt: skip
    return ModelResult(
        family="VAE", level="evidence", conditional=False, support=support, log_likelihood=likelihood, quality=quality,
        parameters=1, bytes=4, **more,
    )  # fmt: skip


def table(**models: tuple[torch.Tensor | None, ModelResult]) -> Comparison:
    """A comparison with the paired differences within each support."""
    differences, names = [], list(models)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            (x, mine), (y, theirs) = models[a], models[b]
            if x is None or y is None or mine.over != theirs.over:
                continue
            value, error = (x - y).mean().item(), (x - y).std().item() / math.sqrt(len(x))
            where = interval(value, error, len(x))
            differences.append(Difference(model=a, minus=b, value=value, stderr=error, interval=where))
    n = next((len(x) for x, _ in models.values() if x is not None), 500)
    return Comparison(
        n=n, support=None, importance_samples=1, models={k: m for k, (_, m) in models.items()}, differences=differences
    )


def said(found: Comparison) -> dict[str, list[str]]:
    return {one.purpose: one.take for one in found.answer}


def test_equal_models_of_other_seeds_are_equal_and_a_clear_difference_is_found():
    """What another seed changes was measured: up to 0.09 of the standard deviation over the examples, where the paired
    interval alone is beyond 0 in most pairs."""
    generator, equal, found, trials = torch.Generator().manual_seed(0), 0, 0, 300
    for _ in range(trials):
        hard = 3.4 * torch.randn(1000, generator=generator)
        seeds = 0.04 * 3.4 * torch.randn(3, generator=generator)
        a, b = (hard + seeds[i] + 0.6 * torch.randn(1000, generator=generator) for i in range(2))
        worse = hard - 1.5 + 0.6 * torch.randn(1000, generator=generator)
        fid = (5 * (1 + 0.05 * torch.randn(2, generator=generator))).tolist()
        models = {"a": (a, model(a, fid=fid[0])), "b": (b, model(b, fid=fid[1])), "c": (worse, model(worse, fid=30.0))}
        told = said(table(**models))
        equal += all(set(told[purpose]) == {"a", "b"} for purpose in ("likelihood", "samples"))
        found += "c" not in told["likelihood"] + told["samples"]
    assert equal >= 0.9 * trials and found == trials


def test_each_purpose_has_its_own_and_no_support_meets_another():
    x = torch.linspace(-3, 3, 100)
    found = table(
        likely=(x, model(x, fid=20.0, ms=1.0, latents=LatentsSummary(dims=4, active=0, kl=0.0))),
        sharp=(x - 5, model(x - 5, fid=4.0, ms=50.0)),
        dense=(x + 90, model(x + 90, "density on R^64", fid=60.0, ms=1.1)),
        copier=(None, model(fid=1.0, ms=9.0, copies=0.9)),
    )
    told = [one for one in found.answer if one.purpose == "likelihood"]
    assert [(one.over, one.take, one.sure) for one in told] == [
        ("mass on {0, 1}^64", ["likely"], True),
        ("density on R^64", ["dense"], False),
    ]
    assert said(found)["samples"] == ["sharp"] and said(found)["speed"] == ["likely", "dense"]
    lines = "\n".join(found.answer_lines())
    assert "left out, since they copy training data: copier" in lines and "5 nats more than sharp" in lines
    assert "latents" not in said(found)  # the only ones have collapsed
    assert found.to_dict()["answer"][0]["take"] == ["likely"] and "copying" in found.warnings()["copier"]


def test_a_model_whose_samples_fail_is_not_taken_for_its_speed_and_none_is_called_good():
    x = torch.linspace(-3, 3, 100)
    bad = model(x, fid=60.0, ms=0.1)
    bad.quality.intervals["precision"] = [0.0, 0.1]  # of 0.5 of real ones
    good, better = model(x, fid=9.0, ms=5.0), model(x, fid=4.0, ms=50.0)
    lines = {one.purpose: str(one) for one in table(bad=(x, bad), good=(x, good), better=(x, better)).answer}
    assert lines["speed"].startswith("for speed: good is the fastest: 5 ms a sample, better takes 10 times as long; ")
    assert "but the samples of good are worse" in lines["speed"]
    assert lines["speed"].endswith("left out, since their samples fail: bad (unlike the data)")
    assert "not good" not in lines["samples"]
    alone = {one.purpose: one for one in table(bad=(x, bad), other=(x, model(x, fid=70.0, ms=5.0))).answer}
    assert alone["samples"].says.endswith("; yet not good: bad (unlike the data)")
    assert alone["speed"].take == ["bad"]  # beside one other it is not left out


def test_what_the_verdict_can_not_tell_apart_is_not_in_bold_and_thousands_are_written_out():
    x = torch.linspace(-math.sqrt(3), math.sqrt(3), 6000)  # of variance 1
    for more, sure in ((0.08, False), (0.5, True)):  # both beyond chance, one less than another seed may change
        found = table(a=(x, model(x)), b=(x + more, model(x + more)))
        assert (said(found)["likelihood"] == ["b"]) == sure != ("another seed may change" in found.answer_lines()[0])
        (row,) = rows.rows(found.named(), ["log_likelihood.value"], found.decided)["Likelihood of held-out data"]
        assert (row.best == {1}) == sure == ("<b>" in found._repr_html_())
    pair = table(a=(x, model(x)), b=(x + 0.2, model(x + 0.2)))  # of so many that each alone would not be known
    few = table(a=(x[::99], model(x[::99])), b=(x[::99] + 0.2, model(x[::99] + 0.2)))
    assert said(pair)["likelihood"] == said(few)["likelihood"] == ["b"] and few._repr_html_().count("<b>") == 1
    assert "1,754 nats more" in str(table(a=(x, model(x)), b=(x + 1754, model(x + 1754))).answer[0])


def test_the_only_one_left_is_not_the_only_one_there_is():
    x = torch.linspace(-3, 3, 100)
    found = table(copier=(x, model(x, fid=2.0, copies=0.5)), fair=(x, model(x, fid=9.0)))
    assert "fair is the only one that is left; left out, since they copy" in "\n".join(found.answer_lines())


def test_that_samples_were_not_judged_stands_beside_the_table():
    x = torch.linspace(-3, 3, 100)
    found, judged = table(a=(x, model(x))), table(a=(x, model(x, fid=4.0)))
    found.unjudged = "there are 15 real examples"
    assert found.notes() == {"samples": "they were not judged: there are 15 real examples"} and not judged.notes()


def test_a_curve_that_still_rises_is_said():
    x = torch.linspace(-3, 3, 100)
    a, b = (model(x, training=TrainingCost(gained=gained)) for gained in (2.0, 0.01))
    assert re.search("more time may change this: a still gained 2 nats", table(a=(x, a), b=(x, b)).answer_lines()[-1])


# ---------------------------------------------------------------- a time for everything


def plan(total: float = 600.0, candidates: int = 5, judge: float = 0.0):
    costs = {name: Cost(4.0, 4.0) for name in "abcdefgh"[:candidates]}
    return rounds.planned(costs, total, judge, 2000, 100, 5000)


def test_the_plan_keeps_its_shares():
    for total in (120.0, 600.0, 7200.0):
        for candidates in (1, 2, 3, 5, 8):
            found = plan(total, candidates, judge=500.0)
            assert found["judge_seconds"] <= 0.15 * total and found["sizes"][0] == candidates
            assert found["evaluation"]["seconds"] <= 0.2 * total
            assert all(b == -(-a // 2) for a, b in zip(found["sizes"], found["sizes"][1:], strict=False))


def test_recipes_that_nobody_named_are_no_more_than_the_time_is_for(tmp_path, monkeypatch, capsys):
    costs = {str(i): Cost(0.5, 0.5) for i in range(5)}
    for total in (20.0, 40.0, 60.0, 1200.0):
        found = rounds.affordable(costs, total, 0.0, 3.0, 100, 100, 100)
        n, beside = found["sizes"][0], rounds.foreseen(found, list(found["overheads"]))
        assert n == 2 or rounds.shared(found, 0, n, rounds.USED * total, beside) >= beside >= rounds.OVERHEAD
        assert (n == 5) == (total > 100)
    for clock in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, time.process_time)  # whatever runs beside
    few = {name: Candidate("logistic-vae", ["training.batch_size=16"]) for name in "abc"}
    monkeypatch.setattr("fusevae.recipes.bench.recommended", lambda *given: few)
    command = ["bench", "--total", "5s", "--output", str(tmp_path / "b"), "--samples", "0"]
    for _ in range(2):  # again, it goes on with the same
        assert main(command) == 0
        captured = capsys.readouterr()
        assert "c  there is too little time for it" in captured.out and "comparing 2 models" in captured.err
        assert "round 1: all, about 1.0 s each" in captured.err


class Killed(Exception):
    pass


def halved(
    kept: dict, after: int | None = None, lost: float = 0.0, over: str = "", beside: float = 1.0, total: float = 600.0
) -> dict:
    """The rounds of five candidates whose worth is their number, killed at the call ``after``, which took ``lost``;
    those of ``over`` have learned what they can in the first, and each training takes ``beside`` seconds more."""
    saved, calls = copy.deepcopy(kept), 0

    def save():
        saved.clear()
        saved.update(json.loads(json.dumps(kept)))

    def call():
        nonlocal calls
        calls += 1
        if calls == after:
            raise Killed

    def train(name, number, seconds):
        call()
        before = kept["done"].get(name, {}).get("seconds", 0.0)
        seconds = min(seconds, 9.0) if name in over else seconds
        kept["done"][name] = {"steps": 1, "seconds": before + seconds, "round": number}
        return beside

    def best(number):
        call()
        return sorted(kept["plan"]["overheads"], reverse=True)

    def spent():
        trainings = sum(done["round"] + 1 for done in kept["done"].values())
        return lost + beside * trainings + sum(done["seconds"] for done in kept["done"].values())

    try:
        rounds.rounds(
            list(kept["plan"]["overheads"]),
            kept,
            total,
            train,
            best,
            save,
            lambda name: name in over,
            spent,
            quiet=True,
        )
    except Killed:
        return saved
    return kept


def test_rounds_end_alike_wherever_they_are_killed():
    def fresh():
        return {"plan": plan(), "done": {}}

    whole = halved(fresh())
    names = [each["names"] for each in whole["rounds"]]
    assert [len(each) for each in names] == [5, 3, 2] and names[-1] == ["e", "d"]
    spent = sum(done["seconds"] for done in whole["done"].values())
    assert 0.7 * 600 < spent < 600 and whole["done"]["e"]["seconds"] > 2 * whole["done"]["a"]["seconds"]
    for after in range(1, 13):
        broken = halved(fresh(), after)
        assert [each["names"] for each in halved(broken)["rounds"]] == names
        for name, done in whole["done"].items():
            assert broken["done"][name]["seconds"] == pytest.approx(done["seconds"], rel=0.01)
        killed = halved(fresh(), after)
        before = sum(done["seconds"] for done in killed["done"].values())
        late = halved(killed, lost=200.0)  # what a killed call has taken is no longer there
        assert [each["names"] for each in late["rounds"]] == names[: len(late["rounds"])]
        least = rounds.LEAST * len(names[0])
        assert sum(done["seconds"] for done in late["done"].values()) < max(before, 600 - 200) + least


def test_what_has_learned_all_it_can_leaves_its_place_and_its_time_to_the_others():
    kept = halved({"plan": plan(), "done": {}}, over="ed")
    names = [each["names"] for each in kept["rounds"]]
    assert names[1:3] == [["c", "b", "a"], ["c", "b"]]  # not one alone, since two that are better are done
    kept = halved({"plan": plan(candidates=2), "done": {}}, over="b")
    spent = sum(done["seconds"] for done in kept["done"].values())
    assert 0.85 * 600 < spent < 600  # a round more than were planned, with what was left


def test_trainings_that_take_long_beside_leave_each_candidate_the_same_time():
    costs = dict.fromkeys("abcde", Cost(400.0, 4.0, 4.0))  # a pass over what is held out takes 4 s
    found = rounds.planned(costs, 300.0, 0.0, 2000, 100, 5000)
    kept = halved({"plan": found, "done": {}}, beside=21.0, total=300.0)
    first = [done["seconds"] for done in kept["done"].values() if done["round"] == 0]
    assert min(first) > 0.9 * max(first) and min(first) > 10


def test_a_clock_counts_what_was_killed(tmp_path):
    for i in range(2):
        with Clock(tmp_path, time.monotonic() - 50) as clock:
            assert 50 * (i + 1) <= clock.seconds < 50 * (i + 1) + 5
    with contextlib.suppress(KeyboardInterrupt), Clock(tmp_path, time.monotonic()) as clock:
        clock.path.write_text("")  # as a disk that was full would leave it
        raise KeyboardInterrupt
    assert Clock(tmp_path, time.monotonic()).seconds >= 100


def tiny(folder: Path, widths=(16, 8, 2)) -> str:
    for width in widths:
        vae = VAE(Flat(Normal(2), Gaussian(MLP(SHAPE, 4, (width,)))), Bernoulli(MLP(2, SHAPE, (width,))))
        node = fusevae.describe(fusevae.Experiment(vae, views=[Binarize()]))
        del node["data"]
        (folder / f"w{width}.yaml").write_text(yaml.safe_dump(node))
    return ",".join(f"w{width}.yaml" for width in widths)


def test_bench_goes_on_where_it_was_killed_and_trains_the_better_half_on(tmp_path, monkeypatch, capsys):
    from fusevae.training import loop

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fusevae.modalities.images.extractor.UPDATES", 10)
    monkeypatch.setattr("fusevae.recipes.rounds.shared", lambda *given: 0.25)
    monkeypatch.setattr("fusevae.recipes.rounds.AGAIN", 0)  # else minutes are left for more
    monkeypatch.setattr("fusevae.recipes.rounds.LEAST", 0.25)
    command = ["bench", tiny(tmp_path), "--total", "5m", "--samples", "40", "--output", "b"]
    with monkeypatch.context() as patched:  # stopped in the middle of the first training
        patched.setattr(loop.Loop, "_interrupted", lambda self, _: "w16" in str(self.folder) and self.step == 7)
        assert main(command) == 130
    assert "plan for 5 min 0 s, everything included: w16, w8, w2" in capsys.readouterr().err
    with monkeypatch.context() as patched:  # and killed between two rounds
        patched.setattr("fusevae.recipes.trainings.Work.best", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(command)
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    found, kept = json.loads(captured.out), json.loads(Path("b/bench.json").read_text())
    assert [len(each["names"]) for each in kept["rounds"]][:2] == [3, 2]
    first, second = kept["rounds"][0]["best"], kept["rounds"][1]["names"]
    assert set(second) == set(first[:2]) and found["total"] == 300.0
    for name in second:  # the same run, trained on
        text = (tmp_path / "b" / name / "config.yaml").read_text()
        assert "training.budget" in text and "from step" in text
        assert yaml.safe_load(text)["training"]["budget"] > kept["rounds"][0]["seconds"]
    assert found["answer"] and found["verdict"][0].startswith("for likelihood")
    page = Path("b/comparison.html").read_text()
    assert page.index("Which to take") < page.index("<table>") < page.index("<details>") and "real examples" in page


def test_a_bench_of_one_round_compares_what_an_earlier_call_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fusevae.recipes.rounds.shared", lambda *given: 0.25)
    monkeypatch.setattr("fusevae.recipes.rounds.AGAIN", 0)  # else minutes are left for more
    command = ["bench", tiny(tmp_path, (2,)), "--total", "5m", "--samples", "0", "--output", "b", "--json"]
    with monkeypatch.context() as patched:
        patched.setattr("fusevae.recipes.bench.compared", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(command)
    capsys.readouterr()
    assert main(command) == 0 and set(json.loads(capsys.readouterr().out)["models"]) == {"b/w2"}


@pytest.mark.parametrize("times", [[], ["--budget", "1s", "--total", "2s"]])
def test_one_time_is_given(times, capsys):
    assert main(["bench", *times]) == 2
    assert "give one of them" in capsys.readouterr().err


# ---------------------------------------------------------------- tuning


def short(monkeypatch, **more):
    """Let a tuning of seconds have trials, by the processor's time, whatever runs beside."""
    from fusevae.recipes import stages

    for name, value in {"LEAST": 0.2, "UPDATES": 1, "TRIED": 0, "SEARCH": 0.4, **more}.items():
        monkeypatch.setattr(stages, name, value)
    for clock in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, time.process_time)
    return stages


def test_tune_goes_on_and_leaves_the_best_as_a_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes import trials, tune

    short(monkeypatch, FAR=math.inf)
    monkeypatch.setattr(tune, "ranges_of", lambda *given: {"training.learning_rate": (1e-4, 1e-2)})
    command = ["tune", "logistic-vae", "--total", "6s", "--output", str(tmp_path / "t")]
    whole, calls = trials.Trials.one, []

    def killed(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*given)

    with monkeypatch.context() as patched:
        patched.setattr(trials.Trials, "one", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            raise SystemExit(main(command))
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] + found["pruned"] >= 2 and found["run"].endswith("best")
    assert (found["kept"] == "tuned") == bool(found["settings"])
    assert found["kept"] == "defaults" or found["interval"][0] > 0
    assert not (tmp_path / "t/states").exists()
    assert main(["evaluate", found["run"], "--importance-samples", "1"]) == 0
    capsys.readouterr()
    assert main([*command, "--json"]) == 0 and json.loads(capsys.readouterr().out) == found
    assert main([*command, "--seed", "1"]) == 2
    assert "another seed" in capsys.readouterr().err


def test_a_tuning_moves_one_step_at_a_time_and_never_looks_at_the_test_part(tmp_path, monkeypatch):
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes.trials import study_of

    def unseen(artifact, examples, *given):
        asked.append(examples)
        return log_likelihood(artifact, examples, *given)

    stages = short(monkeypatch, FAR=math.inf, PASSES=0)
    log_likelihood, asked = stages.log_likelihood, []
    monkeypatch.setattr(stages, "log_likelihood", unseen)
    found = fusevae_tune(tmp_path, 4.0)
    test = set(found.run.data.test.rows().tolist())
    assert asked and all(not test & set(examples.rows().tolist()) for examples in asked)  # but for the last report
    tried = [trial.params for trial in study_of(tmp_path / "t").trials if trial.params]
    assert (tried[0]["training.learning_rate"], tried[0]["recipe.latent"]) == (0.002, 12)
    assert tried[0]["recipe.hidden"] == "[256, 256]" and tried[1]["recipe.latent"] == 24  # larger ones first
    for i, one in enumerate(tried[1:8], 1):
        assert min(sum(one[name] != other[name] for name in one) for other in tried[:i]) == 1


def test_the_last_training_has_no_patience_with_a_learning_rate_that_rises_once_more(tmp_path, monkeypatch):
    pytest.importorskip("optuna", reason="tune needs optuna")
    short(monkeypatch)
    monkeypatch.setattr("fusevae.recipes.stages.peak", lambda *given: None)
    found = fusevae_tune(tmp_path, 4.0, "made")
    assert find("made")(found.run.artifact.data).training.patience and not (tmp_path / "t/last").exists()
    assert found.run.configuration["training"]["patience"] is None


def fusevae_tune(folder, total, recipe="logistic-vae"):
    from fusevae.recipes.tune import tune

    found = tune(recipe, total=total, output=folder / "t", quiet=True)
    assert found.run is not None and found.tuned is not None and found.run.finished
    return found


def looks_of_run(run):
    return [r["validation"]["elbo"] for r in run.metrics if "validation" in r]


def test_what_is_kept_of_a_tuning_goes_on_for_the_rest_of_the_time(tmp_path, monkeypatch):
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes.trials import study_of

    short(monkeypatch, FAR=1e-9, PASSES=math.inf, WORTH=math.inf)  # far from their end; no trial is worth it
    found = fusevae_tune(tmp_path, 5.0)
    tried = [trial.params["recipe.latent"] for trial in study_of(tmp_path / "t").trials if trial.params]
    assert found.tuned.kept == "defaults" and tried[:2] == [12, 6] and len(tried) <= 4  # few, smaller nets first
    assert found.run.seconds > 0.8
    first, looks = study_of(tmp_path / "t").trials[0].value, looks_of_run(found.run)
    assert looks[0] > first  # it begins where what went on from the trial had come to
    assert fusevae_tune(tmp_path, 5.0).tuned == found.tuned


def test_defaults_that_are_far_from_their_end_have_all_of_the_time(tmp_path, monkeypatch):
    """A search would cost them more than settings bring."""
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes.trials import study_of

    short(monkeypatch, FAR=1e-9, PASSES=0)
    monkeypatch.setattr("fusevae.recipes.stages.peak", lambda *given: None)
    monkeypatch.setattr("fusevae.recipes.stages.per_doubling", lambda *given: 0.5)
    found = fusevae_tune(tmp_path, 5.0)
    assert (found.tuned.kept, found.tuned.trials, found.tuned.settings) == ("defaults", 1, [])
    assert "each doubling of the time brings them 0.5 nats" in found.tuned.says
    assert len(study_of(tmp_path / "t").trials) == 1 and looks_of_run(found.run)


@pytest.mark.parametrize("better", [True, False])
def test_defaults_that_learn_by_heart_leave_their_time_to_trials(tmp_path, monkeypatch, better):
    """And what they had learned is kept, unless a trial is better beyond chance."""
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes.trials import study_of

    stages = short(monkeypatch, WHOLE=2, OFTEN=1, PATIENCE=1, LONGER=0.5, SEARCH=0.2)

    class Soon(stages.Fallen):
        def __call__(self, record, moment):
            self.at, self.seen = 0.0, "validation" in record and record["step"] > 0
            return not self.seen

    def apart(self, artifact):
        asked.append(1)
        trial = (self.folder / "last").exists() and len(asked) > before[0] + 1
        return [float(trial and better) + 0.01 * i for i in range(9)]

    def last(self):
        before.append(len(asked))
        return whole(self)

    asked, before, whole = [], [], stages.Work._last
    monkeypatch.setattr(stages, "Fallen", Soon)
    monkeypatch.setattr(stages, "peak", lambda *given: None)
    monkeypatch.setattr(stages.Work, "_apart", apart)
    monkeypatch.setattr(stages.Work, "_last", last)
    found = fusevae_tune(tmp_path, 5.0)
    kept = json.loads((tmp_path / "t/tune.json").read_text())
    assert kept["long"] and study_of(tmp_path / "t", "short").trials
    assert (found.tuned.epochs is not None) == better and ((tmp_path / "t/last").exists()) == better
    if not better:
        assert found.run.configuration["training"]["budget"] == 0.001 and looks_of_run(found.run)


def test_a_training_that_goes_on_from_another_has_fallen_only_where_it_learns_by_heart():
    from fusevae.recipes.curves import Fallen
    from fusevae.training.callbacks import Moment

    def ends(values, train, **more):
        fallen, now = Fallen(**more), Moment(1, 9, 2.0, dict, print)
        return [
            not fallen({"validation": {"elbo": v}, "train": {"elbo": t}}, now)
            for v, t in zip(values, train, strict=True)
        ]

    values = (-50.0, -49.9, -51.0, -60.0)
    assert ends(values, (-50.0, -49.0, -48.0, -40.0)) == [False, False, True, True]
    assert ends(values, (-50.0, -49.0, -48.0, -40.0), first=-100.0) == [False, False, False, True]
    assert not any(ends(values, (-50.0, -49.0, -51.0, -60.0), first=-100.0))  # as where beta begins at 0 again


def test_defaults_that_were_best_on_the_way_are_tried_as_long_as_they_take(tmp_path, monkeypatch):
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes.trials import study_of

    stages = short(monkeypatch, WHOLE=2, OFTEN=1, PATIENCE=1, LONGER=0.5, SEARCH=0.2)
    monkeypatch.setattr(stages, "peak", lambda looks, first: 0.5)
    found = fusevae_tune(tmp_path, 5.0)
    kept = json.loads((tmp_path / "t/tune.json").read_text())
    assert kept["short"] == pytest.approx(kept["each"] * (1 + 0.5 * stages.LONGER))
    assert len(study_of(tmp_path / "t").trials) == 1 and len(study_of(tmp_path / "t", "short").trials) > 1
    assert found.run.configuration["training"]["epochs"] == found.tuned.epochs
    assert (found.tuned.kept == "tuned") == bool(found.tuned.settings)


def test_a_trial_has_its_updates_however_dear_a_look_is(tmp_path, monkeypatch):
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes import stages, tune

    steps: list[float] = []

    def stopped(self, searched):
        lengths = self.trials.lengths(self.trials.own, self.kept["each"], stages.TRIED - 1)
        steps.append(lengths["epochs"] * 89)
        return False

    for place in ("recipes.trials", "training.budget"):
        monkeypatch.setattr(f"fusevae.{place}.timed", lambda *given, looks=True, most=None: (0.01, 1.0, 89))
    monkeypatch.setattr(stages.Work, "_search", stopped)
    assert tune.tune("logistic-vae", total=60.0, output=tmp_path / "t", quiet=True).run is None
    assert steps == [pytest.approx(stages.UPDATES, abs=1)]


def test_a_tuning_chooses_by_validation_examples_that_no_trial_saw():
    from fusevae.data.examples import InMemory
    from fusevae.recipes.tune import parted

    def rows(examples):
        return set(examples.batch(torch.arange(len(examples)))[0].flatten().tolist())

    for n in (60, 2000):
        few, apart = parted(InMemory(torch.arange(n)[:, None]))
        assert not rows(few) & rows(apart) and len(few) == min(300, n // 2) and len(apart) == min(500, n - n // 2)
    few, apart = parted(InMemory(torch.arange(9)[:, None]))
    assert rows(few) == rows(apart) == set(range(9))


def test_too_little_time_for_trials_is_left_to_the_defaults(tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="tune needs optuna")
    command = ["tune", "logistic-vae", "--total", "3s", "--output", str(tmp_path / "t"), "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert "the defaults are trained" in captured.err
    assert (found["trials"], found["kept"], found["settings"]) == (0, "defaults", [])
    assert "too little time" in found["says"] and main(["tune", "logistic-vae", *command[2:]]) == 0


def test_trials_take_new_values_before_old_ones_and_go_no_way_twice(tmp_path):
    pytest.importorskip("optuna", reason="tune needs optuna")
    from fusevae.recipes.trials import Trials, _suggested, study_of

    search = {"recipe.latent": [4, 8, 16], "recipe.dropout": (0.0, 0.5)}
    own = {"recipe.latent": 8, "recipe.dropout": 0.1}
    trials = Trials(study_of(tmp_path), search, own, None, None, "cpu", 0, None, True)
    tried = []
    for _ in range(4):
        trials._propose()
        trial = trials.study.ask()
        params = {name: _suggested(trial, name, values) for name, values in search.items()}
        tried.append(tuple(params.values()))
        trials.study.tell(trial, -params["recipe.latent"] - 100 * params["recipe.dropout"])
    assert tried == [(8, 0.1), (16, 0.1), (8, 0.0), (4, 0.0)]  # from 0 not up again to 0.125, nor to 16
    best, *others = trials.better(0.0)
    assert best == {"recipe.latent": 4, "recipe.dropout": 0.0} and len(others) == 1 and not trials.better(14.5)


def test_what_a_fast_learner_leads_by_is_not_taken_for_a_lead_at_the_end():
    from fusevae.recipes.curves import lasting

    assert lasting(0.12, 0.04, 3.5, 3.4) < 0 < lasting(7.0, 7.4, 3.5, 3.4)
    assert lasting(7.0, 7.4, 3.5, 3.4) == 7.4  # no more than there is


def test_a_recipe_states_its_own_ranges():
    def recipe(data, latent: int = 4, hidden: tuple = (64, 16), dropout: float = 0.1):
        """Nothing."""

    assert ranges_of(recipe, {})["recipe.latent"] == [2, 4, 8] and ranges_of(recipe, {})["recipe.dropout"] == (0.0, 0.5)
    assert ranges_of(recipe, {})["recipe.hidden"] == ["[32, 8]", "[64, 16]", "[128, 32]"]
    recipe.ranges = {"recipe.latent": [3, 5]}
    assert ranges_of(recipe, {}) == {"recipe.latent": [3, 5]}
    recipe.ranges = {"model.decoder": [1]}
    with pytest.raises(InputError, match=r"recipe\.OPTION"):
        ranges_of(recipe, {})
