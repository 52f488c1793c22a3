"""Arms of ``speech_speed.py``: the library's loop and hand-written ones on the same nets, clips and arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import Turn, last, now, serve, size
from inputs import speech
from said_digits import clips_of, strings, write_corpus
from torch import Tensor, nn
from torch.nn import functional as F

import fusevae
from fusevae.training.prepare import prepare
from fusevae.training.recipes import find

STEPS = size({"speech-vae": 20, "mel-vae": 40, "text-to-speech": 40}, dict.fromkeys(("speech-vae", "mel-vae"), 2))
HALF_LOG = 0.9189385  # of 2 pi
Step = Callable[[Any, Tensor, Tensor, Tensor], list[tuple[Tensor, list[nn.Parameter]]]]


def data_of(name: str) -> Any:
    """Clips in memory, and what is known beside them."""
    how: dict[str, Any] = {"validation": 0.0, "test": 0.0}
    if name != "text-to-speech":
        return fusevae.read_data(str(speech()), conditions="{digit}_{speaker}_{take}", **how)
    with TemporaryDirectory() as folder:
        write_corpus(Path(folder), strings(400, 5, seed=0), clips_of(speech(), "george", False), seed=0)
        return fusevae.read_data(folder, **how)


def made_for(name: str, data: Any) -> Any:
    torch.manual_seed(0)
    small = {"speech-vae": {"width": 8}, "mel-vae": {"width": 8, "blocks": 1}}
    return find(name)(data.spec, **size({}, small.get(name, {})))


def bounded(raw: Tensor, low: float, high: float) -> Tensor:
    return (low + high) / 2 + (high - low) / 2 * torch.tanh((raw - (low + high) / 2) * 2 / (high - low))


def there(n: Tensor, size: int) -> Tensor:
    return (torch.arange(size) < n[:, None]).float()[:, None]


def speech_step(made: Any, x: Tensor, n: Tensor, label: Tensor) -> list[tuple[Tensor, list[nn.Parameter]]]:
    """A VAE of waveforms and its critics, at once from one forward."""
    model, game = made.model, made.objective
    encoder, decoder, critic = model.latents.posterior.net, model.decoder.net, game.opponent
    mean, raw = encoder(x, label).chunk(2, 1)
    log_scale, noise = bounded(raw - 1, -5.0, 2.0), torch.randn_like(mean)
    mask = there((n + encoder.samples - 1) // encoder.samples, mean.shape[-1])
    z = (mean + log_scale.exp() * noise) * mask
    log_q = ((-0.5 * noise.square() - log_scale - HALF_LOG) * mask).sum((1, 2))
    kl = log_q - model.latents.prior(label).log_prob(z)
    sound = decoder(z, label)[:, : x.shape[1]] * there(n, x.shape[1])[:, 0]
    loss = 0.1 * kl + model.distance(sound, x)
    asked, told, matched = torch.zeros(()), torch.zeros(()), torch.zeros(())
    real, fake = list(critic.judge(x)), list(critic.judge(sound))
    for a, b in zip(real, fake, strict=True):
        part = a.there[-1]
        count = part.flatten(1).sum(1)
        asked = asked - (b.scores * part).flatten(1).sum(1) / count / len(real)
        told = told + ((F.relu(1 - a.scores) + F.relu(1 + b.scores)) * part).flatten(1).sum(1) / count / len(real)
        for wanted, found, places in zip(a.features, b.features, a.there, strict=True):
            wanted, numbers = wanted.detach(), places.flatten(1).sum(1) * wanted.shape[1]
            apart, level = ((wanted - found).abs().flatten(1).sum(1), wanted.abs().flatten(1).sum(1))
            matched = matched + apart / (level + 1e-6 * numbers) / sum(len(each.features) for each in real)
    loss = loss + n / 8000 * (15 * asked + 30 * matched)
    return [(loss.mean(), list(model.parameters())), (told.mean(), list(critic.parameters()))]


def standardised(made: Any, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-mel frames about mean 0, which of them there are, how many, and the logarithm of what a volume became."""
    (view,), (step,) = made.views, made.model.steps
    frames, count = view(x), n // view.hop + 1
    mask = there(count, frames.shape[-1])
    return (frames - step.mean[:, None]) / step.std[:, None] * mask, mask, count, count * step.std.log().sum()


def mel_step(made: Any, x: Tensor, n: Tensor, label: Tensor) -> list[tuple[Tensor, list[nn.Parameter]]]:
    """A VAE of log-mel frames."""
    vae, (y, mask, count, scaled) = made.model.model, standardised(made, x, n)
    q_mean, q_raw = vae.latents.posterior.net(y, label).chunk(2, -1)
    p_mean, p_raw = vae.latents.prior.net(label).chunk(2, -1)
    q_log, p_log = (bounded(raw, -7.0, 5.0) for raw in (q_raw, p_raw))
    kl = 0.5 * (((q_mean - p_mean).square() + (2 * q_log).exp()) / (2 * p_log).exp() - 1) + p_log - q_log
    z = q_mean + q_log.exp() * torch.randn_like(q_mean)
    means, log_scale = vae.decoder.net(count, z, label), bounded(vae.decoder.log_scale, -7.0, 5.0)[:, None]
    each = -0.5 * ((y - means) / log_scale.exp()).square() - log_scale - HALF_LOG
    place, raw = vae.decoder.count(z, label).unbind(-1)
    spread = bounded(raw, -5.0, 3.0).exp()
    low, high = (((count + half).log() - place) / spread for half in (-0.5, 0.5))
    timed = torch.log(torch.sigmoid(high) - torch.sigmoid(low) + 1e-30)
    bound = (each * mask).sum((1, 2)) + timed - scaled - kl.sum(1)
    return [(-bound.mean(), list(made.model.parameters()))]


def text_step(made: Any, x: Tensor, n: Tensor, label: Tensor) -> list[tuple[Tensor, list[nn.Parameter]]]:
    """Frame-wise latents aligned to a text, log-mel frames given them."""
    vae, (y, mask, _, scaled) = made.model.model, standardised(made, x, n)
    mean, raw = vae.latents.posterior.net(y, label).chunk(2, 1)
    log_scale, noise = bounded(raw, -5.0, 3.0), torch.randn_like(mean)
    z = (mean + log_scale.exp() * noise) * mask
    log_q = ((-0.5 * noise.square() - log_scale - HALF_LOG) * mask).sum((1, 2))
    kl = log_q - vae.latents.prior(label).surrogate(z)
    means, wide = vae.decoder.net(z, label), bounded(vae.decoder.log_scale, -5.0, 3.0)[:, None]
    each = -0.5 * ((y - means) / wide.exp()).square() - wide - HALF_LOG
    bound = (each * mask).sum((1, 2)) - scaled - kl
    return [(-bound.mean(), list(made.model.parameters()))]


BY_HAND: dict[str, Step] = {"speech-vae": speech_step, "mel-vae": mel_step, "text-to-speech": text_step}


def prepared(name: str, data: Any) -> tuple[Any, Any]:
    """A recipe, and the loop that would train it: without hidden labels, the critics heard from the start."""
    made = made_for(name, data)
    if name == "speech-vae":
        made.objective.start = 0.0
    settings = made.training.replaced(
        epochs=STEPS[name] * made.training.batch_size / len(data.train), unlabelled=0.0, validate_every=10**9
    )
    return made, prepare(made.model, data, made.views, made.objective, settings, seed=0, device="cpu")


def by_library(name: str) -> Turn:
    data = data_of(name)

    def turn() -> dict[str, float]:
        _, loop = prepared(name, data)
        times = [now()]
        loop.callbacks.append(lambda record, moment: times.append(now()))
        loop.run()
        found = last(loop.records)["train"]
        loss = found["loss_value"] if "loss_value" in found else -found["objective"]
        return {"seconds": times[1] - times[0], "steps": loop.total, "loss": loss}  # up to the last step's record

    return turn


def by_hand(name: str) -> Turn:
    data = data_of(name)
    clips = [data.train.batch(torch.tensor([i])) for i in range(len(data.train))]
    lengths = torch.tensor([x.shape[1] for x, _ in clips])

    def turn() -> dict[str, float]:
        made, loop = prepared(name, data)  # whose first weights, fitted steps and batches are the library's
        training, step_of, logged = made.training, BY_HAND[name], torch.zeros(())
        groups: list[list[nn.Parameter]] = []
        optimizers: list[torch.optim.Optimizer] = []
        started = now()
        for step, rows in enumerate(loop.batches._indices(0)):
            x = nn.utils.rnn.pad_sequence([clips[i][0][0] for i in rows], batch_first=True)
            label = torch.cat([clips[i][1] for i in rows])
            losses = step_of(made, x, lengths[rows], label)
            if not optimizers:
                groups = [own for _, own in losses]
                settings = {"lr": 1e-3, "betas": training.betas, "weight_decay": 0.0, "fused": True}
                optimizers = [torch.optim.AdamW(own, **settings) for own in groups]
                followed = [p.detach() for own in groups for p in own]
                averages = [p.clone() for p in followed]
            for i, (loss, own) in enumerate(losses):
                loss.backward(inputs=own, retain_graph=i + 1 < len(losses))
            for own, optimizer in zip(groups, optimizers, strict=True):
                nn.utils.clip_grad_norm_(own, 1e6)
                optimizer.step()
                optimizer.zero_grad()
            with torch.no_grad():
                torch._foreach_lerp_(averages, followed, 1 - min(0.999, (1 + step) / (10 + step)))
            logged += losses[0][0].detach()
        return {"seconds": now() - started, "steps": loop.total, "loss": logged.item() / loop.total}

    return turn


def make(by: str, name: str) -> Turn:
    return (by_library if by == "library" else by_hand)(name)


if __name__ == "__main__":
    serve(make)
