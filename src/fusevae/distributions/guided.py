"""Writing that is more typical of a label: logits moved on by the difference that it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fusevae.core.conditions import forgotten

Logits = Callable[[Tensor, list[Tensor | None], Any], Tensor]


class Guided:
    r"""Classifier-free guidance of a language model (Ho & Salimans 2022; Sanchez et al. 2023): of each next token

    .. math:: \log p(x_t \mid x_{<t}) + g\, (\log p(x_t \mid x_{<t}, label) - \log p(x_t \mid x_{<t}))

    up to a constant, at the price of both.

    Args:
        logits: of the tokens after some ``(n, length)``, given a vector and a label, and what is kept.
        kept: what is kept of both, of ``2 n`` sequences: first those with the label.
        n: sequences that are written.
        guidance: the factor g; 1 draws from the model with the label.
    """

    def __init__(self, logits: Logits, kept: Any, n: int, guidance: float) -> None:
        self.logits, self.kept, self.n, self.guidance = logits, kept, n, guidance

    def __call__(self, tokens: Tensor, given: list[Tensor | None]) -> Tensor:
        vector, label = given
        assert label is not None
        both = [None if vector is None else torch.cat([vector, vector]), torch.cat([label, forgotten(label)])]
        known, unknown = self.logits(torch.cat([tokens, tokens]), both, self.kept).chunk(2)
        moved = known + (self.guidance - 1) * (known - unknown)
        return moved.masked_fill(known == -torch.inf, -torch.inf)  # what is impossible stays so

    def choose(self, rows: Tensor) -> None:
        """Go on with these sequences ``(n,)``."""
        self.kept.choose(torch.cat([rows, rows + self.n]))
        self.n = len(rows)
