"""A flow over sequences of frames, of any length and given what is known of the whole."""

from __future__ import annotations

from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core.conditional import Conditional, flattened
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.distributions.normal_frames import NormalFrames, NumberedNormal, longest_of
from fusevae.nets.frame_net import FrameNet
from fusevae.nets.frames import CODES, places
from fusevae.nets.invertible import Mixing


class FrameFlow(Conditional):
    r"""z = f(u) for frames u of standard normal numbers, as many as :class:`NormalFrames` says:

    .. math:: \log p(z, n \mid c) = \log P(n \mid c) + \log \mathcal N(u; 0, I) + \log |\det \partial u / \partial z|

    exact, in one pass each way. Each transform mixes the numbers of every frame by one invertible matrix (Kingma &
    Dhariwal 2018), then moves every other number, on a checkerboard of numbers and frames, by a rational-quadratic
    spline between -5 and 5 (Durkan et al. 2019) whose knots a net over all frames makes of the numbers between them, of
    where in the whole each frame lies, and of c. Values are expected at about unit scale: ``StandardiseFrames`` first.
    What follows the end is 0, and changes nothing.

    Args:
        width: numbers of a frame.
        longest: frames, at most.
        hidden: channels of the nets.
        blocks: of each net.
        transforms: how many are chained.
        bins: of a spline.
        classes: number of labels, or :class:`Conditions`, if it is given one.

    Example:
        >>> p = FrameFlow(3, 8, hidden=8, blocks=1, transforms=2)()
        >>> z = p.sample((4,))
        >>> z.shape[:2], p.log_prob(z).shape
        (torch.Size([4, 3]), torch.Size([4]))
    """

    space = "frames"
    has_mean = False

    def __init__(
        self,
        width: int,
        longest: int,
        hidden: int = 64,
        blocks: int = 2,
        transforms: int = 6,
        bins: int = 8,
        classes: int | Conditions = 0,
    ) -> None:
        if min(hidden, blocks, transforms) < 1 or bins < 2:
            raise InputError(
                f"hidden={hidden}, blocks={blocks}, transforms={transforms} and bins={bins} were given: expected at "
                "least 1 of each, and 2 bins"
            )
        super().__init__()
        self.bins, self.base = bins, NormalFrames(width, longest, classes)
        self.mixings = nn.ModuleList(Mixing(width) for _ in range(transforms if width > 1 else 0))
        outputs = width * (3 * bins - 1)
        self.nets = nn.ModuleList(
            FrameNet(width + 2 * CODES, outputs, hidden, blocks, classes) for _ in range(transforms)
        )
        for net in self.nets:  # near the identity at the start
            cast(FrameNet, net).head.weight.data.mul_(0.1)

    def forward(self, *given: Tensor | None) -> Distribution:
        return _FrameFlow(self, self.base(*given), given[0] if given else None)

    def into(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """u, and the log-determinants ``(n,)``, for frames ``(n, width, frames)``."""
        n = extent(x)
        total = x.new_zeros(len(x))
        for i in range(len(self.nets)):
            if self.mixings:
                x = self.mixings[i](x[:, :, None])[0][:, :, 0]
                total = total + n * cast(Mixing, self.mixings[i]).log_diagonal.sum()
            moved, spline = self._coupling(i, x, n, label)
            y, each = spline.call_and_ladj(x)
            x = torch.where(moved, y, x)
            total = total + torch.where(moved, each, 0.0).sum((1, 2))
        return x, total

    def back(self, u: Tensor, label: Tensor | None) -> Tensor:
        """The frames of u."""
        n = extent(u)
        for i in reversed(range(len(self.nets))):
            moved, spline = self._coupling(i, u, n, label)
            u = torch.where(moved, spline.inv(u), u)
            if self.mixings:
                u = cast(Mixing, self.mixings[i]).inverse(u[:, :, None])[0][:, :, 0]
        return u

    def _coupling(self, i: int, x: Tensor, n: Tensor, label: Tensor | None) -> tuple[Tensor, Any]:
        """Which numbers of ``x`` move, and their functions, made of the others."""
        from zuko.transforms import MonotonicRQSTransform

        number, frame = (torch.arange(size, device=x.device) for size in x.shape[1:])
        there = within(n, x.shape[-1]) > 0
        moved = ((number[:, None] + frame + i) % 2 == 0) & there
        seen = torch.cat([torch.where(moved, 0.0, x), places(n, x.shape[-1])], 1) * there
        raw = self.nets[i](seen, label).float().unflatten(1, (x.shape[1], -1)).movedim(2, -1)
        return moved, MonotonicRQSTransform(*raw.split([self.bins, self.bins, self.bins - 1], -1))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        few: dict[str, Any] = {"hidden": 4, "blocks": 1, "transforms": 2, "bins": 3}
        found = [(cls(1, 2, **few), ()), (cls(1, 2, **few, classes=2), (torch.tensor([0, 1, 1]),))]
        for part, _ in found:
            for net in part.nets:
                cast(FrameNet, net).head.weight.data.mul_(4)
        return found


class _FrameFlow(Distribution):
    arg_constraints = {}
    draws_keyed = True

    def __init__(self, owner: FrameFlow, base: NumberedNormal, label: Tensor | None) -> None:
        self.owner, self.base, self.label = owner, base, label
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(value.shape[:-2], self.batch_shape)
        x = value[..., : longest_of(extent(value))]  # zeros after all ends are none
        x = x.expand(*lead, *x.shape[-2:]).reshape(-1, *x.shape[-2:])
        with torch.autocast(x.device.type, enabled=False):  # the way back must be the way in, digit for digit
            u, log_det = self.owner.into(x, self._told(lead))
        return self.base.log_prob(u.view(*lead, *u.shape[-2:])) + log_det.view(lead)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad(), torch.autocast(self.base.place.device.type, enabled=False):
            u = self.base.sample(sample_shape)
            x = self.owner.back(u.view(-1, *u.shape[-2:]), self._told(u.shape[:-2]))
            return x.view(u.shape)

    def _told(self, lead: torch.Size) -> Tensor | None:
        return flattened(self.label, lead)
