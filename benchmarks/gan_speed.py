"""Speed of the games: steps of GAN and VAE-GAN against hand-written ones of the same nets and arithmetic.

MNIST, batch 64, the nets of the recipes; R1 at every step of the critic, fused AdamW, averaged weights. By hand,
VAE-GAN takes its three gradients by three calls of ``autograd.grad`` from one shared forward. Every arm is a process of
its own and trains 60 steps a turn; the arms take turns, and the figures are ratios of the medians. ``python
benchmarks/gan_speed.py [ROUNDS]``
"""

from __future__ import annotations

from common import Arm, median, report, size, start, take_turns


def main(rounds: int = size(15, 1)) -> None:
    arms = {f"{name}, {by}": Arm("arm_gan.py", by, name) for name in ("gan", "vae-gan") for by in ("library", "hand")}
    turns = take_turns(arms, rounds)
    step = {name: 1000 * median([t["seconds"] / t["steps"] for t in found]) for name, found in turns.items()}
    figures = {
        "milliseconds_a_step": {name: round(value, 2) for name, value in step.items()},
        "gan_speed_over_hand_written": step["gan, hand"] / step["gan, library"],
        "vae_gan_step_over_hand_written": step["vae-gan, library"] / step["vae-gan, hand"],
        "rounds": rounds,
    }
    report("gan_speed", figures, __doc__ or "", on="cpu")


if __name__ == "__main__":
    start(main, int)
