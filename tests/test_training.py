"""Training: determinism, resuming, skipping, going back, players."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fusevae import (
    ELBO,
    MLP,
    VAE,
    Bernoulli,
    DataSpec,
    Embedding,
    Flat,
    Gaussian,
    InputError,
    Normal,
    Training,
    TrainingError,
    Vamp,
    fit,
    load,
    log_likelihood,
)
from fusevae.core import noise
from fusevae.data.examples import InMemory
from fusevae.data.sequences import Sequences
from fusevae.data.source import read_data
from fusevae.distributions.defensive import Defensive
from fusevae.modalities.audio.schema import SoundSchema
from fusevae.training import checkpoint, diagnosis
from fusevae.training.loop import IN_A_ROW, Loop
from fusevae.training.optimizer import WARM, GuardedAdamW
from fusevae.training.players import Batch, Game, MaximumLikelihood, Player
from fusevae.training.prepare import prepare, trained

X = (torch.rand(200, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def vae() -> VAE:
    with noise.preserved():
        torch.manual_seed(1)
        return VAE(Flat(Normal(2), Gaussian(MLP(6, 4, (8,)))), Bernoulli(MLP(2, 6, (8,))))


def loop(folder=None, model=None, seed=0, data=X, validation=0.2, **settings) -> Loop:
    settings = {"epochs": 4, "batch_size": 16, "log_every": 7, "validate_every": 10, "checkpoint_every": 9} | settings
    splits = read_data(data, validation=validation, test=0.0, seed=seed)
    return prepare(model or vae(), splits, [], ELBO(), Training(**settings), seed, "cpu", folder)


def weights(run: Loop) -> dict[str, Tensor]:
    return {k: v for k, v in run.state().tensors.items() if k.startswith(("game", "average", "optimizer"))}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def lines(folder) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in found]


class Stopped(BaseException):
    pass


def stop_at(run: Loop, step: int) -> None:
    """Kill a run as abruptly as an exception can, after a number of steps."""
    update = run.average.update

    def stopping(at: int) -> None:
        update(at)
        if at + 1 == step:
            raise Stopped

    run.average.update = stopping  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        run.run()


def test_a_seed_fixes_the_run_and_another_seed_changes_it():
    runs = [loop(seed=s) for s in (0, 0, 1)]
    for run in runs:
        torch.rand(3)  # the caller's random state must not matter
        run.run()
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[2]))


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run = loop()
    run.run()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("step", [3, 9, 10, 14, 30])
def test_a_run_stopped_anywhere_and_resumed_ends_bit_identical(tmp_path, step):
    whole = loop(tmp_path / "whole")
    whole.run()
    stop_at(loop(tmp_path / "cut"), step)
    again = loop(tmp_path / "cut")
    assert again.resume() == (step > 9)
    again.run()
    assert same(weights(whole), weights(again))
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


def seldom() -> VAE:
    """A VAE whose learned prior takes part in one of three steps."""
    with noise.preserved():
        torch.manual_seed(1)
        q = Gaussian(MLP(6, 4, (8,)))
        return VAE(Flat(Defensive(Vamp(q, 6, 5), Normal(2), 0.4), q, 0.2, 3), Bernoulli(MLP(2, 6, (8,))))


def test_a_prior_that_pulls_by_a_part_is_resumed_bit_identical(tmp_path):
    whole = loop(tmp_path / "whole", seldom())
    whole.run()
    stop_at(loop(tmp_path / "cut", seldom()), 14)
    again = loop(tmp_path / "cut", seldom())
    assert again.resume()
    again.run()
    assert same(weights(whole), weights(again)) and lines(tmp_path / "whole") == lines(tmp_path / "cut")


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
    whole = loop(tmp_path / "whole")
    whole.run()
    stop_at(loop(tmp_path / "cut"), 30)
    newest = sorted((tmp_path / "cut" / "checkpoints").glob("step-*"))[-1]
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(data)
    again = loop(tmp_path / "cut")
    assert again.resume() and again.step == 18
    assert "damaged" in caplog.text
    again.run()
    assert same(weights(whole), weights(again))
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


def test_when_every_checkpoint_is_damaged_it_says_so(tmp_path):
    loop(tmp_path).run()
    for path in (tmp_path / "checkpoints").glob("step-*"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="every checkpoint"):
        loop(tmp_path).resume()


@pytest.mark.parametrize("parts", [2, 3])
def test_accumulating_gradients_changes_a_result_only_by_rounding(parts):
    one, several = loop(clip=0), loop(clip=0, accumulate=parts)
    one.run(), several.run()
    for (name, a), b in zip(weights(one).items(), weights(several).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4, msg=name)


def test_figures_are_nats_per_example_and_the_elbo_is_reconstruction_minus_kl():
    run = loop(epochs=1)
    run.run()
    records = [r["train"] for r in run.records if "train" in r] + [
        r["validation"] for r in run.records if "validation" in r
    ]
    for record in records:
        assert record["elbo"] == pytest.approx(record["reconstruction"] - record["kl"], abs=1e-5)
        assert sum(record["kl_per_dimension"]["z"]) == pytest.approx(record["kl"], abs=1e-5)
    assert -20 < records[-1]["elbo"] < -2


def test_averages_follow_the_weights_by_their_formula():
    run = loop(average=0.9, epochs=1)
    name = next(n for n, _ in run.game.named_parameters())
    expected = dict(run.game.named_parameters())[name].detach().clone()
    update = run.average.update

    def following(step: int) -> None:
        nonlocal expected
        update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * dict(run.game.named_parameters())[name].detach()

    run.average.update = following  # type: ignore[method-assign]
    run.run()
    torch.testing.assert_close(run.average.state()[name], expected)
    torch.testing.assert_close(dict(run.result().named_parameters())[name], expected)


def guarded(**settings) -> tuple[nn.Parameter, GuardedAdamW]:
    p = nn.Parameter(torch.ones(4))
    return p, GuardedAdamW({"p": p}, Training(**settings), torch.device("cpu"))


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e6])
def test_an_abnormal_update_is_left_out_and_changes_nothing(bad):
    p, optimizer = guarded()
    for _ in range(WARM + 1):
        p.grad = torch.randn(4)
        optimizer.step(0.1)
    optimizer.read()
    before = {k: v.clone() for k, v in optimizer.state().items()}
    weights = p.detach().clone()
    p.grad = torch.full((4,), bad)
    optimizer.step(0.1)
    assert optimizer.newest_was_skipped()
    optimizer.read()
    after = optimizer.state()
    assert torch.equal(p.detach(), weights)
    assert all(torch.equal(after[k], before[k]) for k in before if not k.startswith("stats"))
    assert after["stats/skipped"] == 1 and after["stats/made"] == WARM + 1
    assert torch.equal(after["stats/mean"], before["stats/mean"])


def test_a_gradient_of_exactly_zero_breaks_nothing():
    p, optimizer = guarded()
    for i in range(WARM + 5):
        p.grad = torch.zeros(4) if i < WARM + 2 else torch.ones(4)
        optimizer.step(0.1)
    optimizer.read()
    assert optimizer.stats["skipped"] == 0
    assert bool((p < 1).all())


def test_without_clipping_it_is_torchs_adamw_and_only_weights_of_layers_decay():
    ours, theirs = nn.Linear(2, 2), nn.Linear(2, 2)
    theirs.load_state_dict(ours.state_dict())
    optimizer = GuardedAdamW(dict(ours.named_parameters()), Training(clip=0, weight_decay=0.1), torch.device("cpu"))
    groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    other = torch.optim.AdamW(groups, lr=0.1)
    for i in range(10):
        for net in (ours, theirs):
            net.weight.grad, net.bias.grad = torch.arange(4.0).view(2, 2) - i, torch.arange(2.0) - i
        optimizer.step(0.1), other.step()
    for name, value in ours.named_parameters():
        torch.testing.assert_close(value, theirs.get_parameter(name))


def test_clipping_scales_a_large_gradient_to_the_running_mean():
    p, optimizer = guarded(clip=2.0, skip=0)
    q = nn.Parameter(torch.ones(4))
    other = torch.optim.AdamW([q], lr=0.1, weight_decay=0.0)
    for grad in (1.0, 1.0, 50.0, 1.0):
        p.grad, q.grad = torch.full((4,), grad), torch.full((4,), min(grad, 2.0))
        optimizer.step(0.1), other.step()
        optimizer.read()
        if grad == 50.0:
            assert optimizer.stats["mean"] == pytest.approx(2 * (1 + 1 / 3))  # the clipped norm enters the mean
    torch.testing.assert_close(p, q)


class Explosive(MLP):
    """A net that breaks when it is told to."""

    def forward(self, x, label=None, *others):
        h = super().forward(x, label)
        return h * torch.nan if self.broken(x) else h

    def broken(self, x) -> bool:
        return bool(self.training and self.calls() > 40)

    def calls(self) -> int:
        self.n = getattr(self, "n", 0) + 1
        return self.n


def test_after_several_bad_updates_it_goes_back_with_a_smaller_step_and_names_the_tensor(capsys):
    model = VAE(Flat(Normal(2), Gaussian(Explosive(6, 4, (8,)))), Bernoulli(MLP(2, 6, (8,))))
    run = loop(model=model, validation=0.0, epochs=20)
    net = model.latents.posterior.net
    restore = run.restore

    def mended(state) -> None:
        restore(state)
        net.n = -(10**9)

    run.restore = mended  # type: ignore[method-assign]
    assert run.run()
    event = next(r for r in run.records if "event" in r)
    assert event["rate_scale"] == 0.5 and "latents.posterior.net" in event["cause"]
    assert "back to step" in capsys.readouterr().err and run.values["rollbacks"] == 1
    assert all(bool(v.isfinite().all()) for v in weights(run).values())


def test_a_training_that_stays_bad_gives_up_with_the_last_good_state_whole(tmp_path):
    model = VAE(Flat(Normal(2), Gaussian(Explosive(6, 4, (8,)))), Bernoulli(MLP(2, 6, (8,))))
    run = loop(tmp_path, model=model, validation=0.0, epochs=20)
    with pytest.raises(TrainingError, match="learning_rate"):
        run.run()
    state = checkpoint.read_newest(tmp_path / "checkpoints")
    assert state is not None and all(bool(v.isfinite().all()) for v in state.tensors.values())
    assert IN_A_ROW >= 2


def test_early_stopping_keeps_the_best_weights():
    x = X[:40]
    run = loop(
        data=x, validation=0.5, epochs=2000, learning_rate=0.05, validate_every=5, patience=3, final_learning_rate=1.0
    )
    run.run()
    assert run.finished and run.step < run.total
    best = max(r["validation"]["elbo"] for r in run.records if "validation" in r)
    assert run.values["best"] == best
    run._validate()  # the averages of the last step are worse than what the artifact holds
    artifact = trained(run)
    held = read_data(x, validation=0.5, test=0.0, seed=0).validation
    with torch.no_grad(), noise.keyed(0, "validation", 0, "model"):
        elbo = artifact.distribution.trace(held.batch(torch.arange(20))[0]).elbo.mean()
    assert elbo.item() == pytest.approx(best, abs=1e-4)


class Pull(Player):
    """Two players in one game: each pulls its own number to a function of the other's (a toy of a GAN's structure)."""

    def __init__(self, name: str, mine: nn.Linear, other: nn.Linear, sign: float) -> None:
        super().__init__()
        self.name, self.sign = name, sign
        self.mine, self.other = mine, other

    def own(self):
        return [self.mine]

    def forward(self, batch: Batch, progress: float):
        # the historic leak: the other's parameters are in the graph, undetached
        loss = (self.mine(batch.x) - self.sign * self.other(batch.x)).square().mean()
        return loss, {"loss_value": loss.detach()}


def two_players(**settings) -> Loop:
    with noise.preserved():
        torch.manual_seed(0)
        a, b = nn.Linear(6, 1), nn.Linear(6, 1)
    game = Game([Pull("critic", a, b, 1.0), Pull("maker", b, a, -1.0)])
    data = InMemory(X, None, DataSpec((6,)))
    settings = {"epochs": 3, "batch_size": 20, "log_every": 5, "average": 0.9} | settings
    return Loop(game, data, data.subset(torch.arange(0)), Training(**settings), 0, torch.device("cpu"))


def test_a_move_touches_no_other_players_parameters():
    run = two_players()
    batch = Batch(X[:20])
    for name in ("critic", "maker"):
        before = {n: p.detach().clone() for n, p in run.game.named_parameters()}
        own = run.game.own(name)
        run._move(name, batch)
        for n, p in run.game.named_parameters():
            assert torch.equal(p, before[n]) != (n in own)
            assert p.grad is None


def test_a_game_of_two_trains_and_logs_each_player():
    run = two_players()
    run.run()
    record = run.records[-1]
    assert record["train"]["loss_value"] < 1.0 and record["train"]["maker/loss_value"] < 1.0
    assert "maker/gradient_norm" in record


class Long(Player):
    """Notes what it is shown; its loss is the sum of an example."""

    name = "model"

    def __init__(self) -> None:
        super().__init__()
        self.net, self.seen = nn.Linear(1, 1), []

    def own(self):
        return [self.net]

    def forward(self, batch: Batch, progress: float):
        self.seen.append(batch.x.shape)
        return batch.x.sum(1).mean() + 0 * self.net.weight.sum(), {}

    def diagnose(self, batch: Batch):
        self.looked = batch.x.shape
        return {}


def test_one_long_example_does_not_fill_up_all_others_where_held_out_ones_are_looked_at():
    lengths = torch.arange(600) % 40 + 10
    lengths[300] = 5000
    spec = DataSpec((5000,), "float32", -1, 1, schema=SoundSchema(8000))
    held = Sequences(torch.linspace(0.1, 0.9, int(lengths.sum())), lengths, None, spec)
    player = Long()
    run = Loop(Game([player]), held.subset(torch.arange(9)), held, Training(epochs=1), 0, torch.device("cpu"))
    found = diagnosis.held_out(run, run.game, ["model"])["loss"]
    assert found == pytest.approx(held.tokens.sum().item() / 600, rel=1e-5)
    assert sum(n for n, _ in player.seen) == 600
    assert sum(n * longest for n, longest in player.seen) < 100 * 5000 + 600 * 50
    diagnosis.diagnose(run, run.game, 0.5)
    assert player.looked[0] == 100


def test_fit_in_a_few_lines_improves_the_bound():
    artifact = fit(vae(), X, training=Training(epochs=60, batch_size=20, learning_rate=0.01), quiet=True)
    with torch.no_grad():
        after, before = (m.trace(X).elbo.mean() for m in (artifact.distribution, vae()))
    assert after > before + 0.3


def test_networks_of_the_users_own_train_save_and_load_by_name(tmp_path):
    def own() -> nn.Sequential:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))

    labels = torch.arange(len(X)) % 3  # a net without a condition is given none
    model = VAE(Flat(Normal(2), Gaussian(own())), Bernoulli(MLP(2, 6)))
    artifact = fit(model, (X, labels), training=Training(epochs=1), quiet=True)
    artifact.save(tmp_path)
    name = "torch.nn.modules.container.Sequential"
    with pytest.raises(InputError, match="--trust"):
        load(tmp_path)
    again = load(tmp_path, trust={name: own})
    torch.testing.assert_close(log_likelihood(again, X[:5]), log_likelihood(artifact, X[:5]), rtol=0, atol=0)


def test_what_does_not_fit_is_said_before_work_starts():
    with pytest.raises(InputError, match="does not take examples"):
        fit(vae(), torch.rand(20, 7), quiet=True)
    with pytest.raises(InputError, match="event_dim"):
        fit(
            VAE(Flat(Normal(2), Gaussian(MLP((1, 2, 3), 4))), Bernoulli(MLP(2, (1, 2, 3)), event_dim=1)),
            X.view(-1, 1, 2, 3),
            quiet=True,
        )


@pytest.mark.parametrize("setting", [{"batch_size": 0}, {"average": 1.0}, {"epochs": -1}, {"warmup": 2.0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        Training(**setting)


def test_data_outside_the_decoders_values_are_refused_before_any_work():
    with pytest.raises(InputError, match="Binarize"):
        fit(vae(), 5 * X, quiet=True)


def test_a_label_embedding_has_the_same_gradient_each_time_on_several_threads():
    """Indexing would add it up in any order, and two runs with one seed would part in the last digits."""
    embedding, label = Embedding(10, 256), torch.randint(-1, 10, (128,))
    ahead = torch.randn(128, 256)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [torch.autograd.grad((embedding(label) * ahead).sum(), embedding.weight)[0] for _ in range(50)]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(g, found[0]) for g in found)


def test_a_frozen_part_stays_as_it_is():
    model = VAE(Flat(Normal(2), Gaussian(MLP(4, 4, (8,)))), Gaussian(MLP(2, 4, (8,)), scale="shared"))
    before = {n: p.clone() for n, p in model.named_parameters()}
    training = Training(epochs=1, batch_size=16, frozen=("posterior",))
    artifact = fit(model, torch.randn(64, 4), training=training, quiet=True)
    same = {n for n, p in artifact.distribution.named_parameters() if torch.equal(p, before[n])}
    assert same == {n for n in before if "posterior" in n}
    assert all(p.requires_grad for p in artifact.parameters())
    with pytest.raises(InputError, match=r"no part 'encoder': training\.frozen takes"):
        fit(model, torch.randn(64, 4), training=Training(frozen=("encoder",)), quiet=True)
    with pytest.raises(InputError, match="leaves nothing to train"):
        fit(model, torch.randn(64, 4), training=Training(frozen=("latents", "decoder")), quiet=True)


def test_a_run_on_resized_images_draws_what_the_model_makes(tmp_path):
    from fusevae.training.train import train as run

    node = {
        "model": {
            "class": "VAE",
            "latents": {
                "class": "Flat",
                "prior": {"class": "Normal", "shape": 2},
                "posterior": {"class": "Gaussian", "net": {"class": "MLP", "inputs": [1, 4, 4], "outputs": 4}},
            },
            "decoder": {"class": "Bernoulli", "net": {"class": "MLP", "inputs": 2, "outputs": [1, 4, 4]}},
        },
        "views": [{"class": "Resize", "height": 4, "width": 4}, {"class": "Binarize"}],
        "training": {"epochs": 0.1},
    }
    assert run(node, tmp_path / "run", quiet=True, importance_samples=1).finished
    assert (tmp_path / "run" / "reconstructions.png").exists() and (tmp_path / "run" / "interpolations.png").exists()


def test_what_is_missing_from_a_table_is_not_what_went_wrong():
    rows = torch.randn(60, 3).numpy()
    rows[::5, 1] = math.nan
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    artifact = fit("table-vae", frame, training={"epochs": 1, "patience": None, "mend": False}, quiet=True)
    player = MaximumLikelihood(artifact, ELBO())
    batch = Batch(torch.as_tensor(rows), None)
    game = Game([player]).train()
    assert batch.x.isnan().any() and "the batch" not in diagnosis.first_bad_tensor(game, player.name, batch, 1.0)
    name, parameter = next(iter(game.named_parameters()))
    parameter.data.fill_(math.nan)
    assert diagnosis.first_bad_tensor(game, player.name, batch, 1.0) == f"the parameter {name} is not finite"
    assert (
        diagnosis.first_bad_tensor(game, player.name, Batch(batch.x / 0, None), 1.0) == "the batch itself is not finite"
    )
