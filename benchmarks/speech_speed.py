"""Speed of training on sound: steps of the library against hand-written ones of the same nets and arithmetic.

The spoken digits (for ``text-to-speech`` strings of them, joined), batches of like length, default settings but that no
labels are hidden; ``speech-vae`` with its critics at every step. By hand: the recipe's nets and priors, everything
between them written out, the same batches, lengths known beforehand, fused AdamW, clipping, averaged weights. Every arm
is a process of its own; the arms take turns, and the figures are ratios of the medians. ``losses`` are the means over a
turn, which show that both compute the same, but that by hand the rate is the same at every step. ``python
benchmarks/speech_speed.py [ROUNDS]``
"""

from __future__ import annotations

from arm_speech import STEPS
from common import Arm, median, report, size, start, take_turns


def main(rounds: int = size(9, 1)) -> None:
    arms = {f"{name}, {by}": Arm("arm_speech.py", by, name) for name in STEPS for by in ("library", "hand")}
    turns = take_turns(arms, rounds)
    step = {name: 1000 * median([t["seconds"] / t["steps"] for t in found]) for name, found in turns.items()}
    figures = {
        "milliseconds_a_step": {name: round(value, 2) for name, value in step.items()},
        "library_over_hand_written": {name: step[f"{name}, hand"] / step[f"{name}, library"] for name in STEPS},
        "losses": {name: found[-1]["loss"] for name, found in turns.items()},
        "rounds": rounds,
    }
    report("speech_speed", figures, __doc__ or "", on="cpu")


if __name__ == "__main__":
    start(main, int)
