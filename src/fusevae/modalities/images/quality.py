"""Quality of pictures: what any samples are judged by, and whether they have the detail of real ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusevae.evaluation.quality import Quality, Reference
from fusevae.evaluation.results import figure
from fusevae.evaluation.variety import narrow, ratio
from fusevae.evaluation.verdict import Failing

NOISY = 1.5  # times the detail of real pictures


def detail(x: Tensor) -> Tensor:
    """The mean square difference of neighbouring pixels of pictures ``(n, channels, height, width)``, ``(n,)``.

    Example:
        >>> stripes = torch.tensor([0.0, 1.0]).repeat(4)[None, None, None].expand(1, 1, 8, 8)
        >>> detail(stripes), detail(torch.nn.functional.avg_pool2d(stripes, 3, 1, 1, count_include_pad=False)) < 0.2
        (tensor([0.5000]), tensor([True]))
    """
    down, across = x.diff(dim=-2), x.diff(dim=-1)
    total = down.square().sum((1, 2, 3)) + across.square().sum((1, 2, 3))
    return total / max(1, down[0].numel() + across[0].numel())


class PictureQuality(Quality):
    """:class:`fusevae.evaluation.quality.Quality` of pictures.

    Attributes:
        detail: the root of the mean square difference of neighbouring pixels, as a part of that of real pictures: blur
            takes it away, noise adds to it.
    """

    detail: float = figure("detail", form=".2f", interval="intervals", hint="as a part of that of real pictures")

    def failings(self) -> list[Failing]:
        found, sides = super().failings(), self.intervals["detail"]
        says = f"neighbouring pixels differ {self.detail:.2f} times as much as in real pictures"
        draws = "draw samples in place of means (--kind sample), " if self.kind == "mean" else ""
        found += narrow(sides, says, f"{draws}train longer, or add a critic: vae-gan")
        if min(sides) > NOISY:
            found.append(
                Failing("noisy", says, "show means (--kind mean), or take a decoder of more than single pixels")
            )
        return found


class PictureReference(Reference):
    """Real pictures that samples are held against."""

    quality = PictureQuality

    def more(self, x: Tensor) -> dict[str, Any]:
        ours, theirs = (detail(part.double()) for part in (x, self.others.batch(torch.arange(len(self.others)))[0]))
        found, sides = ratio(ours, theirs, 0.5)
        return {"detail": found, "intervals": {"detail": sides}}
