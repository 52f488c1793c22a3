"""Critics: who moves whom, what the losses and penalties are, and that the games cover their data and resume."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import pytest
import torch
from test_distributed import run as run_processes
from test_training import same, stop_at, weights
from torch import nn
from torch.nn import functional as F

import fusevae
from fusevae import (
    MLP,
    VAE,
    VAEGAN,
    Adversarial,
    AdversarialAutoencoder,
    ConvCritic,
    ConvEncoder,
    ConvGenerator,
    Deterministic,
    FactorVAE,
    Flat,
    Gaussian,
    Generator,
    InputError,
    Normal,
    Normalise,
    PatchGAN,
    Preprocessed,
    SlotError,
    Training,
    fit,
)
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.spec import DataSpec
from fusevae.data.source import read_data
from fusevae.evaluation.verdict import ALIKE
from fusevae.objectives.adversarial import NARROW
from fusevae.training.loop import Loop
from fusevae.training.players import Batch, Game
from fusevae.training.prepare import prepare

SHAPE = (1, 8, 8)
IMAGES = torch.randint(0, 17, (80, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(80) % 3


def generator(classes: int = 0) -> Generator:
    return Generator(Normal(4), ConvGenerator(4, SHAPE, (8, 4), classes, groups=2))


def autoencoder(latents=None) -> VAE:
    latents = latents or Flat(Normal(4), Gaussian(ConvEncoder(SHAPE, 8, (4, 8), blocks=0)))
    return VAE(latents, Gaussian(ConvGenerator(4, SHAPE, (8, 4), groups=2), scale="optimal"))


def critic(**settings) -> ConvCritic:
    return ConvCritic(SHAPE, (4, 8), **settings)


GAMES = {
    "gan": lambda: (generator(), Adversarial(critic())),
    "conditional residual gan": lambda: (generator(3), Adversarial(critic(blocks=1, classes=3), "hinge")),
    "spectral gan": lambda: (generator(), Adversarial(critic(spectral=True), "hinge", "none", critic_steps=2)),
    "wasserstein gan": lambda: (generator(), Adversarial(critic(), "wasserstein", "interpolates", 10.0, 2)),
    "gan of a vae": lambda: (autoencoder(), Adversarial(critic())),
    "vae gan": lambda: (autoencoder(), VAEGAN(critic(spectral=True))),
    "vae gan with pixels": lambda: (autoencoder(), VAEGAN(critic(), pixels=1.0)),
    "adversarial autoencoder": lambda: (
        autoencoder(Deterministic(ConvEncoder(SHAPE, 4, (4, 8), blocks=0), 0.0, Normal(4))),
        AdversarialAutoencoder(MLP(4, 1, (8,), "leaky_relu")),
    ),
    "patch gan": lambda: (autoencoder(), PatchGAN(critic(patches=True), ConvEncoder(SHAPE, 3, (4,)), start=0.0)),
    "patch gan without labels": lambda: (autoencoder(), PatchGAN(critic(patches=True, spectral=True), start=0.0)),
    "factor vae": lambda: (autoencoder(), FactorVAE(MLP(4, 1, hidden=(8,)))),
}


def loop(game: str = "gan", folder=None, **settings) -> Loop:
    settings = {"epochs": 8, "batch_size": 16, "log_every": 7, "validate_every": 10, "checkpoint_every": 9} | settings
    with noise.preserved():
        torch.manual_seed(1)
        model, objective = GAMES[game]()
    model = Preprocessed([Normalise(0, 16, -1, 1)], model)
    data = read_data((IMAGES, LABELS), validation=0.2, test=0.0, seed=0)
    return prepare(model, data, [], objective, Training(**settings), 0, "cpu", folder)


# who moves whom


class BatchNormed(nn.Module):
    """A net with batch statistics: buffers that every forward in training changes."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = (outputs,)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(), nn.Linear(8, outputs))

    def forward(self, x):
        return self.net(x)


def check_moves(run: Loop) -> None:
    """Each move changes parameters and buffers of those who move, and of nobody else; and leaves no gradient."""
    for name, player in run.game.players.items():
        movers = (name, *player.partners)
        if type(player).__name__ == "Partner":
            continue
        mine = {n for who in movers for n in run.game.own(who)}
        owned = {id(t) for who in movers for t in run.game._of(who)}
        theirs = {n for n, b in run.game.named_buffers() if id(b) not in owned}
        before = {n: t.detach().clone() for n, t in (*run.game.named_parameters(), *run.game.named_buffers())}
        run._move(name, Batch(*run.train.batch(torch.arange(16))))
        moved = {n for n, p in run.game.named_parameters() if not torch.equal(p, before[n])}
        assert moved <= mine, f"{moved - mine} in the move of {name}"
        assert len(moved) > 0.5 * len(mine)  # not an encoder where only new examples are judged
        assert all(p.grad is None and p.requires_grad for p in run.game.parameters())
        for n, b in run.game.named_buffers():
            assert n not in theirs or torch.equal(b, before[n]), f"the buffer {n} in the move of {name}"


@pytest.mark.parametrize("game", GAMES)
def test_a_move_touches_no_other_players_parameters_or_buffers(game):
    run = loop(game)
    check_moves(run)
    owners = [set(run.game.own(name)) for name in run.game.players]
    assert sum(len(o) for o in owners) == len(set().union(*owners)) == len(list(run.game.parameters()))


def with_batch_norm() -> Loop:
    with noise.preserved():
        torch.manual_seed(1)
        model, objective = Generator(Normal(6), BatchNormed(6)), Adversarial(BatchNormed(1))
    data = read_data(torch.randn(60, 6), validation=0.0, test=0.0)
    return prepare(model, data, [], objective, Training(batch_size=16), 0)


def test_batch_statistics_belong_to_their_player(monkeypatch):
    run = with_batch_norm()
    check_moves(run)
    own = [n for n, b in run.game.named_buffers() if n.endswith("running_mean")]
    assert len(own) == 2 and all(bool(dict(run.game.named_buffers())[n].any()) for n in own)
    monkeypatch.setattr(Game, "only", lambda self, name: nullcontext())
    with pytest.raises(AssertionError):
        check_moves(with_batch_norm())


def by_hand(run: Loop, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradients of VAE-GAN's step, from one forward and three calls of autograd.grad (Larsen et al. 2016)."""
    game = run.game
    model = game.players["encoder"].artifact.distribution.model
    net, decoder = game.players["encoder"].objective.opponent, model.decoder.net
    x = batch.x.float() / 8 - 1
    with noise.keyed(0, "step", 0, "encoder"):
        mean, raw = model.latents.posterior.net(x).chunk(2, 1)
        scale = (-1 + 6 * torch.tanh((raw + 1) / 6)).exp()
        z = mean + scale * torch.normal(torch.zeros_like(mean), torch.ones_like(mean))
        made, new = decoder(z), decoder(torch.normal(torch.zeros_like(z), torch.ones_like(z)))
        data = x.clone().requires_grad_()
        real, features = net.judge(x)
        fake, found = net.judge(torch.cat([made, new]))
        slope = torch.autograd.grad(net(data).sum(), data, create_graph=True)[0]
    n, d = features.shape
    square = (found[:n] - features).square()
    variance = square.mean().detach()
    content = 0.5 * (square.sum(1) / variance).mean()
    kl = (0.5 * (mean**2 + scale**2 - 1) - scale.log()).sum(1).mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean() + 0.5 * slope.flatten(1).square().sum(1).mean()
    losses = {"encoder": kl + content, "decoder": content / d + F.softplus(-fake).mean(), "critic": told}
    grads = {}
    for name, loss in losses.items():
        own = game.own(name)
        grads |= dict(zip(own, torch.autograd.grad(loss, list(own.values()), retain_graph=True), strict=True))
    return grads


def gradients(run: Loop, name: str, batch: Batch) -> dict[str, torch.Tensor]:
    """What the loop hands to the optimizers."""
    found = {}
    for who, optimizer in run.optimizers.items():
        names = {id(p): n for n, p in run.game.own(who).items()}
        optimizer.step = lambda rate, o=optimizer, names=names: found.update(  # type: ignore[method-assign]
            {names[id(p)]: p.grad.clone() for p in o.parameters.values()}
        )
    run._move(name, batch)
    return found


def vae_gan(**settings: float) -> tuple[Loop, Batch]:
    with noise.preserved():
        torch.manual_seed(1)
        model = Preprocessed([Normalise(0, 16, -1, 1)], autoencoder())
        objective = VAEGAN(critic(), **settings)
    data = read_data(IMAGES, validation=0.0, test=0.0)
    return prepare(model, data, [], objective, Training(batch_size=16), 0), Batch(IMAGES[:16])


def close(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[n], b[n], rtol=1e-4, atol=1e-5 * b[n].abs().max()) for n in b)


def test_the_simultaneous_step_of_vae_gan_has_the_gradients_of_three_separate_ones(monkeypatch):
    run, batch = vae_gan()
    wanted = by_hand(run, batch)
    assert close(gradients(run, "encoder", batch), wanted)

    def leaking(self, losses, share):  # the historic leak: one backward for all, the critic's loss in the decoder
        sum(loss for loss, _ in losses.values()).backward()

    monkeypatch.setattr(Loop, "_backward", leaking)
    run, batch = vae_gan()
    found = gradients(run, "encoder", batch)
    assert found.keys() == wanted.keys() and not close(found, wanted)
    critics = run.game.own("critic")
    wrong = [n for n in wanted if not torch.allclose(found[n], wanted[n], rtol=1e-2, atol=1e-6)]
    assert any(n not in critics for n in wrong) and any(n in critics for n in wrong)


def test_until_its_start_a_vae_gan_is_trained_as_a_vae_and_its_critic_rests():
    run, batch = vae_gan(pixels=1.0, start=0.5)
    found = gradients(run, "encoder", batch)
    model, dims = run.game.players["encoder"].artifact.distribution, batch.x[0].numel()
    with noise.keyed(0, "step", 0, "encoder"):
        trace = model.trace(batch.x.float())
        loss = -trace.elbo.mean()
    own = {who: run.game.own(who) for who in ("encoder", "decoder", "critic")}
    wanted = {n: torch.zeros_like(p) for n, p in own["critic"].items()}
    for who, scale in (("encoder", 1), ("decoder", dims)):
        slopes = torch.autograd.grad(loss, list(own[who].values()), retain_graph=True)
        wanted |= {n: g / scale for n, g in zip(own[who], slopes, strict=True)}
    assert close(found, wanted)


def test_pixels_add_the_likelihood_to_what_encoder_and_decoder_learn():
    (plain, batch), (both, _), (alone, _) = vae_gan(), vae_gan(pixels=2.0), vae_gan(pixels=2.0, start=0.5, beta=0.0)
    a, b, c = (gradients(run, "encoder", batch) for run in (plain, both, alone))
    assert close(b, {n: a[n] + c[n] for n in a})


def test_accumulated_gradients_of_a_simultaneous_step_are_those_of_the_batch():
    """But for the variance of the features, an estimate over the batch; the KL and the critic are exact."""
    found = []
    for parts in (1, 2):
        run, batch = vae_gan()
        run.settings.accumulate = parts
        found.append({n: g for n, g in gradients(run, "encoder", batch).items() if n in run.game.own("critic")})
    assert close(*found)


# what the losses are


@pytest.mark.parametrize(
    ("penalty", "wanted"), [("r1", 3.0 / 2 * 5.0), ("interpolates", 3.0 * (math.sqrt(5) - 1) ** 2)]
)
def test_the_penalty_of_a_linear_critic_is_known(penalty, wanted):
    """C(x) = w.x + b with |w|^2 = 5 has the gradient w everywhere."""
    net = nn.Linear(2, 1)
    net.weight.data = torch.tensor([[1.0, 2.0]])
    objective = Adversarial(net, "wasserstein", penalty, 3.0)
    value = objective.smooth(torch.randn(7, 2), torch.randn(7, 2), None)
    torch.testing.assert_close(value, torch.full((7,), wanted))
    (found,) = torch.autograd.grad(value.mean(), net.weight)
    norm = math.sqrt(5)
    exact = 3.0 * net.weight if penalty == "r1" else 3.0 * 2 * (norm - 1) * net.weight / norm
    torch.testing.assert_close(found, exact.detach())
    with torch.no_grad():
        assert objective.smooth(torch.randn(7, 2), torch.randn(7, 2), None) == 0.0


def test_the_best_critic_is_the_log_ratio_of_the_densities():
    """Of N(1, 1) against N(-1, 1) it is 2 x (Goodfellow et al. 2014)."""
    objective = Adversarial(nn.Linear(1, 1), penalty="none")
    real, fake = torch.randn(20_000, 1) + 1, torch.randn(20_000, 1) - 1
    optimizer = torch.optim.LBFGS(objective.parameters(), max_iter=50)

    def closure():
        optimizer.zero_grad()
        loss = objective.tell_apart(objective.judge(real, None), objective.judge(fake, None)).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert objective.opponent.weight.item() == pytest.approx(2.0, abs=0.1)
    assert objective.opponent.bias.item() == pytest.approx(0.0, abs=0.05)


def test_the_loss_of_patches_is_their_mean():
    for kind in ("non-saturating", "hinge", "wasserstein"):
        objective = Adversarial(critic(patches=True), kind)
        real, fake = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
        parts = [objective.tell_apart(real[..., i, j], fake[..., i, j]) for i in (0, 1) for j in (0, 1)]
        torch.testing.assert_close(objective.tell_apart(real, fake), torch.stack(parts).mean(0))


def test_the_critic_of_patches_weighs_as_much_as_the_rest_asks():
    objective = PatchGAN(critic(patches=True), strength=0.5)
    made = torch.randn(3, *SHAPE, requires_grad=True)
    rest, asked = 40 * made.square().flatten(1).sum(1), objective.persuade(objective.judge(made, None))
    weight = objective.adaptive(rest, asked, made)
    ours, theirs = (torch.autograd.grad(v.sum(), made, retain_graph=True)[0].norm() for v in (rest, asked))
    assert (weight * theirs / ours).item() == pytest.approx(0.5, rel=1e-3)


def test_the_projection_critic_gives_a_label_its_own_direction():
    net = critic(classes=3)
    x, label = torch.randn(4, *SHAPE), torch.tensor([0, 1, 2, -1])
    apart = net(x, label) - torch.cat([net(x[i : i + 1], label[i : i + 1]) for i in range(4)])
    assert apart.abs().max() < 1e-5
    assert torch.equal(net(x, label)[3:], net(x)[3:])  # an unknown label is a missing one
    assert not torch.allclose(net(x, label)[:1], net(x)[:1])


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 13, 9), (2, 5, 17)])
def test_the_nets_take_images_of_any_size(size):
    x = torch.randn(2, *size)
    assert ConvGenerator(3, size, (8, 8, 4), groups=2)(torch.randn(2, 3)).shape == x.shape
    assert ConvCritic(size, (4, 8, 8), blocks=1, spectral=True)(x).shape == (2, 1)
    wide, high = -(-size[1] // 8), -(-size[2] // 8)
    assert ConvCritic(size, (4, 8, 8), patches=True)(x).shape == (2, 1, wide, high)


def test_a_spectrally_normalised_critic_has_layers_of_norm_one_and_is_copied_saved_and_loaded():
    net = critic(spectral=True).train()
    for _ in range(30):
        net(torch.randn(4, *SHAPE))
    for layer in (m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    again, other = copy.deepcopy(net).eval(), critic(spectral=True).eval()
    other.load_state_dict(net.state_dict())
    x = torch.randn(4, *SHAPE)
    assert torch.equal(again(x), other(x)) and torch.equal(again(x), net.eval()(x))


# a generator is a distribution that only samples


def test_the_path_of_a_sample_reaches_every_parameter():
    part = generator(3)
    p = part(torch.tensor([0, 2]))
    assert p.sample((5,)).shape == (5, 2, *SHAPE) and p.event_shape == SHAPE and not p.sample().requires_grad
    grads = torch.autograd.grad(p.rsample((9,)).square().sum(), list(part.parameters()))
    assert all(bool(g.any()) for g in grads)


def test_what_asks_a_generator_for_a_likelihood_is_refused():
    part = generator()
    for ask in (part().log_prob, part().log_bound):
        with pytest.raises(SlotError, match="only samples"):
            ask(torch.zeros(2, *SHAPE))
    with pytest.raises(SlotError, match="samples only"):
        Flat(Generator(Normal(2), MLP(2, 4)), Gaussian(MLP(3, 8)))
    with pytest.raises(InputError, match="only samples"):
        fusevae.evaluate(Artifact(part, DataSpec(SHAPE)), torch.zeros(2, *SHAPE))
    with pytest.raises(InputError, match="objective=Adversarial"):
        fit(part, torch.zeros(20, *SHAPE), quiet=True)


def test_a_game_whose_parts_do_not_fit_is_refused_before_work_starts():
    x = torch.rand(40, *SHAPE)
    with pytest.raises(InputError, match="the data have"):
        fit(Generator(Normal(2), MLP(2, (1, 4, 4))), x, objective=Adversarial(critic()), quiet=True)
    with pytest.raises(InputError, match="needs a model with latents"):
        fit(generator(), x, objective=VAEGAN(critic()), quiet=True)
    with pytest.raises(InputError, match="needs labels"):
        fit(autoencoder(), x, objective=PatchGAN(critic(), ConvEncoder(SHAPE, 3, (4,))), quiet=True)
    with pytest.raises(InputError, match="move at once"):
        fit(autoencoder(), x, objective=VAEGAN(critic()), training=Training(encoder_steps=2), quiet=True)
    with pytest.raises(InputError, match="does not take examples"):
        fit(generator(), x, objective=Adversarial(ConvCritic((1, 9, 9))), quiet=True)
    with pytest.raises(InputError, match="inner layer"):
        VAEGAN(MLP(SHAPE, 1))
    with pytest.raises(InputError, match="nothing to learn"):
        VAEGAN(critic(), start=0.5)
    with pytest.raises(InputError, match="below 1"):
        VAEGAN(critic(), pixels=1.0, start=1.0)


# what the games come to


def rectifiers(inputs: int, outputs: int, activation=nn.ReLU) -> nn.Sequential:
    hidden = [nn.Linear(inputs, 128), activation(), nn.Linear(128, 128), activation()]
    return nn.Sequential(*hidden, nn.Linear(128, outputs))


def test_a_gan_covers_all_of_25_gaussians():
    """On a grid of step 1, each of deviation 0.05; a fair share of the samples is 1/25."""
    centres = torch.cartesian_prod(torch.arange(-2.0, 3.0), torch.arange(-2.0, 3.0))
    draw = torch.Generator().manual_seed(0)
    which = torch.randint(0, 25, (20_000,), generator=draw)
    x = centres[which] + 0.05 * torch.randn(20_000, 2, generator=draw)
    torch.manual_seed(0)
    model, net = Generator(Normal(2), rectifiers(2, 2)), rectifiers(2, 1, nn.LeakyReLU)
    for p in net[0].parameters():
        p.data *= 3  # a critic that sees the step of the grid from the start
    settings = {"epochs": 80, "batch_size": 256, "learning_rate": 2e-3, "betas": (0.5, 0.9), "average": 0.99}
    settings |= {"clip": 0.0, "skip": 0.0, "warmup": 0.0, "final_learning_rate": 0.05, "validate_every": 10**9}
    objective = Adversarial(net, "hinge", "none")
    artifact = fit(model, x, objective=objective, training=Training(**settings), quiet=True)
    distance, nearest = torch.cdist(fusevae.sample(artifact, 5000, seed=1), centres).min(1)
    near = nearest[distance < 0.2]
    assert len(near) > 0.75 * 5000
    assert torch.bincount(near, minlength=25).min() > 0.25 * 5000 / 25


@pytest.mark.parametrize("game", ["gan", "spectral gan", "vae gan", "patch gan"])
def test_a_game_goes_on_as_if_it_had_not_been_stopped(tmp_path, game):
    whole = loop(game, tmp_path / "whole")
    whole.run()
    stop_at(loop(game, tmp_path / "part"), 22)
    again = loop(game, tmp_path / "part")
    assert again.resume() and again.step == 18
    again.run()
    assert same(weights(whole), weights(again))
    assert same(dict(whole.game.named_buffers()), dict(again.game.named_buffers()))


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("game", ["gan", "vae gan"])
def test_two_processes_play_the_game_of_one(tmp_path, game, parallel):
    for n in (1, 2):
        run_processes(n, game, parallel, tmp_path / str(n))
    one, two = (torch.load(tmp_path / str(n) / "result.pt") for n in (1, 2))
    assert one["state"].keys() == two["state"].keys()
    for name, value in one["state"].items():
        torch.testing.assert_close(two["state"][name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_warnings_name_a_won_game_and_samples_that_are_all_alike():
    objective = Adversarial(critic())
    said = objective.warnings({"ordered": 1.0, "variance": 0.001})
    assert set(said) == {"critic wins", "mode collapse"} and all("\n" not in text for text in said.values())
    assert not objective.warnings({"ordered": 0.9, "variance": 0.8})
    assert ALIKE == NARROW  # what is warned of on the way is said at the end


def test_the_extractor_learns_first_and_then_stays():
    run = loop("patch gan", epochs=40)
    run.run()
    seen = [r["step"] for r in run.records if "extractor/loss_value" in r.get("train", {})]
    assert seen and max(seen) <= 0.2 * run.total + 7
    assert not run.game.players["extractor"].moves(run.total, 1.0)
    assert all(".extractor." in n for n in run.game.own("extractor"))


def test_latents_of_an_autoencoder_begin_as_a_standard_normal_once():
    """Of pictures that are nearly alike they would all be one point."""
    x = 0.3 * torch.randn(300, *SHAPE)
    latents = Deterministic(ConvEncoder(SHAPE, 4, (4, 8), blocks=0), prior=Normal(4))
    assert latents.infer(x)[0].std(0).max() < 0.01
    latents.start_from(lambda: x)
    z = latents.infer(x)[0]
    torch.testing.assert_close(z.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(4), atol=1e-2, rtol=0)
    again = Deterministic(ConvEncoder(SHAPE, 4, (4, 8), blocks=0), prior=Normal(4))
    again.load_state_dict(latents.state_dict())
    for one in (latents, again):
        one.start_from(lambda: 5 * x)  # what was trained stays
        assert torch.equal(one.infer(x)[0], z)
