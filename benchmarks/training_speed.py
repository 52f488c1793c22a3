"""Speed of training: the library's loop against a hand-written one of the same arithmetic, and against Pythae 0.1.2.

One-hidden-layer VAE (784-512-z16), batch 128, tensors in memory. Every arm is a process of its own and trains 400
steps a turn; the arms take turns, and the figures are ratios of the medians. ``python benchmarks/training_speed.py
[ROUNDS [cpu|cuda]]``; Pythae is measured on the CPU alone.
"""

from __future__ import annotations

from common import Arm, median, over, pythae, report, size, start, take_turns

ARMS = {
    "library, defaults": ("library", "extras", "binarize"),
    "by hand, clipping and averaging": ("hand", "extras", "binarize"),
    "library, neither": ("library", "plain", "binary"),
    "library, clipping and averaging": ("library", "extras", "binary"),
    "by hand, neither": ("hand", "plain", "binary"),
}


def main(rounds: int = size(15, 1), device: str = "cpu") -> None:
    arms = {name: Arm("arm_training.py", *how, device) for name, how in ARMS.items()}
    turns = take_turns(arms | (pythae("train") if device == "cpu" else {}), rounds)
    rate = {name: 128 * median([t["steps"] / t["seconds"] for t in found]) for name, found in turns.items()}
    figures = {
        "examples_per_second": {name: round(value) for name, value in rate.items()},
        "library_over_hand_written": over(rate, "library, defaults", "by hand, clipping and averaging"),
        "library_over_hand_written_plain": over(rate, "library, neither", "by hand, neither"),
        "library_over_pythae": over(rate, "library, neither", "Pythae"),
        "hand_written_over_pythae": over(rate, "by hand, neither", "Pythae"),
        "cost_of_clipping_and_averaging": 1 - rate["library, clipping and averaging"] / rate["library, neither"],
        "last_elbo": {n: found[-1]["elbo"] for n, found in turns.items() if "elbo" in found[-1]},
        "rounds": rounds,
    }
    report("training_speed", figures, __doc__ or "", on=device)


if __name__ == "__main__":
    start(main, int, str)
