"""Latents: the pair of posterior and prior, whatever its structure. A flat latent is its one-level case."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

from torch import Tensor, nn

from fusevae.core.description import Described
from fusevae.core.levels import Level
from fusevae.core.trace import Term


class Latents(Described, nn.Module):
    """What a VAE infers and generates. Hierarchies share nets between p and q, so one object owns the pair.

    Attributes:
        level: what its prior promises, at most.
        deterministic: whether the bound draws nothing, so that more samples can't tighten it.
    """

    level: Level
    deterministic: bool = False

    @abstractmethod
    def infer(
        self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()
    ) -> tuple[Tensor, list[Term], dict[str, Tensor]]:
        """For ``x`` of shape ``(*batch, *event)``: what the decoder is given, ``(*samples, *batch, ...)``; the terms
        from the
        top level down; auxiliary terms by name."""

    @abstractmethod
    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Tensor:
        """What the decoder is given, drawn from the prior, ``(*shape, ...)``; ``shape`` ends with the conditions'
        batch."""

    @abstractmethod
    def encode(self, x: Tensor, *conditions: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """What the decoder is given for the most typical latent of ``x``, and the arrays that name it (mean, scale)."""

    @abstractmethod
    def complete(self, z: Tensor, *conditions: Tensor | None) -> Tensor:
        """What the decoder is given for a latent like the first of the arrays that :meth:`encode` returns."""

    @abstractmethod
    def inference(self) -> list[nn.Module]:
        """The parts that only infer: q and its nets."""

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take from training ``examples()`` what the training starts from (a codebook); where there is nothing, they
        are not asked for."""

    @classmethod
    def examples(cls) -> list[tuple[Self, Any]]:
        """Tiny examples, each with the ``x`` that it encodes."""
        return []
