"""Recipes by name, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusevae.core.errors import InputError
from fusevae.training.recipes import find, reads, recipes

if TYPE_CHECKING:
    from fusevae.core.spec import DataSpec
    from fusevae.core.vocabulary import Vocabulary

__all__ = ["find", "reads", "recipes", "vocabulary_of"]


def vocabulary_of(data: DataSpec) -> Vocabulary:
    """The data's vocabulary, or :class:`InputError` where they are no text."""
    if data.vocabulary is None:
        raise InputError(
            f"this recipe is for text, the data have shape {data.shape}: give --data a .txt, .jsonl or .smi"
        )
    return data.vocabulary
