"""Python and notebooks: what fit takes, what it leaves alone, what it gives back, and how it goes on."""

from __future__ import annotations

import inspect
import json
import pickle
import sys
import time
import types

import numpy as np
import pandas
import pytest
import torch
import yaml
from torch import Tensor, nn

import fusevae
from fusevae import (
    MLP,
    VAE,
    Artifact,
    Bernoulli,
    Binarize,
    Constant,
    DataSpec,
    Experiment,
    Flat,
    Gaussian,
    InputError,
    Normal,
    Objective,
    Source,
    Step,
    Training,
    View,
    describe,
    find,
    fit,
    load,
    read_data,
    resume,
)
from fusevae.core import noise, typed
from fusevae.data.preprocessing import Normalise, Standardise
from fusevae.models.preprocessed import Preprocessed
from fusevae.training.notices import in_python
from fusevae.training.progress import Progress
from fusevae.training.train import train as run

X = (torch.rand(200, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()
SETTINGS = {"epochs": 4, "batch_size": 16, "log_every": 7, "validate_every": 10, "checkpoint_every": 9}


def vae() -> VAE:
    with noise.preserved():
        torch.manual_seed(1)
        posterior = Gaussian(MLP(6, Gaussian.outputs(2), (8,)))
        return VAE(Flat(Normal(2), posterior), Bernoulli(MLP(2, 6, (8,))))


def standardised() -> Preprocessed:
    with noise.preserved():
        torch.manual_seed(1)
        return Preprocessed([Standardise((6,))], Gaussian(Constant(Gaussian.outputs(6))))


def trained(what=None, data=X, **more) -> Artifact:
    return fit(vae() if what is None else what, data, **{"training": SETTINGS, "quiet": True} | more)


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def stopping_at(step: int):
    return lambda record: record["step"] < step


# what fit takes


def test_a_recipe_by_name_is_the_training_of_the_command_line(tmp_path):
    spec = read_data(None).spec
    training = {"epochs": 0.2, "log_every": 3}
    node = describe(find("logistic-vae")(spec, latent=3))
    node |= {"data": describe(Source()), "seed": 4}
    node["training"] |= training
    run(node, tmp_path / "run", quiet=True, importance_samples=1)
    ours = fit("logistic-vae", options={"latent": 3}, training=training, seed=4, quiet=True)
    assert same(ours, load(tmp_path / "run"))
    assert not same(ours, fit("logistic-vae", options={"latent": 3}, training=training, seed=5, quiet=True))


def small(data: DataSpec, width: int = 4) -> Experiment:
    net = MLP(data.shape, Gaussian.outputs(2), (width,))
    model = VAE(Flat(Normal(2), Gaussian(net)), Bernoulli(MLP(2, data.shape, (width,))))
    return Experiment(model, training=Training(**SETTINGS))


def test_a_recipe_may_be_a_function_an_experiment_or_a_model_of_ones_own():
    torch.manual_seed(3)  # the caller's random state must not matter to a recipe
    first = trained(small, options={"width": 5})
    torch.manual_seed(4)
    assert same(first, trained(small, options={"width": 5}))
    experiment = small(DataSpec((6,)))
    assert same(trained(experiment, training=None), trained(experiment.model))
    assert trained(experiment, training={"epochs": 1}, seed=7).history.total == 10
    experiment.training = Training(epochs=2, batch_size=16)  # what was set later counts as well
    assert trained(experiment, training=None).history.total == 20


def test_a_recipe_of_ones_own_package_by_name(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "recipes.py").write_text(
        "import torch, fusevae as fv\nreads = {'validation': 0.5}\n"
        "@fv.described\nclass Net(torch.nn.Module):\n    def __init__(self, width: int = 16):\n"
        "        super().__init__()\n        self.net = torch.nn.Sequential(torch.nn.Flatten(-3), "
        "torch.nn.Linear(64, width))\n    def forward(self, x, *rest):\n        return self.net(x)\n"
        "def small(data, latent: int = 2):\n"
        "    q = fv.Gaussian(Net(2 * latent))\n"
        "    vae = fv.VAE(fv.Flat(fv.Normal(latent), q), fv.Bernoulli(fv.MLP(latent, data.shape, (4,))))\n"
        "    return fv.Experiment(vae, views=[fv.Binarize()], training=fv.Training(epochs=0.2))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(InputError, match=r"mine\.recipes:small.*can't be imported"):
        find("mine.recipes:small")
    from fusevae.cli import main

    train = ["train", "mine.recipes:small", "--set", "recipe.latent=3", "--output", "run", "--importance-samples", "1"]
    assert main(train) == 0  # to name it is to trust it
    sys.modules.pop("mine", None), sys.modules.pop("mine.recipes", None)
    artifact = fit("mine.recipes:small", options={"latent": 3}, quiet=True)
    assert same(artifact, load("run", trust=["mine"]))
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["validation"] == 0.5
    for wrong in ("mine.recipes:smal", "mine.recipe:small", "mine.recipes:"):
        with pytest.raises(InputError, match="can't be imported"):
            find(wrong)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("binary-vea",), "did you mean 'binary-vae'"),
        ((VAE,), "the class VAE"),
        ((nn.Linear(2, 2),), "a Linear was given"),
        ((Artifact(Normal(2), DataSpec((2,))),), "give its distribution"),
        ((lambda data: 5,), "expected an Experiment"),
        (("binary-vae", None, None, None, {"epoch": 3}), "did you mean 'epochs'"),
        (("binary-vae", None, None, None, 5), "expected a Training"),
        ((vae(), X, [5]), "expected a View"),
        ((vae(), X, [lambda x: x[:3]]), "expected a tensor of as many"),
        ((vae(), X, [lambda x: x / 9]), "can't be undone"),
        ((vae(), X, None, 5), "expected an Objective"),
    ],
)
def test_what_fit_does_not_take_is_said_in_a_line(arguments, says):
    with pytest.raises(InputError, match=says) as error:
        fit(*arguments, quiet=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("more", [{"options": {"latent": 2}}, {"budget": "soon"}, {"budget": -1}])
def test_options_and_budgets_that_make_no_sense_are_refused(more):
    with pytest.raises(InputError):
        trained(**more)


def test_a_budget_ends_in_time_with_its_schedules_at_their_end():
    def ends() -> bool:
        history = trained(budget="2s", training={"batch_size": 16}).history
        assert history.seconds < 2.5 and history.total > 50
        return history.train["learning_rate"][-1] < 0.02 * 1e-3

    # a machine that is suddenly slow ends where the time is over: not three times
    assert any(ends() for _ in range(3))


def test_plain_functions_do_where_the_contract_is_one_function(tmp_path):
    def flipped(x: Tensor) -> Tensor:
        return x.flip(1)

    class Turned(View):
        def forward(self, x: Tensor) -> Tensor:
            return x.flip(1)

        def spec(self, data: DataSpec) -> DataSpec:
            return data

    plain = trained(views=[flipped], objective=lambda trace: trace.elbo)
    proper = trained(views=[Turned()])
    assert same(plain.distribution, proper.distribution)
    wide = trained(Gaussian(Constant(24)), (5 * X).byte(), views=[lambda x: torch.cat([x, 5 - x], 1)])
    assert wide.viewed.shape == (12,) and wide.viewed.is_discrete  # a byte is given as a number: 5 - x is no 251
    warm = trained(objective=lambda trace, progress: trace.reconstruction - progress * trace.kl)
    assert not same(warm, proper)
    with pytest.raises(InputError, match=r"would not load again.*plain function") as error:
        plain.save(tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
    for more in ({"views": [flipped]}, {"objective": lambda trace: trace.elbo}):
        with pytest.raises(InputError, match="plain function"):
            trained(folder=tmp_path / "run", **more)
        assert not (tmp_path / "run").exists()


def test_what_is_of_another_type_is_said_in_a_line():
    artifact = trained()
    with pytest.raises(InputError, match="fit was given seed='a': expected a whole number"):
        fusevae.fit("table-vae", X, seed="a")
    with pytest.raises(
        InputError, match="evaluate was given importance_samples='many': expected a whole number of at least 1"
    ):
        fusevae.evaluate(artifact, X, importance_samples="many")
    with pytest.raises(InputError):
        fusevae.reconstruct(artifact, pandas.Series({"a": 1.0, "b": "x"}))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("table-vae", r"(\w+) was given artifact\w*(\['a'\])?='table-vae': expected an Artifact, what fusevae.fit"),
        (None, "=None: expected an Artifact"),
        (types.SimpleNamespace(artifact=1), "expected an Artifact, .*its .artifact"),
    ],
)
def test_what_takes_an_artifact_says_so(given, says):
    names = [name for name in fusevae.__all__ if hasattr(getattr(fusevae, name), "__wrapped__")]
    names = [n for n in names if next(iter(inspect.signature(getattr(fusevae, n)).parameters), "") == "artifact"]
    assert {"evaluate", "sample", "impute", "anomaly", "encode"} <= {*names}
    for name in names:
        with pytest.raises(InputError, match=says):
            getattr(fusevae, name)(given)
    for wrong, words in (
        ({"a": given, "b": given}, says),
        (["a", "b"], "compare was given artifacts=\\['a', 'b'\\]: expected a mapping, each an Artifact"),
    ):
        with pytest.raises(InputError, match=words):
            fusevae.compare(wrong, torch.zeros(3, 2))
    with pytest.raises(TypeError):
        fusevae.evaluate()


def test_every_public_function_says_what_is_of_another_type():
    """Whatever it is of, by its type hints, before any work; what it takes is taken as it was."""
    for name in fusevae.__all__:
        function = getattr(fusevae, name)
        if not inspect.isfunction(function):
            continue
        for argument, hint in typed.hints_of(inspect.unwrap(function)).items():
            if not typed.fits(given := object(), hint):
                with pytest.raises(InputError, match=rf"{name} was given {argument}=an object: expected .+") as error:
                    function(**{argument: given})
                assert "\n" not in str(error.value)
    assert pickle.loads(pickle.dumps(fusevae.sample)) is fusevae.sample
    artifact = trained()
    assert fusevae.sample(artifact, np.int64(2)).shape == fusevae.sample(artifact, torch.tensor(2)).shape == (2, 6)
    assert list(fusevae.properties(pandas.Series(["CCO"]), np.array(["qed"]))) == ["qed"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a, g: fusevae.read_data(g), "a DataFrameGroupBy has no item 0"),
        (lambda a, g: fusevae.encode(a, g), "a DataFrameGroupBy has no item 0"),
        (lambda a, g: fusevae.encode(a, X, label=g), "the labels is a DataFrameGroupBy: expected an array"),
        (lambda a, g: fusevae.impute(a, X, object()), "the mask is an object: expected an array"),
        (lambda a, g: fusevae.sample(a, label=pandas.DataFrame({"a": [1] * 90})), "label a DataFrame was given"),
        (lambda a, g: fusevae.load("nowhere", device="gpu"), "device 'gpu' was given: expected 'cpu' or 'cuda'"),
        (lambda a, g: fusevae.annealed_likelihood(a, X, chains=0), "chains=0: expected a whole number of at least 1"),
        (lambda a, g: fusevae.fit_prior("name"), "fit_prior was given artifact='name': expected an Artifact, what"),
        (lambda a, g: fusevae.bench(5), "bench was given recipes=5: expected several, each a string"),
        (lambda a, g: fusevae.bench(["vae", 5]), r"bench was given recipes\[1\]=5: expected a string"),
        (lambda a, g: fusevae.fit("vae", folder=5), "fit was given folder=5: expected a string or a Path or None"),
        (lambda a, g: fusevae.traverse(a, steps="a"), "traverse was given steps='a': expected a whole number"),
    ],
)
def test_what_is_of_no_use_is_said_in_a_line(call, says):
    with pytest.raises(InputError, match=says) as error:
        call(trained(), pandas.DataFrame({"a": [1, 2]}).groupby("a"))
    assert "\n" not in str(error.value)


def test_a_path_of_any_kind_is_one(tmp_path):
    trained().save(tmp_path / "a.safetensors")
    kind = type("Elsewhere", (), {"__fspath__": lambda self: str(tmp_path / "a.safetensors")})
    assert fusevae.load(kind()).data.shape == trained().data.shape


def test_what_python_says_of_arguments_names_the_function():
    with pytest.raises(TypeError, match=r"fit\(\) got an unexpected keyword argument 'epochs'"):
        fit("binary-vae", epochs=3)
    with pytest.raises(TypeError, match=r"encode\(\) missing 2 required positional arguments"):
        fusevae.encode()


def test_what_can_be_extended_is_at_the_front_door():
    assert issubclass(fusevae.ELBO, Objective) and issubclass(Binarize, View) and issubclass(Standardise, Step)


def test_a_first_vae_takes_six_statements_and_no_doubling():
    data = read_data(None)
    posterior = Gaussian(MLP(data.spec.shape, Gaussian.outputs(8)))
    model = VAE(Flat(Normal(8), posterior), Bernoulli(MLP(8, data.spec.shape)))
    artifact = fit(model, data, views=[Binarize()], training={"epochs": 0.1}, quiet=True)
    assert fusevae.sample(artifact, 4).shape == (4, 1, 8, 8)
    model = VAE(Flat(Normal(8), Gaussian(MLP(data.spec.shape, 8))), Bernoulli(MLP(8, data.spec.shape)))
    with pytest.raises(InputError, match=r"over \(4,\) and the prior over \(8,\).*Gaussian\.outputs\(8\)"):
        fit(model, data, views=[Binarize()], quiet=True)


# what could not be loaded again is not saved


class Forgotten(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_net_whose_arguments_nobody_remembers_is_refused_when_it_is_saved(tmp_path):
    model = VAE(Flat(Normal(2), Gaussian(Forgotten(width=3))), Bernoulli(MLP(2, 6)))
    with pytest.raises(InputError, match=r"test_python_api\.Forgotten.*\(width\).*fusevae\.described") as error:
        trained(model).save(tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="Forgotten"):
        trained(model, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# what fit leaves alone


def test_the_model_given_and_the_objective_stay_as_they_are():
    model, objective = vae(), fusevae.FactorVAE(MLP(2, 1, hidden=(8,)))
    model.decoder.requires_grad_(False)
    before = {n: p.clone() for n, p in [*model.state_dict().items(), *objective.state_dict().items()]}
    flags = [p.requires_grad for p in model.parameters()]
    artifact = (
        trained(model, objective=objective, training={**SETTINGS, "frozen": ("prior", "posterior.net.layers.0")})
        if False
        else trained(model, objective=objective, training={**SETTINGS, "frozen": ("layers.0",)})
    )
    after = dict([*model.state_dict().items(), *objective.state_dict().items()])
    assert all(torch.equal(after[n], before[n]) for n in before)
    assert [p.requires_grad for p in model.parameters()] == flags and model.training
    assert [p.requires_grad for p in artifact.distribution.parameters()] == flags  # what was frozen is free again
    assert not same(artifact.distribution, model)
    for name, p in artifact.distribution.named_parameters():
        moved = not torch.equal(p, before[name])
        assert moved == ("posterior" in name and "layers.0" not in name), name


def test_fine_tuning_leaves_its_base_alone_and_keeps_what_was_fitted(tmp_path):
    base = trained(standardised(), X + 3)
    base.save(tmp_path)
    loaded = load(tmp_path)
    before = {n: v.clone() for n, v in loaded.state_dict().items()}
    tuned = trained(loaded.distribution, 5 * X)
    assert all(torch.equal(v, before[n]) for n, v in loaded.state_dict().items())
    mean = before["distribution.steps.0.mean"]
    assert torch.equal(tuned.distribution.steps[0].mean, mean) and 3 < mean.mean() < 4
    assert not torch.equal(tuned.distribution.model.net.value, before["distribution.model.net.value"])
    anew = trained(loaded.distribution, 5 * X, refit=True).distribution.steps[0]
    assert 1 < anew.mean.mean() < 2 and anew.fitted
    assert torch.equal(loaded.distribution.steps[0].mean, mean) and loaded.distribution.steps[0].fitted


def test_a_step_knows_whether_it_was_fitted():
    step = Standardise((6,))
    assert not step.fitted
    trained(model := Preprocessed([step, Normalise()], standardised().model))
    assert not step.fitted and not model.steps[1].fitted  # the copy was fitted
    step.fit(X)
    assert step.fitted
    again = Standardise((6,))
    again.load_state_dict(step.state_dict())
    assert again.fitted
    part = Preprocessed([Standardise((6,))], standardised().model)
    part.load_state_dict({k: v for k, v in part.state_dict().items() if k.startswith("model.")}, strict=False)
    assert not part.steps[0].fitted


# history


def test_the_history_holds_what_was_recorded(tmp_path):
    artifact = trained(folder=tmp_path / "run")
    history = artifact.history
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    held = [r for r in lines if "validation" in r]
    assert history.finished and history.steps == history.total == 40 and history.seconds > 0
    assert history.validation["step"].tolist() == [r["step"] for r in held] == [0, 10, 20, 30, 40]
    for name in ("elbo", "reconstruction", "kl", "loss"):
        np.testing.assert_allclose(history.validation[name], [r["validation"][name] for r in held])
    assert history.validation["bound"].tolist() == history.validation["elbo"].tolist()
    assert history.train["kl_per_dimension/z"].shape == (len(history.train["step"]), 2)
    np.testing.assert_allclose(history.train["loss"], -history.train["objective"])
    figure = history.plot()
    assert [axis.get_title() for axis in figure.axes] == [f"{n} (nats)" for n in ("bound", "reconstruction", "kl")]
    assert (
        history.plot("learning_rate").axes[0].lines[0].get_ydata().tolist() == history.train["learning_rate"].tolist()
    )
    with pytest.raises(InputError, match="did you mean 'bound'"):
        history.plot("bond")
    assert "40 steps" in repr(history) and "finished" in repr(history) and "\n" not in repr(history)


def test_words_and_pictures_of_an_artifact():
    artifact = trained()
    words = repr(artifact)
    assert words.startswith("Artifact: VAE, mass on {0..1}^6") and "parameters" in words and "finished" in words
    assert len(words.splitlines()) == 2
    assert "<img" not in artifact._repr_html_() and "<img" in artifact.history._repr_html_()
    images = fit("logistic-vae", training={"epochs": 0.1}, quiet=True)
    assert "<img" in images._repr_html_() and "given label" in repr(images)
    assert "History" not in repr(Artifact(Normal(2), DataSpec((2,))))


# stopping and going on


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("step", [7, 10, 21])
@pytest.mark.parametrize("kept", ["in memory", "in a folder", "by the folder alone"])
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, kept, step, average):
    training = {**SETTINGS, "average": average}
    whole = trained(training=training)
    folder = None if kept == "in memory" else tmp_path / "run"
    part = trained(training=training, folder=folder, callbacks=[stopping_at(step)])
    assert not part.history.finished and part.history.steps == step and "a callback stopped it" in repr(part)
    before = {n: v.clone() for n, v in part.state_dict().items()}
    again = resume(folder, X, quiet=True) if kept == "by the folder alone" else resume(part, quiet=True)
    assert again.history.finished and same(whole, again)
    assert all(torch.equal(v, before[n]) for n, v in part.state_dict().items())
    for kind in ("train", "validation"):
        ours, theirs = getattr(again.history, kind), getattr(whole.history, kind)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[n], theirs[n], equal_nan=True) for n in ours if n != "seconds")
    assert again.history.seconds > part.history.seconds


def test_ctrl_c_says_unfinished_and_goes_on():
    import _thread

    def interrupt(record) -> None:
        if record["step"] == 14:
            _thread.interrupt_main()

    part = trained(callbacks=[interrupt])
    assert not part.history.finished and "interrupted" in repr(part.history) and 14 <= part.history.steps < 40
    assert same(resume(part, quiet=True), trained())


def test_a_game_with_an_opponent_goes_on_too():
    def game(**more) -> Artifact:
        with noise.preserved():
            torch.manual_seed(2)
            objective = fusevae.FactorVAE(MLP(2, 1, hidden=(8,)))
        return trained(objective=objective, **more)

    assert same(game(), resume(game(callbacks=[stopping_at(14)]), quiet=True))


def test_held_weights_stay_held_when_a_folder_goes_on(tmp_path):
    model = vae()
    model.decoder.requires_grad_(False)
    whole = trained(model)
    trained(model, folder=tmp_path / "run", callbacks=[stopping_at(10)])
    again = resume(tmp_path / "run", X, quiet=True)
    assert same(whole, again) and not any(p.requires_grad for p in again.distribution.decoder.parameters())


def test_a_training_may_be_lengthened(tmp_path):
    for folder in (None, tmp_path / "run"):
        artifact = trained(folder=folder)
        assert resume(artifact, quiet=True) is artifact
        longer = resume(artifact, epochs=6, quiet=True)
        assert longer.history.finished and longer.history.steps == 60 and artifact.history.steps == 40
        assert longer.history.train["step"].tolist() == sorted(longer.history.train["step"].tolist())
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["training"]["epochs"] == 6
    patient = trained(training={**SETTINGS, "epochs": 500, "patience": 1, "learning_rate": 0.05})
    assert patient.history.finished and patient.history.steps < patient.history.total
    assert resume(patient, epochs=600, quiet=True).history.steps > patient.history.steps


def test_data_of_a_path_are_found_again(tmp_path):
    np.savez(tmp_path / "data.npz", x=X.numpy())
    whole = trained(data=tmp_path / "data.npz")
    trained(data=str(tmp_path / "data.npz"), folder=tmp_path / "run", callbacks=[stopping_at(10)])
    assert same(whole, resume(tmp_path / "run", quiet=True))


def test_a_folder_that_holds_a_training_is_not_overwritten(tmp_path):
    trained(folder=tmp_path / "run", callbacks=[stopping_at(7)])
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=r"holds a training already.*resume\('") as error:
        trained(folder=tmp_path / "run")
    assert "\n" not in str(error.value)
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_what_there_is_nothing_to_go_on_with_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no config"):
        resume(tmp_path)
    with pytest.raises(InputError, match="no training to go on with"):
        resume(Artifact(Normal(2), DataSpec((2,))))
    artifact = trained(folder=tmp_path / "run", callbacks=[stopping_at(7)])
    with pytest.raises(InputError, match="leave them out"):
        resume(artifact, X)
    with pytest.raises(InputError, match="were in memory"):
        resume(tmp_path / "run")
    with pytest.raises(InputError, match="training examples"):
        resume(tmp_path / "run", X[:100])


# callbacks


def test_callbacks_see_every_record_and_add_figures(tmp_path):
    seen: list[dict] = []

    def count(record, moment):
        assert moment.total == 40 and moment.step == record["step"] and moment.seconds >= 0
        return {"ones": torch.tensor(1.0), "half": 0.5} if "validation" in record else None

    artifact = trained(folder=tmp_path / "run", callbacks=[seen.append, count])
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(seen) == len(lines) and [r["step"] for r in seen] == [r["step"] for r in lines]
    assert artifact.history.validation["half"].tolist() == [0.5] * 5
    assert [r["validation"]["ones"] for r in lines if "validation" in r] == [1.0] * 5
    assert "half" not in artifact.history.train
    assert same(artifact, trained())  # looking changes nothing
    trained(callbacks=[lambda record, n=3: n + 1 and None], objective=lambda trace, beta=2: trace.reconstruction * beta)
    with pytest.raises(InputError, match="returned 'no'"):
        trained(callbacks=[lambda record: "no"])


def test_a_callback_sees_the_model_of_the_moment():
    bounds = []

    def look(record, moment):
        if "validation" in record:
            torch.rand(3)
            bounds.append(moment.artifact.distribution.trace(X).elbo.mean().item())
            if moment.step == 30:
                moment.stop()

    part = trained(callbacks=[look])
    assert part.history.steps == 30 and len(set(bounds)) == 4
    assert same(resume(part, quiet=True), trained())


def test_loggers_are_open_while_a_training_runs(monkeypatch, tmp_path):
    calls: list[tuple] = []

    class Writer:
        def __init__(self, folder):
            calls.append(("open", folder))

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def close(self):
            calls.append(("close",))

    spec = types.SimpleNamespace()
    stub = types.ModuleType("torch.utils.tensorboard")
    stub.SummaryWriter = Writer
    find_spec = fusevae.training.loggers.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n, *a: None if n in ABSENT else find_spec(n, *a))
    ABSENT = {"tensorboard", "wandb", "mlflow"}
    for make in (lambda: fusevae.TensorBoard("tb"), fusevae.WandB, lambda: fusevae.MLflow("digits")):
        with pytest.raises(InputError, match=r"pip install 'fusevae\[(tensorboard|wandb|mlflow)\]'"):
            make()
    monkeypatch.setattr("importlib.util.find_spec", lambda n, *a: spec if n in ABSENT else find_spec(n, *a))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stub)
    artifact = trained(callbacks=[fusevae.TensorBoard(tmp_path / "tb")])
    assert calls[0] == ("open", str(tmp_path / "tb")) and calls[-1] == ("close",)
    found = [(step, value) for name, value, step in calls[1:-1] if name == "validation/elbo"]
    assert found == list(zip(*(artifact.history.validation[n].tolist() for n in ("step", "elbo")), strict=True))

    sent: list[tuple] = []
    run_ = types.SimpleNamespace(
        log=lambda numbers, step: sent.append((numbers, step)), finish=lambda exit_code: sent.append(("end", exit_code))
    )
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **s: sent.append(s) or run_))
    trained(callbacks=[fusevae.WandB(project="digits")])
    assert sent[0] == {"project": "digits"} and sent[-1] == ("end", 0) and sent[2][0]["train/kl"] is not None

    flow: list[tuple] = []
    names = ("set_tracking_uri", "set_experiment", "start_run", "log_metrics", "end_run")
    stub = types.SimpleNamespace(**{n: lambda *a, n=n, **k: flow.append((n, a, k)) for n in names})
    monkeypatch.setitem(sys.modules, "mlflow", stub)
    with pytest.raises(InputError):
        trained(callbacks=[fusevae.MLflow("digits", uri="runs", run_name="a"), lambda record: "no"])
    assert [c[0] for c in flow[:3]] == list(names[:3]) and flow[-1] == ("end_run", ("FAILED",), {})


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    artifact = trained(callbacks=[fusevae.TensorBoard(tmp_path)])
    found = EventAccumulator(str(tmp_path)).Reload().Scalars("validation/elbo")
    assert [e.step for e in found] == artifact.history.validation["step"].tolist()


# notebooks, and warnings


def test_warnings_are_pythons_in_pythons_words():
    collapsing = {**SETTINGS, "epochs": 40, "learning_rate": 1e-2}
    with pytest.warns(UserWarning, match="has collapsed") as said:
        trained(objective=fusevae.ELBO(beta=50.0), training=collapsing)
    text = str(said[0].message)
    assert "ELBO(free_bits=0.1)" in text and "ELBO(beta=Linear(part=0.75))" in text
    assert not {"--set", "--from", "objective.", "training."} & set(text.replace(".", ". ").split())
    assert said[0].filename == __file__  # it points at the line that called fit
    assert in_python("training.encoder_steps=5 or objective.loss=hinge") == (
        "Training(encoder_steps=5) or loss=hinge of the objective"
    )


def test_a_notebook_has_one_bar(monkeypatch, capsys):
    shown: list[str] = []

    class Shown:
        def update(self, html):
            shown.append(html)

    def display(html, display_id):
        shown.append("made")
        return Shown()

    shell = type("ZMQInteractiveShell", (), {})()
    notebook = types.ModuleType("IPython")
    notebook.get_ipython = lambda: shell
    notebook.display = types.ModuleType("IPython.display")
    notebook.display.HTML, notebook.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook.display)
    trained(quiet=False)
    assert shown.count("made") == 1 and 'value="40" max="40"' in shown[-1] and "validation elbo" in shown[-1]
    assert capsys.readouterr() == ("", "")
    shown.clear()
    trained(quiet=True)
    assert not shown


def test_the_time_of_a_training_ends_with_it():
    progress = Progress(quiet=True)
    with progress.showing(3, 0):
        pass
    seconds = progress.seconds
    time.sleep(0.01)
    assert progress.seconds == seconds
