"""How alike two sets of features are: every distance, with its interval."""

from __future__ import annotations

import math

from torch import Tensor

from fusevae.evaluation.distances import energy_distance, frechet_distance, kernel_distance, neighbourhoods
from fusevae.evaluation.intervals import interval, interval_of_part, spread
from fusevae.evaluation.results import SAMPLES, Result, figure

OF = "of {n:,} and as many real ones"
BIAS = "about so much of it is there for so few, more where features are more than examples"
PARTS = {"precision", "recall", "coverage"}  # that are parts of n


class Distances(Result):
    """What two sets of features are compared by.

    Attributes:
        fid: the distance of two Gaussians, :func:`frechet_distance`.
        kid: without a bias, :func:`kernel_distance`.
        kid_stderr: its standard error.
        energy: without a Gaussian, :func:`energy_distance`.
        precision: the part of the second set that looks like the first, :func:`neighbourhoods`.
        recall: the part of the first that the second reaches.
        density: precision, less moved by outliers.
        coverage: recall, less moved by outliers.
        n: of each set.
        intervals: where each figure is with 95 % confidence, by its name, see :func:`spread`.
        fid_bias: by about how much the FID is larger than that of very many would be.
    """

    section = SAMPLES
    n: int
    intervals: dict[str, list[float]]
    fid: float = figure("FID", better="low", form=".3f", interval="intervals", hint=OF, decides=1)
    fid_bias: float | None = figure("bias of FID", form=".3f", hint=BIAS, default=None)
    kid: float = figure("KID", better="low", form=".5f", error="kid_stderr", interval="intervals", hint=OF)
    kid_stderr: float | None = None
    energy: float = figure("energy distance", better="low", form=".4f", interval="intervals", hint=OF, decides=2)
    precision: float = figure("precision", better="high", form=".3f", interval="intervals", hint=OF)
    recall: float = figure("recall", better="high", form=".3f", interval="intervals", hint=OF)
    density: float = figure("density", form=".3f", interval="intervals", hint=OF)
    coverage: float = figure("coverage", better="high", form=".3f", interval="intervals", hint=OF)


def compared(real: Tensor, made: Tensor) -> Distances:
    """Every distance of two sets of features, as many of each."""
    n, error = len(real), kernel_distance(real, made)[1]
    whole = apart(real, made)
    sides = spread(apart, real, made, whole)
    intervals = {name: interval(value, sides.error[name], n) for name, value in whole.items() if name in sides.error}
    for name in intervals.keys() & PARTS:
        intervals[name] = interval_of_part(whole[name], n, intervals[name])
    for name in intervals.keys() & {"fid", "density"}:
        intervals[name][0] = max(0.0, intervals[name][0])
    return Distances(
        **whole,
        n=n,
        kid_stderr=None if math.isnan(error) else error,
        intervals=intervals,
        fid_bias=sides.bias.get("fid"),
    )


def apart(real: Tensor, made: Tensor) -> dict[str, float]:
    """The distances by name."""
    return {
        "fid": frechet_distance(real, made),
        "kid": kernel_distance(real, made)[0],
        "energy": energy_distance(real, made),
        **neighbourhoods(real, made),
    }
