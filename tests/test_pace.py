"""Steps that were too large once grow again, as far as they hold, and the same after a resume."""

from __future__ import annotations

import pytest
import torch

import fusevae
from fusevae import ELBO, MLP, VAE, Flat, Gaussian, Normal, Training, fit, read_data
from fusevae.training import pace
from fusevae.training.mending import AHEAD, NEAR, Mending
from fusevae.training.prepare import prepare


def rows() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(400, 6) @ torch.randn(6, 6)


def trained(folder=None, stop: int | None = None, rate: float = 3e-3, **settings):
    torch.manual_seed(0)
    vae = VAE(Flat(Normal(2), Gaussian(MLP(6, 4, (32,)))), Gaussian(MLP(2, 12, (32,))))
    usual = {"epochs": 67, "batch_size": 40, "learning_rate": rate, "log_every": 10, "checkpoint_every": 50}
    until = [] if stop is None else [lambda record: record["step"] < stop]
    return fit(vae, rows(), training=usual | settings, folder=folder, quiet=True, callbacks=until)


@pytest.fixture
def once(monkeypatch):
    """A failure at the sixth look that has nothing to do with the size of steps."""
    told, too_far = [], Mending.too_far

    def failing(self, means, steps):
        told.append(True)
        return "it fell" if len(told) == 6 else too_far(self, means, steps)

    monkeypatch.setattr(Mending, "too_far", failing)
    return told


def said(artifact) -> list[str]:
    return [r["says"] for r in artifact.history.records if r.get("event") == "mended"]


def rates(artifact) -> dict[int, float]:
    return {r["step"]: r["learning_rate"] for r in artifact.history.records if "learning_rate" in r}


def test_a_rate_that_was_taken_back_grows_to_half_of_what_failed(once):
    found = trained(final_learning_rate=1.0, warmup=0.0)
    assert len([line for line in said(found) if "grow again" in line]) == 3  # .1, .2, .4, .5
    assert max(list(rates(found).values())[-5:]) == pytest.approx(0.5 * 3e-3)


def test_it_grows_the_same_after_a_stop(once, tmp_path):
    whole = trained()
    for stop in (100, 130):
        once.clear()
        trained(tmp_path / str(stop), stop)
        part = fusevae.resume(tmp_path / str(stop), rows(), quiet=True)
        assert said(part) == said(whole) and rates(part) == rates(whole)
        for a, b in zip(whole.distribution.parameters(), part.distribution.parameters(), strict=True):
            assert torch.equal(a, b)


def test_without_mending_nothing_grows():
    assert not said(trained(mend=False))


def test_what_fails_again_goes_back_to_what_held_and_stays_there():
    values = {"rate_scale": 1.0, "rollbacks": 0, "best": -3.0}
    values |= pace.back(values, 0.1, step=0)
    assert values["rollbacks"] == 1 and values["best"] == -3.0
    for step in (5, 10):
        change = pace.grown(values, step, 100, -50.0)
        values |= change.values
    assert values["rate_scale"] == pytest.approx(0.4)
    values |= pace.back(values, 0.1, step=12)
    assert values["rate_scale"] == pytest.approx(0.2) and values["rollbacks"] == 1  # that grew on trial
    assert all(pace.grown(values, step, 100, -50.0) is None for step in range(12, 101))
    values |= pace.back(values, 0.1, step=50)
    assert values["rate_scale"] == pytest.approx(0.02) and values["rollbacks"] == 2


def test_larger_steps_that_lead_down_are_taken_back_for_good():
    values = {"rate_scale": 1.0, "rollbacks": 0}
    values |= pace.back(values, 0.1, step=0)
    assert pace.fell(values, -90.0) is None  # it has not grown
    values |= pace.grown(values, 5, 100, -50.0).values
    assert pace.fell(values, -49.9) is None and "since its steps grew" in pace.fell(values, -50.1)
    values |= pace.back(values, 0.1, step=3)
    assert values["rate_scale"] == pytest.approx(0.1) and values["rollbacks"] == 1
    assert pace.grown(values, 20, 100, -50.0) is None


def test_what_larger_steps_may_lose_is_a_part_of_what_was_gained():
    found = Mending()
    found.begin(-41.0, -40.0)
    found.mean = -30.0
    assert found.least == pytest.approx(-32.5)
    found.mean = -40.0
    assert found.least == pytest.approx(-42.0)


def test_a_training_far_ahead_of_a_constant_model_that_falls_under_it_goes_back():
    """A census's went from -34.0 nats to -42.8, under a constant model's -40.6: it began anew with a tenth of its rate,
    and what it had learned was lost."""

    def falls(mean: float, best: float, value: float) -> str | None:
        found = Mending()
        found.begin(-41.0, -40.6, -41.4)
        found.mean = mean
        found.rise(best)
        return found.too_far({"log_bound": value}, 100)

    far = 40.6 * (AHEAD + 0.01)
    assert "under a constant model" in falls(-40.6 + far, -41.4 + far + 0.1, -42.8)
    assert falls(-40.6 + far, -41.4 + far + 0.1, -40.6 * (1 + NEAR / 2)) is None
    assert falls(-40.0, -34.0, -42.8) is None and falls(-34.0, -41.0, -42.8) is None  # dropout, or learned by heart


def test_a_state_that_was_broken_a_few_steps_ago_is_none_to_go_back_to():
    """One was kept 16 steps after the last look, 6 of them broken: every return to it ended as the one before."""
    found = Mending()
    found.begin(-41.0, -40.6, -41.4)
    found.mean = -34.5
    broken = {"log_bound": (10 * -34.5 + 6 * -43.0) / 16}
    assert not found.doubtful(broken, 16)  # it has not been far ahead yet, so far as is known
    found.rise(-34.5)
    assert found.doubtful(broken, 16) and not found.doubtful({"log_bound": -34.9}, 16)
    assert found.mean == -34.5


def test_who_fails_again_at_once_goes_on_with_the_best_weights(monkeypatch):
    """A state may be broken already: returns to that one, with ever smaller steps, all ended alike."""
    looks, too_far = [], Mending.too_far

    def failing(self, means, steps):
        looks.append(True)
        return "it fell" if len(looks) in (16, 17) else too_far(self, means, steps)

    monkeypatch.setattr(Mending, "too_far", failing)
    torch.manual_seed(0)
    vae = VAE(Flat(Normal(2), Gaussian(MLP(6, 4, (32,)))), Gaussian(MLP(2, 12, (32,))))
    settings = {"epochs": 67, "batch_size": 40, "learning_rate": 3e-3, "log_every": 10, "checkpoint_every": 50}
    loop = prepare(vae, read_data(rows()), (), ELBO(), Training(**settings), 0, "cpu")
    states, restore = [], loop.restore

    def spied(state):
        states.append((state, dict(loop.best)))
        restore(state)

    loop.restore = spied
    assert loop.run()
    (first, _), (second, best) = states
    assert first.values["step"] == second.values["step"] > 0
    assert any(v.any() for k, v in first.tensors.items() if k.startswith("optimizer/"))
    assert not any(v.any() for k, v in second.tensors.items() if k.startswith("optimizer/"))
    for name, value in best.items():
        assert torch.equal(second.tensors.get(f"game/{name}", value), value)
    assert any(not torch.equal(first.tensors[k], v) for k, v in second.tensors.items() if k.startswith("game/"))
