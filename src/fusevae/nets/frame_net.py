"""Nets from a sequence to another of the same length: of frames, and of the characters of a text."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core.conditional import flattened
from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.nets.frames import CODES, ConvNeXt, places
from fusevae.nets.mlp import TOLD, Embedding
from fusevae.nets.time_mlp import TimeEmbedding


class FrameNet(Described, nn.Module):
    """Frames to as many frames: ConvNeXt blocks over time. No frame after the end changes anything.

    Args:
        inputs: numbers of a frame.
        outputs: numbers of a frame of the result.
        width: channels.
        blocks: how many, their dilations 1, 2, 4, 1, 2, ...
        classes: number of labels, or :class:`Conditions`, if the net is given one.

    Example:
        >>> import torch
        >>> net = FrameNet(4, 6, width=8, blocks=1)
        >>> net(torch.randn(2, 4, 9)).shape
        torch.Size([2, 6, 9])
    """

    def __init__(
        self, inputs: int, outputs: int, width: int = 128, blocks: int = 4, classes: int | Conditions = 0
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.classes = inputs, (outputs,), classes
        self.stem = nn.Conv1d(inputs, width, 3, padding=1)
        self.blocks = nn.ModuleList(ConvNeXt(width, blocks, dilation=2 ** (i % 3)) for i in range(blocks))
        self.label = Embedding(classes, width, TOLD) if classes else None
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, x: Tensor, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, outputs, frames)`` for frames ``(*batch, inputs, frames)``, zeros after the end."""
        batch = x.shape[:-2]
        x, label = x.reshape(-1, *x.shape[-2:]), flattened(label, batch)
        given = self.label(label).expand(len(x), -1) if self.label is not None else None
        out = self.through(x, extent(x), given)
        return out.view(*batch, *out.shape[1:])

    def through(self, x: Tensor, n: Tensor, given: Tensor | None) -> Tensor:
        """``(batch, outputs, frames)`` for the first ``n`` frames of ``x``, to each of which the vectors ``(batch,
        width)`` are added; the frames after all ends cost nothing."""
        frames = x.shape[-1]
        x = x[..., : max(1, int(n.max()))] if len(n) else x
        there = within(n, x.shape[-1]).to(x.dtype)
        h = self.stem(x) * there
        for block in self.blocks:
            h = block(h, there, given)
        out = self.head(self.norm(h.transpose(1, 2))).transpose(1, 2) * there
        return F.pad(out, (0, frames - out.shape[-1]))


class TimeFrameNet(FrameNet):
    """Noisy frames to as many frames, as a diffusion needs it (:mod:`fusevae.nets.time_mlp`): a :class:`FrameNet` that
    is told the time, and where in the whole each frame lies. Its last layer starts at zero.

    Args:
        width: numbers of a frame.
        hidden: channels.
        blocks: how many, their dilations 1, 2, 4, 1, 2, ...
        classes: number of labels, or :class:`Conditions`, if the net is given one.

    Example:
        >>> import torch
        >>> net = TimeFrameNet(4, hidden=8, blocks=1)
        >>> net(torch.randn(2, 4, 9), torch.rand(2)).shape
        torch.Size([2, 4, 9])
    """

    def __init__(self, width: int, hidden: int = 128, blocks: int = 4, classes: int | Conditions = 0) -> None:
        super().__init__(width + 2 * CODES, width, hidden, blocks)
        self.classes, self.time = classes, TimeEmbedding(hidden, classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, t: Tensor, *given: Tensor | None) -> Tensor:  # type: ignore[override]
        """``(batch, width, frames)`` for noisy frames of that shape at times ``(batch,)``, zeros after the end."""
        n = extent(x)
        placed = torch.cat([x, places(n, x.shape[-1])], 1) * within(n, x.shape[-1])
        return self.through(placed, n, self.time(t, *given))


class TextNet(Described, nn.Module):
    """The text among what is known beside an example to a vector for each of its characters: their embeddings, and
    ConvNeXt blocks along the text, which are told all else that is known.

    Args:
        conditions: what is known, with a column of texts.
        width: of a vector.
        blocks: how many.

    Raises :class:`InputError` where there is no column of texts, and for an example whose text isn't known.

    Example:
        >>> from fusevae.core.columns import Text
        >>> known = Conditions([Text("text", ["a", "b"])])
        >>> TextNet(known, width=8, blocks=1)(known.tensor({"text": ["abba", "a"]})).shape
        torch.Size([2, 8, 4])
    """

    def __init__(self, conditions: Conditions, width: int = 128, blocks: int = 3) -> None:
        super().__init__()
        if conditions.text is None:
            raise InputError(
                f"there is no text beside the data, only {', '.join(conditions.names)}: give texts of them"
            )
        self.classes, self.outputs = conditions, (width,)
        self.character = nn.Embedding(len(conditions.text.characters) + 1, width)
        self.blocks = nn.ModuleList(ConvNeXt(width, blocks, kernel=5) for _ in range(blocks))
        self.label = Embedding(conditions, width, TOLD) if len(conditions) > 1 else None
        self.norm = nn.LayerNorm(width)

    def forward(self, label: Tensor | None = None, *others: Tensor | None) -> Tensor:
        """``(*batch, width, characters)`` for conditions ``(*batch, columns)``, zeros after the end of a text."""
        assert self.classes.text is not None
        texts = None if label is None else self.classes.texts(label)
        if texts is None or label is None or bool(texts.isnan().any()):
            name = self.classes.text.name
            raise InputError(
                f"this model says texts, and none was given: fusevae speak RUN TEXT, or --label {name}=TEXT "
                f"(label={{{name!r}: ...}} in Python)"
            )
        batch, label = label.shape[:-1], label.reshape(-1, label.shape[-1])
        tokens = texts.reshape(len(label), -1).long()
        there = (tokens > 0)[:, None].to(self.character.weight.dtype)
        h = self.character(tokens).transpose(1, 2) * there
        given = self.label(label) if self.label is not None else None
        for block in self.blocks:
            h = block(h, there, given)
        h = self.norm(h.transpose(1, 2)).transpose(1, 2) * there
        return h.view(*batch, *h.shape[1:])
