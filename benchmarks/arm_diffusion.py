"""Arms of ``diffusion_speed.py``: the library's loop and a hand-written one on the same net, data and arithmetic."""

from __future__ import annotations

import math

import torch
from common import Turn, last, now, serve, size
from inputs import images
from torch import nn

BATCH, LOW, HIGH, WIDTH = size(64, 8), -13.0, 10.0, 2.0


def by_library(steps: int, device: str) -> Turn:
    from fusevae.data.source import read_data
    from fusevae.training.prepare import prepare
    from fusevae.training.recipes import find
    from fusevae.training.settings import Training

    data = read_data(images("train", BATCH * steps), validation=0.0, test=0.0)
    training = Training(epochs=1, batch_size=BATCH, learning_rate=1e-3, unlabelled=0.1)

    def turn() -> dict[str, float]:
        experiment = find("diffusion")(data.spec, bins=None)
        loop = prepare(experiment.model, data, (), experiment.objective, training, seed=0, device=device)
        started = now(device)
        loop.run()
        seconds = now(device) - started
        return {"seconds": seconds, "steps": loop.total, "error": -last(loop.records)["train"]["log_bound"]}

    return turn


def by_hand(steps: int, device: str) -> Turn:
    from fusevae import UNet

    raw, labels = images("train", BATCH * steps)
    start, end = math.atan(LOW / WIDTH), math.atan(HIGH / WIDTH)

    def turn() -> dict[str, float]:
        net = UNet((1, 28, 28), patch=2, classes=10).to(device)
        parameters = list(net.parameters())
        averages = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
        logged = torch.zeros((), device=device)
        started = now(device)
        order = torch.randperm(len(raw))
        for step in range(steps):
            index = order[step * BATCH : (step + 1) * BATCH]
            x, label = raw[index].to(device).float(), labels[index].to(device)
            label = torch.where(torch.rand(BATCH, device=device) < 0.1, -1, label)
            x = (x + torch.rand_like(x)) * (2 / 256) - 1
            tan = torch.tan(start + (end - start) * torch.rand(BATCH, device=device))
            level, slope = WIDTH * tan, WIDTH * (end - start) * (1 + tan**2)
            alpha = torch.sigmoid(-level).sqrt()[:, None, None, None]
            sigma = torch.sigmoid(level).sqrt()[:, None, None, None]
            eps = torch.randn_like(x)
            out = net(alpha * x + sigma * eps, (level - LOW) / (HIGH - LOW), label)
            error = (alpha * eps - sigma * x - out).square().flatten(1).sum(1)
            optimizer.zero_grad()
            error.mean().backward()
            nn.utils.clip_grad_norm_(parameters, 1e6)
            optimizer.step()
            decay = min(0.999, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - decay)
                prior = 0.5 * torch.sigmoid(torch.tensor(-HIGH)) * x.square().flatten(1).sum(1)
                logged += (0.5 * slope * torch.sigmoid(-level) * error + prior).mean()
        seconds = now(device) - started
        constant = 784 * (0.5 * (math.log(2 * math.pi) + 1 + LOW) - math.log(2 / 256))
        return {"seconds": seconds, "steps": steps, "error": float(logged) / steps + constant}

    return turn


def make(by: str, steps: str, device: str = "cpu") -> Turn:
    return (by_library if by == "library" else by_hand)(int(steps), device)


if __name__ == "__main__":
    serve(make)
