"""From noise to data: samplers of diffusion models, and solvers of the differential equation of flow matching."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.conditional import flattened, parameters
from fusevae.core.conditions import Conditions, forgotten
from fusevae.core.description import Described
from fusevae.core.errors import InputError

#: what a diffusion model knows of noisy ``z`` at one level: its estimates of the data and of the noise
Denoiser = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Draw(Protocol):
    """Standard normal noise of the shape of the events."""

    def __call__(self) -> Tensor: ...


class Sampler(Described):
    """How a diffusion model goes from noise to data.

    Args:
        steps: evaluations of the net, one a step.
    """

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise InputError(f"a sampler was given steps={steps}, expected at least 1: 25, say")
        self.steps = steps

    @abstractmethod
    def __call__(self, denoise: Denoiser, z: Tensor, levels: Tensor, draw: Draw) -> Tensor:
        """Data for noise ``z``, along ``steps + 1`` falling noise levels."""


class Ancestral(Sampler):
    r"""Draws each step from :math:`p(z_s \mid z_t) = q(z_s \mid z_t, x = \hat x(z_t))`: the model whose bound is given,
    in the limit of many steps (Ho et al. 2020; Kingma et al. 2021)."""

    def __init__(self, steps: int = 250) -> None:
        super().__init__(steps)

    def __call__(self, denoise: Denoiser, z: Tensor, levels: Tensor, draw: Draw) -> Tensor:
        for t, s in zip(levels, levels[1:], strict=False):
            _, eps = denoise(z, t)
            kept = -torch.expm1(s - t)
            z = alpha(s) / alpha(t) * (z - kept * sigma(t) * eps) + sigma(s) * kept.sqrt() * draw()
        return z / alpha(levels[-1]) + (levels[-1] / 2).exp() * draw()


class DDIM(Sampler):
    """Follows the deterministic path of the same marginals, to first order (Song et al. 2021)."""

    def __init__(self, steps: int = 50) -> None:
        super().__init__(steps)

    def __call__(self, denoise: Denoiser, z: Tensor, levels: Tensor, draw: Draw) -> Tensor:
        for t, s in zip(levels, levels[1:], strict=False):
            x, eps = denoise(z, t)
            z = alpha(s) * x + sigma(s) * eps
        return z / alpha(levels[-1])


class DPMSolver(Sampler):
    """DPM-Solver++(2M): the same path to second order, from the data estimated at two steps, at the cost of the first
    (Lu et al. 2022, arXiv:2211.01095). The last step is of first order, because it is the longest by far."""

    def __init__(self, steps: int = 25) -> None:
        super().__init__(steps)

    def __call__(self, denoise: Denoiser, z: Tensor, levels: Tensor, draw: Draw) -> Tensor:
        before: tuple[Tensor, Tensor] | None = None
        for i, (t, s) in enumerate(zip(levels, levels[1:], strict=False)):
            x, _ = denoise(z, t)
            step, ahead = (t - s) / 2, x
            if before is not None and i + 1 < self.steps:
                ahead = x + 0.5 * step / before[1] * (x - before[0])
            z = sigma(s) / sigma(t) * z - alpha(s) * torch.expm1(-step) * ahead
            before = x, step
        return z / alpha(levels[-1])


class Solver(Described):
    """How the differential equation dx / dt = field(x, t) is followed from t = 1 to 0.

    Args:
        steps: of equal length.
    """

    evaluations: int = 1

    def __init__(self, steps: int = 50) -> None:
        if steps < 1:
            raise InputError(f"a solver was given steps={steps}, expected at least 1: 50, say")
        self.steps = steps

    def __call__(self, field: Callable[[Tensor, float], Tensor], x: Tensor) -> Tensor:
        """What is reached at t = 0 from ``x`` at t = 1."""
        h = 1 / self.steps
        for i in reversed(range(self.steps)):
            x = self.step(field, x, (i + 1) * h, h)
        return x

    @abstractmethod
    def step(self, field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float) -> Tensor:
        """From time ``t`` to ``t - h``."""


class Euler(Solver):
    """First order, one evaluation a step: exact where the paths are straight."""

    def step(self, field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float) -> Tensor:
        return x - h * field(x, t)


class Heun(Solver):
    """Second order, two evaluations a step: the mean of the slopes at both ends."""

    def __init__(self, steps: int = 25) -> None:
        super().__init__(steps)

    def step(self, field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float) -> Tensor:
        slope = field(x, t)
        return x - 0.5 * h * (slope + field(x - h * slope, t - h))


def alpha(level: Tensor) -> Tensor:
    """How much of the data is in z at a noise level."""
    return torch.sigmoid(-level).sqrt()


def sigma(level: Tensor) -> Tensor:
    """How much noise is in z at a noise level."""
    return torch.sigmoid(level).sqrt()


def evaluate(net: Any, x: Tensor, t: Tensor, given: Sequence[Tensor | None], guidance: float = 1.0) -> Tensor:
    """The net's output for ``(n, *shape)`` at times ``(n,)``; with ``guidance`` other than 1 the one without a label is
    moved on by so many times the difference that the label makes (classifier-free guidance, Ho & Salimans 2022)."""
    is_label = [g is not None and not g.is_floating_point() for g in given]
    if isinstance(getattr(net, "classes", 0), Conditions) and given:
        is_label[-1] = given[-1] is not None  # columns stand where a label does, after a latent
    if guidance == 1 or not any(is_label):
        return parameters(net, (x, t, *given))
    without = [forgotten(g) if label else g for g, label in zip(given, is_label, strict=True)]  # type: ignore[arg-type]
    if guidance == 0:
        return parameters(net, (x, t, *without))
    both = [None if g is None else torch.cat([g, w]) for g, w in zip(given, without, strict=True)]  # type: ignore[list-item]
    known, unknown = parameters(net, (torch.cat([x, x]), torch.cat([t, t]), *both)).chunk(2)
    return unknown + guidance * (known - unknown)


class Rows:
    """Values ``(*lead, *event)`` and what is given for them, as rows of one batch, in which a net takes them."""

    def __init__(self, lead: Sequence[int], event: Sequence[int], device: torch.device) -> None:
        self.lead, self.event, self.device = tuple(lead), tuple(event), device

    def normal(self) -> Tensor:
        """Noise for each row, keyed by its place in the last dimension of ``lead``."""
        shape = (*self.lead, *self.event)
        return noise.normal(shape, self.device, len(self.lead) - 1).view(-1, *self.event)

    def uniform(self) -> Tensor:
        """A number in [0, 1) for each row."""
        return noise.uniform(self.lead, self.device, len(self.lead) - 1).view(-1)

    def even(self) -> Tensor:
        """The same, evenly spread over the batch."""
        return noise.even(self.lead, self.device, len(self.lead) - 1).view(-1)

    def given(self, given: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Latent vectors and labels, one for each row."""
        return [flattened(g, self.lead) for g in given]
