"""Speed of the likelihood: k = 5,000 importance samples an image for 784-200-200-z50, against Pythae 0.1.2's
``get_nll``.

Pythae is given the batch size with which it is fastest of those tried. The arms take turns; ratio of the medians.
``python benchmarks/likelihood_speed.py [ROUNDS]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from common import Arm, median, pythae_python, report, take_turns

HERE = Path(__file__).parent


def main(rounds: int = 15) -> None:
    arms = {"library": Arm(sys.executable, HERE / "arm_likelihood.py")}
    for batch in (100, 500, 1000):
        arms[f"Pythae, batch {batch}"] = Arm(pythae_python(), HERE / "arm_pythae.py", "nll", str(batch))
    turns = take_turns(arms, rounds)
    seconds = {name: median([t["seconds"] for t in found]) for name, found in turns.items()}
    best = min((name for name in seconds if name.startswith("Pythae")), key=lambda name: seconds[name])
    figures = {
        "seconds_per_image": seconds,
        "library_over_pythae": seconds[best] / seconds["library"],
        "pythae_best": best,
        "peak_mb": turns["library"][-1]["peak_mb"],
        "rounds": rounds,
    }
    report("likelihood_speed", figures, __doc__ or "")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
