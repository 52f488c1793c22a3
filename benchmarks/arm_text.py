"""Arms of ``text_speed.py``: training and generation by the library, by hand, and by the library transformers."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from common import ROOT, serve
from torch import Tensor, nn
from torch.nn import functional as F

BATCH, WINDOW, STEPS = 16, 64, 30
WIDTH, HEADS, LAYERS, TOKENS, LENGTH = 256, 4, 4, 2000, 200
TEXT = Path(os.environ.get("CAPTIONS", ROOT.parent / "shared" / "data" / "text"))


def model(tokens: int) -> nn.Module:
    from fusevae import LanguageModel, Transformer

    torch.manual_seed(0)
    return LanguageModel(Transformer(WIDTH, HEADS, LAYERS), tokens, longest=LENGTH)


def training(by: str) -> None:
    """Windows of 64 byte pairs, 16 of them a step."""
    from fusevae.data.source import Source
    from fusevae.objectives.elbo import ELBO
    from fusevae.training.fit import prepare
    from fusevae.training.settings import Training

    text = TEXT / "captions_test.txt"
    if not text.exists():
        raise SystemExit(f"no {text.name} at {TEXT}: set CAPTIONS=/folder/with/{text.name}")
    pieces = text.read_text(encoding="utf-8").splitlines()
    place = ROOT / "runs" / "text_speed.txt"
    place.parent.mkdir(exist_ok=True)
    place.write_text(" ".join(pieces), encoding="utf-8")
    data = Source(str(place), stream=WINDOW, validation=0.0, test=0.0, vocabulary_size=TOKENS).read()
    settings = Training(epochs=STEPS * BATCH / len(data.train), batch_size=BATCH, learning_rate=1e-3)

    def library() -> dict[str, float]:
        loop = prepare(model(data.spec.vocabulary.size), data, [], ELBO(), settings, seed=0, device="cpu")
        started = time.perf_counter()
        loop.run()
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "steps": loop.total, "log_prob": loop.records[-1]["train"]["log_bound"]}

    def hand() -> dict[str, float]:
        net = model(data.spec.vocabulary.size).train()
        parameters = list(net.parameters())
        averages = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
        tokens, logged = data.train.tokens, torch.zeros(())
        started = time.perf_counter()
        order = torch.randperm(len(data.train))
        for step in range(STEPS):
            rows = order[step * BATCH : (step + 1) * BATCH]
            x = tokens[rows[:, None] * data.train.stride + torch.arange(WINDOW)].long()
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
        return {"seconds": time.perf_counter() - started, "steps": STEPS, "log_prob": float(logged) / STEPS}

    serve(library if by == "library" else hand)


def generation(by: str, batch: int) -> None:
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
            started = time.perf_counter()
            found = write()
        seconds = time.perf_counter() - started
        assert found.shape == (batch, LENGTH)
        return {"seconds": seconds, "tokens": batch * LENGTH}

    serve(turn)


def by_transformers(batch: int):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    size = {"vocab_size": TOKENS, "n_embd": WIDTH, "n_head": HEADS, "n_layer": LAYERS, "n_positions": LENGTH + 1}
    net = GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=None)).eval()
    start = torch.zeros(batch, 1, dtype=torch.long)
    settings = {"do_sample": True, "top_k": 0, "max_new_tokens": LENGTH, "pad_token_id": 0}
    return lambda: net.generate(start, attention_mask=torch.ones_like(start), **settings)[:, 1:]


if __name__ == "__main__":
    what, by = sys.argv[1:3]
    if what == "train":
        training(by)
    else:
        generation(by, int(sys.argv[3]))
