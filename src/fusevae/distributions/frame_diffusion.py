"""A diffusion over sequences of frames, of any length and given what is known of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.conditions import Conditions
from fusevae.core.frames import extent, within
from fusevae.distributions.diffusion import Diffusion, DiffusionBound
from fusevae.distributions.normal_frames import NormalFrames, longest_of
from fusevae.distributions.samplers import DPMSolver, Rows, Sampler
from fusevae.distributions.schedules import LinearSchedule
from fusevae.nets.frame_net import TimeFrameNet


class FrameDiffusion(Diffusion):
    r"""How many frames there are, as :class:`NormalFrames` says, and their numbers by a :class:`Diffusion` given that:

    .. math:: \log p(z, n \mid c) \ge \log P(n \mid c) + \mathcal L(z \mid n, c)

    with :math:`\mathcal L` the bound there, over the numbers of the n frames alone: what follows the end has no noise,
    is 0 at every level, and changes nothing. Values are expected at about unit scale: ``StandardiseFrames`` first.

    Args:
        width: numbers of a frame.
        longest: frames, at most.
        hidden: channels of the net.
        blocks: of the net.
        classes: number of labels, or :class:`Conditions`, if it is given one.
        sampler: with its steps.
        guidance: how far samples follow what is known, as of :class:`Diffusion`.
        times: of each value in a bound that is reported.

    Example:
        >>> p = FrameDiffusion(3, 8, hidden=8, blocks=1, sampler=DPMSolver(4))()
        >>> z = p.sample((4,))
        >>> z.shape[:2], p.log_bound(z).shape
        (torch.Size([4, 3]), torch.Size([4]))
    """

    space = "frames"

    def __init__(
        self,
        width: int,
        longest: int,
        hidden: int = 128,
        blocks: int = 4,
        classes: int | Conditions = 0,
        sampler: Sampler = DPMSolver(),
        guidance: float = 1.0,
        times: int = 32,
    ) -> None:
        net, schedule = TimeFrameNet(width, hidden, blocks, classes), LinearSchedule(-10.0, 8.0)
        super().__init__(net, (width, longest), "v", schedule, sampler, guidance=guidance, times=times)
        self.base = NormalFrames(width, longest, classes)

    def forward(self, *given: Tensor | None) -> Distribution:
        return _FrameDiffusion(self, given)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        few: dict[str, Any] = {"hidden": 4, "blocks": 1, "sampler": DPMSolver(4), "times": 4}
        found = [(cls(1, 2, **few), ()), (cls(1, 2, **few, classes=2), (torch.tensor([0, 1, 1]),))]
        for part, _ in found:  # at zero nothing before it would learn at once
            nn.init.normal_(cast(TimeFrameNet, part.net).head.weight, std=0.3)
        return found


class _FrameDiffusion(DiffusionBound):
    def __init__(self, owner: FrameDiffusion, given: tuple[Tensor | None, ...]) -> None:
        super().__init__(owner, given)
        self.base = owner.base(*given)

    def rows_of(self, value: Tensor) -> Rows:
        lead = super().rows_of(value).lead
        return _Frames(lead, value.shape[-2:], extent(value).expand(lead), self.owner.shape[-1])

    def rows_to_draw(self, lead: torch.Size) -> Rows:
        n = self.base.counts(lead)
        return _Frames(lead, (self.owner.shape[0], longest_of(n)), n, self.owner.shape[-1])

    def numbers(self, value: Tensor) -> Tensor | int:
        return self.owner.shape[0] * extent(value)

    def of_normal(self, value: Tensor) -> Tensor:
        return super().of_normal(value) + self.base.log_count(extent(value))


class _Frames(Rows):
    """Rows of which each has noise in its first ``n`` frames; the same whatever zeros follow, up to the ``longest``."""

    def __init__(self, lead: Sequence[int], event: Sequence[int], n: Tensor, longest: int) -> None:
        super().__init__(lead, event, n.device)
        self.n, self.longest = n, longest

    def normal(self) -> Tensor:
        width, frames = self.event
        shape = (*self.lead, width, max(self.longest, frames))
        drawn = noise.normal(shape, self.device, len(self.lead) - 1)[..., :frames]
        return (drawn * within(self.n, frames)).reshape(-1, width, frames)
