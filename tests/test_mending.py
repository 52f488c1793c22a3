"""Training that mends itself: what is found is acted on, said, and the same after a resume."""

from __future__ import annotations

import math

import pytest
import torch

import fusevae
from fusevae import (
    ELBO,
    MADE,
    MLP,
    VAE,
    VAEGAN,
    Adversarial,
    Bernoulli,
    ConvCritic,
    ConvGenerator,
    Defensive,
    FactorVAE,
    Flat,
    Gaussian,
    Generator,
    Normal,
    PixelCNN,
    Preprocessed,
    Quantized,
    SpatialDecoder,
    SpatialEncoder,
    Standardise,
    Training,
    Vamp,
    VectorQuantizer,
    fit,
    read_data,
)
from fusevae.evaluation.collapse import alike, collapsed
from fusevae.recipes import table_transformer
from fusevae.training import mending
from fusevae.training.mending import FLOOR, FREE, FREELY, RISE, TIMES, Mending, better
from fusevae.training.prepare import prepare, ready


def bits(n: int = 400, dims: int = 64) -> torch.Tensor:
    """Copies of 8 sparse patterns with a few flipped bits: 2.1 nats tell which pattern a row is of."""
    g = torch.Generator().manual_seed(0)
    patterns = torch.rand(8, dims, generator=g) < 0.1
    return (patterns[torch.arange(n) % 8] ^ (torch.rand(n, dims, generator=g) < 0.02)).to(torch.uint8)


def dying(dims: int = 64, latent: int = 8) -> VAE:
    """A VampPrior from noise and a decoder that starts at 0.5: its latent dies while the decoder learns the mean."""
    torch.manual_seed(0)
    decoder, posterior = MLP(latent, dims, (64, 64)), Gaussian(MLP(dims, 2 * latent, (64, 64)))
    decoder.last.bias.data.fill_(1e-3)
    prior = Vamp(posterior, dims, 50)
    prior.started = True
    return VAE(Flat(prior, posterior), Bernoulli(decoder))


SETTINGS = {"epochs": 100, "batch_size": 40, "learning_rate": 3e-3, "log_every": 50}


def events(artifact) -> list[dict]:
    return [r for r in artifact.history.records if "event" in r]


# collapse


def test_a_collapsed_latent_comes_to_life_and_the_records_say_how():
    left = fit(dying(), bits(), training=SETTINGS | {"mend": False}, quiet=True)
    found = fit(dying(), bits(), training=SETTINGS, quiet=True)
    each = [[r["validation"] for r in a.history.records if "validation" in r] for a in (left, found)]
    at = [{r["step"]: r["validation"]["kl"] for r in a.history.records if "validation" in r} for a in (left, found)]
    assert at[0][280] < 0.1  # it has died, or this test shows nothing
    assert at[1][280] > 2.0
    assert each[1][-1]["elbo"] > each[0][-1]["elbo"] + 3.0
    (event,) = [r for r in events(found) if r["event"] == "mended"]
    assert "collapsed" in event["says"] and f"{100 * (0.1 + RISE):.0f} %" in event["says"]
    assert not [r for r in events(left) if r["event"] == "mended"]


def test_a_living_latent_is_left_alone():
    torch.manual_seed(0)
    vae = VAE(Flat(Normal(8), Gaussian(MLP(64, 16, (64,)))), Bernoulli(MLP(8, 64, (64,))))
    assert not events(fit(vae, bits(), training=SETTINGS, quiet=True))


def test_the_relief_is_whole_then_falls_to_nothing_and_the_second_leaves_some():
    kl, mending = torch.tensor([1.0, 10.0]), Mending()
    assert mending.relief(kl, 0.5) is None
    assert mending.after({"kl": 0.05}, 0.05) is None  # may pass by itself
    assert mending.after({"kl": 0.05}, 0.2)
    assert mending.after({"kl": 0.05}, 0.3) is None  # what was done takes time
    for progress, part in ((0.2, 1.0), (0.2 + FREE, 1.0), (0.2 + (FREE + RISE) / 2, 0.5), (0.2 + RISE, 0.0), (1, 0.0)):
        assert mending.relief(kl, progress).tolist() == pytest.approx((part * kl).tolist(), abs=1e-6)
    assert "nats free" in mending.after({"kl": 0.05}, 0.2 + RISE)
    assert mending.relief(kl, 1.0).tolist() == pytest.approx([1.0, FLOOR])
    assert mending.after({"kl": 0.05}, 0.6) is None and len(mending.warm) == TIMES
    once = Mending()
    once.begin(-40.0, -20.0)
    once.warm = [0.2]
    assert once.after({"kl": 0.05, "elbo": -10.0}, 0.2 + RISE, lives=False) is None  # the decoder does without
    assert once.after({"kl": 0.05, "elbo": -20.0}, 0.2 + RISE, lives=False)
    assert Mending().after({"kl": 0.05, "codes": {}}, 0.2) is None  # codes cost what they cost
    assert Mending().after({"kl": 0.2}, 0.2) is None  # little, but something
    assert Mending().after({"log_bound": -1.0}, 0.2) is None


def test_what_costs_nothing_is_at_most_a_part_of_a_constant_models_nats():
    mending = Mending()
    mending.begin(-150.0, -100.0)
    mending.warm = [0.1]
    kl = torch.tensor([3.0, 443.0], requires_grad=True)
    relief = mending.relief(kl, 0.15)
    assert relief.tolist() == [3.0, FREELY * 100]
    relief.sum().backward()
    assert kl.grad.tolist() == [1.0, 0.0]  # beyond it the KL is pulled back as in the bound


def test_the_relief_is_no_part_of_what_is_said():
    """The ELBO of a record is that of the model, whatever is free on the way; the gradient is of what is climbed."""
    x = bits(80).float()
    data = read_data(x.to(torch.uint8))
    loop = prepare(dying(), data, (), ELBO(), Training(epochs=2, batch_size=40), 0, "cpu")
    player = loop.game.players["model"]
    batch = fusevae.training.players.Batch(x[:40])
    plain, said = player(batch, 0.2)
    loop.mending.warm = [0.2]
    free, again = player(batch, 0.2)
    del again["objective"], said["objective"]
    assert free < plain or math.isclose(free, plain, abs_tol=1e-4)
    assert said.keys() == again.keys()
    player.eval()
    assert player(batch, 0.2)[0].item() == pytest.approx(player(batch, 1.0)[0].item(), abs=1.0)


def test_a_resumed_training_goes_on_with_what_is_being_done(tmp_path):
    x = bits()

    def trained(*stops: int):
        def until(stop):
            return [lambda record: record["step"] < stop]

        if not stops:
            return fit(dying(), x, training=SETTINGS, quiet=True)
        found = fit(dying(), x, training=SETTINGS, quiet=True, callbacks=until(stops[0]))
        for stop in (*stops[1:], 10**9):
            found = fusevae.resume(found, quiet=True, callbacks=until(stop))
        return found

    whole, parts = trained(), trained(20, 60, 150)
    assert [r for r in events(whole) if r["event"] == "mended"]
    for a, b in zip(whole.distribution.parameters(), parts.distribution.parameters(), strict=True):
        assert torch.equal(a, b)


# the best state


def test_the_best_state_is_kept_without_patience():
    """40 rows of noise are learned by heart: the validation falls from some step on."""
    torch.manual_seed(0)
    data = read_data((torch.rand(120, 24) < 0.5).to(torch.uint8), validation=0.5)
    vae = VAE(Flat(Normal(8), Gaussian(MLP(24, 16, (64,)))), Bernoulli(MLP(8, 24, (64,))))
    settings = {"epochs": 300, "batch_size": 16, "learning_rate": 3e-3, "average": 0.0}
    found = fit(vae, data, objective=ELBO(beta=0.3), training=settings, quiet=True)
    losses = [r["validation"]["loss"] for r in found.history.records if "validation" in r]
    assert losses[-1] > min(losses) + 1.0  # or this test shows nothing
    held = data.validation.batch(torch.arange(len(data.validation)))[0]
    trace = found.distribution.trace(held.float())
    kept = (0.3 * trace.kl - trace.reconstruction).mean().item()
    assert kept == pytest.approx(min(losses), abs=0.5)


@pytest.mark.parametrize(
    ("candidate", "best", "wanted"),
    [
        ((-100.4, True), (-100.0, False), True),
        ((-102.0, True), (-100.0, False), False),
        ((-99.6, False), (-100.0, True), False),
        ((-98.0, False), (-100.0, True), True),
        ((-99.9, True), (-100.0, True), True),
        ((-100.1, False), (-100.0, False), False),
    ],
)
def test_near_the_best_the_state_that_lives_is_kept(candidate, best, wanted):
    assert better(*candidate, *best) is wanted


def test_codes_are_no_collapsed_latent():
    assert not collapsed({"kl": 0.0, "codes": {"z": {}}}) and not collapsed({"log_bound": 1.0})
    assert collapsed({"kl": 0.1}) and not collapsed({"kl": 0.6, "codes": {}})


# posteriors that are all alike, whatever they cost


def one_posterior() -> VAE:
    """An encoder that hardly sees its inputs, and whose posteriors lie far from the prior: until they have come there
    the training is over, and nothing was told."""
    torch.manual_seed(0)
    posterior = Gaussian(MLP(64, 16, (64,)))
    posterior.net.last.weight.data *= 1e-3
    posterior.net.last.bias.data[:8] = 3.0
    return VAE(Flat(Normal(8), posterior), Bernoulli(MLP(8, 64, (64,))))


SLOW = SETTINGS | {"epochs": 40, "learning_rate": 3e-4}


def test_posteriors_that_are_all_alike_are_set_apart_by_the_measure_of_the_diagnosis():
    left = fit(one_posterior(), bits(), training=SLOW | {"mend": False}, quiet=True)
    found = fit(one_posterior(), bits(), training=SLOW, quiet=True)
    values = [[r["validation"] for r in a.history.records if "validation" in r][-1] for a in (left, found)]
    assert values[0]["kl"] > 5.0  # no collapse by that, or this test shows nothing
    assert values[1]["elbo"] > values[0]["elbo"] + 5.0
    (event,) = [r for r in events(found) if r["event"] == "mended"]
    assert "alike for all examples" in event["says"] and "set apart by 1" in event["says"]
    newest = next(r for r in reversed(found.history.records) if "diagnosis" in r and r["step"] <= event["step"])
    assert alike(newest["diagnosis"])
    assert not [r for r in events(left) if r["event"] == "mended"]


def test_gradients_after_it_are_not_held_against_those_before():
    """Of cells they were a hundred times as large, all were left out, and the training went back to before it."""
    loop = prepare(one_posterior(), read_data(bits(80)), (), ELBO(), Training(**SLOW), 0, "cpu")
    optimizer = loop.optimizers["model"]
    loop.mending.after({"kl": 36.0}, 0.2, told=0.0)
    for _ in range(3):
        loop._move("model", next(loop.batches.since(0)))
    optimizer.read()
    assert optimizer.stats["mean"] > 0
    batch = fusevae.training.players.Batch(*loop.train.batch(torch.arange(40)))
    assert mending.apart(loop, loop.game.players["model"], batch)
    assert optimizer.stats["mean"] == optimizer.stats["made"] == 0 and optimizer.limit == math.inf
    assert not any(value.any() for moments in optimizer.moments.values() for value in moments)


def test_one_that_was_set_apart_is_the_same_after_stops(tmp_path):
    whole = fit(one_posterior(), bits(), training=SLOW, quiet=True)
    (at,) = [r["step"] for r in events(whole) if r["event"] == "mended"]
    part = fit(one_posterior(), bits(), None, None, SLOW, quiet=True, callbacks=[lambda r: r["step"] < at - 5])
    for stop in (at, at + 30, 10**9):
        part = fusevae.resume(part, quiet=True, callbacks=[lambda record, stop=stop: record["step"] < stop])
    assert [r["says"] for r in events(part) if r["event"] == "mended"] == [
        r["says"] for r in events(whole) if r["event"] == "mended"
    ]
    for a, b in zip(whole.distribution.parameters(), part.distribution.parameters(), strict=True):
        assert torch.equal(a, b)


def test_who_is_alike_is_mended_whatever_it_costs_and_is_not_kept_beside_one_that_lives():
    assert "alike for all examples" in Mending().after({"kl": 49.2}, 0.2, told=0.1)
    assert Mending().after({"kl": 49.2}, 0.05, told=0.1) is None  # may pass by itself
    assert Mending().after({"kl": 0.55}, 0.2, told=0.05) is None  # of 300 captions, whose latent came to life
    assert Mending().after({"kl": 0.55}, 0.3, told=0.05)
    assert Mending().after({"kl": 0.0, "codes": {}}, 0.2, told=0.1) is None
    told = {"active_units": {"z": 0}, "mutual_information": 0.1}
    assert collapsed({"kl": 49.2} | told) and not collapsed({"kl": 49.2, "active_units": {"z": 1}})
    assert not collapsed({"kl": 49.2} | told | {"mutual_information": 2.0})


def test_only_one_that_climbs_the_elbo_with_a_posterior_of_its_own_is_set_apart():
    """Of a hierarchy another level told all: it lost its cost, and the next gradients were 100 times as large."""
    for model, objective, can in ((one_posterior(), ELBO(), True), (one_posterior(), ELBO(beta=50.0), False)):
        loop = prepare(model, read_data(bits(80)), (), objective, Training(**SLOW), 0, "cpu")
        assert (mending.separable(loop.game.players["model"]) is not None) == can


# too large a step


@pytest.mark.parametrize("rate", [3.0, 30.0])
def test_too_large_a_step_is_taken_back(rate):
    torch.manual_seed(0)
    x = torch.randn(400, 6) @ torch.randn(6, 6)
    settings = {"epochs": 60, "batch_size": 40, "learning_rate": rate, "warmup": 0.0, "log_every": 10, "skip": 0.0}
    settings |= {"clip": 0.0}

    def trained(mend: bool):
        torch.manual_seed(0)
        vae = VAE(Flat(Normal(2), Gaussian(MLP(6, 4, (32,)))), Gaussian(MLP(2, 12, (32,))))
        return fit(vae, x, training=settings | {"mend": mend}, quiet=True)

    values = {}
    for mend in (False, True):
        found = trained(mend)
        went = [r for r in events(found) if r["event"] == "went back"]
        values[mend] = fusevae.log_likelihood(found, x, importance_samples=10).mean().item()
        assert bool(went) or not mend
    assert values[True] > values[False] or math.isnan(values[False])
    covariance = torch.cov(x.T)
    constant = -3 * math.log(2 * math.pi) - 0.5 * covariance.diagonal().log().sum().item() - 3
    assert values[True] > constant - 2.0


def stuck(**settings):
    """A net that its first steps drive far off, in a mixture that can't fall far: it stays a little under a constant
    model, wherever the net is, and nothing pulls it back."""
    torch.manual_seed(0)
    x = torch.randn(300, 3) @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]])
    model = Preprocessed([Standardise((3,))], Defensive(MADE((3,), (16,), "gaussian"), Normal(3)))
    usual = {"epochs": 60, "batch_size": 30, "log_every": 10, "learning_rate": 5.0, "clip": 0.0, "skip": 0.0}
    return model, x, usual | {"warmup": 0.0} | settings


@pytest.fixture(scope="module")
def begun_anew():
    model, x, settings = stuck()
    return fit(model, x, training=settings, quiet=True)


def test_a_training_without_headway_begins_anew_with_a_smaller_step(begun_anew):
    (event, *_) = [r for r in events(begun_anew) if r["event"] == "went back"]
    assert "under a constant model" in event["cause"] and event["step"] == 0 and event["from"] == 99
    model, x, settings = stuck(mend=False)
    left = fit(model, x, training=settings, quiet=True)
    values = [fusevae.log_likelihood(a, x).mean().item() for a in (begun_anew, left)]
    assert values[0] > values[1] + 1.0


@pytest.mark.parametrize("stop", [50, 95, 130])
def test_one_that_begins_anew_is_the_same_after_a_stop_before_and_after(begun_anew, stop, tmp_path):
    model, x, settings = stuck()
    until = [lambda record: record["step"] < stop]
    fit(model, x, training=settings, folder=tmp_path / "run", quiet=True, callbacks=until)
    part = fusevae.resume(tmp_path / "run", x, quiet=True)
    assert [r["event"] for r in events(begun_anew)] == [r["event"] for r in events(part) if r["event"] != "stopped"]
    for a, b in zip(begun_anew.distribution.parameters(), part.distribution.parameters(), strict=True):
        assert torch.equal(a, b)


def test_who_is_slow_or_ahead_of_a_constant_model_is_left_alone():
    def said(*means: float) -> list[bool]:
        found = Mending()
        found.begin(-40.0, -20.0)
        answers = []
        for i, found.mean in enumerate(means):
            answers.append(found.no_headway(0.05 * (i + 1)) is not None)
        return answers

    assert said(-21.0, -21.0, -21.0, -21.0) == [False, False, False, True]
    assert not any(said(-30.0, -28.0, -27.0, -26.0))  # it comes nearer
    assert not any(said(-21.0, -20.01, -20.01, -20.01))  # a constant model is all that there is to learn


def test_headway_is_told_by_held_out_examples_where_there_are_some():
    """Training examples may be under a constant model by dropout, or since it has seen them, and come no nearer while
    the cost of a latent rises: names in byte pairs, 16 a batch, began anew four times, to the end of their time."""

    def said(*scores: float) -> bool:
        found = Mending()
        found.begin(-36.0, -27.8, -29.7)
        found.mean = -29.7  # below its own constant model, and no nearer
        return any(found.no_headway(0.1 * (i + 1), score) is not None for i, score in enumerate(scores))

    assert not said(-30.0, -28.7, -28.7) and not said(-34.0, -32.0, -31.0)
    assert said(-31.0, -31.0, -31.0)


def test_a_constant_model_is_judged_by_rows_that_it_has_not_seen():
    """Of a column of many classes each row that it has seen is one of few, and no training seemed to come near it."""
    pandas, rng = pytest.importorskip("pandas"), torch.Generator().manual_seed(0)
    words = [f"w{i}" for i in torch.randint(3000, (6000,), generator=rng).tolist()]
    frame = pandas.DataFrame({"word": words, "x": torch.randn(6000, generator=rng).numpy()})
    data = fusevae.read_data(frame, columns={"word": "categorical"})
    made = table_transformer.recipe(data.spec, width=8, heads=1, layers=1)
    _, train, held = ready(made.model, data, [], made.objective, made.training, 0).start
    assert train == pytest.approx(held, abs=0.4)


def test_what_smaller_steps_made_worse_was_not_too_large_a_step():
    def second(mean: float) -> bool:
        found = Mending()
        found.begin(-40.0, -20.0)
        found.mean = -21.0
        found.no_headway(0.1)
        assert found.no_headway(0.3) is not None
        found.restore(found.anew())
        found.mean = mean
        found.no_headway(0.1)
        return found.no_headway(0.3) is not None

    assert [second(mean) for mean in (-20.5, -21.0, -23.0)] == [True, True, False]


def test_a_warm_up_of_a_latent_hides_no_want_of_headway():
    """A rate of 50, taken back to 0.05, left units dead at the start; the latent that collapsed for it was warmed up
    until there was no time to begin anew, and the training ended under a constant model."""

    def said(progress: float, mean: float) -> bool:
        found = Mending()
        found.begin(-40.0, -20.0, -20.0)
        found.mean = -25.0
        assert found.after({"kl": 0.05, "elbo": -24.0}, 0.1)
        found.mean = mean
        return found.no_headway(progress, mean + 1.0) is not None

    assert said(0.1 + RISE, -25.5)
    assert not said(0.1 + RISE - 0.05, -25.5)  # its cost is still rising
    assert not said(0.1 + RISE, -23.0) and not said(0.1 + RISE, -19.0)


def test_the_loop_looks_at_held_out_examples_before_it_begins_anew(monkeypatch):
    model, x, settings = stuck()
    loop = prepare(model, read_data(x), (), ELBO(), Training(**settings), 0, "cpu")
    held = loop.mending.held
    assert held is not None and abs(held - loop.mending.constant) < 2.0  # of other examples
    loop.mending.held = -1e9
    loop.run()
    assert not [r for r in loop.records if r.get("event") == "went back"]


def test_a_state_of_an_earlier_version_is_gone_on_with():
    """Its values know nothing of what is mended."""
    loop = prepare(dying(), read_data(bits(80)), (), ELBO(), Training(epochs=4, batch_size=20), 0, "cpu")
    state = loop.state()
    for name in ("warm", "floor", "mean", "lives", "diagnosed"):
        del state.values[name]
    loop.restore(state)
    assert loop.run() and loop.mending.floor is None


# a critic that has won


def game(penalty: str = "none", **settings):
    """A generator of two numbers against a critic that moves five times as often, on data far away."""
    torch.manual_seed(0)
    objective = Adversarial(MLP(2, 1, (32, 32), activation="leaky_relu"), penalty=penalty, critic_steps=5)
    model = Generator(Normal(2), MLP(2, 2, (8,)))
    x = torch.tensor([[6.0, 6.0]]) + 0.1 * torch.randn(400, 2)
    usual = {"epochs": 30, "batch_size": 20, "log_every": 20, "betas": (0.0, 0.99), "clip": 0.0, "skip": 0.0}
    return model, x, objective, usual | settings


def test_a_critic_that_has_won_rests_and_the_records_say_so():
    model, x, objective, settings = game()
    found = fit(model, x, objective=objective, training=settings, quiet=True)
    said = [r for r in events(found) if r["event"] == "mended"]
    assert said and "the critic had won" in said[0]["says"] and "one step of 4" in said[0]["says"]
    assert len(said) <= mending.AGAIN
    left = fit(game()[0], x, objective=objective, training=settings | {"mend": False}, quiet=True)
    assert not [r for r in events(left) if r["event"] == "mended"]


def test_a_resting_critic_moves_at_one_step_of_four_and_a_resumed_training_goes_on_with_it():
    model, x, objective, settings = game()

    def trained(*stops: int):
        found = None
        for stop in (*stops, 10**9):
            callbacks = [lambda record, stop=stop: record["step"] < stop]
            if found is None:
                found = fit(model, x, None, objective, settings, quiet=True, callbacks=callbacks)
            else:
                found = fusevae.resume(found, quiet=True, callbacks=callbacks)
        return found

    whole, parts = trained(), trained(30, 90, 200)
    assert [r for r in events(whole) if r["event"] == "mended"]
    for a, b in zip(whole.distribution.parameters(), parts.distribution.parameters(), strict=True):
        assert torch.equal(a, b)
    found = Mending()
    assert all(found.moves("critic", step) for step in range(9))
    found.rests = {"critic": 1}
    assert [step for step in range(9) if found.moves("critic", step)] == [0, 4, 8] and found.moves("model", 3)


def test_players_that_move_at_once_rest_alone():
    """In a step in which the critic rests, its weights stay, and the others' move."""
    torch.manual_seed(0)
    shape = (1, 8, 8)
    vae = VAE(Flat(Normal(2), Gaussian(MLP(shape, 4))), Gaussian(MLP(2, shape), scale="shared"))
    objective = VAEGAN(ConvCritic(shape, channels=(4, 8)))
    loop = prepare(vae, read_data(torch.rand(40, *shape)), (), objective, Training(epochs=1, batch_size=4), 0, "cpu")
    loop.mending.rests = {"critic": 1}
    each = {name: list(loop.game.own(name).values()) for name in loop.game.players}
    before, moved = {name: [p.clone() for p in ps] for name, ps in each.items()}, []
    for _ in range(5):
        batch = next(loop.batches.since(loop.step))
        loop._move("encoder", batch)
        loop.step += 1
        moved.append({n: any(not torch.equal(a, b) for a, b in zip(before[n], each[n], strict=True)) for n in each})
        before = {name: [p.clone() for p in ps] for name, ps in each.items()}
    assert [m["critic"] for m in moved] == [True, False, False, False, True]
    assert all(m["encoder"] and m["decoder"] for m in moved)


def test_what_is_no_fault_is_no_win():
    critic = MLP(2, 1)
    assert Adversarial(critic).chance(0.5) == pytest.approx(2 * math.log(2))
    assert Adversarial(critic, "wasserstein", "interpolates").chance(0.5) is None
    late = VAEGAN(ConvCritic((1, 8, 8), channels=(4, 8)), pixels=1.0, start=0.3)
    assert late.chance(0.2) is None and late.chance(0.4) is not None  # until its start the critic's loss is 0
    assert FactorVAE(critic).chance(0.5) is None


@pytest.mark.parametrize(("channels", "n"), [((8, 8, 8), 1), ((10, 6, 4), 3)])
def test_a_generator_of_any_widths_makes_single_images_that_differ(channels, n):
    torch.manual_seed(0)
    made = ConvGenerator(4, (1, 8, 8), channels)(torch.randn(5, 4))
    assert made[:n].shape == (n, 1, 8, 8) and made.std(0).max() > 1e-3
    alone = ConvGenerator(4, (1, 8, 8), channels)(torch.randn(1, 4))
    assert alone.isfinite().all()


# dead codes


def test_codes_that_died_are_started_anew_and_the_records_say_how_many():
    def trained(stop: int = 10**9, **settings):
        torch.manual_seed(0)
        encoder = SpatialEncoder((1, 8, 8), 4, (8,), 1)
        quantizer = VectorQuantizer(64, 4, decay=0.5, revive=0.9)
        prior = PixelCNN((1, *encoder.outputs[1:]), "categorical", width=8, kernels=(3,), levels=64)
        decoder = Gaussian(SpatialDecoder(4, (1, 8, 8), (8,), 1), scale="shared")
        vae = VAE(Quantized(encoder, quantizer, prior=prior), decoder)
        usual = {"epochs": 6, "batch_size": 5, "log_every": 10} | settings
        stops = [lambda record: record["step"] < stop]
        return fit(vae, x, training=usual, quiet=True, callbacks=stops)

    x = torch.rand(40, 1, 8, 8)
    whole, part = trained(), trained(20)
    said = [r for r in events(whole) if r["event"] == "mended" and "codes" in r["says"]]
    assert 1 <= len(said) <= 2 and "started anew" in said[0]["says"] and "are in use" in said[0]["says"]
    again = [r for r in events(fusevae.resume(part, quiet=True)) if r["event"] == "mended"]
    assert [r["says"] for r in again] == [r["says"] for r in events(whole) if r["event"] == "mended"]
    assert "the dead are left" in said[-1]["says"]
    assert not [r for r in events(trained(mend=False)) if r["event"] == "mended"]


@pytest.mark.parametrize(("rollbacks", "ends"), [(0, True), (1, False)])
def test_patience_does_not_count_what_climbs_again_after_a_return(monkeypatch, rollbacks, ends):
    from types import SimpleNamespace

    from fusevae.training import diagnosis

    scores = iter([-37.0, -35.4, -34.9, -34.5, -34.0])
    monkeypatch.setattr(diagnosis, "held_out", lambda *given: {"elbo": next(scores)})
    leader = SimpleNamespace(score=lambda means: means["elbo"], kept=True, mending=None)
    told: list[str] = []
    values = {"best": -32.8, "lives": True, "stale": 0, "kept": 88, "rollbacks": rollbacks, "climbed": -36.0}
    values["reached"] = -37.0 if rollbacks else -32.8  # as of the state to which it returned
    run = SimpleNamespace(
        values=values, game=SimpleNamespace(players={"model": leader}), settings=Training(patience=4), best={"a": 0},
        mending=SimpleNamespace(mean=-33.0), write=lambda record: None, doubtful=lambda: True, finished=False, step=308,
        tell=lambda kind, says: told.append(says),
    )  # fmt: skip
    for last in (False, False, False, False, True):
        diagnosis.judge(run, torch.nn.Linear(1, 1), ["model"], early=False, last=last)
    assert run.finished == ends and ("learned by heart" in told[-1]) == ends
