"""Sampling of autoregressive images, 28 x 28: with kept activations against the loop that runs the whole net for every
pixel, in one process, the same weights and the same noise.

The models are those of the recipes ``pixel-cnn``, ``pixel-cnn-pp`` (32 x 32 in colour) and ``image-transformer``,
untrained: what is computed doesn't depend on the weights. A batch of 1 and one of 16; medians of ``ROUNDS`` for the
kept walk; the uncached loop runs once for a sample of its pixels (every ``EVERY``-th: a whole pass costs the same
wherever the pixel is). ``python benchmarks/pixel_sampling.py [ROUNDS]``
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import torch
from common import median, report, size, start

EVERY = 28


def seconds(run: Any) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def spread(height: int, width: int) -> list[tuple[int, int]]:
    """Pixels of every row, another column in each."""
    return list(itertools.product(range(height), range(width)))[:: EVERY + 1]


@torch.no_grad()
def pixel_cnn(model: Any, n: int, rounds: int) -> dict[str, float]:
    """Seconds for ``n`` images by :class:`Walk` and by whole passes."""
    _, height, width = model.shape
    x = torch.zeros(n, *model.shape)
    seen, conditions = model.seen(x), model.layers.conditions()

    def one(i: int, j: int) -> None:
        h = model.layers(seen, conditions)[:, :, i : i + 1, j : j + 1]
        model.head(h, seen[:, :, i : i + 1, j : j + 1])

    one(0, 0)
    at = spread(height, width)
    whole = median([seconds(lambda i=i, j=j: one(i, j)) for i, j in at]) * height * width
    kept = median([seconds(lambda: model().sample((n,))) for _ in range(rounds)])
    return {"whole_passes": whole, "kept": kept, "ratio": whole / kept, "kept_per_image": kept / n}


@torch.no_grad()
def transformer(model: Any, n: int, rounds: int) -> dict[str, float]:
    """Seconds for ``n`` images with keys and values kept, and by passes over all tokens so far, which grow: the mean of
    some lengths stands for all."""
    length = model.token.weight.new_zeros(model.shape).numel()
    inputs = model.condition(None, None).expand(n, -1, -1)
    model.net(inputs)
    lengths = range(EVERY, length + 1, EVERY)
    whole = sum(seconds(lambda t=t: model.net(inputs[:, :t])) for t in lengths) / len(lengths) * length
    kept = median([seconds(lambda: model().sample((n,))) for _ in range(rounds)])
    return {"whole_passes": whole, "kept": kept, "ratio": whole / kept, "kept_per_image": kept / n}


def main(rounds: int = size(3, 1)) -> None:
    from fusevae import DataSpec
    from fusevae.core.memory import keep_freed_memory
    from fusevae.training.recipes import find

    keep_freed_memory()
    torch.manual_seed(0)
    grey, colour = (
        DataSpec(shape, "uint8", 0, 255) for shape in size([(1, 28, 28), (3, 32, 32)], [(1, 8, 8), (3, 8, 8)])
    )
    figures: dict[str, Any] = {}
    for name, spec, measure in (
        ("pixel-cnn", grey, pixel_cnn),
        ("pixel-cnn-pp", colour, pixel_cnn),
        ("image-transformer", grey, transformer),
    ):
        whole = find(name)(spec).model.eval()
        model = getattr(whole, "model", whole)  # without the steps around it
        figures[name] = {str(n): measure(model, n, rounds) for n in (1, 16)}
        print(name, {n: round(f["ratio"], 1) for n, f in figures[name].items()}, flush=True)
    report("pixel_sampling", figures, __doc__ or "", 0, on="cpu")


if __name__ == "__main__":
    start(main, int)
