"""Recipes by name: where they lie."""

from __future__ import annotations

from fusevae.training.recipes import find, fits, kinds, modalities_of, reads, recipes, today

__all__ = ["find", "fits", "kinds", "modalities_of", "reads", "recipes", "today"]
