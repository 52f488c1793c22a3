"""Arms of ``gan_speed.py``: the library's loop and hand-written ones on the same nets, data and arithmetic."""

from __future__ import annotations

import math

import torch
from common import Turn, now, serve, size
from inputs import images
from torch import Tensor, nn
from torch.nn import functional as F

import fusevae
from fusevae import DataSpec
from fusevae.data.source import read_data
from fusevae.training.prepare import prepare
from fusevae.training.recipes import find

BATCH, STEPS, RATE, BETAS = size(64, 8), size(60, 2), 5e-4, (0.0, 0.99)


def by_library(name: str) -> Turn:
    data = read_data(images("train", BATCH * STEPS)[0], validation=0.0, test=0.0)

    def turn() -> dict[str, float]:
        made = find(name)(DataSpec((1, 28, 28), "uint8", 0, 255))
        settings = {"epochs": 1, "batch_size": BATCH, "learning_rate": RATE, "betas": BETAS, "clip": 0.0, "skip": 0.0}
        training = fusevae.Training(**settings, validate_every=10**9)
        loop = prepare(made.model, data, made.views, made.objective, training, seed=0, device="cpu")
        started = now()
        loop.run()
        return {"seconds": now() - started, "steps": loop.total}

    return turn


def parts(name: str) -> list[nn.Module]:
    """The nets of a recipe."""
    made = find(name)(DataSpec((1, 28, 28), "uint8", 0, 255))
    model, critic = made.model.model, made.objective.opponent
    if name == "gan":
        return [model.net, critic]
    return [model.latents.posterior.net, model.decoder.net, critic]


class Optimizers:
    """Fused AdamW for each net, and the average of all weights: what the library does as well."""

    def __init__(self, nets: list[nn.Module]) -> None:
        self.each = [torch.optim.AdamW(n.parameters(), RATE, BETAS, weight_decay=0.0, fused=True) for n in nets]
        self.now = [p.detach() for n in nets for p in n.parameters()]
        self.averages = [p.clone() for p in self.now]

    def follow(self, step: int) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.now, 1 - min(0.999, (1 + step) / (10 + step)))


def r1(critic: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.flatten(1).square().sum(1).mean() / 2


def gan_step(nets: list[nn.Module], optimizers: Optimizers, x: Tensor) -> Tensor:
    """The generator, then the critic; each loss trains one net, and the other's gradients are not computed."""
    generator, critic = nets
    ours, theirs = optimizers.each
    critic.requires_grad_(False)
    loss = F.softplus(-critic(generator(torch.randn(len(x), 64)))).mean()
    loss.backward()
    ours.step()
    ours.zero_grad()
    critic.requires_grad_(True)
    with torch.no_grad():
        fake = generator(torch.randn(len(x), 64))
    told = (F.softplus(-critic(x)) + F.softplus(critic(fake))).mean() + r1(critic, x)
    told.backward()
    theirs.step()
    theirs.zero_grad()
    return loss.detach() + told.detach()


def vae_gan_step(nets: list[nn.Module], optimizers: Optimizers, x: Tensor) -> Tensor:
    """One forward of all, and the gradient of each loss for its own net (Larsen et al. 2016)."""
    encoder, decoder, critic = nets
    n = len(x)
    mean, raw = encoder(x).chunk(2, 1)
    scale = (-1 + 6 * torch.tanh((raw + 1) / 6)).exp()
    z = mean + scale * torch.randn_like(mean)
    made, new = decoder(z), decoder(torch.randn_like(z))
    real, wanted = critic.judge(x)  # type: ignore[operator]
    fake, found = critic.judge(torch.cat([made, new]))  # type: ignore[operator]
    kl = (0.5 * (mean**2 + scale**2 - 1) - scale.log()).sum(1).mean()
    square = (found[:n] - wanted).square()
    variance, d = square.detach().mean(), square.shape[1]
    content = (0.5 * (square.sum(1) / variance + d * (variance.log() + math.log(2 * math.pi)))).mean()
    told = (F.softplus(-real).mean() + F.softplus(fake).mean()) + r1(critic, x)
    losses = (kl + content, content / d + F.softplus(-fake).mean(), told)
    for i, (net, loss) in enumerate(zip(nets, losses, strict=True)):
        grads = torch.autograd.grad(loss, list(net.parameters()), retain_graph=i < 2)
        for p, g in zip(net.parameters(), grads, strict=True):
            p.grad = g
    for optimizer in optimizers.each:
        optimizer.step()
        optimizer.zero_grad()
    return torch.stack(losses).detach().sum()


def by_hand(name: str) -> Turn:
    data, _ = images("train", BATCH * STEPS)

    def turn() -> dict[str, float]:
        nets = parts(name)
        optimizers, logged = Optimizers(nets), torch.zeros(())
        step_of = gan_step if name == "gan" else vae_gan_step
        started = now()
        order = torch.randperm(len(data))
        for step in range(STEPS):
            x = data[order[step * BATCH : (step + 1) * BATCH]].float() / 127.5 - 1
            logged += step_of(nets, optimizers, x)
            optimizers.follow(step)
        return {"seconds": now() - started, "steps": STEPS, "loss": logged.item() / STEPS}

    return turn


def make(by: str, name: str) -> Turn:
    return (by_library if by == "library" else by_hand)(name)


if __name__ == "__main__":
    serve(make)
