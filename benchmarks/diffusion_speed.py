"""Speed of training a diffusion model: the library's loop against a hand-written one of the same arithmetic.

A U-Net of the ``diffusion`` recipe on MNIST, v-prediction, batch 64, tensors in memory; both arms dequantize, draw
noise levels and noise, clip the gradient, average the weights and log the bound. Every arm is a process of its own and
trains STEPS steps a turn; the arms take turns, and the figure is the ratio of the medians. ``python
benchmarks/diffusion_speed.py [ROUNDS [STEPS [cpu|cuda]]]``
"""

from __future__ import annotations

from common import Arm, median, report, size, start, take_turns


def main(rounds: int = size(9, 1), steps: int = size(40, 2), device: str = "cpu") -> None:
    arms = {name: Arm("arm_diffusion.py", name, str(steps), device) for name in ("library", "hand")}
    turns = take_turns(arms, rounds)
    rate = {name: 64 * median([t["steps"] / t["seconds"] for t in found]) for name, found in turns.items()}
    ratios = [h["seconds"] / lib["seconds"] for lib, h in zip(turns["library"], turns["hand"], strict=True)]
    figures = {
        "examples_per_second": {name: round(value, 1) for name, value in rate.items()},
        "library_over_hand_written": rate["library"] / rate["hand"],
        "median_of_the_ratios": median(ratios),
        "last_error": {name: found[-1]["error"] for name, found in turns.items()},
        "rounds": rounds,
    }
    report("diffusion_speed", figures, __doc__ or "", on=device)


if __name__ == "__main__":
    start(main, int, int, str)
