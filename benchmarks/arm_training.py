"""Arms of ``training_speed.py``: the library's loop and a hand-written one on the same model, data and arithmetic."""

from __future__ import annotations

import torch
from common import Turn, last, now, serve, size
from inputs import images
from torch import nn
from torch.nn import functional as F

BATCH, STEPS = 128, size(400, 3)


def by_library(extras: bool, binarize: bool, device: str) -> Turn:
    import fusevae
    from fusevae.data.source import read_data
    from fusevae.training.prepare import prepare

    raw, _ = images("train", BATCH * STEPS)
    data = read_data(raw if binarize else (raw > 127).float(), validation=0.0, test=0.0)
    views = [fusevae.Binarize()] if binarize else []
    off = {} if extras else {"clip": 0.0, "average": 0.0}
    training = fusevae.Training(epochs=1, batch_size=BATCH, learning_rate=1e-3, **off)

    def turn() -> dict[str, float]:
        encoder = fusevae.MLP((1, 28, 28), 2 * 16, hidden=(512,), activation="relu")
        decoder = fusevae.MLP(16, (1, 28, 28), hidden=(512,), activation="relu")
        latents = fusevae.Flat(fusevae.Normal(16), fusevae.Gaussian(encoder))
        model = fusevae.VAE(latents, fusevae.Bernoulli(decoder))
        loop = prepare(model, data, views, fusevae.ELBO(), training, seed=0, device=device)
        started = now(device)
        loop.run()
        seconds = now(device) - started
        return {"seconds": seconds, "steps": loop.total, "elbo": last(loop.records)["train"]["elbo"]}

    return turn


def by_hand(extras: bool, binarize: bool, device: str) -> Turn:
    raw, _ = images("train", BATCH * STEPS)
    data = raw if binarize else (raw > 127).float()
    n = len(data)

    def turn() -> dict[str, float]:
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 32)).to(device)
        decoder = nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 784)).to(device)
        parameters = [*encoder.parameters(), *decoder.parameters()]
        averages = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
        logged = torch.zeros(17, device=device)
        started = now(device)
        order = torch.randperm(n)
        for step in range(STEPS):
            x = data[order[step * BATCH : (step + 1) * BATCH]].to(device)
            x = (torch.rand(x.shape, device=device) < x / 255).float() if binarize else x
            mean, raw_scale = encoder(x).chunk(2, -1)
            log_scale = -1 + 6 * torch.tanh((raw_scale + 1) / 6)
            z = mean + log_scale.exp() * torch.randn_like(mean)
            logits = decoder(z)
            reconstruction = (x.flatten(1) * logits).sum(-1) - F.softplus(logits).sum(-1)
            kl = 0.5 * (mean**2 + (2 * log_scale).exp() - 1) - log_scale
            loss = (kl.sum(-1) - reconstruction).mean()
            optimizer.zero_grad()
            loss.backward()
            if extras:
                nn.utils.clip_grad_norm_(parameters, 100.0)
            optimizer.step()
            if extras:
                decay = min(0.999, (1 + step) / (10 + step))
                with torch.no_grad():
                    torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - decay)
            with torch.no_grad():
                logged[0] += reconstruction.mean()
                logged[1:] += kl.mean(0)
        seconds = now(device) - started
        return {"seconds": seconds, "steps": STEPS, "elbo": float(logged[0] - logged[1:].sum()) / STEPS}

    return turn


def make(by: str, extras: str, binarize: str, device: str = "cpu") -> Turn:
    return (by_library if by == "library" else by_hand)(extras == "extras", binarize == "binarize", device)


if __name__ == "__main__":
    serve(make)
