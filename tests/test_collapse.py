"""The diagnosis of latents against known values, and the remedies: each exists and does what it says."""

import json
import math

import pytest
import torch
from torch import nn

import fusevae
from fusevae import (
    ELBO,
    IWAE,
    MADE,
    MLP,
    VAE,
    Artifact,
    Bernoulli,
    Constant,
    DataSpec,
    DenseLadder,
    Diffusion,
    FactorVAE,
    Flat,
    Flow,
    Gaussian,
    Ladder,
    Normal,
    Preprocessed,
    Standardise,
    TimeMLP,
    Training,
    evaluate,
)
from fusevae.cli import main
from fusevae.data.baseline import Marginals
from fusevae.data.examples import InMemory
from fusevae.distributions.factor_gaussian import FactorGaussian
from fusevae.evaluation.collapse import collapsed, diagnose, warnings
from fusevae.evaluation.comparison import latents
from fusevae.nets.factors import Factors
from fusevae.training.configuration import experiment, override
from fusevae.training.players import Batch
from fusevae.training.prepare import prepare


def linear_encoder(gain: float, scale: float) -> Gaussian:
    """q(z | x) = N(gain x, scale^2)."""
    net = nn.Linear(1, 2)
    half = 6.0
    raw = -1 + half * math.atanh((math.log(scale) + 1) / half)
    net.weight.data, net.bias.data = torch.tensor([[gain], [0.0]]), torch.tensor([0.0, raw])
    return Gaussian(net, event_dim=1)


def test_information_and_gap_are_those_of_a_gaussian_channel():
    """x ~ N(0, 1), q(z | x) = N(g x, s^2): I = log(1 + g^2 / s^2) / 2, and q(z) = N(0, g^2 + s^2)."""
    g, s = 1.0, 0.5
    model = VAE(Flat(Normal(1), linear_encoder(g, s)), Gaussian(MLP(1, 1), scale=1.0))
    found = [diagnose(model, torch.randn(500, 1)) for _ in range(20)]
    variance = g**2 + s**2
    information = sum(f["mutual_information"] for f in found) / 20
    gap = sum(f["aggregate_gap"] for f in found) / 20
    assert information == pytest.approx(0.5 * math.log(1 + g**2 / s**2), abs=0.03)
    assert gap == pytest.approx(0.5 * (variance - 1 - math.log(variance)), abs=0.03)
    assert found[0]["active_units"] == {"z": 1}
    assert found[0]["mutual_information"] + found[0]["aggregate_gap"] == pytest.approx(found[0]["kl"], abs=1e-4)


def test_information_is_at_most_the_logarithm_of_the_examples():
    model = VAE(Flat(Normal(1), linear_encoder(1.0, 1e-2)), Gaussian(MLP(1, 1), scale=1.0))
    assert diagnose(model, torch.linspace(-1, 1, 16)[:, None])["mutual_information"] == pytest.approx(
        math.log(16), abs=0.2
    )


def test_what_the_latents_hold_is_of_examples_evenly_over_all():
    x = torch.cat([torch.zeros(600, 1), torch.randn(600, 1)])  # sorted, as of a folder for each class
    artifact = Artifact(VAE(Flat(Normal(1), linear_encoder(1.0, 0.5)), Gaussian(MLP(1, 2))), DataSpec((1,)))
    found = evaluate(artifact, x, importance_samples=1)
    assert found.active_units == {"z": 1} and found.mutual_information > 0.2
    assert latents(artifact, InMemory(x)).information == pytest.approx(found.mutual_information)


def test_what_is_taken_from_large_data_is_of_all_of_them(monkeypatch):
    monkeypatch.setattr("fusevae.training.prepare.FITTED_ON", 1)  # then of 1,000 examples
    x = torch.cat([torch.full((3000, 1), -5.0), torch.full((3000, 1), 5.0)]) + 0.1 * torch.randn(6000, 1)
    step = Standardise((1,))
    model = Preprocessed([step], Gaussian(Constant(2)))
    loop = prepare(model, fusevae.read_data({"train": x}, validation=0, test=0), (), ELBO(), Training(), 0, "cpu")
    assert step.mean.item() == pytest.approx(0, abs=0.1) and step.std.item() == pytest.approx(5, abs=0.1)
    assert loop.game.players["model"].baseline.mean.item() == pytest.approx(0, abs=0.1)


def test_a_level_is_active_as_far_as_its_mean_is_of_x_whatever_is_drawn_above():
    """The second level follows the first by its prior (mean z1), its posterior adds `gain` x to that."""

    class Chain(DenseLadder):
        gain = 0.0

        def prior(self, level, h):
            return (h[..., :1] if level else torch.zeros_like(h[..., :1])), torch.zeros_like(h[..., :1])

        def posterior(self, level, h, seen):
            return level * self.gain * seen[..., :1], torch.zeros_like(seen[..., :1])

        def up(self, x, label):
            return [x.expand(*x.shape[:-1], 4)] * 2

        def start(self, top, label):
            return torch.zeros(4)

        def down(self, level, h, z):
            return h + z

    net, x = Chain(1, (1, 1), width=4), torch.randn(500, 1)
    vae = VAE(Ladder(net), Gaussian(MLP(4, 2)))
    assert diagnose(vae, x)["active_units"] == {"z1": 0, "z2": 0}  # whose own variance is 1
    net.gain = 0.5
    assert diagnose(vae, x)["active_units"] == {"z1": 0, "z2": 1}


def test_what_has_collapsed_or_exploded_is_said_with_settings_that_exist():
    silent = VAE(Flat(Normal(1), linear_encoder(0.0, 1.0)), Gaussian(MLP(1, 1), scale=1.0))
    found = diagnose(silent, torch.randn(50, 1))
    assert found["active_units"] == {"z": 0} and set(warnings(found)) == {"collapsed"}
    loud = VAE(Flat(Normal(2), Gaussian(nn.Linear(1, 4), event_dim=1)), Gaussian(MLP(2, 1), scale=1.0))
    loud.latents.posterior.net.bias.data.fill_(30.0)
    assert set(warnings(diagnose(loud, torch.randn(50, 1)))) == {"exploded"}
    node = fusevae.describe(
        fusevae.Experiment(VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), Gaussian(MLP(1, 2), scale="shared")))
    )
    for setting in (
        "objective.free_bits=0.1",
        "objective.beta={class: Cyclical}",
        "training.encoder_steps=5",
        "objective.beta=0",
        "model.decoder.scale=optimal",
    ):
        assert setting.split("=")[0] in str(warnings(found)) + str(warnings(diagnose(loud, torch.randn(9, 1))))
        experiment(override(node, [setting]))


def test_a_model_that_is_worse_than_a_constant_one_says_so(capsys):
    loop = loop_of(ELBO(beta=0.0), epochs=200, learning_rate=1e-2)
    loop.run()
    said = [r for r in loop.records if r.get("event") == "worse than a constant model"]
    assert len(said) == 1 and said[0]["step"] == loop.total and "objective.beta" in said[0]["says"]
    last = [r["diagnosis"] for r in loop.records if "diagnosis" in r][-1]
    share = (DATA[:64].sum(0) + 0.5) / 65
    x = DATA[:8]  # what is held out
    exact = (x * share.log() + (1 - x) * (1 - share).log()).sum(1).mean()
    assert last["constant_model"] == pytest.approx(exact.item(), abs=1e-5)


def begun(made):
    """One that does not start at the constant model, since it counts as trained."""
    made.net.layers[-1].bias.data.fill_(1e-3)
    return made


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        (lambda: begun(MADE(6, hidden=(8,))), ELBO()),
        (lambda: Diffusion(TimeMLP(6, hidden=8, blocks=1), 6), ELBO()),
        (lambda: VAE(Flat(Normal(2), Gaussian(MLP(6, 4))), Bernoulli(MLP(2, 6))), IWAE(2)),
        (lambda: VAE(Ladder(DenseLadder(6, (2, 2), width=8)), Bernoulli(MLP(8, 6))), ELBO()),
    ],
    ids=["exact", "diffusion", "iwae", "ladder"],
)
@pytest.mark.parametrize("patience", [None, 1])
def test_whatever_has_a_bound_is_held_against_a_constant_model(model, objective, patience):
    x = (torch.rand(64, 6) < 0.95).float()  # of which a constant knows much, and what has hardly been trained nothing
    data = fusevae.read_data({"train": x, "validation": x[:8], "test": x[:8]})
    settings = {"batch_size": 16, "log_every": 4, "average": 0.0, "warmup": 0.0, "validate_every": 2}
    settings |= {"epochs": 3, "learning_rate": 1e-12, "patience": patience}
    made = model()
    loop = prepare(made, data, (), objective, Training(**settings), 0, "cpu")
    loop.run()
    said = [r["says"] for r in loop.records if r.get("event") == "worse than a constant model"]
    assert len(said) == 1 and "training.learning_rate" in said[0]
    assert ("objective.beta" in said[0]) is made.has_latents
    assert loop.step < loop.total if patience else loop.step == loop.total


def test_the_constant_model_is_what_its_counts_and_moments_say():
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    exact = Normal(1)().base_dist.log_prob((x[:, :1] - 3) / (8 / 3) ** 0.5).sum(1) - 0.5 * math.log(8 / 3)
    found = Marginals(x, None).log_prob(x)
    torch.testing.assert_close(found, (exact - 0.5 * math.log(2 * math.pi)).double())  # a constant column has sigma 1
    whole = Marginals(x, (0, 5))
    grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    assert whole.log_prob(grid).exp().sum().item() == pytest.approx(1)


def test_a_posterior_whose_density_is_dear_or_a_code_has_no_information_estimate():
    q = Flow(2, "inverse", net=MLP(3, Flow.outputs(2)))
    found = diagnose(VAE(Flat(Normal(2), q), Gaussian(MLP(2, 6))), torch.randn(8, 3))
    assert found["mutual_information"] is None and found["active_units"] == {"z": None}
    q = Flow(2, "coupling", net=MLP(3, Flow.outputs(2, 2)), context=2)
    found = diagnose(VAE(Flat(Normal(2), q), Gaussian(MLP(2, 6))), torch.randn(8, 3))
    assert -1 < found["mutual_information"] <= math.log(8)


DATA = (torch.rand(64, 6) < 0.5).float()


def loop_of(objective=None, **settings):
    torch.manual_seed(0)
    model = VAE(Flat(Normal(2), Gaussian(MLP(6, 4, hidden=(8,)))), Bernoulli(MLP(2, 6, hidden=(8,))))
    data = fusevae.read_data({"train": DATA, "validation": DATA[:8], "test": DATA[:8]})
    settings = {"epochs": 6, "batch_size": 16, "log_every": 4, "average": 0.0, "warmup": 0.0} | settings
    return prepare(model, data, (), objective or ELBO(), Training(**settings), 0, "cpu")


def test_latents_that_tell_what_little_there_is_have_not_collapsed():
    told = {"kl": 0.36, "elbo": -22.6, "constant_model": -23.7}
    assert not collapsed(told) and not collapsed(told | {"active_units": {"z": 4}, "mutual_information": 0.3})
    assert collapsed(told | {"constant_model": -80.0}) and collapsed(told | {"kl": 0.05})
    assert collapsed(told | {"active_units": {"z": 0}, "mutual_information": 0.1})
    torch.manual_seed(0)
    x = torch.randn(500, 2) @ torch.linalg.cholesky(torch.tensor([[1.0, 0.4], [0.4, 1.0]])).T
    both = Factors(2, 1)  # a factor analysis is the truth, and its bound the likelihood
    q, p = FactorGaussian(MLP(2, 2), both, "z"), FactorGaussian(MLP(1, 4), both, "x")
    for part in (p, q):
        part.start_from(lambda: x)
    found = diagnose(VAE(Flat(Normal(1), q), p), x, None, torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1))
    assert 0.1 < found["kl"] < 0.5 and found["elbo"] > found["constant_model"] + 0.05
    assert not warnings(found, finished=True)
    assert "collapsed" in warnings({k: v for k, v in found.items() if k != "constant_model"})


def test_a_training_says_once_that_its_latent_has_collapsed(capsys):
    loop = loop_of(ELBO(beta=50.0), epochs=60, learning_rate=1e-2)
    loop.run()
    said = [r for r in loop.records if r.get("event") == "collapsed"]
    assert len(said) == 1 and "free_bits" in said[0]["says"] and said[0]["step"] >= 0.3 * loop.total
    assert capsys.readouterr().err.count("has collapsed") == 1
    assert [r for r in loop.records if "diagnosis" in r]


def test_encoder_steps_move_the_posterior_alone_until_their_part_is_over():
    loop = loop_of(encoder_steps=3, encoder_part=0.5)
    model = loop.game.players["model"].artifact.distribution
    moved = {"posterior": [], "decoder": []}

    def weights():
        return {
            "posterior": torch.cat([p.detach().flatten() for p in model.latents.posterior.parameters()]).clone(),
            "decoder": torch.cat([p.detach().flatten() for p in model.decoder.parameters()]).clone(),
        }

    before = weights()
    original = loop.average.update

    def note(step):
        nonlocal before
        now = weights()
        for part in moved:
            moved[part].append(not torch.equal(now[part], before[part]))
        before = now
        original(step)

    loop.average.update = note
    loop.run()
    half = loop.total // 2
    assert all(moved["posterior"])
    assert moved["decoder"][:half] == [i % 4 == 3 for i in range(half)]
    assert all(moved["decoder"][half:])


def test_a_game_of_two_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    def make(folder):
        torch.manual_seed(1)
        loop = loop_of(FactorVAE(MLP(2, 1, hidden=(8,))), encoder_steps=2, encoder_part=0.8, checkpoint_every=7)
        loop.folder = folder
        return loop

    whole = make(tmp_path / "whole")
    whole.run()
    (tmp_path / "part").mkdir()
    part = make(tmp_path / "part")
    part.progress.advance = lambda step: (_ for _ in ()).throw(KeyboardInterrupt) if step == 17 else None
    with pytest.raises(KeyboardInterrupt):
        part.run()
    again = make(tmp_path / "part")
    assert again.resume() and again.step == 14
    again.run()
    for a, b in zip(whole.game.parameters(), again.game.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_opponent_and_the_model_never_move_each_other():
    loop = loop_of(FactorVAE(MLP(2, 1, hidden=(8,))))
    batch = Batch(DATA[:16])
    assert set(loop.optimizers) == {"model", "opponent"}
    for name in loop.optimizers:
        own = set(loop.game.own(name))
        before = {n: p.detach().clone() for n, p in loop.game.named_parameters()}
        loop._move(name, batch)
        for n, p in loop.game.named_parameters():
            assert torch.equal(p, before[n]) != (n in own), n
            assert p.grad is None
    assert not set(loop.game.own("model")) & set(loop.game.own("opponent"))
    assert any("opponent" in n for n in loop.game.own("opponent"))


def test_the_opponent_finds_the_total_correlation_of_a_gaussian():
    """z ~ N(0, [[1, r], [r, 1]]) has TC = -log(1 - r^2) / 2, the mean of a perfect opponent's logit."""
    r = 0.8
    torch.manual_seed(0)
    objective = FactorVAE(MLP(2, 1, hidden=(32, 32)))

    class Known:
        def __init__(self, z):
            self.terms = [type("T", (), {"z": z})]

    draw = torch.distributions.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, r], [r, 1.0]]))
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for _ in range(500):
        optimizer.zero_grad()
        objective.opponent_loss(Known(draw.sample((512,)))).mean().backward()
        optimizer.step()
    with torch.no_grad():
        found = objective.opponent(draw.sample((20_000,))).mean().item()
    assert found == pytest.approx(-0.5 * math.log(1 - r**2), abs=0.06)


def test_a_run_starts_from_parts_of_another(tmp_path):
    def train(out, *more):
        arguments = ["train", "logistic-vae", "--output", str(tmp_path / out), "--set", "training.epochs=0.2"]
        return main([*arguments, *more])

    assert train("autoencoder", "--set", "objective.beta=0") == 0
    assert train("after", "--from", str(tmp_path / "autoencoder"), "--only", "latents", "--set", "training.epochs=0.01",
                 "--set", "training.learning_rate=1e-9", "--seed", "5") == 0  # fmt: skip
    before, after = (fusevae.load(tmp_path / n).distribution.model for n in ("autoencoder", "after"))
    for a, b in zip(before.latents.parameters(), after.latents.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(next(before.decoder.parameters()), next(after.decoder.parameters()), atol=1e-2)
    assert train("x", "--only", "latents") == 2
    assert train("x", "--from", str(tmp_path / "autoencoder"), "--only", "latent") == 2
    assert not (tmp_path / "x").exists()
    lines = [json.loads(line) for line in (tmp_path / "after" / "metrics.jsonl").read_text().splitlines()]
    assert any("diagnosis" in line for line in lines)


def test_what_is_not_told_apart_from_a_constant_model_is_not_called_worse():
    seen = {"log_bound": -1.40, "constant_model": -1.38, "constant_model_error": 0.02}
    assert list(warnings(seen, finished=True)) == ["no better than a constant model"]
    assert list(warnings(seen | {"log_bound": -1.43}, finished=True)) == ["worse than a constant model"]
    assert not warnings(seen | {"log_bound": -1.37}, finished=True)


def test_latents_of_which_no_unit_varies_have_collapsed_whatever_their_kl():
    seen = {"kl": 2.4, "largest_kl": 0.05, "units": {"z": 64}, "active_units": {"z": 0}, "codes": {}}
    said = warnings(seen | {"mutual_information": 0.06})
    assert "its KL is 2.40 nats and no unit of it varies from example to example" in said["collapsed"]
    assert not warnings(seen | {"mutual_information": 2.9}) | warnings(seen | {"mutual_information": None})
    assert not warnings(seen | {"mutual_information": 0.06, "active_units": {"z": None}})
