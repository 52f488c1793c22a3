"""What the laws are applied to: every example that the library's classes give of themselves."""

from __future__ import annotations

import inspect
import itertools
import math
import os
from collections.abc import Iterator

os.environ["OMP_NUM_THREADS"] = "1"  # tests run side by side, and tiny models gain nothing from threads

import pytest
import torch
from torch import nn
from torch.distributions import constraints

from fusevae.core.conditional import Conditional
from fusevae.core.description import library_classes
from fusevae.core.errors import InputError
from fusevae.core.levels import Level, log_bound
from fusevae.core.vocabulary import END, counted
from fusevae.distributions.counts import _Counts
from fusevae.distributions.frame_flow import _FrameFlow
from fusevae.distributions.frame_wise import _FrameWise
from fusevae.distributions.frames import _Frames
from fusevae.distributions.hypersphere import Sphere
from fusevae.distributions.language_model import _Sequences
from fusevae.distributions.normal_frames import NumberedNormal
from fusevae.distributions.stepwise import Steps


@pytest.fixture(autouse=True, scope="session")
def _kept_here(tmp_path_factory):
    """Extractors that tests train are kept in a folder of the tests."""
    os.environ["FUSEVAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def concrete(base: type) -> list[type]:
    """The library's own classes below ``base``."""
    return [
        c for c in library_classes().values() if issubclass(c, base) and c is not base and not inspect.isabstract(c)
    ]


def examples_of(base: type) -> list:
    """Every example of every class below ``base``, as parameters of a test; a class's don't depend on the others."""
    found = []
    with torch.random.fork_rng():
        for cls in concrete(base):
            torch.manual_seed(0)
            try:
                made = cls.examples()
            except InputError as error:  # transformers may be there and yet lack what it needs itself
                if "transformers" not in str(error):
                    raise
                continue
            for i, (part, given) in enumerate(made):
                found.append(pytest.param(part.eval(), given, id=f"{cls.__name__}-{i}"))
    return found


EXAMPLES = examples_of(Conditional)
DENSITIES = [e for e in EXAMPLES if e.values[0].level is Level.DENSITY]
BOUNDS = [e for e in EXAMPLES if e.values[0].level < Level.DENSITY]
every = pytest.mark.parametrize(("part", "given"), EXAMPLES)
every_density = pytest.mark.parametrize(("part", "given"), DENSITIES)


def first(given: tuple) -> tuple:
    """What is given to the first example of a batch, without the batch."""
    return tuple(g[0] for g in given)


def batch(given: tuple) -> tuple[int, ...]:
    return given[0].shape[:1] if given else ()


def points(p, discrete: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Points ``(n, *event)`` that fill the space of ``p`` (batch ``()``) and the weight of each, so that
    ``sum(weight * f(points))`` is the sum or the integral of f (over a sphere, that by its surface)."""
    drawn = p.sample((4000,))
    event = drawn.shape[1:]
    if isinstance(getattr(type(p), "support", None), Sphere):
        return points_of_sphere(event.numel())
    if isinstance(p, (_Frames, _FrameWise, _FrameFlow, NumberedNormal, Steps)) and not discrete:
        return points_of_frames(drawn)
    dims = event.numel()
    if discrete:
        values = drawn.unique()
        if isinstance(p, _Counts):  # no end: beyond four times the largest of the draws there is as good as nothing
            values = torch.arange(4 * drawn.max() + 10)
        grid = torch.tensor(list(itertools.product(values.tolist(), repeat=dims)))
        if isinstance(p, _Sequences):  # what follows the end is ignored: of those that differ there alone, one counts
            grid = grid[(grid.masked_fill(~counted(grid), END) == grid).all(1)]
        return grid.view(-1, *event), torch.ones(len(grid), dtype=torch.float64)
    assert dims <= 2, "give examples of at most two dimensions"
    n = {1: 20001, 2: 901}[dims]
    flat = drawn.flatten(1).double()
    try:
        support = p.support
        while isinstance(support, constraints.independent):
            support = support.base_constraint
        low, high = float(support.lower_bound), float(support.upper_bound)
        ends = [(low, high)] * dims
    except (NotImplementedError, AttributeError):  # the real line
        ends = [((m - 14 * s).item(), (m + 14 * s).item()) for m, s in zip(flat.mean(0), flat.std(0), strict=True)]
    step = [(b - a) / n for a, b in ends]  # midpoints
    axes = [a + s * (torch.arange(n, dtype=torch.float64) + 0.5) for (a, _), s in zip(ends, step, strict=True)]
    grid = torch.cartesian_prod(*axes).view(-1, *event)
    return grid.float(), torch.full((len(grid),), float(torch.tensor(step).double().prod()), dtype=torch.float64)


def points_of_frames(drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A grid for one frame, and one for two; what follows the end is 0."""
    assert drawn.shape[1:] == (1, 2), "give examples of at most two frames of one number"
    there = drawn[drawn != 0].double()
    low, high = (there.mean() - 14 * there.std()).item(), (there.mean() + 14 * there.std()).item()
    n = 300  # even, so that no number is 0
    step = (high - low) / n
    axis = low + step * (torch.arange(n, dtype=torch.float64) + 0.5)
    one, two = torch.stack([axis, torch.zeros(n).double()], 1), torch.cartesian_prod(axis, axis)
    weight = torch.cat([torch.full((n,), step), torch.full((n * n,), step**2)]).double()
    return torch.cat([one, two]).view(-1, 1, 2).float(), weight


def points_of_sphere(dims: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A grid of angles, and the arc or the area of each of its cells."""
    assert dims in (2, 3), "give examples in two or three dimensions"
    n = {2: 20001, 3: 601}[dims]
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    around = 2 * math.pi * middles
    circle = torch.stack([around.cos(), around.sin()], -1)
    if dims == 2:
        return circle.float(), torch.full((n,), 2 * math.pi / n, dtype=torch.float64)
    down = (math.pi * middles)[:, None]
    high = torch.stack([down.cos().expand(n, n), *(down.sin() * circle[:, i] for i in (0, 1))], -1)
    return high.view(-1, 3).float(), (down.sin() * math.pi / n * 2 * math.pi / n).expand(n, n).reshape(-1)


class Fed(Conditional):
    """An example of the library in any slot: what it is given there is mapped to what the example was given."""

    def __init__(self, part: Conditional, given: tuple, dims: int, size: int) -> None:
        super().__init__()
        self.part, self.dims, self.level = part, dims, part.level
        self.discrete, self.has_mean, self.space = part.discrete, part.has_mean, part.space
        self.event = given[0].shape[1:] if given else ()
        self.labelled = bool(given) and not given[0].is_floating_point()  # to which nothing can be mapped
        self.map = nn.Linear(size, math.prod(self.event)) if given and not self.labelled else None

    def forward(self, *given):
        if self.labelled:
            return self.part(torch.arange(given[0].shape[: -self.dims].numel()).view(given[0].shape[: -self.dims]) % 2)
        if self.map is None:
            return self.part()
        made = self.map(given[0].flatten(-self.dims).float() + 1)  # zeros would give the map no gradient
        return self.part(made.unflatten(-1, self.event))


class Standing(Conditional):
    """An example of the library as a prior: whatever is given, it was given this."""

    def __init__(self, part: Conditional, given: tuple) -> None:
        super().__init__()
        self.part, self.fixed, self.level, self.discrete = part, first(given), part.level, part.discrete
        self.space = part.space

    def forward(self, *given):
        return self.part(*self.fixed)


def weights_of(p, x: torch.Tensor, n: int) -> torch.Tensor:
    """``n`` draws of exp(log_bound(x)), in float64: ``(n, len(x))``."""
    return torch.stack([log_bound(p, x) for _ in range(n)]).double().exp()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose much where other processes want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
