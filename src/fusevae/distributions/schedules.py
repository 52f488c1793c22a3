r"""Noise schedules: at which noise a diffusion model trains how often.

The noise level is :math:`\gamma = -\log \mathrm{SNR} = \log \sigma^2 / \alpha^2`, with
:math:`\alpha^2 = 1 - \sigma^2 = \mathrm{sigmoid}(-\gamma)`. A schedule is a rising function from a time in [0, 1] to
it. Between the same ends every schedule gives the same bound (Kingma et al. 2021); only the noise of its
estimate differs.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.processes import mean_over_processes


class Schedule(Described):
    """A rising noise level.

    Args:
        low: level at time 0: the noise that the data keep, of standard deviation exp(low / 2) in their unit.
        high: level at time 1, where hardly any signal is left.
    """

    def __init__(self, low: float = -13.0, high: float = 10.0) -> None:
        if not low < high:
            raise InputError(f"a schedule was given low={low} and high={high}: expected low below high, -13 and 10 say")
        self.low, self.high = float(low), float(high)

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The levels at times ``t``, and their slopes d level / d t; of the shape of ``t``."""

    def update(self, level: Tensor, error: Tensor) -> None:
        """Told in training of what the bound integrates at levels ``(n,)``: squared errors of the noise, ``(n,)``."""


class LinearSchedule(Schedule):
    """A level that rises evenly: every factor of noise counts the same.

    Example:
        >>> LinearSchedule(-10, 10)(torch.tensor([0.0, 0.5]))
        (tensor([-10.,   0.]), tensor([20., 20.]))
    """

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        span = self.high - self.low
        return self.low + span * t, torch.full_like(t, span)


class CosineSchedule(Schedule):
    r""":math:`\alpha_t = \cos(\pi t / 2)` (Nichol & Dhariwal 2021), cut at the ends: most times lie at medium noise,
    where the shapes of images are decided.

    Example:
        >>> level, slope = CosineSchedule()(torch.tensor([0.0, 0.5, 1.0]))
        >>> [round(v, 1) for v in (level + 1).tolist()]
        [-12.0, 1.0, 11.0]
    """

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        start, end = (2 / math.pi * math.atan(math.exp(level / 2)) for level in (self.low, self.high))
        angle = 0.5 * math.pi * (start + (end - start) * t)
        return 2 * torch.log(torch.tan(angle)), 2 * math.pi * (end - start) / torch.sin(2 * angle)


class CauchySchedule(Schedule):
    r""":math:`\gamma_t = w \tan \theta_t` with an angle that rises evenly: as many times at medium noise as the cosine
    has, but enough at the ends that no single draw of the bound weighs as much as thousands of others (Hang et al.
    2024, arXiv:2407.03297).

    Args:
        low: level at time 0.
        high: level at time 1.
        width: w; half of the times lie between about -w and w.

    Example:
        >>> level, slope = CauchySchedule(-10, 10)(torch.tensor([0.5]))
        >>> level.abs().item() < 1e-5, slope.item() < CosineSchedule(-10, 10)(torch.tensor([0.5]))[1].item()
        (True, True)
    """

    def __init__(self, low: float = -13.0, high: float = 10.0, width: float = 2.0) -> None:
        super().__init__(low, high)
        if width <= 0:
            raise InputError(f"CauchySchedule was given width={width}, expected more than 0: 2, say")
        self.width = float(width)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        start, end = (math.atan(level / self.width) for level in (self.low, self.high))
        tan = torch.tan(start + (end - start) * t)
        return self.width * tan, self.width * (end - start) * (1 + tan.square())


class LearnedSchedule(Schedule, nn.Module):
    r"""The schedule whose random bound has the least variance, learned beside the net.

    That variance is least (the aim of the learned schedule of Kingma et al. 2021) where times are drawn in proportion
    to the root mean square of the bound's integrand, :math:`p(\gamma) \propto \sqrt{E[e^4 \mid \gamma]}` with
    :math:`e^2` the squared error of the predicted noise, less that of the standard normal (a draw adds only what
    differs from it). Running averages over equal parts of the range give it; within a part the level rises evenly. It
    starts as :class:`LinearSchedule`.

    Args:
        low: level at time 0.
        high: level at time 1.
        parts: how many.
        share: part of the times that is spread evenly whatever the errors are.

    Example:
        >>> schedule = LearnedSchedule(-10, 10, parts=2)
        >>> schedule.update(torch.tensor([-5.0, 5.0]), torch.tensor([9.0, 1.0]))
        >>> level, slope = schedule(torch.tensor([0.2, 0.9]))
        >>> bool(slope[0] < slope[1])
        True
    """

    squares: Tensor
    seen: Tensor

    def __init__(self, low: float = -13.0, high: float = 10.0, parts: int = 32, share: float = 0.1) -> None:
        nn.Module.__init__(self)
        super().__init__(low, high)
        if parts < 1 or not 0 < share <= 1:
            raise InputError(f"LearnedSchedule was given parts={parts}, share={share}: expected 32 and 0.1, say")
        self.parts, self.share = parts, share
        self.register_buffer("squares", torch.ones(parts))
        self.register_buffer("seen", torch.zeros(parts))

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        mass = self.squares.sqrt()
        mass = (1 - self.share) * mass / mass.sum() + self.share / self.parts
        ends = mass.cumsum(0)
        part = torch.searchsorted(ends, t.contiguous()).clamp(max=self.parts - 1)
        width, slope = (self.high - self.low) / self.parts, (self.high - self.low) / self.parts / mass[part]
        return (self.low + width * (part + 1) - slope * (ends[part] - t)).clamp(self.low, self.high), slope

    @torch.no_grad()
    def update(self, level: Tensor, error: Tensor) -> None:
        part = ((level - self.low) * (self.parts / (self.high - self.low))).long().clamp(0, self.parts - 1)
        sums = torch.zeros(2, self.parts, device=error.device)
        sums.index_add_(1, part, torch.stack([error.float().square(), torch.ones_like(error, dtype=torch.float32)]))
        total, count = mean_over_processes(sums)
        found = total / count.clamp(min=1e-6)
        first = self.squares.where(self.seen.sum() > 0, found.sum() / (found > 0).sum().clamp(min=1))
        fresh = torch.where(self.seen > 0, first.lerp(found, torch.clamp(count / 50, max=0.2)), found)
        self.squares.copy_(torch.where(count > 0, fresh, first))
        self.seen += (count > 0).float()
