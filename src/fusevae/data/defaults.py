"""What the defaults of all modalities have in common: how long they train, when they stop, and their sizes where there
are few examples."""

from __future__ import annotations

import math

from fusevae.core.spec import DataSpec

PATIENCE = 6  # validations of a default, of 20: more than those in which a beta rises over the first 30 %
PLENTY = 5000  # examples from which on a recipe is as its paper has it
DECAY, STRONGEST = 0.3, 1.0  # of the weights of dense nets over pictures, where there are few, and fewest
SELDOM = 4  # steps of which a learned prior takes part in one, where examples are few
LEAST = 32  # units that a hidden layer keeps


def epochs(n: int, batch: int, steps: int, least: int, most: int) -> int:
    """Passes over ``n`` examples that take about so many steps, between two ends.

    Example:
        >>> epochs(50_000, 64, 20_000, 10, 100), epochs(2000, 64, 20_000, 10, 100)
        (26, 100)
    """
    return round(min(most, max(least, steps * batch / max(1, n))))


def few(data: DataSpec, least: int = PLENTY) -> bool:
    """Whether there are fewer examples than the sizes of recipes are for; not where nobody knows how many there are."""
    return data.examples is not None and data.examples < least


def decay(data: DataSpec) -> float:
    """Weight decay of dense nets over pictures: with the root of how many times fewer than PLENTY there are, as the
    narrowness of :func:`widths`, and at most STRONGEST.

    Log-likelihoods of 100 held-out digits, ``binary-vae`` of 200 others in 20 s of a core: -132.6 with 0.3, -129.7 with
    1, -131.5 with 1.5; with 0.3 the best state was at 29 % of the time, with 1 at its end. Bounds of 584 characters,
    learned from 4,672: in 90 s -114.2 without, -112.6 with 0.1, -112.9 with 0.5, -115.8 with 1; ``flow-vae`` in 150 s
    -115.3 without, -110.8 with 0.3, ``vamp-vae`` -117.1 and -113.2. Rows of tables want none of it: ``table-vae`` lost
    a nat on wine and five on sixty columns.

    Example:
        >>> decay(DataSpec((1, 28, 28), examples=4672)), decay(DataSpec((1, 28, 28), examples=60_000))
        (0.31, 0.0)
    """
    if not few(data):
        return 0.0
    return min(STRONGEST, round(DECAY * math.sqrt(PLENTY / max(1, data.examples or 0)), 2))


def pull(data: DataSpec) -> float:
    """What of a learned prior's pull a posterior follows (``Flat.pull``): the square of the part of PLENTY examples
    that there are.

    Log-likelihoods of 100 held-out digits, learned from 200 others in 20 s of a core with a decay of 0.3:
    ``binary-vae`` -132.6, ``flow-vae`` -139.8 with a pull of 1 and -131.3 with none. Of 150 threes, learned from 1,200
    in 2,500 updates with the decay above: ``flow-vae`` -95.2 with 1, -93.5 with 0.3.

    Example:
        >>> pull(DataSpec((1, 28, 28), examples=200)), pull(DataSpec((1, 28, 28), examples=60_000))
        (0.0016, 1.0)
    """
    return ((data.examples or 0) / PLENTY) ** 2 if few(data) else 1.0


def turns(data: DataSpec) -> int:
    """Of how many steps a learned prior takes part in one (``Flat.every``): as many as leave it its :func:`pull`, and
    at most SELDOM.

    Example:
        >>> turns(DataSpec((1, 28, 28), examples=200)), turns(DataSpec((1, 28, 28), examples=60_000))
        (4, 1)
    """
    return min(SELDOM, int(1 / max(pull(data), 1 / SELDOM)))


def pseudo_inputs(data: DataSpec) -> int:
    """Components of a VampPrior, which start as examples: one for each 100 examples, so 500 of 50,000 as in its paper,
    and at least 20; a mixture of the posteriors of a quarter of the data is near each of these alone.

    Bounds of 600 held-out characters, learned from 1,900 others: ``vamp-vae`` in 300 s of a core -118.2 with 500, best
    after a third of the time; in 200 s -113.6 with 47; log-likelihoods in 100 s -114.2 with 47 and -113.9 with 20.

    Example:
        >>> pseudo_inputs(DataSpec((1, 28, 28), examples=1900)), pseudo_inputs(DataSpec((1, 28, 28), examples=60_000))
        (20, 500)
    """
    return 500 if data.examples is None else min(500, max(20, data.examples // 100))


def widths(data: DataSpec, usual: tuple[int, ...]) -> tuple[int, ...]:
    """Widths of hidden layers: the usual ones times the root of the part of PLENTY that there is, so that the weights
    between two layers are in proportion to the examples; in steps of 8, and not below LEAST.

    Example:
        >>> widths(DataSpec((13,), examples=60_000), (512, 512)), widths(DataSpec((13,), examples=110), (512, 512))
        ((512, 512), (80, 80))
    """
    if not few(data):
        return usual
    part = math.sqrt((data.examples or 0) / PLENTY)
    return tuple(min(width, max(LEAST, 8 * math.ceil(width * part / 8))) for width in usual)
