"""Speed of the likelihood: k = 5,000 importance samples an image for 784-200-200-z50, against Pythae 0.1.2's
``get_nll``.

Pythae is given the batch size with which it is fastest of those tried. The arms take turns; ratio of the medians.
``python benchmarks/likelihood_speed.py [ROUNDS]``
"""

from __future__ import annotations

from common import Arm, median, over, pythae, report, size, start, take_turns


def main(rounds: int = size(15, 1)) -> None:
    arms = {"library": Arm("arm_likelihood.py")}
    for batch in (100, 500, 1000):
        arms |= pythae("nll", f"batch {batch}")
    turns = take_turns(arms, rounds)
    seconds = {name: median([t["seconds"] for t in found]) for name, found in turns.items()}
    best = min((name for name in seconds if name.startswith("Pythae")), key=lambda name: seconds[name], default="")
    figures = {
        "seconds_per_image": seconds,
        "library_over_pythae": over(seconds, best, "library"),
        "pythae_best": best,
        "peak_mb": turns["library"][-1]["peak_mb"],
        "rounds": rounds,
    }
    report("likelihood_speed", figures, __doc__ or "", on="cpu")


if __name__ == "__main__":
    start(main, int)
