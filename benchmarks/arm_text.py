"""Arms of ``text_speed.py``: training and generation by the library, by hand, and by the library transformers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from common import Turn, last, now, serve, size
from inputs import captions
from torch import Tensor, nn
from torch.nn import functional as F

BATCH, WINDOW, STEPS = 16, size(64, 8), size(30, 2)
WIDTH, HEADS, LAYERS, TOKENS, LENGTH = size((256, 4, 4, 2000, 200), (16, 2, 1, 280, 8))


def model(tokens: int) -> nn.Module:
    from fusevae import LanguageModel, Transformer

    torch.manual_seed(0)
    return LanguageModel(Transformer(WIDTH, HEADS, LAYERS), tokens, longest=LENGTH)


def training(by: str, device: str) -> Turn:
    """Windows of 64 byte pairs, 16 of them a step."""
    from fusevae.data.source import Source
    from fusevae.objectives.elbo import ELBO
    from fusevae.training.prepare import prepare
    from fusevae.training.settings import Training

    pieces = captions("test").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:  # of this arm alone: another may be writing its own
        place = Path(folder) / "stream.txt"
        place.write_text(" ".join(pieces), encoding="utf-8")
        data = Source(str(place), stream=WINDOW, validation=0.0, test=0.0, vocabulary_size=TOKENS).read()
    settings = Training(epochs=STEPS * BATCH / len(data.train), batch_size=BATCH, learning_rate=1e-3)

    def library() -> dict[str, float]:
        loop = prepare(model(data.spec.schema.vocabulary.size), data, [], ELBO(), settings, seed=0, device=device)
        started = now(device)
        loop.run()
        seconds = now(device) - started
        return {"seconds": seconds, "steps": loop.total, "log_prob": last(loop.records)["train"]["log_bound"]}

    def hand() -> dict[str, float]:
        net = model(data.spec.schema.vocabulary.size).train().to(device)
        parameters = list(net.parameters())
        averages = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
        tokens, logged = data.train.tokens, torch.zeros((), device=device)
        started = now(device)
        order = torch.randperm(len(data.train))
        for step in range(STEPS):
            rows = order[step * BATCH : (step + 1) * BATCH]
            x = tokens[rows[:, None] * data.train.stride + torch.arange(WINDOW)].to(device).long()
            logits = net.logits(F.pad(x[:, :-1], (1, 0)), [None, None])
            loss = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="sum") / BATCH
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 100.0)
            optimizer.step()
            decay = min(0.999, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - decay)
                logged -= loss.detach()
        return {"seconds": now(device) - started, "steps": STEPS, "log_prob": float(logged) / STEPS}

    return library if by == "library" else hand


def generation(by: str, batch: int) -> Turn:
    """200 tokens each, drawn from the model itself; no sequence ends before."""
    if by == "transformers":
        write = by_transformers(batch)
    else:
        ours = model(TOKENS).eval()
        ours.bias.data[0] = -1e9  # no end

        def whole() -> Tensor:
            kept: list[Tensor] = []

            def run(new: Tensor, given: list[Tensor | None]) -> Tensor:
                kept[:] = [torch.cat([*kept, new], 1)]
                return ours.logits(kept[0], given)

            from fusevae.core.generation import Generation

            return ours().write(torch.Size((batch,)), Generation(), run)

        write = (lambda: ours().sample((batch,))) if by == "library" else whole

    def turn() -> dict[str, float]:
        with torch.no_grad():
            started = now()
            found = write()
        seconds = now() - started
        assert found.shape == (batch, LENGTH)
        return {"seconds": seconds, "tokens": batch * LENGTH}

    return turn


def by_transformers(batch: int) -> Callable[[], Tensor]:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    size = {"vocab_size": TOKENS, "n_embd": WIDTH, "n_head": HEADS, "n_layer": LAYERS, "n_positions": LENGTH + 1}
    net = GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=None)).eval()
    start = torch.zeros(batch, 1, dtype=torch.long)
    settings = {"do_sample": True, "top_k": 0, "max_new_tokens": LENGTH, "pad_token_id": 0}
    return lambda: net.generate(start, attention_mask=torch.ones_like(start), **settings)[:, 1:]


def make(what: str, by: str, more: str) -> Turn:
    """Of training, ``more`` is the device; of writing, how many texts at once."""
    return training(by, more) if what == "train" else generation(by, int(more))


if __name__ == "__main__":
    serve(make)
