"""Speed of language models: training beside a hand-written loop, generation beside whole passes and transformers.

A transformer of 4 layers and width 256 over 2,000 byte pairs. Training: windows of 64 tokens, 16 a step, default
settings, against a bare loop around the same module with fused AdamW, clipping and averaged weights; 30 steps a turn.
Generation: 200 tokens drawn from the model itself, none of which is the end, with the cache and by whole passes, and by
``generate`` of the library transformers with a GPT-2 of the same size (its cache, sampling, no limits), 1 and 32
sequences at once. Every arm is a process of its own, the arms take turns, and the figures are ratios of the medians.
``python benchmarks/text_speed.py [ROUNDS [cpu|cuda]]``; on a GPU only training is measured, and without transformers
its arm is left out.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from arm_text import BATCH, WINDOW
from common import Arm, median, over, report, size, start, take_turns


def main(rounds: int = size(9, 1), device: str = "cpu") -> None:
    turns = take_turns({who: Arm("arm_text.py", "train", who, device) for who in ("library", "by hand")}, rounds)
    steps = {who: BATCH * WINDOW * median([t["steps"] / t["seconds"] for t in found]) for who, found in turns.items()}
    figures: dict[str, Any] = {
        "training_tokens_per_second": {who: round(value) for who, value in steps.items()},
        "library_over_hand_written": steps["library"] / steps["by hand"],
        "last_log_prob": {who: found[-1]["log_prob"] for who, found in turns.items()},
        "rounds": rounds,
    }
    if device == "cpu":
        figures |= writing(rounds)
    report("text_speed", figures, __doc__ or "", on=device)


def writing(rounds: int) -> dict[str, Any]:
    """Tokens a second of each writer, and their ratios."""
    writers = ["library", "whole passes"]
    if find_spec("transformers"):
        writers.append("transformers")
    else:
        print("measured without transformers, which is not installed", file=sys.stderr)
    arms = {f"{who}, {n}": Arm("arm_text.py", "write", who, str(n)) for who in writers for n in (1, 32)}
    rate = {
        name: median([t["tokens"] / t["seconds"] for t in found]) for name, found in take_turns(arms, rounds).items()
    }
    return {
        "written_tokens_per_second": {name: round(value) for name, value in rate.items()},
        "cached_over_whole_passes": over(rate, "library, 1", "whole passes, 1"),
        "cached_over_whole_passes_batch_32": over(rate, "library, 32", "whole passes, 32"),
        "library_over_transformers_batch_1": over(rate, "library, 1", "transformers, 1"),
        "library_over_transformers_batch_32": over(rate, "library, 32", "transformers, 32"),
    }


if __name__ == "__main__":
    start(main, int, str)
