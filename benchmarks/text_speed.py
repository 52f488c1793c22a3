"""Speed of language models: training beside a hand-written loop, generation beside whole passes and transformers.

A transformer of 4 layers and width 256 over 2,000 byte pairs. Training: windows of 64 tokens, 16 a step, default
settings, against a bare loop around the same module with fused AdamW, clipping and averaged weights; 30 steps a turn.
Generation: 200 tokens drawn from the model itself, none of which is the end, with the cache and by whole passes, and by
``generate`` of the library transformers with a GPT-2 of the same size (its cache, sampling, no limits), 1 and 32
sequences at once. Every arm is a process of its own, the arms take turns, and the figures are ratios of the medians.
``python benchmarks/text_speed.py [ROUNDS]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from arm_text import BATCH, WINDOW
from common import Arm, median, report, take_turns

ARM = Path(__file__).parent / "arm_text.py"


def main(rounds: int = 9) -> None:
    training = {who: Arm(sys.executable, ARM, "train", who) for who in ("library", "by hand")}
    turns = take_turns(training, rounds)
    steps = {who: BATCH * WINDOW * median([t["steps"] / t["seconds"] for t in found]) for who, found in turns.items()}
    writers = [(who, n) for who in ("library", "whole passes", "transformers") for n in (1, 32)]
    arms = {f"{who}, {n}": Arm(sys.executable, ARM, "write", who, str(n)) for who, n in writers}
    written = take_turns(arms, rounds)
    rate = {name: median([t["tokens"] / t["seconds"] for t in found]) for name, found in written.items()}
    figures = {
        "training_tokens_per_second": {who: round(value) for who, value in steps.items()},
        "library_over_hand_written": steps["library"] / steps["by hand"],
        "last_log_prob": {who: found[-1]["log_prob"] for who, found in turns.items()},
        "written_tokens_per_second": {name: round(value) for name, value in rate.items()},
        "cached_over_whole_passes": rate["library, 1"] / rate["whole passes, 1"],
        "cached_over_whole_passes_batch_32": rate["library, 32"] / rate["whole passes, 32"],
        "library_over_transformers_batch_1": rate["library, 1"] / rate["transformers, 1"],
        "library_over_transformers_batch_32": rate["library, 32"] / rate["transformers, 32"],
        "rounds": rounds,
    }
    report("text_speed", figures, __doc__ or "")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
