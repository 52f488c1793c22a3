"""Speed of training: the library's loop against a hand-written one of the same arithmetic, and against Pythae 0.1.2.

One-hidden-layer VAE (784-512-z16), batch 128, tensors in memory. Every arm is a process of its own and trains 400
steps a turn; the arms take turns, and the figures are ratios of the medians. ``python benchmarks/training_speed.py
[ROUNDS]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import Arm, median, pythae_python, report, take_turns

HERE = Path(__file__).parent


def main(rounds: int = 15) -> None:
    training = HERE / "arm_training.py"
    arms = {
        "library, defaults": Arm(sys.executable, training, "library", "extras", "binarize"),
        "by hand, clipping and averaging": Arm(sys.executable, training, "hand", "extras", "binarize"),
        "library, neither": Arm(sys.executable, training, "library", "plain", "binary"),
        "library, clipping and averaging": Arm(sys.executable, training, "library", "extras", "binary"),
        "by hand, neither": Arm(sys.executable, training, "hand", "plain", "binary"),
        "Pythae 0.1.2": Arm(pythae_python(), HERE / "arm_pythae.py", "train"),
    }
    turns = take_turns(arms, rounds)
    each = {name: 128 * median([t["steps"] / t["seconds"] for t in found]) for name, found in turns.items()}
    rate = {name: round(value) for name, value in each.items()}
    figures = {
        "examples_per_second": rate,
        "library_over_hand_written": each["library, defaults"] / each["by hand, clipping and averaging"],
        "library_over_hand_written_plain": each["library, neither"] / each["by hand, neither"],
        "library_over_pythae": each["library, neither"] / each["Pythae 0.1.2"],
        "hand_written_over_pythae": each["by hand, neither"] / each["Pythae 0.1.2"],
        "cost_of_clipping_and_averaging": 1 - each["library, clipping and averaging"] / each["library, neither"],
        "last_elbo": {n: found[-1]["elbo"] for n, found in turns.items() if "elbo" in found[-1]},
        "rounds": rounds,
    }
    report("training_speed", figures, __doc__ or "")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
