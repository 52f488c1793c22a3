"""Recipes by name: where they lie."""

from __future__ import annotations

from fusevae.training.recipes import find, reads, recipes

__all__ = ["find", "reads", "recipes"]
