"""Speed of the games: steps of GAN and VAE-GAN against hand-written ones of the same nets and arithmetic.

MNIST, batch 64, the nets of the recipes; R1 at every step of the critic, fused AdamW, averaged weights. By hand,
VAE-GAN takes its three gradients by three calls of ``autograd.grad`` from one shared forward. Every arm is a process of
its own and trains 60 steps a turn; the arms take turns, and the figures are ratios of the medians. ``python
benchmarks/gan_speed.py [ROUNDS]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import Arm, median, report, take_turns

ARM = Path(__file__).with_name("arm_gan.py")


def main(rounds: int = 15) -> None:
    arms = {
        f"{name}, {by}": Arm(sys.executable, ARM, by, name) for name in ("gan", "vae-gan") for by in ("library", "hand")
    }
    turns = take_turns(arms, rounds)
    step = {name: 1000 * median([t["seconds"] / t["steps"] for t in found]) for name, found in turns.items()}
    figures = {
        "milliseconds_a_step": {name: round(value, 2) for name, value in step.items()},
        "gan_speed_over_hand_written": step["gan, hand"] / step["gan, library"],
        "vae_gan_step_over_hand_written": step["vae-gan, library"] / step["vae-gan, hand"],
        "rounds": rounds,
    }
    report("gan_speed", figures, __doc__ or "")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
