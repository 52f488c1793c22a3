"""Speed of training flows on images: the library's loop against hand-written ones of the same arithmetic.

MAF of 5 transforms with 512 hidden units against ``zuko.flows.MAF``, and Glow (4 steps a level, width 32) against a
bare loop around the same layers. All dequantize MNIST, take it to the logit and to unit scale, and train with fused
AdamW, clipping and averaged weights, batch 100. Every arm is a process of its own that trains 200 steps a turn; the
arms take turns, and the figures are ratios of the medians. ``python benchmarks/flow_speed.py [ROUNDS]``
"""

from __future__ import annotations

from common import Arm, median, report, size, start, take_turns

WHO = {"maf": ("library", "zuko"), "glow": ("library", "by hand")}


def main(rounds: int = size(9, 1)) -> None:
    arms = {f"{who}, {flow}": Arm("arm_flow.py", who, flow) for flow in ("maf", "glow") for who in WHO[flow]}
    turns = take_turns(arms, rounds)
    rate = {name: 100 * median([t["steps"] / t["seconds"] for t in found]) for name, found in turns.items()}
    figures = {
        "examples_per_second": {name: round(value) for name, value in rate.items()},
        "library_over_zuko": rate["library, maf"] / rate["zuko, maf"],
        "library_over_hand_written_glow": rate["library, glow"] / rate["by hand, glow"],
        "last_log_bound": {name: found[-1]["log_bound"] for name, found in turns.items()},
        "rounds": rounds,
    }
    report("flow_speed", figures, __doc__ or "", on="cpu")


if __name__ == "__main__":
    start(main, int)
