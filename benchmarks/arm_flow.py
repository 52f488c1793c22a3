"""Arms of ``flow_speed.py``: the library's loop and hand-written ones on the same flows, data and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from common import Turn, last, now, serve, size
from inputs import images
from torch import Tensor, nn

BATCH, STEPS, TRANSFORMS, HIDDEN = size(100, 10), size(200, 2), 5, size((512,), (32,))
GLOW = {"steps": size(4, 1), "width": size(32, 4)}
ALPHA = 1e-6


def by_library(flow: str) -> Turn:
    import fusevae
    from fusevae.recipes import glow, maf
    from fusevae.training.prepare import prepare

    data = fusevae.read_data(images("train", BATCH * STEPS)[0], validation=0.0, test=0.0)
    training = fusevae.Training(epochs=1, batch_size=BATCH, learning_rate=1e-3, validate_every=STEPS)

    def turn() -> dict[str, float]:
        spec = fusevae.DataSpec(data.spec.shape, "uint8", 0, 255)
        if flow == "maf":
            experiment = maf.recipe(spec, transforms=TRANSFORMS, hidden=HIDDEN)
        else:
            experiment = glow.recipe(spec, **GLOW)
        loop = prepare(experiment.model, data, [], fusevae.ELBO(), training, seed=0, device="cpu")
        started = now()
        loop.run()
        seconds = now() - started
        return {"seconds": seconds, "steps": loop.total, "log_bound": last(loop.records)["train"]["log_bound"]}

    return turn


def by_hand(layers: Callable[[], tuple[nn.Module, Callable[[Tensor], Tensor]]]) -> Turn:
    """``layers`` gives a module and its log-density of vectors of logits in unit scale."""
    raw, _ = images("train", BATCH * STEPS)
    scale = 1 - 2 * ALPHA

    def logits(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flatten(1).float()
        x = torch.minimum(x + torch.rand(x.shape), torch.nextafter(x + 1, x)) / 256
        log_s, log_rest = torch.log(ALPHA + scale * x), torch.log(ALPHA + scale * (1 - x))
        return log_s - log_rest, (math.log(scale) - log_s - log_rest).sum(1) - 784 * math.log(256)

    def turn() -> dict[str, float]:
        module, log_prob = layers()
        y = logits(raw)[0]
        mean, std = y.mean(0), y.std(0)
        parameters = list(module.parameters())
        averages = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
        logged = torch.zeros(())
        started = now()
        order = torch.randperm(len(raw))
        for step in range(STEPS):
            y, log_det = logits(raw[order[step * BATCH : (step + 1) * BATCH]])
            value = log_prob((y - mean) / std) + log_det - std.log().sum()
            loss = -value.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1e6)
            optimizer.step()
            decay = min(0.999, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - decay)
                logged += value.mean()
        seconds = now() - started
        return {"seconds": seconds, "steps": STEPS, "log_bound": float(logged) / STEPS}

    return turn


def zuko_maf() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    import zuko

    flow = zuko.flows.MAF(784, transforms=TRANSFORMS, hidden_features=HIDDEN, activation=nn.SiLU)
    return flow, lambda y: flow().log_prob(y)


def bare_glow() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from fusevae.nets.invertible import MultiScale

    layers: Any = MultiScale((1, 28, 28), levels=3, **GLOW)

    def log_prob(y: Tensor) -> Tensor:
        u, log_det = layers(y)
        return -0.5 * (u**2).sum(1) - 392 * math.log(2 * math.pi) + log_det

    return layers, log_prob


def make(by: str, flow: str) -> Turn:
    torch.manual_seed(0)
    return by_library(flow) if by == "library" else by_hand(zuko_maf if flow == "maf" else bare_glow)


if __name__ == "__main__":
    serve(make)
